// Operations of several processes whose engine puts them on the device's stream.
#pragma once

#include <span>

#include "narrows/backend/cuda/batch.h"
#include "narrows/runtime/kernel_call.h"

namespace narrows::cuda {

// Puts the operation behind all that was encoded before. It is never part of a graph.
void run_collective(const KernelCall& call, std::span<const Place> operands);

} // namespace narrows::cuda
