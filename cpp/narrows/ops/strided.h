// Operations that show the elements of an array in another order, as views.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// The dimensions reversed, or dimension i of the result is dimension axes[i] of `a`. ValueError
// unless `axes` are all axes, each once.
array transpose(const array& a, StreamOrDevice s = {});
array transpose(const array& a, const Axes& axes, StreamOrDevice s = {});
inline array permute_dims(const array& a, StreamOrDevice s = {}) {
  return transpose(a, s);
}
inline array permute_dims(const array& a, const Axes& axes, StreamOrDevice s = {}) {
  return transpose(a, axes, s);
}

// Two dimensions exchanged.
array swapaxes(const array& a, int axis1, int axis2, StreamOrDevice s = {});

// One dimension moved to another place. The others keep their order.
array moveaxis(const array& a, int source, int destination, StreamOrDevice s = {});

// The last two dimensions exchanged. ValueError if there are fewer.
array matrix_transpose(const array& a, StreamOrDevice s = {});

// The diagonal of dimensions axis1 and axis2, `offset` above (below, if negative) the main one,
// as the last dimension. ValueError if the axes are the same.
array diagonal(const array& a, int offset = 0, int axis1 = 0, int axis2 = 1, StreamOrDevice s = {});

// Of a vector, the square matrix with it on the k-th diagonal and zeros elsewhere; of a matrix,
// its k-th diagonal. ValueError for other dimensions.
array diag(const array& a, int k = 0, StreamOrDevice s = {});

// Element (i, j, ...) is element offset + i * strides[0] + j * strides[1] + ... of `a` in
// row-major order. ValueError if any of these is outside of `a`.
array as_strided(
    const array& a,
    const Shape& shape,
    const Strides& strides,
    int64_t offset = 0,
    StreamOrDevice s = {});

} // namespace narrows
