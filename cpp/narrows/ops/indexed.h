// What gather and scatter are made of, for each other and for the rules of differentiation.
#pragma once

#include <vector>

#include "narrows/ops/common.h"
#include "narrows/ops/indexed_walk.h"

namespace narrows {

// gather() with dimensions in front that `a` and the arrays of indices share. Where `clamp` is not
// set, slices that are not within `a` are zeros.
array gather_slices(
    const array& a, const std::vector<array>& indices, const Slices& slices, StreamOrDevice s = {});
array gather_axis(
    const array& a, const array& indices, int axis, bool clamp, StreamOrDevice s = {});

// The arrays of indices with one dtype that kernels read, broadcast to one shape. ValueError if
// they are none, too many or not integers, or do not fit to the array.
std::vector<array> checked_indices(
    const char* op,
    const Shape& shape,
    const std::vector<array>& indices,
    const Slices& slices,
    StreamOrDevice s);
array checked_index(
    const char* op, const Shape& shape, const array& index, int axis, StreamOrDevice s);

// scatter() with such dimensions in front. Where `clamp` is set, slices go to the nearest place
// that is within `a`.
array scatter_slices(
    const array& a,
    const std::vector<array>& indices,
    const array& updates,
    const Slices& slices,
    ScatterOp op,
    StreamOrDevice s = {});
array scatter_axis(
    const array& a,
    const array& indices,
    const array& updates,
    int axis,
    ScatterOp op,
    bool clamp,
    StreamOrDevice s = {});

} // namespace narrows
