// Operations that repeat elements without storing them twice.
#pragma once

#include <string_view>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// `a`, seen with a larger shape, without a copy. ValueError if it does not broadcast.
array broadcast_to(const array& a, const Shape& shape, StreamOrDevice s = {});

// The shape that all shapes broadcast to. ValueError if there is none, or if no shape is given.
Shape broadcast_shapes(const std::vector<Shape>& shapes);

// The arrays, broadcast to their common shape.
std::vector<array> broadcast_arrays(const std::vector<array>& arrays, StreamOrDevice s = {});

// Coordinates of a grid: output i varies along one dimension, as the elements of arrays[i]
// (flattened) do. `indexing` is "xy" (the first array along dimension 1, the second along 0) or
// "ij". Sparse outputs have size 1 in all other dimensions.
std::vector<array> meshgrid(
    const std::vector<array>& arrays,
    bool sparse = false,
    std::string_view indexing = "xy",
    StreamOrDevice s = {});

} // namespace narrows
