// a[...] with arrays among the indices: advanced indexing as in NumPy.
#pragma once

#include "narrows/ops/subscript.h"

namespace narrows {

// An array among the indices. Arrays of integers select along one axis each and are broadcast
// together. An array of bools, a mask, selects the elements where it is true, over as many axes as
// it has dimensions.
struct IndexArray {
  array values;
  bool is_checked = false; // its values are known: IndexError if one is out of range
};
using AdvancedItem = std::variant<int64_t, IndexRange, NewAxis, Ellipsis, IndexArray>;

// a[items]. The broadcast dimensions of the arrays take the place of their axes if these follow
// each other (with integers among them); else they come first. An integer of an array that is out
// of range selects the nearest element, unless it is checked. Masks are evaluated, because the
// shape of the result depends on the number of elements that they select. IndexError and ValueError
// as index().
array index(const array& a, std::span<const AdvancedItem> items, StreamOrDevice s = {});

// What is done to the selected elements.
enum class UpdateOp : uint8_t { assign, add, subtract, multiply, divide, minimum, maximum };

// `a` after a[items] = value, a[items] += value, and so on. An element that is selected several
// times is changed as often. Integers out of range write nothing, unless they are checked. The
// value is converted to a.dtype and broadcast; dimensions of size 1 that it has in front of those
// of a[items] are dropped. A mask is not evaluated if it is the only array.
array index_update(
    const array& a,
    std::span<const AdvancedItem> items,
    const array& value,
    UpdateOp op = UpdateOp::assign,
    StreamOrDevice s = {});

} // namespace narrows
