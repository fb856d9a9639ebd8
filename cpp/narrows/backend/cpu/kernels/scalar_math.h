// What metal_kernels/functors.h needs on the CPU: METAL_FUNC, complex64_t, and namespace metal with
// type traits and math for float, double and complex64_t.
//
// The kernels that include this are compiled once per instruction set, so everything here is
// inlined by force: no symbol may be left that code for the baseline could be linked to.
#pragma once

#include <stdint.h>

#include "narrows/backend/cpu/kernels/float_math.h"

#ifndef INFINITY
#define INFINITY __builtin_inff()
#endif

// Laid out as std::complex<float>.
struct complex64_t {
  float real;
  float imag;
};

namespace metal {

template <typename T>
inline constexpr bool is_integral_v = T(1) / T(2) == T(0);
template <>
inline constexpr bool is_integral_v<bool> = true;
template <>
inline constexpr bool is_integral_v<complex64_t> = false;
template <typename T>
inline constexpr bool is_signed_v = T(-1) < T(0);
template <>
inline constexpr bool is_signed_v<bool> = false;
template <>
inline constexpr bool is_signed_v<complex64_t> = true;

// float64: the C library.

#define NARROWS_DOUBLE_FUNCTION(name) \
  METAL_FUNC double name(double x) {  \
    return __builtin_##name(x);       \
  }
NARROWS_DOUBLE_FUNCTION(floor)
NARROWS_DOUBLE_FUNCTION(ceil)
NARROWS_DOUBLE_FUNCTION(rint)
NARROWS_DOUBLE_FUNCTION(sqrt)
NARROWS_DOUBLE_FUNCTION(exp)
NARROWS_DOUBLE_FUNCTION(expm1)
NARROWS_DOUBLE_FUNCTION(log)
NARROWS_DOUBLE_FUNCTION(log2)
NARROWS_DOUBLE_FUNCTION(log10)
NARROWS_DOUBLE_FUNCTION(log1p)
NARROWS_DOUBLE_FUNCTION(sin)
NARROWS_DOUBLE_FUNCTION(cos)
NARROWS_DOUBLE_FUNCTION(tan)
NARROWS_DOUBLE_FUNCTION(asin)
NARROWS_DOUBLE_FUNCTION(acos)
NARROWS_DOUBLE_FUNCTION(atan)
NARROWS_DOUBLE_FUNCTION(sinh)
NARROWS_DOUBLE_FUNCTION(cosh)
NARROWS_DOUBLE_FUNCTION(tanh)
NARROWS_DOUBLE_FUNCTION(asinh)
NARROWS_DOUBLE_FUNCTION(acosh)
NARROWS_DOUBLE_FUNCTION(atanh)
NARROWS_DOUBLE_FUNCTION(erf)
#undef NARROWS_DOUBLE_FUNCTION

METAL_FUNC double abs(double x) {
  return __builtin_fabs(x);
}
METAL_FUNC double rsqrt(double x) {
  return 1.0 / __builtin_sqrt(x);
}
METAL_FUNC double fmod(double x, double y) {
  return __builtin_fmod(x, y);
}
METAL_FUNC double atan2(double y, double x) {
  return __builtin_atan2(y, x);
}
METAL_FUNC double pow(double x, double y) {
  return __builtin_pow(x, y);
}

// A fit good to five digits or the float32 function, made exact by Halley's method on
// erfc(y) = 1 - |x|, which keeps the digits of an |x| near one.
METAL_FUNC double erfinv(double x) {
  const double a = __builtin_fabs(x);
  if (!(a < 1.0)) {
    return a == 1.0 ? __builtin_copysign(__builtin_inf(), x) : __builtin_nan("");
  }
  if (a < 1e-8) {
    return x * 0.88622692545275801365; // sqrt(pi) / 2; the next term is below 1e-16
  }
  const double w = -__builtin_log1p(-a * a);
  const double tail = -(__builtin_log1p(-a) + __builtin_log1p(a));
  double y = w < 5.0 ? double(erfinv(float(a)))
                     : detail::polynomial(
                           __builtin_sqrt(tail),
                           0.07242112251,
                           0.7379080437,
                           0.1092178386,
                           -0.02207011196,
                           0.002246015229,
                           -9.201061136e-5);
  for (int step = 0; step < 2; ++step) {
    const double error = a < 0.5 ? __builtin_erf(y) - a : (1.0 - a) - __builtin_erfc(y);
    const double ratio = error / (1.12837916709551257390 * __builtin_exp(-y * y));
    y -= ratio / (1.0 + y * ratio);
  }
  return __builtin_copysign(y, x);
}

// complex64: the C library, or formulas in float64 where those are exact enough and faster.

namespace detail {
METAL_FUNC _Complex float builtin(complex64_t z) {
  _Complex float value;
  __real__ value = z.real;
  __imag__ value = z.imag;
  return value;
}
METAL_FUNC _Complex double builtin_double(complex64_t z) {
  _Complex double value;
  __real__ value = double(z.real);
  __imag__ value = double(z.imag);
  return value;
}
METAL_FUNC complex64_t complex(_Complex float z) {
  return complex64_t{__real__ z, __imag__ z};
}
} // namespace detail

#define NARROWS_COMPLEX_FUNCTION(name)                                \
  METAL_FUNC complex64_t name(complex64_t z) {                        \
    return detail::complex(__builtin_c##name##f(detail::builtin(z))); \
  }
NARROWS_COMPLEX_FUNCTION(sqrt)
NARROWS_COMPLEX_FUNCTION(exp)
NARROWS_COMPLEX_FUNCTION(log)
NARROWS_COMPLEX_FUNCTION(sin)
NARROWS_COMPLEX_FUNCTION(cos)
NARROWS_COMPLEX_FUNCTION(tan)
NARROWS_COMPLEX_FUNCTION(asin)
NARROWS_COMPLEX_FUNCTION(acos)
NARROWS_COMPLEX_FUNCTION(atan)
NARROWS_COMPLEX_FUNCTION(sinh)
NARROWS_COMPLEX_FUNCTION(cosh)
NARROWS_COMPLEX_FUNCTION(tanh)
NARROWS_COMPLEX_FUNCTION(asinh)
NARROWS_COMPLEX_FUNCTION(acosh)
NARROWS_COMPLEX_FUNCTION(atanh)
#undef NARROWS_COMPLEX_FUNCTION

METAL_FUNC float abs(complex64_t z) {
  const double real = z.real;
  const double imag = z.imag;
  const bool infinite = (abs(z.real) == detail::kInfinity) | (abs(z.imag) == detail::kInfinity);
  const float magnitude = float(__builtin_sqrt(real * real + imag * imag));
  return infinite ? detail::kInfinity : magnitude;
}
METAL_FUNC complex64_t rint(complex64_t z) {
  return complex64_t{rint(z.real), rint(z.imag)};
}
METAL_FUNC complex64_t multiply(complex64_t a, complex64_t b) {
  return complex64_t{a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real};
}
METAL_FUNC complex64_t divide(complex64_t a, complex64_t b) {
  // No product of two floats overflows a double.
  const double br = b.real;
  const double bi = b.imag;
  const double scale = 1.0 / (br * br + bi * bi);
  return complex64_t{
      float((a.real * br + a.imag * bi) * scale), float((a.imag * br - a.real * bi) * scale)};
}
METAL_FUNC complex64_t rsqrt(complex64_t z) {
  return divide(complex64_t{1.0f, 0.0f}, sqrt(z));
}
METAL_FUNC complex64_t log2(complex64_t z) {
  const complex64_t log = metal::log(z);
  return complex64_t{
      float(log.real * 1.44269504088896340736), float(log.imag * 1.44269504088896340736)};
}
METAL_FUNC complex64_t log10(complex64_t z) {
  const complex64_t log = metal::log(z);
  return complex64_t{
      float(log.real * 0.43429448190325182765), float(log.imag * 0.43429448190325182765)};
}
METAL_FUNC complex64_t log1p(complex64_t z) {
  const double real = z.real;
  const double imag = z.imag;
  return complex64_t{
      float(0.5 * __builtin_log1p(real * (2.0 + real) + imag * imag)),
      float(__builtin_atan2(imag, 1.0 + real))};
}
METAL_FUNC complex64_t expm1(complex64_t z) {
  if (z.imag == 0.0f) {
    return complex64_t{expm1(z.real), z.imag};
  }
  const double sin_half = __builtin_sin(0.5 * double(z.imag));
  const double growth = __builtin_expm1(z.real);
  return complex64_t{
      float(growth * __builtin_cos(z.imag) - 2.0 * sin_half * sin_half),
      float((growth + 1.0) * __builtin_sin(z.imag))};
}
METAL_FUNC complex64_t pow(complex64_t a, complex64_t b) {
  if ((b.real == 0.0f) & (b.imag == 0.0f)) {
    return complex64_t{1.0f, 0.0f};
  }
  if ((a.real == 0.0f) & (a.imag == 0.0f) & (b.real > 0.0f)) {
    return complex64_t{0.0f, 0.0f};
  }
  const _Complex double power =
      __builtin_cpow(detail::builtin_double(a), detail::builtin_double(b));
  return complex64_t{float(__real__ power), float(__imag__ power)};
}

} // namespace metal
