// Operations that make one array of several, or of several copies.
#pragma once

#include <optional>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// The arrays one after another along `axis`, or all flattened if there is none, in their common
// dtype. ValueError if other dimensions differ or there are no arrays.
array concatenate(
    const std::vector<array>& arrays, std::optional<int> axis = 0, StreamOrDevice s = {});

// The arrays side by side along a new dimension `axis`, in their common dtype. ValueError if
// shapes differ or there are no arrays.
array stack(const std::vector<array>& arrays, int axis = 0, StreamOrDevice s = {});

// Every element `repeats` times along `axis`, or of `a` flattened if there is none. ValueError
// if `repeats` is negative.
array repeat(
    const array& a, int64_t repeats, std::optional<int> axis = std::nullopt, StreamOrDevice s = {});

// `a` as a whole reps[i] times along dimension i; the shorter of shape and `reps` is extended
// with ones in front. ValueError if any is negative.
array tile(const array& a, const Shape& reps, StreamOrDevice s = {});

// The elements moved up cyclically: over the flattened array by the sum of `shifts`, or by
// shifts[i] along axes[i] (one of either serves for all of the other; the shifts of a repeated
// axis add up). ValueError if their numbers differ.
array roll(const array& a, const Shape& shifts, StreamOrDevice s = {});
array roll(const array& a, const Shape& shifts, const Axes& axes, StreamOrDevice s = {});

} // namespace narrows
