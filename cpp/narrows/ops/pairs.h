// Products of pairs of matrices. The pairs are chosen from two stacks by numbers.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// The dimensions before the last two.
Shape stack_shape(const array& a);
// `shape` with two more dimensions.
Shape of_matrices(Shape shape, int64_t rows, int64_t columns);
// All matrices along one dimension.
array stacked(const array& a, StreamOrDevice s);

// The numbers of the two matrices of each pair, as uint32 of one shape.
struct Pairs {
  array lhs;
  array rhs;

  // Indices are integers that broadcast. Those below zero count from the end. If none are given,
  // there is one for each matrix, in the stack's shape. ValueError for other indices, and for
  // indices of empty stacks.
  Pairs(
      const char* op,
      const array& a,
      const array& b,
      const std::optional<array>& lhs_indices,
      const std::optional<array>& rhs_indices,
      StreamOrDevice s);

  const Shape& shape() const {
    return lhs.shape();
  }
};

// Zeros like `like`, with the pairs' matrices added at the places that the indices give.
array added_up(const array& parts, const array& indices, const array& like, StreamOrDevice s);

} // namespace narrows
