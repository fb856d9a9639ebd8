#include "narrows/core/layout.h"

#include <algorithm>
#include <cstdlib>

namespace narrows {
namespace {

bool is_row_contiguous(const Shape& shape, const Strides& strides) {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) {
      return false;
    }
    expected *= shape[i];
  }
  return true;
}

bool is_dense(const Shape& shape, const Strides& strides) {
  SmallVector<int, 8> order;
  for (int i = 0; i < shape.ndim(); ++i) {
    if (shape[i] != 1) {
      order.push_back(i);
    }
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return strides[a] < strides[b]; });
  int64_t expected = 1;
  for (int i : order) {
    if (strides[i] != expected) {
      return false;
    }
    expected *= shape[i];
  }
  return true;
}

} // namespace

Layout Layout::row_major(const Shape& shape) {
  Layout layout;
  layout.strides = row_major_strides(shape);
  return layout;
}

Layout Layout::strided(const Shape& shape, Strides strides, int64_t offset) {
  Layout layout;
  const bool empty = element_count(shape) == 0;
  layout.row_contiguous = empty || is_row_contiguous(shape, strides);
  layout.dense = layout.row_contiguous || is_dense(shape, strides);
  layout.strides = std::move(strides);
  layout.offset = offset;
  return layout;
}

Collapsed collapse(const Shape& shape, const Strides* const* strides, int operands) {
  const int last = operands - 1;
  SmallVector<int, 8> order;
  for (int i = 0; i < shape.ndim(); ++i) {
    if (shape[i] != 1) {
      order.push_back(i);
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return std::abs((*strides[last])[a]) > std::abs((*strides[last])[b]);
  });
  Collapsed result;
  SmallVector<int64_t, 32> by_dim; // dim-major while dimensions are still being merged
  for (int axis : order) {
    bool merges = !result.shape.empty();
    for (int k = 0; k < operands && merges; ++k) {
      const int64_t outer = by_dim[by_dim.size() - operands + k];
      merges = outer == (*strides[k])[axis] * shape[axis];
    }
    if (merges) {
      result.shape.back() *= shape[axis];
      by_dim.resize(by_dim.size() - operands);
    } else {
      result.shape.push_back(shape[axis]);
    }
    for (int k = 0; k < operands; ++k) {
      by_dim.push_back((*strides[k])[axis]);
    }
  }
  const size_t ndim = result.shape.size();
  result.strides.resize(ndim * operands);
  for (size_t d = 0; d < ndim; ++d) {
    for (int k = 0; k < operands; ++k) {
      result.strides[k * ndim + d] = by_dim[d * operands + k];
    }
  }
  return result;
}

} // namespace narrows
