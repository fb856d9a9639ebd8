// Padding: an array with additional elements at its edges.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows {

// `a` with widths[i].first elements in front of and widths[i].second behind those of axis i. A
// single pair serves for all axes. The added elements are
//   "constant"   `value`, a single element, converted to a.dtype
//   "edge"       the nearest element of `a`
//   "reflect"    `a`, mirrored at its first and last element
//   "symmetric"  `a`, mirrored at its edges, with the first and last element
// ValueError if a width is negative, if the number of pairs is wrong, if the mode is unknown, or if
// an axis without elements is padded in another mode than "constant".
array pad(
    const array& a,
    const std::vector<std::pair<int64_t, int64_t>>& widths,
    std::string_view mode = "constant",
    const array& value = array(0),
    StreamOrDevice s = {});

} // namespace narrows
