// SubPlan: a plan that is made once and runs as one step of other plans.
#pragma once

#include "narrows/plan/plan.h"

namespace narrows {

struct SubPlan {
  Plan plan;
  std::vector<uint32_t> argument_buffers; // of `plan`, by input of the step; kNone: not used
  std::vector<uint32_t> output_values;    // of `plan`, by output of the step
};

} // namespace narrows
