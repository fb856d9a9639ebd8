// Estimates of the time that steps take, for deciding what is computed again.
#pragma once

#include <vector>

#include "narrows/walk/linearize.h"

namespace narrows {

// Seconds of each node if it runs by itself. Only their proportions matter to orders.
std::vector<double> step_costs(const Tape& nodes);

// Seconds that a copy of what each node makes takes to the host and back; infinity where there can
// be none. Empty where no memory is separate from the host's.
std::vector<double> host_copy_costs(const Tape& nodes);

} // namespace narrows
