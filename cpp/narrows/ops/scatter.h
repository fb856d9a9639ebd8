// Writes to an array at indices from other arrays. Indices may have any integer dtype. A negative
// index counts from the end; updates at an index out of range are dropped.
//
// An array that dies is overwritten, at the cost of the updates alone; else it is copied first. If
// several updates change one element, all of them count; of assignments the last one stays. The CPU
// applies them in order. Other devices may add in any order, and may keep any of several assigned
// values.
#pragma once

#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

enum class ScatterOp : uint8_t; // assign, add, multiply, minimum, maximum

// `a` with the slices changed that gather() would read at these indices. `updates` have the
// indices' shape, then that of the slices, and are converted to a.dtype. They replace the old
// elements, are added to them or multiplied with them, or the smaller or the larger of both stays.
array scatter(
    const array& a,
    const std::vector<array>& indices,
    const array& updates,
    const Axes& axes,
    ScatterOp op = ScatterOp{},
    StreamOrDevice s = {});

// `a` with the elements changed that gather_axis() would read. `updates` have the indices' shape.
array scatter_axis(
    const array& a,
    const array& indices,
    const array& updates,
    int axis,
    ScatterOp op = ScatterOp{},
    StreamOrDevice s = {});

} // namespace narrows
