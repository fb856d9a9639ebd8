// Products of matrices and vectors.
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

// (..., k), (..., k) -> a.shape[:-1] + b.shape[:-1]: sums over the last dimensions; the product
// if one of them is a scalar.
array inner(const array& a, const array& b, StreamOrDevice s = {});

// (a.size, b.size): all products of an element of `a` and one of `b`, in row-major order.
array outer(const array& a, const array& b, StreamOrDevice s = {});

// Sum of conjugate(a) * b along `axis`, other dimensions broadcast. ValueError if the sizes of that
// dimension differ.
array vecdot(const array& a, const array& b, int axis = -1, StreamOrDevice s = {});

// Sum over the last `axes` dimensions of `a` and the first of `b`, or over pairs of dimensions; the
// remaining dimensions of `a`, then those of `b`. ValueError if the sizes of a pair differ.
array tensordot(const array& a, const array& b, int axes = 2, StreamOrDevice s = {});
array tensordot(
    const array& a, const array& b, const Axes& a_axes, const Axes& b_axes, StreamOrDevice s = {});

// Kronecker product: dimension i has size a.shape[i] * b.shape[i] (shapes aligned at the end);
// element (i * b.shape + j) is a[i] * b[j].
array kron(const array& a, const array& b, StreamOrDevice s = {});

} // namespace narrows
