// Shapes, strides and axes: int64 everywhere, products checked.
#pragma once

#include <cstdint>
#include <string>

#include "narrows/core/small_vector.h"

namespace narrows {

using Shape = SmallVector<int64_t, 4>;
using Strides = SmallVector<int64_t, 4>; // in elements
using Axes = SmallVector<int, 4>;

// "(2, 3)", "(2,)", "()".
std::string to_string(const Shape& shape);

// Number of elements. ValueError "[op] ..." if a dimension is negative or the
// product does not fit in int64.
int64_t checked_size(const char* op, const Shape& shape);

// The number of elements of a shape that was checked before. The product may overflow before a zero
// makes it 0.
inline int64_t element_count(const Shape& shape) {
  uint64_t count = 1;
  for (int64_t n : shape) {
    count *= static_cast<uint64_t>(n);
  }
  return static_cast<int64_t>(count);
}

// a * b. ValueError "[op] ..." on overflow.
int64_t checked_multiply(const char* op, int64_t a, int64_t b);

// Maps an axis in [-ndim, ndim) to [0, ndim). IndexError "[op] axis ..." outside of that.
int normalize_axis(const char* op, int axis, const Shape& shape);

// The axes in [0, ndim), in ascending order. IndexError on axes out of range, ValueError on
// repeated ones.
Axes normalize_axes(const char* op, const Axes& axes, const Shape& shape);

// NumPy's broadcasting rule. ValueError "[op] Shapes ... cannot be broadcast."
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

// Strides of a row-major array.
Strides row_major_strides(const Shape& shape);

} // namespace narrows
