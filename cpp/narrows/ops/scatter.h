// Writes to an array where arrays of indices say. Indices are of any integer dtype; a negative one
// counts from the end, and what one that is out of range says is not written.
//
// An array that is not used any more is overwritten, at the cost of the updates alone; else it is
// copied first. Where several updates are for one element, all count; of an assignment the last
// one stays. On the CPU they are applied in order; elsewhere sums may be in any order, and any of
// several assigned elements may stay.
#pragma once

#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

enum class ScatterOp : uint8_t; // assign, add, multiply, minimum, maximum

// `a` with the slices changed that gather() would read with these indices and axes: `updates` have
// the indices' shape, then that of the slices, and are converted to a.dtype. They replace what is
// there, are added, multiplied with it, or the smaller or larger stays.
array scatter(
    const array& a,
    const std::vector<array>& indices,
    const array& updates,
    const Axes& axes,
    ScatterOp op = ScatterOp{},
    StreamOrDevice s = {});

// `a` with the elements changed that gather_axis() would read. `updates` are of the indices' shape.
array scatter_axis(
    const array& a,
    const array& indices,
    const array& updates,
    int axis,
    ScatterOp op = ScatterOp{},
    StreamOrDevice s = {});

} // namespace narrows
