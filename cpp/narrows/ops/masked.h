// Updates of an array where a mask is true. The number of true elements need not be known.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// An elementwise operation on the old and the new values.
using Combine = array (*)(const array&, const array&, StreamOrDevice);

// `a` with the elements where `mask` is true replaced by values, or combined with them. The mask
// has the dimensions of `a` from `axis` on. In the values' shape, one dimension stands for all
// dimensions of the mask: `count_axis`, counted behind those that broadcasting adds. It has an
// entry for each true element, in row-major order, or a single entry for all. Elements without an
// entry stay. ValueError if shapes do not fit.
array masked_update(
    const char* op,
    const array& a,
    const array& mask,
    int axis,
    const array& values,
    int count_axis,
    Combine combine,
    StreamOrDevice s = {});

} // namespace narrows
