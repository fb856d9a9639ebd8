// The Hadamard transform.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// Rows along the last axis times a Hadamard matrix of +1 and -1 and `scale`, by default
// 1 / sqrt(n). Their length n is m * 2^k with m one of 1, 12, 20 and 28; the matrix is the
// Kronecker product of one of size m and of k of size 2. float32 for integers. ValueError for other
// lengths, and for complex numbers.
array hadamard_transform(
    const array& a, std::optional<double> scale = std::nullopt, StreamOrDevice s = {});

} // namespace narrows
