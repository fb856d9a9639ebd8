// Estimates of the time that steps take, for deciding what is computed again.
#pragma once

#include <functional>
#include <vector>

#include "narrows/order/recompute_problem.h"
#include "narrows/walk/linearize.h"

namespace narrows {

// Whether a value lies within a fused step, so that it is never in memory.
using IsWithinStep = std::function<bool(const Output&)>;

// Seconds of each node. Only their proportions matter to orders. Without `is_within_step` each runs
// by itself. Else nodes of fused steps share the time of their step: what lies within it moves no
// bytes, and only the node that the step ends with is launched.
std::vector<double> step_costs(const Tape& nodes, const IsWithinStep& is_within_step = {});

// Fills in what is about copies on the host. There are none where no memory is separate from the
// host's.
void add_host_copies(const Tape& nodes, RecomputeCosts& costs);

} // namespace narrows
