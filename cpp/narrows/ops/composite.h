// Operations made of elementwise operations and reductions.
#pragma once

#include <utility>

#include "narrows/ops/common.h"

namespace narrows {

// Elements below `a_min` become `a_min`, elements above `a_max` become `a_max`. ValueError if
// neither is given.
array clip(
    const array& a,
    const std::optional<array>& a_min,
    const std::optional<array>& a_max,
    StreamOrDevice s = {});

// Rounds to `decimals` digits behind the point (in front of it, if negative), ties to even. The
// dtype stays.
array round(const array& a, int decimals = 0, StreamOrDevice s = {});

// Rounds towards zero. Integers are unchanged.
array trunc(const array& a, StreamOrDevice s = {});

// NaN is replaced by `nan`, infinities by `posinf` and `neginf` (by default the largest and the
// lowest finite number); in complex numbers both parts are. Integers are unchanged.
array nan_to_num(
    const array& a,
    double nan = 0,
    std::optional<double> posinf = std::nullopt,
    std::optional<double> neginf = std::nullopt,
    StreamOrDevice s = {});

// `a` itself.
array positive(const array& a, StreamOrDevice s = {});

// Radians to degrees, and degrees to radians; float32 for integers.
array degrees(const array& a, StreamOrDevice s = {});
array radians(const array& a, StreamOrDevice s = {});

// floor_divide(a, b) and remainder(a, b).
std::pair<array, array> divmod(const array& a, const array& b, StreamOrDevice s = {});

// Whether |a - b| <= atol + rtol * |b|, as bool. Equal infinities are close. NaNs are close to each
// other if `equal_nan`.
array isclose(
    const array& a,
    const array& b,
    double rtol = 1e-5,
    double atol = 1e-8,
    bool equal_nan = false,
    StreamOrDevice s = {});

// Whether isclose() holds for all elements.
array allclose(
    const array& a,
    const array& b,
    double rtol = 1e-5,
    double atol = 1e-8,
    bool equal_nan = false,
    StreamOrDevice s = {});

// Whether the shapes and all elements are equal. Dtypes may differ.
array array_equal(const array& a, const array& b, bool equal_nan = false, StreamOrDevice s = {});

// Differences of neighbours along `axis`, taken `n` times. ValueError if n is negative.
array diff(const array& a, int n = 1, int axis = -1, StreamOrDevice s = {});

// Sum of a diagonal, with the dtype of sum() or `dtype`. ValueError for fewer than 2 dimensions or
// equal axes.
array trace(
    const array& a,
    int offset = 0,
    int axis1 = 0,
    int axis2 = 1,
    std::optional<Dtype> dtype = std::nullopt,
    StreamOrDevice s = {});

} // namespace narrows
