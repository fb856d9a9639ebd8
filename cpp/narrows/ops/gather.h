// Reads of an array at indices from other arrays. Indices may have any integer dtype. A negative
// index counts from the end; an index out of range selects the nearest element.
#pragma once

#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// For each position of the index arrays, which are broadcast together: the slice of `a` of shape
// `slice_sizes` that begins at indices[k] along axes[k], and at 0 along other axes. A slice that
// would end behind `a` begins earlier. The result has the indices' shape, then `slice_sizes`.
// ValueError for indices that are not integers, and for slices larger than `a`.
array gather(
    const array& a,
    const std::vector<array>& indices,
    const Axes& axes,
    const Shape& slice_sizes,
    StreamOrDevice s = {});

// The elements of each line along `axis` that the line's indices select. The other dimensions of
// `a` and of `indices` are the same.
array gather_axis(const array& a, const array& indices, int axis, StreamOrDevice s = {});

} // namespace narrows
