// Scans: running totals along an axis. Without an axis, over the elements in row-major order.
#pragma once

#include "narrows/ops/common.h"

namespace narrows {

// Element i of the result combines elements 0 to i of `a`; with `reverse`, elements i to the last
// one. Without `inclusive` element i itself is left out. ValueError if the axis is out of range.

// The sum (product), computed in a.dtype or in `dtype` if it is given. bool is summed as int32.
array cumsum(
    const array& a,
    std::optional<int> axis = std::nullopt,
    bool reverse = false,
    bool inclusive = true,
    std::optional<Dtype> dtype = std::nullopt,
    StreamOrDevice s = {});
array cumprod(
    const array& a,
    std::optional<int> axis = std::nullopt,
    bool reverse = false,
    bool inclusive = true,
    std::optional<Dtype> dtype = std::nullopt,
    StreamOrDevice s = {});

// The largest (smallest) element so far; NaN from the first NaN on.
array cummax(
    const array& a,
    std::optional<int> axis = std::nullopt,
    bool reverse = false,
    bool inclusive = true,
    StreamOrDevice s = {});
array cummin(
    const array& a,
    std::optional<int> axis = std::nullopt,
    bool reverse = false,
    bool inclusive = true,
    StreamOrDevice s = {});

// Logarithm of the sum of exponentials, as float32 for integers and bool.
array logcumsumexp(
    const array& a,
    std::optional<int> axis = std::nullopt,
    bool reverse = false,
    bool inclusive = true,
    StreamOrDevice s = {});

} // namespace narrows
