// How the threads of a strided kernel share its elements.
#pragma once

#include <span>

#include "metal_kernels/elementwise.h"

namespace narrows::gpu {

// `phases`: by how many elements each operand starts behind a multiple of 16 bytes. `item_size`:
// the size of the largest elements.
StridedParams strided_params(
    const ElementwiseParams& p, std::span<const int64_t> phases, int64_t item_size);

} // namespace narrows::gpu
