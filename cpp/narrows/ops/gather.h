// Reads of an array where arrays of indices say. Indices are of any integer dtype; a negative one
// counts from the end, one that is out of range means the nearest element.
#pragma once

#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// For each position of the arrays of indices, which are broadcast together, the slice of `a` of
// shape `slice_sizes` that begins along axes[k] where indices[k] says, along others at 0. A slice
// stays within `a`: it begins early enough. The result has the indices' shape, then `slice_sizes`.
// ValueError for indices that are not integers, and for slices larger than `a`.
array gather(
    const array& a,
    const std::vector<array>& indices,
    const Axes& axes,
    const Shape& slice_sizes,
    StreamOrDevice s = {});

// Along `axis` the elements that the indices say, each within its own line: the other dimensions of
// `a` and of `indices` are the same.
array gather_axis(const array& a, const array& indices, int axis, StreamOrDevice s = {});

} // namespace narrows
