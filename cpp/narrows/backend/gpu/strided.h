// How the threads of a strided kernel share its elements.
#pragma once

#include <span>

#include "metal_kernels/params.h"

namespace narrows::gpu {

inline int64_t divided_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// `phases` are how many elements each operand starts after a multiple of 16 bytes, `item_size` is
// the size of the largest elements.
StridedParams strided_params(
    const ElementwiseParams& p, std::span<const int64_t> phases, int64_t item_size);

} // namespace narrows::gpu
