// Padding: an array with more elements at its edges.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// `a` with widths[i].first elements before and widths[i].second after those of axis i; one pair
// serves for all axes. The elements added are
//   "constant"   `value`, a single element, converted to a.dtype
//   "edge"       the nearest element of `a`
//   "reflect"    `a` mirrored at its first and last element
//   "symmetric"  `a` mirrored at its edges, first and last element included
// ValueError if a width is negative, the number of pairs is wrong, the mode is unknown, or an
// axis without elements is padded in another mode than "constant".
array pad(
    const array& a,
    const std::vector<std::pair<int64_t, int64_t>>& widths,
    std::string_view mode = "constant",
    const array& value = array(0),
    StreamOrDevice s = {});

} // namespace narrows
