// Sorting, and what is found by it, along an axis. No axis given: of the elements in row-major
// order. NaN comes last, 0.0 and -0.0 are equal, complex numbers are ordered by their real parts,
// then by their imaginary ones.
#pragma once

#include "narrows/ops/reduce.h"

namespace narrows {

// The elements in ascending order; equal ones stay in their order. IndexError if the axis is out of
// range, ValueError for lines of 2^32 elements and more.
array sort(const array& a, std::optional<int> axis = -1, StreamOrDevice s = {});

// The places (uint32) of the elements in that order.
array argsort(const array& a, std::optional<int> axis = -1, StreamOrDevice s = {});

// The elements in an order in which element `kth` is the one that sorting would put there, none
// before it is larger, and none after it is smaller. A negative one counts from the end.
array partition(const array& a, int64_t kth, std::optional<int> axis = -1, StreamOrDevice s = {});

// The places (uint32) of the elements in such an order.
array argpartition(
    const array& a, int64_t kth, std::optional<int> axis = -1, StreamOrDevice s = {});

// The k largest elements, in any order.
array topk(const array& a, int64_t k, std::optional<int> axis = -1, StreamOrDevice s = {});

// The middle one of the sorted elements, or the mean of the two in the middle; NaN if there is one.
// float32 for integers and bool. ValueError for no elements.
array median(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

} // namespace narrows
