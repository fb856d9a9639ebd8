// gather_mm: products of chosen pairs of matrices.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// Pair i is matrix lhs_indices[i] of a, which is (..., m, k), and matrix rhs_indices[i] of b, which
// is (..., k, n); stacks are flattened. Indices are integers whose shapes broadcast. Indices that
// are not given number the matrices from 0 on. The result has the indices' shape, then (m, n). A
// vector is a row on the left and a column on the right, and its dimension is not in the result.
// ValueError unless dtypes are real floating point and shapes fit.
array gather_mm(
    const array& a,
    const array& b,
    const std::optional<array>& lhs_indices = std::nullopt,
    const std::optional<array>& rhs_indices = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows
