// Updates of an array where a mask is true, without knowing how many elements that are.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// An elementwise operation of what is there and what is given.
using Combine = array (*)(const array&, const array&, StreamOrDevice);

// `a` with what lies under the true elements of `mask` replaced by values, or combined with them.
// The mask has the dimensions of `a` from `axis` on. In the values' shape one dimension,
// `count_axis` behind those that broadcasting adds, stands for all of the mask's: it has an entry
// for each true element, in row-major order, or one for all. Where there are too few entries, what
// they would be for stays. ValueError if shapes do not fit.
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
