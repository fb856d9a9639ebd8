// Searches in sorted arrays, and searches by sorting.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// For each value the place (uint32) in a sorted vector where it would be inserted: before equal
// elements, or behind them with `right`. ValueError unless `sorted` is a vector.
array searchsorted(
    const array& sorted, const array& values, bool right = false, StreamOrDevice s = {});

// The elements of an array without repetitions, in ascending order. NaN is not equal to NaN.
struct UniqueElements {
  array values;  // (size,), of a.dtype; filled up with `fill`
  array index;   // uint32 (size,): the first place of each value in the flattened array
  array inverse; // uint32, of the shape of `a`: the place of each element in `values`
  array counts;  // int32 (size,): how often each value occurs; 0 for filled places
};

// The `size` smallest values. `fill` has one element; without it the first value is repeated.
// ValueError for a negative size, and for an empty array without `fill`.
UniqueElements unique(
    const array& a,
    int64_t size,
    const std::optional<array>& fill = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows
