// Operations that make one array of several, or of several copies.
#pragma once

#include <optional>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// The arrays one behind another along `axis`, or flattened if there is no axis, in their common
// dtype. ValueError if other dimensions differ, or if there are no arrays.
array concatenate(
    const std::vector<array>& arrays, std::optional<int> axis = 0, StreamOrDevice s = {});

// The arrays side by side along a new dimension `axis`, in their common dtype. ValueError if shapes
// differ, or if there are no arrays.
array stack(const std::vector<array>& arrays, int axis = 0, StreamOrDevice s = {});

// Every element `repeats` times along `axis`, or every element of the flattened `a` if there is no
// axis. ValueError if `repeats` is negative.
array repeat(
    const array& a, int64_t repeats, std::optional<int> axis = std::nullopt, StreamOrDevice s = {});

// The whole of `a`, reps[i] times along dimension i. The shorter of shape and `reps` is extended
// with ones in front. ValueError if a number is negative.
array tile(const array& a, const Shape& reps, StreamOrDevice s = {});

// The elements moved up cyclically: in the flattened array by the sum of `shifts`, or by shifts[i]
// along axes[i]. A single shift, or a single axis, serves for all of the other. The shifts of a
// repeated axis add up. ValueError if the numbers of shifts and axes differ.
array roll(const array& a, const Shape& shifts, StreamOrDevice s = {});
array roll(const array& a, const Shape& shifts, const Axes& axes, StreamOrDevice s = {});

} // namespace narrows
