// a[...] with integers, slices, new axes and an ellipsis: basic indexing as in NumPy.
#pragma once

#include <optional>
#include <span>
#include <variant>

#include "narrows/ops/common.h"

namespace narrows {

// start:stop:step. Bounds count from the end if negative, and are clipped.
struct IndexRange {
  std::optional<int64_t> start;
  std::optional<int64_t> stop;
  std::optional<int64_t> step;
};
// A new dimension of size 1.
struct NewAxis {};
// All dimensions that the other items leave over. If it is not given, it stands at the end.
struct Ellipsis {};
// An integer selects one element and drops the dimension.
using IndexItem = std::variant<int64_t, IndexRange, NewAxis, Ellipsis>;

// a[items]: a view. IndexError if an integer is out of range; ValueError if there are more items
// than dimensions, more than one ellipsis, or a step of 0.
array index(const array& a, std::span<const IndexItem> items, StreamOrDevice s = {});

// `a` after a[items] = value, see slice_update(). The value is converted to a.dtype and broadcast;
// dimensions of size 1 that it has in front of those of a[items] are dropped.
array index_update(
    const array& a, std::span<const IndexItem> items, const array& value, StreamOrDevice s = {});

} // namespace narrows
