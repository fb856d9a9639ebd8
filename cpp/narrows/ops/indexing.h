// Functions that read and write an array by arrays of indices. They follow the rules of gather()
// and scatter(): negative indices count from the end; reads out of range give the nearest element,
// writes are dropped.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// The elements of the flattened array, or the parts along `axis`, that the indices say: the shape
// of the indices takes the place of the axis. ValueError if the indices are no integers, or there
// is nothing to take from.
array take(
    const array& a,
    const array& indices,
    std::optional<int> axis = std::nullopt,
    StreamOrDevice s = {});
// One of them; the axis is dropped. IndexError if it is out of range.
array take(
    const array& a, int64_t index, std::optional<int> axis = std::nullopt, StreamOrDevice s = {});

// Along `axis` the elements that the indices say for each line: all other dimensions of the two are
// broadcast together. No axis: the indices are of one dimension, into the flattened array.
array take_along_axis(
    const array& a, const array& indices, std::optional<int> axis = -1, StreamOrDevice s = {});

// `a` with the elements replaced that take_along_axis() would read, and with values added to them.
// The values are broadcast to the indices' shape and converted to a.dtype. No axis: `indices` are
// into the flattened array, and the result has the shape of `a`.
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

// The part of shape `sizes` that begins along axes[k] at element start[k], along others at 0. It
// stays within the array: it begins early enough. `start` is one integer or a vector of them.
array slice_at(
    const array& a,
    const array& start,
    const Axes& axes,
    const Shape& sizes,
    StreamOrDevice s = {});

// `a` with that part replaced by `update`, whose shape it has.
array slice_update_at(
    const array& a,
    const array& update,
    const array& start,
    const Axes& axes,
    StreamOrDevice s = {});

// `a` with the elements where `mask` is true replaced by consecutive values. The mask has the first
// dimensions of `a`; value i, of the shape of the others, is for the mask's true element number i,
// and one value alone for all. Where there are too few, the rest of `a` stays.
array masked_scatter(const array& a, const array& mask, const array& values, StreamOrDevice s = {});

} // namespace narrows
