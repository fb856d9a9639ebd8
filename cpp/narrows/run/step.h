// How a step of a plan runs, in evaluations and in inner plans alike.
#pragma once

#include <vector>

#include "narrows/plan/plan.h"

namespace narrows {

// Allocates what the step needs, in the buffers of its plan, and encodes its work. A step with an
// inner plan runs all of that.
void encode_step(const Plan& plan, std::vector<BufferRef>& buffers, const Step& step);

// Releases the buffers that die with the step.
void free_dead(const Plan& plan, std::vector<BufferRef>& buffers, const Step& step);

} // namespace narrows
