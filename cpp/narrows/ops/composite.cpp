#include "narrows/ops/composite.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"

namespace narrows {
namespace {

double largest(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return 65504;
    case Dtype::bfloat16:
      return 0x1.fep127;
    case Dtype::float64:
      return std::numeric_limits<double>::max();
    default:
      return std::numeric_limits<float>::max();
  }
}

// 10^exponent, or 0 if that is beyond every integer dtype.
int64_t power_of_ten(int exponent, Dtype dtype) {
  const int bits = static_cast<int>(8 * size_of(dtype)) - (is_unsigned(dtype) ? 0 : 1);
  int64_t power = 1;
  for (int i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(power, int64_t{10}, &power) || (bits < 63 && power >> bits != 0)) {
      return 0;
    }
  }
  return power;
}

// Rounds integers to multiples of 10^zeros, exactly.
array round_integer(const array& a, int zeros_wanted, StreamOrDevice s) {
  const Dtype dtype = a.dtype();
  const int64_t power = power_of_ten(zeros_wanted, dtype);
  if (power == 0) {
    return zeros(a.shape(), dtype, s);
  }
  const array step = number(power, dtype);
  const array quotient = floor_divide(a, step, s);
  const array rest = subtract(a, multiply(quotient, step, s), s);
  // Not 2 * rest, which may overflow.
  const array other = subtract(step, rest, s);
  const array is_odd = bitwise_and(quotient, number(1, dtype), s);
  const array up =
      logical_or(greater(rest, other, s), logical_and(equal(rest, other, s), is_odd, s), s);
  return multiply(add(quotient, astype(up, dtype, s), s), step, s);
}

} // namespace

array clip(
    const array& a,
    const std::optional<array>& a_min,
    const std::optional<array>& a_max,
    StreamOrDevice s) {
  if (!a_min && !a_max) {
    fail<ValueError>("[clip] neither a_min nor a_max is given, expected at least one.");
  }
  array result = a;
  if (a_min) {
    result = maximum(result, *a_min, s);
  }
  if (a_max) {
    result = minimum(result, *a_max, s);
  }
  return result;
}

array round(const array& a, int decimals, StreamOrDevice s) {
  if (!is_inexact(a.dtype())) {
    return decimals >= 0 || a.dtype() == bool_ ? a : round_integer(a, -decimals, s);
  }
  if (decimals == 0) {
    return rint(a, s);
  }
  // In 16 bits the scaled number would overflow or lose significant digits.
  const array x = is_half(a.dtype()) ? astype(a, float32, s) : a;
  const array scale = number(std::pow(10.0, std::abs(decimals)), x.dtype());
  const array rounded = decimals > 0 ? divide(rint(multiply(x, scale, s), s), scale, s)
                                     : multiply(rint(divide(x, scale, s), s), scale, s);
  return astype(rounded, a.dtype(), s);
}

array trunc(const array& a, StreamOrDevice s) {
  if (!is_inexact(a.dtype())) {
    return a;
  }
  const array is_negative = less(a, number(0, a.dtype()), s);
  return where(is_negative, ceil(a, s), floor(a, s), s);
}

array nan_to_num(
    const array& a,
    double nan,
    std::optional<double> posinf,
    std::optional<double> neginf,
    StreamOrDevice s) {
  const Dtype dtype = a.dtype();
  if (!is_inexact(dtype)) {
    return a;
  }
  if (is_complex(dtype)) {
    const array parts = view(flatten(a, 0, -1, s), float32, s);
    return reshape(view(nan_to_num(parts, nan, posinf, neginf, s), complex64, s), a.shape(), s);
  }
  const double limit = largest(dtype);
  array result = where(isnan(a, s), number(nan, dtype), a, s);
  result = where(isposinf(result, s), number(posinf.value_or(limit), dtype), result, s);
  return where(isneginf(result, s), number(neginf.value_or(-limit), dtype), result, s);
}

array positive(const array& a, StreamOrDevice) {
  return a;
}

array degrees(const array& a, StreamOrDevice s) {
  const Dtype dtype = at_least_float(a.dtype());
  return multiply(a, number(180 / std::numbers::pi, dtype), s);
}

array radians(const array& a, StreamOrDevice s) {
  const Dtype dtype = at_least_float(a.dtype());
  return multiply(a, number(std::numbers::pi / 180, dtype), s);
}

std::pair<array, array> divmod(const array& a, const array& b, StreamOrDevice s) {
  return {floor_divide(a, b, s), remainder(a, b, s)};
}

array isclose(
    const array& a, const array& b, double rtol, double atol, bool equal_nan, StreamOrDevice s) {
  const Dtype dtype = at_least_float(promote(a.dtype(), b.dtype()));
  const array x = astype(a, dtype, s);
  const array y = astype(b, dtype, s);
  const Dtype real = is_complex(dtype) ? float32 : dtype;
  const array allowed = add(number(atol, real), multiply(number(rtol, real), abs(y, s), s), s);
  const array near = less_equal(abs(subtract(x, y, s), s), allowed, s);
  array result = logical_or(logical_and(near, isfinite(y, s), s), equal(x, y, s), s);
  if (equal_nan) {
    result = logical_or(result, logical_and(isnan(x, s), isnan(y, s), s), s);
  }
  return result;
}

array allclose(
    const array& a, const array& b, double rtol, double atol, bool equal_nan, StreamOrDevice s) {
  return all(isclose(a, b, rtol, atol, equal_nan, s), std::nullopt, false, s);
}

array array_equal(const array& a, const array& b, bool equal_nan, StreamOrDevice s) {
  if (a.shape() != b.shape()) {
    return number(0, bool_);
  }
  const Dtype dtype = promote(a.dtype(), b.dtype());
  const array x = astype(a, dtype, s);
  const array y = astype(b, dtype, s);
  array result = equal(x, y, s);
  if (equal_nan && is_inexact(dtype)) {
    result = logical_or(result, logical_and(isnan(x, s), isnan(y, s), s), s);
  }
  return all(result, std::nullopt, false, s);
}

array diff(const array& a, int n, int axis, StreamOrDevice s) {
  if (n < 0) {
    fail<ValueError>("[diff] n is ", n, ", expected >= 0.");
  }
  const int along = normalize_axis("diff", axis, a.shape());
  array result = a;
  for (int i = 0; i < n && result.shape()[along] > 0; ++i) {
    const Shape& shape = result.shape();
    const Strides steps(shape.size(), 1);
    Shape second(shape.size(), 0);
    Shape before_last = shape;
    second[along] = 1;
    before_last[along] -= 1;
    const array from = slice(result, Shape(shape.size(), 0), before_last, steps, s);
    const array to = slice(result, second, shape, steps, s);
    result = result.dtype() == bool_ ? not_equal(to, from, s) : subtract(to, from, s);
  }
  return result;
}

array trace(
    const array& a,
    int offset,
    int axis1,
    int axis2,
    std::optional<Dtype> dtype,
    StreamOrDevice s) {
  if (a.ndim() < 2) {
    fail<ValueError>(
        "[trace] array of shape ", to_string(a.shape()), ", expected at least 2 dimensions.");
  }
  const array elements = diagonal(a, offset, axis1, axis2, s);
  const array total = sum(dtype ? astype(elements, *dtype, s) : elements, Axes{-1}, false, s);
  return dtype ? astype(total, *dtype, s) : total;
}

} // namespace narrows
