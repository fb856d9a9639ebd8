// Operations that are made of elementwise ones and of reductions.
#pragma once

#include <utility>

#include "narrows/ops/common.h"

namespace narrows {

// Elements below `a_min` become it, those above `a_max` that. ValueError if neither is given.
array clip(
    const array& a,
    const std::optional<array>& a_min,
    const std::optional<array>& a_max,
    StreamOrDevice s = {});

// Rounded to `decimals` digits after the point (before it, if negative), ties to even; the dtype
// stays.
array round(const array& a, int decimals = 0, StreamOrDevice s = {});

// Rounded towards zero; integers are unchanged.
array trunc(const array& a, StreamOrDevice s = {});

// NaN replaced by `nan`, infinities by `posinf` and `neginf` (not given: the largest and the lowest
// finite number), for complex numbers in both parts. Integers are unchanged.
array nan_to_num(
    const array& a,
    double nan = 0,
    std::optional<double> posinf = std::nullopt,
    std::optional<double> neginf = std::nullopt,
    StreamOrDevice s = {});

// `a` itself.
array positive(const array& a, StreamOrDevice s = {});

// Radians as degrees and back; float32 for integers.
array degrees(const array& a, StreamOrDevice s = {});
array radians(const array& a, StreamOrDevice s = {});

// floor_divide(a, b) and remainder(a, b).
std::pair<array, array> divmod(const array& a, const array& b, StreamOrDevice s = {});

// Whether |a - b| <= atol + rtol * |b|, as bool. Infinities are close to themselves, NaNs to each
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

// Whether shapes and all elements are equal; dtypes may differ.
array array_equal(const array& a, const array& b, bool equal_nan = false, StreamOrDevice s = {});

// Differences of neighbours along `axis`, `n` times over. ValueError if n is negative.
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
