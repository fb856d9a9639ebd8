// a[...] with arrays among the indices: advanced indexing as in NumPy.
#pragma once

#include "narrows/ops/subscript.h"

namespace narrows {

// An array of integers selects along one axis; several are broadcast together. One of bools, a
// mask, selects the elements of as many axes as it has dimensions where it is true.
struct IndexArray {
  array values;
  bool is_checked = false; // its values are there: IndexError if one is out of range
};
using AdvancedItem = std::variant<int64_t, IndexRange, NewAxis, Ellipsis, IndexArray>;

// a[items]. The dimensions of the arrays, broadcast together, take the place of their axes where
// these follow each other (with integers among them), else they come first. An integer of an array
// that is out of range gives the nearest element, unless it is checked. Masks are evaluated: how
// many elements they select is part of the result's shape. IndexError, ValueError as index().
array index(const array& a, std::span<const AdvancedItem> items, StreamOrDevice s = {});

// What happens to the elements that are selected.
enum class UpdateOp : uint8_t { assign, add, subtract, multiply, divide, minimum, maximum };

// `a` after a[items] = value, a[items] += value, ...: where an element is selected several times,
// it changes as often. Nothing is written for integers out of range, unless they are checked. The
// value is converted to a.dtype and broadcast; dimensions of size 1 that it has before those of
// a[items] are dropped. A mask without other arrays beside it is not evaluated.
array index_update(
    const array& a,
    std::span<const AdvancedItem> items,
    const array& value,
    UpdateOp op = UpdateOp::assign,
    StreamOrDevice s = {});

} // namespace narrows
