// Matrix products with quantized matrices.
#pragma once

#include "narrows/ops/quantized.h"

namespace narrows {

// x @ w.T, or x @ w without `transpose`, where the rows of w are quantized. x is (..., m, k) or
// (k,); w, scales and biases are as quantize() returns them, of one shape but for the last
// dimension. Dimensions before the last two broadcast. In the common dtype of x, scales and biases.
// ValueError for what does not fit.
array quantized_matmul(
    const array& x,
    const array& w,
    const array& scales,
    const std::optional<array>& biases = std::nullopt,
    bool transpose = true,
    const QuantizationArgs& how = {},
    StreamOrDevice s = {});

// The products of pairs of matrices: pair i is matrix lhs_indices[i] of x and matrix rhs_indices[i]
// of w, where the dimensions before the last two are flattened. Indices are integers whose shapes
// broadcast; those that are not given number the matrices from 0 on. The result has the indices'
// shape, then (m, n). global_scale: as for dequantize().
array gather_qmm(
    const array& x,
    const array& w,
    const array& scales,
    const std::optional<array>& biases = std::nullopt,
    const std::optional<array>& lhs_indices = std::nullopt,
    const std::optional<array>& rhs_indices = std::nullopt,
    bool transpose = true,
    const QuantizationArgs& how = {},
    const std::optional<array>& global_scale = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows
