// Math that Metal's library lacks: erf, erfinv, expm1 and log1p, all functions of complex numbers,
// and what functors.h needs for float64 on devices that have it.
#pragma once

// Laid out as std::complex<float>.
struct complex64_t {
  float real;
  float imag;
};

namespace metal {

// By way of the exact logarithm of a rounded 1 + x.
METAL_FUNC float log1p(float x) {
  const float u = 1.0f + x;
  const float difference = u - 1.0f;
  const float log = metal::log(u);
  return difference == 0.0f ? x : u == float(INFINITY) ? u : log * (x / difference);
}

METAL_FUNC float expm1(float x) {
  const float u = metal::exp(x);
  if (u == 1.0f) {
    return x;
  }
  const float difference = u - 1.0f;
  if (difference == -1.0f || u == float(INFINITY)) {
    return difference;
  }
  return difference * (x / metal::log(u));
}

METAL_FUNC float erf(float x) {
  const float a = metal::abs(x);
  if (a < 1.0f) {
    const float z = a * a;
    float p = 7.889035767e-5f;
    p = metal::fma(p, z, -0.0008020816126f);
    p = metal::fma(p, z, 0.005189532504f);
    p = metal::fma(p, z, -0.02685444312f);
    p = metal::fma(p, z, 0.1128360014f);
    p = metal::fma(p, z, -0.3761262713f);
    p = metal::fma(p, z, 1.128379166f);
    return x * p;
  }
  // The logarithm of erfc. 1 - erf(4) is below half a unit in the last place of 1.
  const float t = a > 4.0f ? 4.0f : a;
  float p = -2.172499934e-5f;
  p = metal::fma(p, t, 0.0004418121516f);
  p = metal::fma(p, t, -0.004207051306f);
  p = metal::fma(p, t, 0.02521534235f);
  p = metal::fma(p, t, -0.1084304292f);
  p = metal::fma(p, t, -0.6332082383f);
  p = metal::fma(p, t, -1.129584666f);
  p = metal::fma(p, t, 0.0001894455819f);
  const float result = metal::copysign(1.0f - metal::exp(p), x);
  return x != x ? x : result;
}

METAL_FUNC float erfinv(float x) {
  const float a = metal::abs(x);
  if (!(a < 1.0f)) {
    return a == 1.0f ? metal::copysign(float(INFINITY), x) : float(NAN);
  }
  const float w = -metal::log((1.0f - a) * (1.0f + a));
  float p;
  if (w < 5.0f) {
    p = -8.792057814e-9f;
    p = metal::fma(p, w, 2.210544652e-7f);
    p = metal::fma(p, w, -1.976691808e-6f);
    p = metal::fma(p, w, 3.984439957e-6f);
    p = metal::fma(p, w, 4.45615418e-5f);
    p = metal::fma(p, w, -0.0001274750019f);
    p = metal::fma(p, w, -0.002334303005f);
    p = metal::fma(p, w, 0.01154865746f);
    p = metal::fma(p, w, 0.2320138173f);
    p = metal::fma(p, w, 0.8862269205f);
  } else {
    const float v = metal::sqrt(w) - 3.2f;
    p = 0.0001101249707f;
    p = metal::fma(p, v, -0.0001061876479f);
    p = metal::fma(p, v, -0.0003771644475f);
    p = metal::fma(p, v, 0.001143612094f);
    p = metal::fma(p, v, -0.00198227211f);
    p = metal::fma(p, v, 0.002931673067f);
    p = metal::fma(p, v, -0.004296534518f);
    p = metal::fma(p, v, 0.005975165964f);
    p = metal::fma(p, v, 1.004692585f);
    p = metal::fma(p, v, 3.033636541f);
  }
  return x * p;
}

#if METAL_HAS_FLOAT64
METAL_FUNC double log1p(double x) {
  return ::log1p(x);
}
METAL_FUNC double expm1(double x) {
  return ::expm1(x);
}
METAL_FUNC double erf(double x) {
  return ::erf(x);
}
// The float32 function, or a fit with five exact digits, made exact by Halley's method on erfc(y) =
// 1 - |x|. That form keeps the digits of an |x| near one.
METAL_FUNC double erfinv(double x) {
  const double a = ::fabs(x);
  if (!(a < 1.0)) {
    return a == 1.0 ? ::copysign(double(INFINITY), x) : double(NAN);
  }
  if (a < 1e-8) {
    return x * 0.88622692545275801365; // sqrt(pi) / 2; the next term is below 1e-16
  }
  const double tail = -(::log1p(-a) + ::log1p(a));
  double y;
  if (-::log1p(-a * a) < 5.0) {
    y = double(erfinv(float(a)));
  } else {
    const double v = ::sqrt(tail);
    y = -9.201061136e-5;
    y = y * v + 0.002246015229;
    y = y * v - 0.02207011196;
    y = y * v + 0.1092178386;
    y = y * v + 0.7379080437;
    y = y * v + 0.07242112251;
  }
  for (int step = 0; step < 2; ++step) {
    const double error = a < 0.5 ? ::erf(y) - a : (1.0 - a) - ::erfc(y);
    const double ratio = error / (1.12837916709551257390 * ::exp(-y * y));
    y -= ratio / (1.0 + y * ratio);
  }
  return ::copysign(y, x);
}
#endif

// Complex numbers.

METAL_FUNC complex64_t times_i(complex64_t z) {
  return complex64_t{-z.imag, z.real};
}
METAL_FUNC complex64_t times_minus_i(complex64_t z) {
  return complex64_t{z.imag, -z.real};
}
METAL_FUNC complex64_t plus(complex64_t a, complex64_t b) {
  return complex64_t{a.real + b.real, a.imag + b.imag};
}
METAL_FUNC complex64_t minus(complex64_t a, complex64_t b) {
  return complex64_t{a.real - b.real, a.imag - b.imag};
}
METAL_FUNC complex64_t multiply(complex64_t a, complex64_t b) {
  return complex64_t{a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real};
}
// The divisor is scaled by its larger part, so that its square cannot overflow.
METAL_FUNC complex64_t divide(complex64_t a, complex64_t b) {
  const float scale =
      1.0f / (metal::abs(b.real) > metal::abs(b.imag) ? metal::abs(b.real) : metal::abs(b.imag));
  const float re = b.real * scale;
  const float im = b.imag * scale;
  const float inverse = scale / (re * re + im * im);
  return complex64_t{(a.real * re + a.imag * im) * inverse, (a.imag * re - a.real * im) * inverse};
}
METAL_FUNC float abs(complex64_t z) {
  const float a = metal::abs(z.real);
  const float b = metal::abs(z.imag);
  const float large = a > b ? a : b;
  const float ratio = (a > b ? b : a) / large;
  if (a == float(INFINITY) || b == float(INFINITY)) {
    return float(INFINITY);
  }
  return a == 0.0f && b == 0.0f ? 0.0f : large * metal::sqrt(1.0f + ratio * ratio);
}
METAL_FUNC complex64_t rint(complex64_t z) {
  return complex64_t{metal::rint(z.real), metal::rint(z.imag)};
}
METAL_FUNC complex64_t exp(complex64_t z) {
  const float growth = metal::exp(z.real);
  if (z.imag == 0.0f) {
    return complex64_t{growth, z.imag};
  }
  return complex64_t{growth * metal::cos(z.imag), growth * metal::sin(z.imag)};
}
METAL_FUNC complex64_t expm1(complex64_t z) {
  if (z.imag == 0.0f) {
    return complex64_t{expm1(z.real), z.imag};
  }
  const float sin_half = metal::sin(0.5f * z.imag);
  const float growth = expm1(z.real);
  return complex64_t{
      growth * metal::cos(z.imag) - 2.0f * sin_half * sin_half,
      (growth + 1.0f) * metal::sin(z.imag)};
}
METAL_FUNC complex64_t log1p(complex64_t z) {
  // |1 + z|^2 - 1. Close to -1, |1 + z|^2 itself has too few digits for it.
  const float rest = z.real * (2.0f + z.real) + z.imag * z.imag;
  const float real = 1.0f + z.real;
  const float logarithm = rest < -0.5f ? metal::log(real * real + z.imag * z.imag) : log1p(rest);
  return complex64_t{0.5f * logarithm, metal::atan2(z.imag, real)};
}
METAL_FUNC complex64_t log(complex64_t z) {
  const float a = metal::abs(z.real);
  const float b = metal::abs(z.imag);
  const float large = a > b ? a : b;
  const float small = a > b ? b : a;
  const float magnitude = abs(z);
  // Near the unit circle the logarithm of a rounded magnitude would have no digits.
  const bool near_one = magnitude > 0.5f && magnitude < 2.0f;
  const float square = (large - 1.0f) * (large + 1.0f) + small * small;
  return complex64_t{
      near_one ? 0.5f * log1p(square) : metal::log(magnitude), metal::atan2(z.imag, z.real)};
}
METAL_FUNC complex64_t log2(complex64_t z) {
  const complex64_t natural = log(z);
  return complex64_t{natural.real * 1.44269504f, natural.imag * 1.44269504f};
}
METAL_FUNC complex64_t log10(complex64_t z) {
  const complex64_t natural = log(z);
  return complex64_t{natural.real * 0.434294482f, natural.imag * 0.434294482f};
}
METAL_FUNC complex64_t sqrt(complex64_t z) {
  if (z.real == 0.0f && z.imag == 0.0f) {
    return complex64_t{0.0f, z.imag};
  }
  const float t = metal::sqrt(0.5f * (metal::abs(z.real) + abs(z)));
  if (z.real >= 0.0f) {
    return complex64_t{t, z.imag / (2.0f * t)};
  }
  return complex64_t{metal::abs(z.imag) / (2.0f * t), metal::copysign(t, z.imag)};
}
METAL_FUNC complex64_t rsqrt(complex64_t z) {
  return divide(complex64_t{1.0f, 0.0f}, sqrt(z));
}
METAL_FUNC complex64_t sinh(complex64_t z) {
  return complex64_t{
      metal::sinh(z.real) * metal::cos(z.imag), metal::cosh(z.real) * metal::sin(z.imag)};
}
METAL_FUNC complex64_t cosh(complex64_t z) {
  return complex64_t{
      metal::cosh(z.real) * metal::cos(z.imag), metal::sinh(z.real) * metal::sin(z.imag)};
}
METAL_FUNC complex64_t tanh(complex64_t z) {
  const float cosine = metal::cos(z.imag);
  const float sine = metal::sin(z.imag);
  if (metal::abs(z.real) > 10.0f) {
    const float shrunk = 4.0f * metal::exp(-2.0f * metal::abs(z.real));
    return complex64_t{metal::copysign(1.0f, z.real), shrunk * sine * cosine};
  }
  const float growth = metal::sinh(z.real);
  const float inverse = 1.0f / (cosine * cosine + growth * growth);
  return complex64_t{growth * metal::cosh(z.real) * inverse, sine * cosine * inverse};
}
METAL_FUNC complex64_t sin(complex64_t z) {
  return times_minus_i(sinh(times_i(z)));
}
METAL_FUNC complex64_t cos(complex64_t z) {
  return cosh(times_i(z));
}
METAL_FUNC complex64_t tan(complex64_t z) {
  return times_minus_i(tanh(times_i(z)));
}
// log(z + sqrt(z^2 + 1)), which is odd, for a right half plane without cancellation.
METAL_FUNC complex64_t asinh(complex64_t z) {
  const bool left = z.real < 0.0f;
  const complex64_t w = left ? complex64_t{-z.real, -z.imag} : z;
  const complex64_t one = complex64_t{1.0f, 0.0f};
  const complex64_t square = multiply(w, w);
  const complex64_t root = sqrt(plus(square, one));
  const complex64_t result = log1p(plus(w, divide(square, plus(one, root))));
  return left ? complex64_t{-result.real, -result.imag} : result;
}
METAL_FUNC complex64_t asin(complex64_t z) {
  return times_minus_i(asinh(times_i(z)));
}
METAL_FUNC complex64_t acos(complex64_t z) {
  const complex64_t complement = asin(z);
  return complex64_t{1.57079633f - complement.real, -complement.imag};
}
METAL_FUNC complex64_t acosh(complex64_t z) {
  const complex64_t above = sqrt(complex64_t{z.real + 1.0f, z.imag});
  const complex64_t below = sqrt(complex64_t{z.real - 1.0f, z.imag});
  return log(plus(z, multiply(above, below)));
}
METAL_FUNC complex64_t atanh(complex64_t z) {
  const complex64_t difference = minus(log1p(z), log1p(complex64_t{-z.real, -z.imag}));
  return complex64_t{0.5f * difference.real, 0.5f * difference.imag};
}
METAL_FUNC complex64_t atan(complex64_t z) {
  return times_minus_i(atanh(times_i(z)));
}
METAL_FUNC complex64_t pow(complex64_t a, complex64_t b) {
  if (b.real == 0.0f && b.imag == 0.0f) {
    return complex64_t{1.0f, 0.0f};
  }
  if (a.real == 0.0f && a.imag == 0.0f && b.real > 0.0f) {
    return complex64_t{0.0f, 0.0f};
  }
  return exp(multiply(b, log(a)));
}

} // namespace metal
