// What is found in sorted arrays, or by sorting.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// For each value the place (uint32) in a sorted vector before which it would be inserted: before
// equal elements, or behind them if `right`. ValueError unless `sorted` is a vector.
array searchsorted(
    const array& sorted, const array& values, bool right = false, StreamOrDevice s = {});

// The elements of an array without repetitions, in ascending order. NaN is not equal to NaN.
struct UniqueElements {
  array values;  // (size,), of a.dtype: what remains behind them is `fill`
  array index;   // uint32 (size,): where the first of each is in the flattened array
  array inverse; // uint32, of the shape of `a`: where each element is in `values`
  array counts;  // int32 (size,): how often each element is there; 0 for what is filled
};

// The smallest `size` ones. `fill` has one element; without it the first of `values` is repeated.
// ValueError for negative sizes, and where there is neither an element nor `fill`.
UniqueElements unique(
    const array& a,
    int64_t size,
    const std::optional<array>& fill = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows
