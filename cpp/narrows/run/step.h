// What a step of a plan does, whoever runs the plan.
#pragma once

#include <vector>

#include "narrows/plan/plan.h"

namespace narrows {

// Allocates what the step needs, in the buffers of its plan, and encodes its work. A step with a
// plan inside runs all of that.
void encode_step(const Plan& plan, std::vector<BufferRef>& buffers, const Step& step);

// Lets go of the buffers that die with the step.
void free_dead(const Plan& plan, std::vector<BufferRef>& buffers, const Step& step);

} // namespace narrows
