// What gather and scatter need of each other, and what rules of differentiation need of them.
#pragma once

#include <vector>

#include "narrows/ops/common.h"
#include "narrows/ops/indexed_walk.h"

namespace narrows {

// gather() for arrays that share `batch` leading dimensions with the index arrays. Without `clamp`,
// slices that are not within `a` are zeros.
array gather_slices(
    const array& a, const std::vector<array>& indices, const Slices& slices, StreamOrDevice s = {});
array gather_axis(
    const array& a, const array& indices, int axis, bool clamp, StreamOrDevice s = {});

// The index arrays in one dtype that kernels read, broadcast to one shape. ValueError if there are
// none, too many, if they are not integers, or if they do not fit the array.
std::vector<array> checked_indices(
    const char* op,
    const Shape& shape,
    const std::vector<array>& indices,
    const Slices& slices,
    StreamOrDevice s);
array checked_index(
    const char* op, const Shape& shape, const array& index, int axis, StreamOrDevice s);

// scatter() with such leading dimensions. With `clamp`, slices are written to the nearest place
// within `a`.
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
