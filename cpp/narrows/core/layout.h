// Where the elements of an array lie in its buffer.
#pragma once

#include "narrows/core/shape.h"

namespace narrows {

struct Layout {
  Strides strides;            // in elements, one per dimension
  int64_t offset = 0;         // in elements, of the first element
  bool row_contiguous = true; // row-major without gaps
  bool dense = true;          // some permutation of its axes is row-contiguous

  static Layout row_major(const Shape& shape);

  // The layout with these strides; computes the flags.
  static Layout strided(const Shape& shape, Strides strides, int64_t offset);
};

// Shapes and strides of operands that are walked together. Dimensions of size 1 are dropped. The
// rest is sorted so that the last operand (the output) is walked in memory order, and neighbours
// that are contiguous in every operand are merged.
struct Collapsed {
  Shape shape;
  SmallVector<int64_t, 32> strides; // operand-major: strides[operand * shape.size() + dim]
};
Collapsed collapse(const Shape& shape, const Strides* const* strides, int operands);

} // namespace narrows
