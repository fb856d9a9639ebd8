// Products of matrices.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// (..., m, k) @ (..., k, n) -> (..., m, n); leading dimensions broadcast. A vector is a row on the
// left and a column on the right, and that dimension is dropped from the result. ValueError for
// scalars, for shapes that do not match and for integers.
array matmul(const array& a, const array& b, StreamOrDevice s = {});

// alpha * (a @ b) + beta * c, where c broadcasts to the shape of a @ b. ValueError as matmul().
array addmm(
    const array& c,
    const array& a,
    const array& b,
    double alpha = 1,
    double beta = 1,
    StreamOrDevice s = {});

} // namespace narrows
