// Sorting along an axis, and what is found by it. Without an axis, over the elements in row-major
// order. NaN comes last, 0.0 and -0.0 are equal, and complex numbers are ordered by their real
// parts, then by their imaginary parts.
#pragma once

#include "narrows/ops/reduce.h"

namespace narrows {

// The elements in ascending order. Equal elements keep their order. IndexError if the axis is out
// of range, ValueError for lines of 2^32 elements and more.
array sort(const array& a, std::optional<int> axis = -1, StreamOrDevice s = {});

// The places (uint32) of the elements in that order.
array argsort(const array& a, std::optional<int> axis = -1, StreamOrDevice s = {});

// The elements in an order with element `kth` at its sorted place, no larger element before it, and
// no smaller one behind it. A negative `kth` counts from the end.
array partition(const array& a, int64_t kth, std::optional<int> axis = -1, StreamOrDevice s = {});

// The places (uint32) of the elements in such an order.
array argpartition(
    const array& a, int64_t kth, std::optional<int> axis = -1, StreamOrDevice s = {});

// The k largest elements, in any order.
array topk(const array& a, int64_t k, std::optional<int> axis = -1, StreamOrDevice s = {});

// The middle element in sorted order, or the mean of the two in the middle; NaN if there is a NaN.
// float32 for integers and bool. ValueError if there are no elements.
array median(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

} // namespace narrows
