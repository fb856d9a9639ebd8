// The expected results of elementwise operations, for one element: in float64 for floats, complex
// float64 for complex64, and 128-bit integers for integers.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <complex>

#include "narrows/core/kernel_id.h"

namespace narrows::cpu {

inline double real_unary(ElementwiseOp op, double x) {
  switch (op) {
    case ElementwiseOp::abs:
      return std::fabs(x);
    case ElementwiseOp::arccos:
      return std::acos(x);
    case ElementwiseOp::arccosh:
      return std::acosh(x);
    case ElementwiseOp::arcsin:
      return std::asin(x);
    case ElementwiseOp::arcsinh:
      return std::asinh(x);
    case ElementwiseOp::arctan:
      return std::atan(x);
    case ElementwiseOp::arctanh:
      return std::atanh(x);
    case ElementwiseOp::ceil:
      return std::ceil(x);
    case ElementwiseOp::conjugate:
      return x;
    case ElementwiseOp::cos:
      return std::cos(x);
    case ElementwiseOp::cosh:
      return std::cosh(x);
    case ElementwiseOp::erf:
      return std::erf(x);
    case ElementwiseOp::exp:
      return std::exp(x);
    case ElementwiseOp::expm1:
      return std::expm1(x);
    case ElementwiseOp::floor:
      return std::floor(x);
    case ElementwiseOp::imag:
      return 0.0;
    case ElementwiseOp::isfinite:
      return std::isfinite(x);
    case ElementwiseOp::isinf:
      return std::isinf(x);
    case ElementwiseOp::isnan:
      return std::isnan(x);
    case ElementwiseOp::isneginf:
      return std::isinf(x) && x < 0;
    case ElementwiseOp::isposinf:
      return std::isinf(x) && x > 0;
    case ElementwiseOp::log:
      return std::log(x);
    case ElementwiseOp::log10:
      return std::log10(x);
    case ElementwiseOp::log1p:
      return std::log1p(x);
    case ElementwiseOp::log2:
      return std::log2(x);
    case ElementwiseOp::negative:
      return -x;
    case ElementwiseOp::real:
      return x;
    case ElementwiseOp::reciprocal:
      return 1.0 / x;
    case ElementwiseOp::rint:
      return std::nearbyint(x);
    case ElementwiseOp::rsqrt:
      return 1.0 / std::sqrt(x);
    case ElementwiseOp::sigmoid:
      return x < 0 ? std::exp(x) / (1.0 + std::exp(x)) : 1.0 / (1.0 + std::exp(-x));
    case ElementwiseOp::sign:
      return std::isnan(x) ? x : (x > 0) - (x < 0);
    case ElementwiseOp::sin:
      return std::sin(x);
    case ElementwiseOp::sinh:
      return std::sinh(x);
    case ElementwiseOp::sqrt:
      return std::sqrt(x);
    case ElementwiseOp::square:
      return x * x;
    case ElementwiseOp::tan:
      return std::tan(x);
    case ElementwiseOp::tanh:
      return std::tanh(x);
    default:
      ADD_FAILURE() << "no reference";
      return 0.0;
  }
}

inline double real_binary(ElementwiseOp op, double a, double b) {
  switch (op) {
    case ElementwiseOp::add:
      return a + b;
    case ElementwiseOp::arctan2:
      return std::atan2(a, b);
    case ElementwiseOp::divide:
      return a / b;
    case ElementwiseOp::equal:
      return a == b;
    case ElementwiseOp::floor_divide:
      return std::floor(a / b);
    case ElementwiseOp::greater:
      return a > b;
    case ElementwiseOp::greater_equal:
      return a >= b;
    case ElementwiseOp::less:
      return a < b;
    case ElementwiseOp::less_equal:
      return a <= b;
    case ElementwiseOp::logaddexp:
      return a == b ? a + std::log(2.0)
                    : std::fmax(a, b) + std::log1p(std::exp(-std::fabs(a - b))) +
                          0.0 * (std::isnan(a) || std::isnan(b) ? NAN : 0.0);
    case ElementwiseOp::maximum:
      return std::isnan(a) || std::isnan(b) ? NAN : std::fmax(a, b);
    case ElementwiseOp::minimum:
      return std::isnan(a) || std::isnan(b) ? NAN : std::fmin(a, b);
    case ElementwiseOp::multiply:
      return a * b;
    case ElementwiseOp::not_equal:
      return a != b;
    case ElementwiseOp::power:
      return std::pow(a, b);
    case ElementwiseOp::remainder: {
      const double rest = std::fmod(a, b);
      return rest != 0.0 && (rest < 0.0) != (b < 0.0) ? rest + b : rest;
    }
    case ElementwiseOp::subtract:
      return a - b;
    default:
      ADD_FAILURE() << "no reference";
      return 0.0;
  }
}

// Integers of up to 64 bits in 128 bits: exact, and reduced to the type by the caller.
inline __int128 integer_unary(ElementwiseOp op, __int128 x) {
  switch (op) {
    case ElementwiseOp::abs:
      return x < 0 ? -x : x;
    case ElementwiseOp::bitwise_invert:
      return ~x;
    case ElementwiseOp::imag:
      return 0;
    case ElementwiseOp::isfinite:
      return 1;
    case ElementwiseOp::isinf:
    case ElementwiseOp::isnan:
    case ElementwiseOp::isneginf:
    case ElementwiseOp::isposinf:
      return 0;
    case ElementwiseOp::negative:
      return -x;
    case ElementwiseOp::sign:
      return (x > 0) - (x < 0);
    case ElementwiseOp::square:
      return static_cast<__int128>(
          static_cast<unsigned __int128>(x) * static_cast<unsigned __int128>(x));
    default:
      return x; // ceil, floor, rint, real, conjugate
  }
}

inline __int128 integer_binary(ElementwiseOp op, __int128 a, __int128 b, int bits) {
  const bool inexact = b != 0 && a % b != 0 && ((a % b < 0) != (b < 0));
  switch (op) {
    case ElementwiseOp::add:
      return a + b;
    case ElementwiseOp::bitwise_and:
      return a & b;
    case ElementwiseOp::bitwise_or:
      return a | b;
    case ElementwiseOp::bitwise_xor:
      return a ^ b;
    case ElementwiseOp::equal:
      return a == b;
    case ElementwiseOp::floor_divide:
      return b == 0 ? 0 : a / b - inexact;
    case ElementwiseOp::greater:
      return a > b;
    case ElementwiseOp::greater_equal:
      return a >= b;
    case ElementwiseOp::left_shift:
      return b < 0 || b >= bits
                 ? 0
                 : static_cast<__int128>(static_cast<unsigned __int128>(a) << static_cast<int>(b));
    case ElementwiseOp::less:
      return a < b;
    case ElementwiseOp::less_equal:
      return a <= b;
    case ElementwiseOp::maximum:
      return a > b ? a : b;
    case ElementwiseOp::minimum:
      return a < b ? a : b;
    case ElementwiseOp::multiply:
      return static_cast<__int128>(
          static_cast<unsigned __int128>(a) * static_cast<unsigned __int128>(b));
    case ElementwiseOp::not_equal:
      return a != b;
    case ElementwiseOp::power: {
      if (b < 0) {
        return a == 1 ? 1 : a == -1 ? (b % 2 != 0 ? -1 : 1) : 0;
      }
      unsigned __int128 result = 1;
      unsigned __int128 base = static_cast<unsigned __int128>(a);
      for (__int128 e = b; e > 0; e /= 2) {
        result *= e % 2 != 0 ? base : 1;
        base *= base;
      }
      return static_cast<__int128>(result);
    }
    case ElementwiseOp::remainder:
      return b == 0 ? 0 : a % b + (inexact ? b : 0);
    case ElementwiseOp::right_shift:
      return b < 0 || b >= bits ? (a < 0 ? -1 : 0) : a >> static_cast<int>(b);
    case ElementwiseOp::subtract:
      return a - b;
    default:
      ADD_FAILURE() << "no reference";
      return 0;
  }
}

inline bool boolean_unary(ElementwiseOp op, bool x) {
  switch (op) {
    case ElementwiseOp::bitwise_invert:
    case ElementwiseOp::logical_not:
      return !x;
    case ElementwiseOp::square:
      return x;
    default:
      return integer_unary(op, x) != 0;
  }
}

inline bool boolean_binary(ElementwiseOp op, bool a, bool b) {
  switch (op) {
    case ElementwiseOp::left_shift:
      return a;
    case ElementwiseOp::logical_and:
      return a && b;
    case ElementwiseOp::logical_or:
      return a || b;
    case ElementwiseOp::logical_xor:
      return a != b;
    default:
      return integer_binary(op, a, b, 8) != 0;
  }
}

using Complex = std::complex<double>;

inline Complex complex_unary(ElementwiseOp op, Complex z) {
  const bool finite = std::isfinite(z.real()) && std::isfinite(z.imag());
  const bool nan = std::isnan(z.real()) || std::isnan(z.imag());
  switch (op) {
    case ElementwiseOp::abs:
      return std::abs(z);
    case ElementwiseOp::arccos:
      return std::acos(z);
    case ElementwiseOp::arccosh:
      return std::acosh(z);
    case ElementwiseOp::arcsin:
      return std::asin(z);
    case ElementwiseOp::arcsinh:
      return std::asinh(z);
    case ElementwiseOp::arctan:
      return std::atan(z);
    case ElementwiseOp::arctanh:
      return std::atanh(z);
    case ElementwiseOp::conjugate:
      return std::conj(z);
    case ElementwiseOp::cos:
      return std::cos(z);
    case ElementwiseOp::cosh:
      return std::cosh(z);
    case ElementwiseOp::exp:
      return std::exp(z);
    case ElementwiseOp::expm1:
      return std::exp(z) - 1.0;
    case ElementwiseOp::imag:
      return z.imag();
    case ElementwiseOp::isfinite:
      return finite;
    case ElementwiseOp::isinf:
      return std::isinf(z.real()) || std::isinf(z.imag());
    case ElementwiseOp::isnan:
      return nan;
    case ElementwiseOp::isneginf:
      return z == Complex(-std::numeric_limits<double>::infinity(), 0);
    case ElementwiseOp::isposinf:
      return z == Complex(std::numeric_limits<double>::infinity(), 0);
    case ElementwiseOp::log:
      return std::log(z);
    case ElementwiseOp::log10:
      return std::log10(z);
    case ElementwiseOp::log1p:
      return std::log(1.0 + z);
    case ElementwiseOp::log2:
      return std::log(z) / std::log(2.0);
    case ElementwiseOp::negative:
      return -z;
    case ElementwiseOp::real:
      return z.real();
    case ElementwiseOp::reciprocal:
      return 1.0 / z;
    case ElementwiseOp::rint:
      return {std::nearbyint(z.real()), std::nearbyint(z.imag())};
    case ElementwiseOp::rsqrt:
      return 1.0 / std::sqrt(z);
    case ElementwiseOp::sigmoid:
      return 1.0 / (1.0 + std::exp(-z));
    case ElementwiseOp::sign:
      return z == 0.0 ? z : z / std::abs(z);
    case ElementwiseOp::sin:
      return std::sin(z);
    case ElementwiseOp::sinh:
      return std::sinh(z);
    case ElementwiseOp::sqrt:
      return std::sqrt(z);
    case ElementwiseOp::square:
      return z * z;
    case ElementwiseOp::tan:
      return std::tan(z);
    case ElementwiseOp::tanh:
      return std::tanh(z);
    default:
      ADD_FAILURE() << "no reference";
      return 0.0;
  }
}

inline bool lexicographically_less(Complex a, Complex b) {
  return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}

inline Complex complex_binary(ElementwiseOp op, Complex a, Complex b) {
  const bool less = lexicographically_less(a, b);
  const bool greater = lexicographically_less(b, a);
  switch (op) {
    case ElementwiseOp::add:
      return a + b;
    case ElementwiseOp::divide:
      return a / b;
    case ElementwiseOp::equal:
      return a == b;
    case ElementwiseOp::greater:
      return greater;
    case ElementwiseOp::greater_equal:
      return greater || a == b;
    case ElementwiseOp::less:
      return less;
    case ElementwiseOp::less_equal:
      return less || a == b;
    case ElementwiseOp::logaddexp:
      return std::log(std::exp(a) + std::exp(b));
    case ElementwiseOp::maximum:
      return greater ? a : b;
    case ElementwiseOp::minimum:
      return less ? a : b;
    case ElementwiseOp::multiply:
      return a * b;
    case ElementwiseOp::not_equal:
      return a != b;
    case ElementwiseOp::power:
      return b == 0.0 ? 1.0 : std::pow(a, b);
    case ElementwiseOp::subtract:
      return a - b;
    default:
      ADD_FAILURE() << "no reference";
      return 0.0;
  }
}

} // namespace narrows::cpu
