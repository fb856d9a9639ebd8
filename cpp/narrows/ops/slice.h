// Operations on strided parts of an array: views of them, and updates in place where possible.
#pragma once

#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// The number of elements start, start + stride, ... before stop. The stride is not 0.
int64_t slice_length(int64_t start, int64_t stop, int64_t stride);

// The elements starts[i], starts[i] + strides[i], ... before stops[i] along axis i, as a view.
// Strides may be negative; a stop of -1 then goes down to the first element. Nothing counts from
// the end here (index() in subscript.h does that). ValueError if a bound is outside of `a`.
array slice(
    const array& a,
    const Shape& starts,
    const Shape& stops,
    const Strides& strides,
    StreamOrDevice s = {});

// `a` with the elements that slice() would select replaced by `update`, which is broadcast and
// converted to a.dtype. If `a` dies, its buffer is overwritten at the cost of the update alone;
// else `a` is copied first.
array slice_update(
    const array& a,
    const array& update,
    const Shape& starts,
    const Shape& stops,
    const Strides& strides,
    StreamOrDevice s = {});

// Views of consecutive parts along `axis`: `sections` parts of equal size, or parts that begin at
// each of `indices` (as in Python slices: clipped, negative ones count from the end). ValueError if
// the dimension is not a multiple of `sections`.
std::vector<array> split(const array& a, int64_t sections, int axis = 0, StreamOrDevice s = {});
std::vector<array> split(
    const array& a, const std::vector<int64_t>& indices, int axis = 0, StreamOrDevice s = {});

// The elements in reverse order along all axes, or along `axes`: a view.
array flip(const array& a, StreamOrDevice s = {});
array flip(const array& a, const Axes& axes, StreamOrDevice s = {});

} // namespace narrows
