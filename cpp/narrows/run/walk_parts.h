// Walks of more dimensions than kernels take, in parts.
#pragma once

#include <array>

#include "metal_kernels/limits.h"
#include "narrows/core/layout.h"
#include "narrows/runtime/kernel_call.h"

namespace narrows {

// Calls take(first, operands) for each part of a walk. A part has the dimensions from `first` on,
// at most NARROWS_MAX_DIMS. There is one for each index of the dimensions before, to which the
// operands are moved. Elements of operand k have item_sizes[k] bytes.
template <size_t kOperands, typename Take>
void each_part(
    const Collapsed& walk,
    const std::array<Operand, kOperands>& operands,
    const std::array<int64_t, kOperands>& item_sizes,
    const Take& take,
    size_t first = 0) {
  const size_t ndim = walk.shape.size();
  if (ndim - first <= NARROWS_MAX_DIMS) {
    take(first, operands);
    return;
  }
  const size_t count = walk.strides.size() / ndim;
  for (int64_t i = 0; i < walk.shape[first]; ++i) {
    std::array<Operand, kOperands> moved = operands;
    for (size_t k = 0; k < count; ++k) {
      moved[k].offset += i * walk.strides[k * ndim + first] * item_sizes[k];
    }
    each_part(walk, moved, item_sizes, take, first + 1);
  }
}

} // namespace narrows
