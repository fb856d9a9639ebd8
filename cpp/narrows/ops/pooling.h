// Pooling: one value for each window of an array.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// The largest value in each window of `a`: (batch, places..., channels), with 1 to 3 dimensions of
// places; NaN if there is one. Windows of `size` places begin `stride` places apart, of which
// `padding` are added at each end: they are never the largest. Where several values are the largest
// they share the cotangent. ValueError for other dimensions, and sizes or strides below 1.
array max_pool(
    const array& a,
    const Shape& size,
    const Shape& stride,
    const Shape& padding,
    StreamOrDevice s = {});

} // namespace narrows
