// Products that are made of others: inner, outer, vecdot, tensordot, kron.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// (..., k), (..., k) -> a.shape[:-1] + b.shape[:-1]: sums over the last dimensions. The product if
// one of them is a scalar.
array inner(const array& a, const array& b, StreamOrDevice s = {});

// (a.size, b.size): all products of an element of `a` and one of `b`, in row-major order.
array outer(const array& a, const array& b, StreamOrDevice s = {});

// The sum of conjugate(a) * b along `axis`. Other dimensions broadcast. ValueError if the sizes
// along `axis` differ.
array vecdot(const array& a, const array& b, int axis = -1, StreamOrDevice s = {});

// The sum over the last `axes` dimensions of `a` and the first of `b`, or over pairs of dimensions.
// The result has the remaining dimensions of `a`, then those of `b`. ValueError if the sizes of a
// pair differ.
array tensordot(const array& a, const array& b, int axes = 2, StreamOrDevice s = {});
array tensordot(
    const array& a, const array& b, const Axes& a_axes, const Axes& b_axes, StreamOrDevice s = {});

// Kronecker product: dimension i has size a.shape[i] * b.shape[i] (shapes aligned at the end);
// element (i * b.shape + j) is a[i] * b[j].
array kron(const array& a, const array& b, StreamOrDevice s = {});

} // namespace narrows
