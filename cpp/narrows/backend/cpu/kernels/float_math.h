// Math functions on float32 without branches, which compilers turn into vector code in a loop.
//
// Each reduces its argument to a short interval and evaluates a polynomial there (coefficients:
// minimax fits made for these intervals). Errors are at most 2 ulp for exp, log, log1p, expm1 and
// tanh and 4 ulp elsewhere, subnormal numbers included.
#pragma once

#include <stdint.h>

#define METAL_FUNC inline __attribute__((always_inline))

namespace metal {
namespace detail {

METAL_FUNC uint32_t bits(float x) {
  return __builtin_bit_cast(uint32_t, x);
}
METAL_FUNC uint64_t bits(double x) {
  return __builtin_bit_cast(uint64_t, x);
}
METAL_FUNC float float_of(uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}
METAL_FUNC double double_of(uint64_t bits) {
  return __builtin_bit_cast(double, bits);
}

// a * b + c, rounded once where the processor can do that.
METAL_FUNC float mul_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
METAL_FUNC double mul_add(double a, double b, double c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// c0 + c1 x + c2 x^2 ...
template <typename T>
METAL_FUNC T polynomial(T, T c) {
  return c;
}
template <typename T, typename... C>
METAL_FUNC T polynomial(T x, T c, C... more) {
  return mul_add(x, polynomial(x, more...), c);
}

inline constexpr float kInfinity = __builtin_inff();
inline constexpr float kNan = __builtin_nanf("");
inline constexpr float kLn2 = 0.693147181f;
// kLn2High has 15 significant bits: its products with exponents are exact.
inline constexpr float kLn2High = 0x1.62e4p-1f;
inline constexpr float kLn2Low = 0x1.7f7d1cp-20f;
inline constexpr float kPi = 3.14159265f;
inline constexpr float kHalfPi = 1.57079633f;
inline constexpr float kHalfPiLow = -4.37113883e-8f;
// Adding it to a small number rounds that to an integer, which is then in the sum's low bits.
inline constexpr float kRounder = 0x1.8p23f;
inline constexpr double kDoubleRounder = 0x1.8p52;

METAL_FUNC float magnitude(float x) {
  return float_of(bits(x) & 0x7fffffffu);
}
METAL_FUNC float with_sign_of(float magnitude, float sign) {
  return float_of((bits(magnitude) & 0x7fffffffu) | (bits(sign) & 0x80000000u));
}
// 2^k for k in [-126, 127].
METAL_FUNC float power_of_two(int32_t k) {
  return float_of((uint32_t(k) + 127u) << 23);
}
METAL_FUNC float round_small(float x) {
  return (x + kRounder) - kRounder;
}

// x = n ln2 + r with |r| <= ln2 / 2.
struct ExpReduced {
  float r;
  float n;
  int32_t exponent;
};
METAL_FUNC ExpReduced reduce_exp(float x) {
  const float t = mul_add(x, 1.44269504f, kRounder);
  const float n = t - kRounder;
  const float r = mul_add(n, -kLn2Low, mul_add(n, -kLn2High, x));
  return {r, n, int32_t(bits(t) - 0x4b400000u)};
}

// exp(x) * 2^shift; overflows and underflows as the exact product would.
METAL_FUNC float exp_scaled(float x, int32_t shift) {
  const float below = x > 90.0f ? 90.0f : x;
  const float clamped = below < -105.0f ? -105.0f : below;
  const ExpReduced a = reduce_exp(clamped);
  const float q = polynomial(
      a.r,
      0.5000000047f,
      0.1666666676f,
      0.04166635286f,
      0.008333288517f,
      0.001394111093f,
      0.0001990520147f);
  const float p = 1.0f + mul_add(a.r * a.r, q, a.r);
  // In two steps, because 2^exponent may be out of range where the product is not.
  const int32_t exponent = a.exponent + shift;
  const int32_t half = exponent >> 1;
  return p * power_of_two(half) * power_of_two(exponent - half);
}

// x = m * 2^exponent with m in [sqrt(1/2), sqrt(2)), for positive finite x.
struct Decomposed {
  float m;
  float exponent;
};
METAL_FUNC Decomposed decompose(float x) {
  const bool subnormal = x < 0x1p-126f;
  const float normal = subnormal ? x * 0x1p23f : x;
  const int32_t i = int32_t(bits(normal) - 0x3f3504f3u);
  const float m = float_of((uint32_t(i) & 0x7fffffu) + 0x3f3504f3u);
  return {m, float(i >> 23) - (subnormal ? 23.0f : 0.0f)};
}

// log(1 + f) - f for 1 + f in [sqrt(1/2), sqrt(2)).
METAL_FUNC float log1p_tail(float f) {
  const float p = polynomial(
      f,
      0.3333331246f,
      -0.2500000903f,
      0.2000212583f,
      -0.1666802594f,
      0.1421945373f,
      -0.1240508156f,
      0.1188832179f,
      -0.1167838823f,
      0.0674946806f);
  const float square = f * f;
  return mul_add(square * f, p, -0.5f * square);
}

// What logarithms of numbers outside (0, inf) are; `log` elsewhere.
METAL_FUNC float log_special(float x, float log) {
  const float inside = x == kInfinity ? kInfinity : log;
  const float non_negative = x == 0.0f ? -kInfinity : inside;
  return x >= 0.0f ? non_negative : kNan;
}

// x = quadrant * pi/2 + r with |r| <= pi/4, for |x| below kTrigonometricLimit.
inline constexpr float kTrigonometricLimit = 0x1p20f;
struct AngleReduced {
  float r;
  uint32_t quadrant; // its low two bits
};
METAL_FUNC AngleReduced reduce_angle(float x) {
  const double d = x;
  const double n = (d * 0.63661977236758134308 + kDoubleRounder) - kDoubleRounder;
  // The first part has 33 bits, so that its product with n is exact.
  const double r = (d - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
  return {float(r), bits(float(n) + kRounder)};
}
METAL_FUNC float sin_core(float r) {
  const float z = r * r;
  const float p =
      polynomial(z, -0.1666666664f, 0.008333329385f, -0.0001983933462f, 2.718309793e-6f);
  return mul_add(r * z, p, r);
}
METAL_FUNC float cos_core(float r) {
  const float z = r * r;
  const float p = polynomial(z, 0.04166666662f, -0.001388888375f, 2.479951906e-5f, -2.7210167e-7f);
  return mul_add(z * z, p, mul_add(z, -0.5f, 1.0f));
}
METAL_FUNC float sin_of_quadrant(float r, uint32_t quadrant) {
  const float value = (quadrant & 1u) != 0u ? cos_core(r) : sin_core(r);
  return float_of(bits(value) ^ ((quadrant & 2u) << 30));
}

// The functions of angles below kTrigonometricLimit, or NaN for NaN and infinities.
METAL_FUNC float sin_limited(float x) {
  const AngleReduced a = reduce_angle(x);
  // The polynomial would lose the sign of -0.
  return magnitude(x) < 0x1p-13f ? x : sin_of_quadrant(a.r, a.quadrant);
}
METAL_FUNC float cos_limited(float x) {
  const AngleReduced a = reduce_angle(x);
  return sin_of_quadrant(a.r, a.quadrant + 1u);
}
METAL_FUNC float tan_limited(float x) {
  const AngleReduced a = reduce_angle(x);
  const float z = a.r * a.r;
  const float p = polynomial(
      z,
      0.3333313953f,
      0.133391992f,
      0.05338134227f,
      0.02452792118f,
      0.002975008948f,
      0.009465260604f);
  const float tangent = mul_add(a.r * z, p, a.r);
  return (a.quadrant & 1u) != 0u ? -1.0f / tangent : tangent;
}

// asin(x) for x in [0, 1/2].
METAL_FUNC float asin_core(float x) {
  const float z = x * x;
  const float p = polynomial(
      z,
      0.1666665987f,
      0.07500510801f,
      0.04451575324f,
      0.03181728796f,
      0.01440393351f,
      0.0375632541f);
  return mul_add(x * z, p, x);
}

// atan(x) for x in [0, 1].
METAL_FUNC float atan_core(float x) {
  const float z = x * x;
  const float p = polynomial(
      z,
      -0.3333329901f,
      0.1999854588f,
      -0.1426421587f,
      0.1095205042f,
      -0.0840305509f,
      0.05795084181f,
      -0.03117113835f,
      0.01091101696f,
      -0.001792822291f);
  return mul_add(x * z, p, x);
}

} // namespace detail

METAL_FUNC float abs(float x) {
  return detail::magnitude(x);
}
METAL_FUNC float floor(float x) {
  return __builtin_floorf(x);
}
METAL_FUNC float ceil(float x) {
  return __builtin_ceilf(x);
}
METAL_FUNC float rint(float x) {
  return __builtin_rintf(x);
}
METAL_FUNC float sqrt(float x) {
  return __builtin_sqrtf(x);
}
METAL_FUNC float rsqrt(float x) {
  return 1.0f / __builtin_sqrtf(x);
}
METAL_FUNC float fmod(float x, float y) {
  return __builtin_fmodf(x, y);
}

METAL_FUNC float exp(float x) {
  return detail::exp_scaled(x, 0);
}

METAL_FUNC float expm1(float x) {
  using namespace detail;
  const float below = x > 90.0f ? 90.0f : x;
  const float clamped = below < -20.0f ? -20.0f : below;
  const ExpReduced a = reduce_exp(clamped);
  const float q = polynomial(
      a.r,
      0.5000000047f,
      0.1666666676f,
      0.04166635286f,
      0.008333288517f,
      0.001394111093f,
      0.0001990520147f);
  const float e = mul_add(a.r * a.r, q, a.r);
  // Half of the result, because 2^128 is not a float.
  const int32_t exponent = a.exponent > 128 ? 128 : a.exponent;
  const float half_scale = power_of_two(exponent - 1);
  const float result = 2.0f * mul_add(half_scale, e, half_scale - 0.5f);
  const float large = x > 89.0f ? kInfinity : result;
  return magnitude(x) < 0x1p-25f ? x : large;
}

METAL_FUNC float log(float x) {
  using namespace detail;
  const Decomposed d = decompose(x);
  const float f = d.m - 1.0f;
  const float low = mul_add(d.exponent, kLn2Low, log1p_tail(f));
  return log_special(x, mul_add(d.exponent, kLn2High, f + low));
}

METAL_FUNC float log2(float x) {
  using namespace detail;
  const Decomposed d = decompose(x);
  const float f = d.m - 1.0f;
  const float natural = f + log1p_tail(f);
  return log_special(x, mul_add(natural, 1.44269504f, d.exponent));
}

METAL_FUNC float log10(float x) {
  using namespace detail;
  const Decomposed d = decompose(x);
  const float f = d.m - 1.0f;
  const float natural = f + log1p_tail(f);
  // log10(2) in two parts, the first short enough for exact products.
  const float low = mul_add(natural, 0.434294482f, d.exponent * 4.60503907e-6f);
  return log_special(x, mul_add(d.exponent, 0x1.344p-2f, low));
}

METAL_FUNC float log1p(float x) {
  using namespace detail;
  const float u = 1.0f + x;
  const Decomposed d = decompose(u);
  // (1 + x) / 2^exponent - 1 without the rounding of 1 + x; that does no harm to large x.
  const bool large = x > 0x1p25f;
  const float scale = power_of_two(-int32_t(large ? 0.0f : d.exponent));
  const float f = large ? d.m - 1.0f : mul_add(scale, x, scale - 1.0f);
  const float low = mul_add(d.exponent, kLn2Low, log1p_tail(f));
  const float result = log_special(u, mul_add(d.exponent, kLn2High, f + low));
  return magnitude(x) < 0x1p-25f ? x : result;
}

METAL_FUNC float sin(float x) {
  return detail::magnitude(x) < detail::kTrigonometricLimit ? detail::sin_limited(x)
                                                            : __builtin_sinf(x);
}
METAL_FUNC float cos(float x) {
  return detail::magnitude(x) < detail::kTrigonometricLimit ? detail::cos_limited(x)
                                                            : __builtin_cosf(x);
}
METAL_FUNC float tan(float x) {
  return detail::magnitude(x) < detail::kTrigonometricLimit ? detail::tan_limited(x)
                                                            : __builtin_tanf(x);
}

METAL_FUNC float asin(float x) {
  using namespace detail;
  const float a = magnitude(x);
  // asin(a) = pi/2 - 2 asin(sqrt((1 - a) / 2))
  const bool large = a > 0.5f;
  const float core = asin_core(large ? __builtin_sqrtf(0.5f - 0.5f * a) : a);
  const float value = large ? kHalfPi - (2.0f * core - kHalfPiLow) : core;
  return a <= 1.0f ? with_sign_of(value, x) : kNan;
}

METAL_FUNC float acos(float x) {
  using namespace detail;
  const float a = magnitude(x);
  const bool large = a > 0.5f;
  const float core = asin_core(large ? __builtin_sqrtf(0.5f - 0.5f * a) : a);
  const float signed_core = with_sign_of(core, x);
  const float near_one = x < 0.0f ? kPi - (2.0f * core - 2.0f * kHalfPiLow) : 2.0f * core;
  const float result = large ? near_one : kHalfPi - (signed_core - kHalfPiLow);
  return a <= 1.0f ? result : kNan;
}

METAL_FUNC float atan(float x) {
  using namespace detail;
  const float a = magnitude(x);
  const bool large = a > 1.0f;
  const float core = atan_core(large ? 1.0f / a : a);
  return with_sign_of(large ? kHalfPi - (core - kHalfPiLow) : core, x);
}

METAL_FUNC float atan2(float y, float x) {
  using namespace detail;
  const float ax = magnitude(x);
  const float ay = magnitude(y);
  const bool steep = ay > ax;
  const float high = steep ? ay : ax;
  const float low = steep ? ax : ay;
  const float quotient = low == high ? 1.0f : low / high;
  const float core = atan_core(high == 0.0f ? 0.0f : quotient);
  const float first = steep ? kHalfPi - (core - kHalfPiLow) : core;
  const bool left = (bits(x) >> 31) != 0u;
  const float angle = left ? kPi - (first - 2.0f * kHalfPiLow) : first;
  const bool is_nan = (x != x) | (y != y);
  return is_nan ? kNan : with_sign_of(angle, y);
}

METAL_FUNC float sinh(float x) {
  using namespace detail;
  const float a = magnitude(x);
  const float z = a < 1.0f ? a * a : 0.0f;
  const float p = polynomial(z, 0.1666666649f, 0.008333350602f, 0.0001983606567f, 2.817442448e-6f);
  const float half = exp_scaled(a, -1);
  const float large = half - 0.25f / half;
  return with_sign_of(a < 1.0f ? mul_add(a * z, p, a) : large, x);
}

METAL_FUNC float cosh(float x) {
  const float half = detail::exp_scaled(detail::magnitude(x), -1);
  return half + 0.25f / half;
}

METAL_FUNC float tanh(float x) {
  using namespace detail;
  const float a = magnitude(x);
  const float z = a * a;
  const float p = polynomial(
      z,
      -0.333333308f,
      0.1333320595f,
      -0.0539467568f,
      0.02170067344f,
      -0.00817733269f,
      0.002142907509f);
  const float large = 1.0f - 2.0f / (exp_scaled(2.0f * a, 0) + 1.0f);
  return with_sign_of(a < 0.625f ? mul_add(a * z, p, a) : large, x);
}

METAL_FUNC float asinh(float x) {
  using namespace detail;
  const float a = magnitude(x);
  const bool large = a > 0x1p30f;
  const float square = a * a;
  const float sum = a + square / (1.0f + __builtin_sqrtf(square + 1.0f));
  const float value = log1p(large ? a : sum);
  return with_sign_of(large ? value + kLn2 : value, x);
}

METAL_FUNC float acosh(float x) {
  using namespace detail;
  const bool large = x > 0x1p30f;
  const float t = x - 1.0f;
  const float sum = t + __builtin_sqrtf(mul_add(t, t, 2.0f * t));
  const float value = log1p(large ? t : sum);
  const float result = large ? value + kLn2 : value;
  return x >= 1.0f ? result : kNan;
}

METAL_FUNC float atanh(float x) {
  using namespace detail;
  const float a = magnitude(x);
  const float value = 0.5f * log1p(2.0f * a / (1.0f - a));
  return a <= 1.0f ? with_sign_of(value, x) : kNan;
}

METAL_FUNC float erf(float x) {
  using namespace detail;
  const float a = magnitude(x);
  const float z = a * a;
  const float small = polynomial(
      z,
      1.128379166f,
      -0.3761262713f,
      0.1128360014f,
      -0.02685444312f,
      0.005189532504f,
      -0.0008020816126f,
      7.889035767e-5f);
  const float t = a > 4.0f ? 4.0f : a;
  const float log_erfc = polynomial(
      t,
      0.0001894455819f,
      -1.129584666f,
      -0.6332082383f,
      -0.1084304292f,
      0.02521534235f,
      -0.004207051306f,
      0.0004418121516f,
      -2.172499934e-5f);
  const float large = 1.0f - exp_scaled(log_erfc, 0);
  return with_sign_of(a < 1.0f ? a * small : large, x);
}

METAL_FUNC float erfinv(float x) {
  using namespace detail;
  const float a = magnitude(x);
  const float w = -log((1.0f - a) * (1.0f + a));
  const float central = polynomial(
      w,
      0.8862269205f,
      0.2320138173f,
      0.01154865746f,
      -0.002334303005f,
      -0.0001274750019f,
      4.45615418e-5f,
      3.984439957e-6f,
      -1.976691808e-6f,
      2.210544652e-7f,
      -8.792057814e-9f);
  const float v = __builtin_sqrtf(w) - 3.2f;
  const float tail = polynomial(
      v,
      3.033636541f,
      1.004692585f,
      0.005975165964f,
      -0.004296534518f,
      0.002931673067f,
      -0.00198227211f,
      0.001143612094f,
      -0.0003771644475f,
      -0.0001061876479f,
      0.0001101249707f);
  const float value = with_sign_of(a * (w < 5.0f ? central : tail), x);
  const float inside = a < 1.0f ? value : kNan;
  return a == 1.0f ? with_sign_of(kInfinity, x) : inside;
}

// Through float64: log2(x) needs more digits than a float has, because y multiplies its error.
METAL_FUNC float pow(float x, float y) {
  using namespace detail;
  const float a = magnitude(x);
  const Decomposed d = decompose(a);
  const double m = d.m;
  const double s = (m - 1.0) / (m + 1.0);
  const double series = polynomial(
      s * s,
      2.8853900817778496,
      0.96179669411396426,
      0.57707794219407301,
      0.41220926881516354,
      0.3199050507418746,
      0.28290905348465214);
  const float edge = a == 0.0f ? -kInfinity : kInfinity;
  const bool interior = (a > 0.0f) & (a < kInfinity);
  const double log2 = interior ? mul_add(s, series, double(d.exponent)) : double(edge);

  const double product = log2 * double(y);
  const double below = product > 300.0 ? 300.0 : product;
  const double clamped = below < -300.0 ? -300.0 : below;
  const double t = clamped + kDoubleRounder;
  const double r = clamped - (t - kDoubleRounder);
  const double p = polynomial(
      r,
      0.9999999999595489,
      0.69314718053577145,
      0.24022651213590597,
      0.055504109737238753,
      0.0096180256034504081,
      0.0013333424553872677,
      0.00015469731845571216,
      1.5316025454216554e-5);
  const float value = float(double_of(bits(p) + (bits(t) << 52)));

  const float half = 0.5f * y;
  const bool integer = __builtin_rintf(y) == y;
  const bool odd = integer & (__builtin_rintf(half) != half);
  const float signed_value = float_of(bits(value) ^ (odd ? bits(x) & 0x80000000u : 0u));
  const bool undefined = ((x < 0.0f) & (x > -kInfinity) & !integer) | (x != x) | (y != y);
  // An infinite power of one: the product above is 0 * inf.
  const bool one = (x == 1.0f) | (y == 0.0f) | ((x == -1.0f) & (magnitude(y) == kInfinity));
  const float defined = undefined ? kNan : signed_value;
  return one ? 1.0f : defined;
}

} // namespace metal
