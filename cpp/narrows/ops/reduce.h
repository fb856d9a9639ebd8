// Reductions: one result for all elements along some axes, or for all elements.
#pragma once

#include <utility>

#include "narrows/ops/common.h"

namespace narrows {

// Without axes all of them are reduced; with an empty list none, and each element is alone. Reduced
// dimensions have size 1 in the result if `keepdims`, else they are dropped. ValueError if an axis
// is out of range or repeated.
using OptionalAxes = std::optional<Axes>;

// Small integers and bool are summed (multiplied) as int32 or uint32. 0 (1) for no elements.
array sum(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});
array prod(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

// The smallest (largest) element, or NaN if there is one. ValueError if there are no elements.
array min(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});
array max(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});
std::pair<array, array> minmax(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

// Whether all (any) elements are nonzero, as bool. True (false) for no elements.
array all(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});
array any(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

// The number of elements that are not zero, as int32.
array count_nonzero(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

// The index (uint32) of the first smallest (largest) element along the axis, or in row-major order
// of the whole array. It is that of the first NaN if there is one. ValueError if there are no
// elements.
array argmin(
    const array& a,
    std::optional<int> axis = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});
array argmax(
    const array& a,
    std::optional<int> axis = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

// Mean, as float32 for integers and bool; NaN for no elements. 16-bit floats are summed in
// float32.
array mean(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

// The mean squared distance to the mean, and its square root. The sum over n elements is divided by
// n - ddof. Real for complex numbers.
array var(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    int ddof = 0,
    StreamOrDevice s = {});
array std(
    const array& a,
    const OptionalAxes& axes = std::nullopt,
    bool keepdims = false,
    int ddof = 0,
    StreamOrDevice s = {});

// The axes that these select in an array of this shape, in ascending order.
Axes reduced_axes(const char* op, const OptionalAxes& axes, const Shape& shape);

// The shape that remains when `axes` (ascending) are reduced.
Shape reduced_shape(const Shape& shape, const Axes& axes, bool keepdims);

} // namespace narrows
