// Functions that read and write an array at indices from arrays. As for gather() and scatter(),
// negative indices count from the end, reads out of range give the nearest element, and writes out
// of range are dropped.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// The elements of the flattened array, or the parts along `axis`, that the indices select. The
// shape of the indices takes the place of the axis. ValueError if the indices are not integers, or
// if the axis has no elements.
array take(
    const array& a,
    const array& indices,
    std::optional<int> axis = std::nullopt,
    StreamOrDevice s = {});
// A single element or part; the axis is dropped. IndexError if the index is out of range.
array take(
    const array& a, int64_t index, std::optional<int> axis = std::nullopt, StreamOrDevice s = {});

// The elements along `axis` that the indices of each line select. All other dimensions of both
// arrays are broadcast. Without an axis, the indices have one dimension and index the flattened
// array.
array take_along_axis(
    const array& a, const array& indices, std::optional<int> axis = -1, StreamOrDevice s = {});

// `a` with the elements that take_along_axis() would read replaced, or with values added to them.
// The values are broadcast to the indices' shape and converted to a.dtype. Without an axis,
// `indices` index the flattened array, and the result has the shape of `a`.
array put_along_axis(
    const array& a,
    const array& indices,
    const array& values,
    std::optional<int> axis = std::nullopt,
    StreamOrDevice s = {});
array scatter_add_axis(
    const array& a,
    const array& indices,
    const array& values,
    std::optional<int> axis = std::nullopt,
    StreamOrDevice s = {});

// The part of shape `sizes` that begins at start[k] along axes[k], and at 0 along other axes. A
// part that would end behind the array begins earlier. `start` is an integer or a vector of them.
array slice_at(
    const array& a,
    const array& start,
    const Axes& axes,
    const Shape& sizes,
    StreamOrDevice s = {});

// `a` with that part replaced by `update`, which has the shape of the part.
array slice_update_at(
    const array& a,
    const array& update,
    const array& start,
    const Axes& axes,
    StreamOrDevice s = {});

// `a` with the elements where `mask` is true replaced by consecutive values. The mask has the first
// dimensions of `a`. Value i has the shape of the remaining dimensions and replaces the part at
// true element i of the mask; a single value replaces all of them. If there are too few values, the
// rest of `a` stays.
array masked_scatter(const array& a, const array& mask, const array& values, StreamOrDevice s = {});

} // namespace narrows
