// Matrix products that leave out blocks or ranges.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// a @ b, where masks say which blocks of block_size x block_size elements of the result, of a and
// of b count. The last two dimensions of a mask count blocks, those before broadcast to the
// matrices' stacks. If a mask is bool, other blocks are zeros, whatever they contain; else blocks
// are multiplied by the mask. ValueError for block sizes other than 32 and 64, and for shapes that
// do not fit.
array block_masked_mm(
    const array& a,
    const array& b,
    int block_size = 64,
    const std::optional<array>& mask_out = std::nullopt,
    const std::optional<array>& mask_lhs = std::nullopt,
    const std::optional<array>& mask_rhs = std::nullopt,
    StreamOrDevice s = {});

// For each segment (begin, end): the product of columns [begin, end) of a, which is (m, k), and
// rows [begin, end) of b, which is (k, n). `segments` are integers of shape (..., 2). The result is
// (..., m, n).
array segmented_mm(const array& a, const array& b, const array& segments, StreamOrDevice s = {});

} // namespace narrows
