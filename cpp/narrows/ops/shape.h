// Operations that give the elements of an array another shape. They are views, except for reshapes
// that strides cannot express.
#pragma once

#include "narrows/ops/broadcast.h"
#include "narrows/ops/common.h"

namespace narrows {

// The elements of `a` in row-major order with another shape. One dimension may be -1; it follows
// from the others. A copy only where no strides express it. ValueError if the sizes differ.
array reshape(const array& a, const Shape& shape, StreamOrDevice s = {});

// Dimensions start_axis to end_axis (inclusive, clipped), merged into one; (1,) for a scalar.
// ValueError if start_axis comes behind end_axis.
array flatten(const array& a, int start_axis = 0, int end_axis = -1, StreamOrDevice s = {});

// Dimension `axis` split into `shape`, of which one may be -1. ValueError if the sizes differ.
array unflatten(const array& a, int axis, const Shape& shape, StreamOrDevice s = {});

// `a` without all its dimensions of size 1, or without `axes`. ValueError if one of them has
// another size or is repeated.
array squeeze(const array& a, StreamOrDevice s = {});
array squeeze(const array& a, const Axes& axes, StreamOrDevice s = {});

// `a` with dimensions of size 1 inserted, which are `axes` of the result.
array expand_dims(const array& a, const Axes& axes, StreamOrDevice s = {});

// `a` with at least 1, 2 or 3 dimensions: (n,) becomes (1, n) and (1, n, 1), (n, m) becomes
// (n, m, 1).
array atleast_1d(const array& a, StreamOrDevice s = {});
array atleast_2d(const array& a, StreamOrDevice s = {});
array atleast_3d(const array& a, StreamOrDevice s = {});

// `a`, row-contiguous (or column-contiguous if allowed). No copy if it is so already.
array contiguous(const array& a, bool allow_col_major = false, StreamOrDevice s = {});

// The bytes of `a` read as another dtype; the last dimension scales with the item size. A copy
// only where the last dimension is not contiguous. ValueError if the bytes of the last dimension
// are no multiple of the item size, or the item size of a scalar changes.
array view(const array& a, Dtype dtype, StreamOrDevice s = {});

} // namespace narrows
