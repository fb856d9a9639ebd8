// Matrix products of which both factors are quantized.
#pragma once

#include "narrows/ops/quantized.h"

namespace narrows {

// x @ w.T of x, (..., m, k) or (k,), and w, (n, k), after both went through quantize() and
// dequantize(): w is a float matrix, or codes with `scales`. Of the modes those that have scales of
// their own. Derivatives are those of the product as if nothing was rounded. ValueError for what
// does not fit.
array qqmm(
    const array& x,
    const array& w,
    const std::optional<array>& scales = std::nullopt,
    const QuantizationArgs& how = {std::nullopt, std::nullopt, "nvfp4"},
    const std::optional<array>& global_scale_x = std::nullopt,
    const std::optional<array>& global_scale_w = std::nullopt,
    StreamOrDevice s = {});

// The same for pairs of matrices, as gather_qmm() takes them: w is a stack of (n, k).
array gather_qqmm(
    const array& x,
    const array& w,
    const std::optional<array>& scales = std::nullopt,
    const std::optional<array>& lhs_indices = std::nullopt,
    const std::optional<array>& rhs_indices = std::nullopt,
    const QuantizationArgs& how = {std::nullopt, std::nullopt, "nvfp4"},
    const std::optional<array>& global_scale_x = std::nullopt,
    const std::optional<array>& global_scale_w = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows
