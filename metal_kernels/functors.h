// The scalar functions behind the elementwise operations, shared by the kernels of every backend.
//
// Functors compute on bool, integers, float32, float64 (CPU only) and complex64_t; kernels convert
// 16-bit floats to float32 around them. This file includes nothing: a compatibility header goes
// before it and defines METAL_FUNC, complex64_t {float real, imag;} and, in namespace metal, the
// type traits and the math functions used below with overloads for these types.
#pragma once

// The type for sums and products. Unsigned arithmetic wraps around, while signed overflow is
// undefined.
template <typename T>
struct Wrapping {
  using type = T;
};
template <>
struct Wrapping<uint8_t> {
  using type = uint32_t;
};
template <>
struct Wrapping<uint16_t> {
  using type = uint32_t;
};
template <>
struct Wrapping<int8_t> {
  using type = uint32_t;
};
template <>
struct Wrapping<int16_t> {
  using type = uint32_t;
};
template <>
struct Wrapping<int32_t> {
  using type = uint32_t;
};
template <>
struct Wrapping<int64_t> {
  using type = uint64_t;
};

// One argument.

struct Abs {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    if constexpr (!metal::is_integral_v<T>) {
      return metal::abs(x);
    } else if constexpr (metal::is_signed_v<T>) {
      using W = typename Wrapping<T>::type;
      return x < T(0) ? T(W(0) - W(x)) : x;
    } else {
      return x;
    }
  }
  METAL_FUNC float operator()(complex64_t x) const {
    return metal::abs(x);
  }
};

// Functors that name a math function of namespace metal.
#define NARROWS_MATH_FUNCTOR(Name, function) \
  struct Name {                              \
    template <typename T>                    \
    METAL_FUNC T operator()(T x) const {     \
      return metal::function(x);             \
    }                                        \
  };
NARROWS_MATH_FUNCTOR(ArcCos, acos)
NARROWS_MATH_FUNCTOR(ArcCosh, acosh)
NARROWS_MATH_FUNCTOR(ArcSin, asin)
NARROWS_MATH_FUNCTOR(ArcSinh, asinh)
NARROWS_MATH_FUNCTOR(ArcTan, atan)
NARROWS_MATH_FUNCTOR(ArcTanh, atanh)
NARROWS_MATH_FUNCTOR(Cos, cos)
NARROWS_MATH_FUNCTOR(Cosh, cosh)
NARROWS_MATH_FUNCTOR(Erf, erf)
NARROWS_MATH_FUNCTOR(ErfInv, erfinv)
NARROWS_MATH_FUNCTOR(Exp, exp)
NARROWS_MATH_FUNCTOR(Expm1, expm1)
NARROWS_MATH_FUNCTOR(Log, log)
NARROWS_MATH_FUNCTOR(Log10, log10)
NARROWS_MATH_FUNCTOR(Log1p, log1p)
NARROWS_MATH_FUNCTOR(Log2, log2)
NARROWS_MATH_FUNCTOR(Rsqrt, rsqrt)
NARROWS_MATH_FUNCTOR(Sin, sin)
NARROWS_MATH_FUNCTOR(Sinh, sinh)
NARROWS_MATH_FUNCTOR(Sqrt, sqrt)
NARROWS_MATH_FUNCTOR(Tan, tan)
NARROWS_MATH_FUNCTOR(Tanh, tanh)
#undef NARROWS_MATH_FUNCTOR

// Functors that round floats and leave integers as they are.
#define NARROWS_ROUNDING_FUNCTOR(Name, function) \
  struct Name {                                  \
    template <typename T>                        \
    METAL_FUNC T operator()(T x) const {         \
      if constexpr (metal::is_integral_v<T>) {   \
        return x;                                \
      } else {                                   \
        return metal::function(x);               \
      }                                          \
    }                                            \
  };
NARROWS_ROUNDING_FUNCTOR(Ceil, ceil)
NARROWS_ROUNDING_FUNCTOR(Floor, floor)
NARROWS_ROUNDING_FUNCTOR(Rint, rint)
#undef NARROWS_ROUNDING_FUNCTOR

struct BitwiseInvert {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    return T(~x);
  }
  METAL_FUNC bool operator()(bool x) const {
    return !x;
  }
};

struct Conjugate {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    return x;
  }
  METAL_FUNC complex64_t operator()(complex64_t x) const {
    return complex64_t{x.real, -x.imag};
  }
};

struct Real {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    return x;
  }
  METAL_FUNC float operator()(complex64_t x) const {
    return x.real;
  }
};

struct Imag {
  template <typename T>
  METAL_FUNC T operator()(T) const {
    return T(0);
  }
  METAL_FUNC float operator()(complex64_t x) const {
    return x.imag;
  }
};

struct IsNan {
  template <typename T>
  METAL_FUNC bool operator()(T x) const {
    return x != x;
  }
  METAL_FUNC bool operator()(complex64_t x) const {
    return (x.real != x.real) | (x.imag != x.imag);
  }
};

struct IsInf {
  template <typename T>
  METAL_FUNC bool operator()(T x) const {
    if constexpr (metal::is_integral_v<T>) {
      return false;
    } else {
      return metal::abs(x) == T(INFINITY);
    }
  }
  METAL_FUNC bool operator()(complex64_t x) const {
    return (metal::abs(x.real) == INFINITY) | (metal::abs(x.imag) == INFINITY);
  }
};

struct IsFinite {
  template <typename T>
  METAL_FUNC bool operator()(T x) const {
    if constexpr (metal::is_integral_v<T>) {
      return true;
    } else {
      return metal::abs(x) < T(INFINITY);
    }
  }
  METAL_FUNC bool operator()(complex64_t x) const {
    return (metal::abs(x.real) < INFINITY) & (metal::abs(x.imag) < INFINITY);
  }
};

struct IsNegInf {
  template <typename T>
  METAL_FUNC bool operator()(T x) const {
    if constexpr (metal::is_integral_v<T>) {
      return false;
    } else {
      return x == T(-INFINITY);
    }
  }
  METAL_FUNC bool operator()(complex64_t x) const {
    return (x.real == -INFINITY) & (x.imag == 0.0f);
  }
};

struct IsPosInf {
  template <typename T>
  METAL_FUNC bool operator()(T x) const {
    if constexpr (metal::is_integral_v<T>) {
      return false;
    } else {
      return x == T(INFINITY);
    }
  }
  METAL_FUNC bool operator()(complex64_t x) const {
    return (x.real == INFINITY) & (x.imag == 0.0f);
  }
};

struct LogicalNot {
  METAL_FUNC bool operator()(bool x) const {
    return !x;
  }
};

struct Negative {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    if constexpr (metal::is_integral_v<T>) {
      using W = typename Wrapping<T>::type;
      return T(W(0) - W(x));
    } else {
      return -x;
    }
  }
  METAL_FUNC complex64_t operator()(complex64_t x) const {
    return complex64_t{-x.real, -x.imag};
  }
};

struct Reciprocal {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    return T(1) / x;
  }
  METAL_FUNC complex64_t operator()(complex64_t x) const {
    return metal::divide(complex64_t{1.0f, 0.0f}, x);
  }
};

struct Sigmoid {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    // The exponential of a number that is not positive cannot overflow.
    const T e = metal::exp(-metal::abs(x));
    return (x < T(0) ? e : T(1)) / (T(1) + e);
  }
  METAL_FUNC complex64_t operator()(complex64_t x) const {
    const bool left = x.real < 0.0f;
    const complex64_t e = metal::exp(left ? x : complex64_t{-x.real, -x.imag});
    const complex64_t one = complex64_t{1.0f, 0.0f};
    return metal::divide(left ? e : one, complex64_t{1.0f + e.real, e.imag});
  }
};

struct Sign {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    if constexpr (!metal::is_integral_v<T>) {
      const T magnitude = x != x ? x : T(x != T(0));
      return x < T(0) ? T(-1) : magnitude;
    } else if constexpr (metal::is_signed_v<T>) {
      return T((x > T(0)) - (x < T(0)));
    } else {
      return T(x != T(0));
    }
  }
  METAL_FUNC complex64_t operator()(complex64_t x) const {
    const float magnitude = metal::abs(x);
    const float divisor = magnitude == 0.0f ? 1.0f : magnitude;
    return complex64_t{x.real / divisor, x.imag / divisor};
  }
};

struct Square {
  template <typename T>
  METAL_FUNC T operator()(T x) const {
    using W = typename Wrapping<T>::type;
    return T(W(x) * W(x));
  }
  METAL_FUNC bool operator()(bool x) const {
    return x;
  }
  METAL_FUNC complex64_t operator()(complex64_t x) const {
    return metal::multiply(x, x);
  }
};

// Two arguments.

struct Add {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    using W = typename Wrapping<T>::type;
    return T(W(a) + W(b));
  }
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a | b;
  }
  METAL_FUNC complex64_t operator()(complex64_t a, complex64_t b) const {
    return complex64_t{a.real + b.real, a.imag + b.imag};
  }
};

struct ArcTan2 {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    return metal::atan2(a, b);
  }
};

struct BitwiseAnd {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    return T(a & b);
  }
};

struct BitwiseOr {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    return T(a | b);
  }
};

struct BitwiseXor {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    return T(a ^ b);
  }
};

struct Divide {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    return a / b;
  }
  METAL_FUNC complex64_t operator()(complex64_t a, complex64_t b) const {
    return metal::divide(a, b);
  }
};

struct Equal {
  template <typename T>
  METAL_FUNC bool operator()(T a, T b) const {
    return a == b;
  }
  METAL_FUNC bool operator()(complex64_t a, complex64_t b) const {
    return (a.real == b.real) & (a.imag == b.imag);
  }
};

struct NotEqual {
  template <typename T>
  METAL_FUNC bool operator()(T a, T b) const {
    return a != b;
  }
  METAL_FUNC bool operator()(complex64_t a, complex64_t b) const {
    return (a.real != b.real) | (a.imag != b.imag);
  }
};

struct Less {
  template <typename T>
  METAL_FUNC bool operator()(T a, T b) const {
    return a < b;
  }
  METAL_FUNC bool operator()(complex64_t a, complex64_t b) const {
    return (a.real < b.real) | ((a.real == b.real) & (a.imag < b.imag));
  }
};

struct LessEqual {
  template <typename T>
  METAL_FUNC bool operator()(T a, T b) const {
    return a <= b;
  }
  METAL_FUNC bool operator()(complex64_t a, complex64_t b) const {
    return (a.real < b.real) | ((a.real == b.real) & (a.imag <= b.imag));
  }
};

struct Greater {
  template <typename T>
  METAL_FUNC bool operator()(T a, T b) const {
    return Less()(b, a);
  }
};

struct GreaterEqual {
  template <typename T>
  METAL_FUNC bool operator()(T a, T b) const {
    return LessEqual()(b, a);
  }
};

struct FloorDivide {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    if constexpr (!metal::is_integral_v<T>) {
      return metal::floor(a / b);
    } else if constexpr (metal::is_signed_v<T>) {
      using W = typename Wrapping<T>::type;
      // The smallest integer divided by -1 does not fit. Negation wraps around.
      const bool trivial = (b == T(0)) | (b == T(-1));
      const T divisor = trivial ? T(1) : b;
      const T quotient = T(a / divisor);
      const T rest = T(a % divisor);
      const bool down = (rest != T(0)) & ((rest < T(0)) != (b < T(0)));
      const T negated = b == T(0) ? T(0) : T(W(0) - W(a));
      return trivial ? negated : T(quotient - T(down));
    } else {
      return b == T(0) ? T(0) : T(a / (b == T(0) ? T(1) : b));
    }
  }
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a & b;
  }
};

struct Remainder {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    if constexpr (!metal::is_integral_v<T>) {
      const T rest = metal::fmod(a, b);
      return (rest != T(0)) & ((rest < T(0)) != (b < T(0))) ? rest + b : rest;
    } else if constexpr (metal::is_signed_v<T>) {
      const bool trivial = (b == T(0)) | (b == T(-1));
      const T divisor = trivial ? T(1) : b;
      const T rest = T(a % divisor);
      const bool down = (rest != T(0)) & ((rest < T(0)) != (b < T(0)));
      return down ? T(rest + b) : rest;
    } else {
      return T(a % (b == T(0) ? T(1) : b));
    }
  }
  METAL_FUNC bool operator()(bool, bool) const {
    return false;
  }
};

struct LeftShift {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    using W = typename Wrapping<T>::type;
    // A negative count is a large unsigned one, for which all bits are shifted out.
    const bool inside = W(b) < W(sizeof(T) * 8);
    const W count = inside ? W(b) : W(0);
    return inside ? T(W(a) << count) : T(0);
  }
  METAL_FUNC bool operator()(bool a, bool) const {
    return a;
  }
};

struct RightShift {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    using W = typename Wrapping<T>::type;
    const W last = W(sizeof(T) * 8 - 1);
    const bool inside = W(b) <= last;
    const W count = inside ? W(b) : last;
    if constexpr (metal::is_signed_v<T>) {
      return T(a >> count);
    } else {
      return inside ? T(a >> count) : T(0);
    }
  }
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a & !b;
  }
};

struct LogAddExp {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    const T low = a > b ? b : a;
    const T high = a > b ? a : b;
    const T sum = high + metal::log1p(metal::exp(low - high));
    // The difference of equal infinities would be NaN. The constant is ln(2) in two floats.
    return a == b ? a + (T(0.693147182f) + T(-1.90465430e-9f)) : sum;
  }
  METAL_FUNC complex64_t operator()(complex64_t a, complex64_t b) const {
    const complex64_t low = a.real > b.real ? b : a;
    const complex64_t high = a.real > b.real ? a : b;
    // Scaled so that the larger exponential has magnitude one.
    const float shift = low.real == high.real ? 0.0f : low.real - high.real;
    const complex64_t small = metal::exp(complex64_t{shift, low.imag});
    const complex64_t large = metal::exp(complex64_t{0.0f, high.imag});
    const complex64_t log =
        metal::log(complex64_t{small.real + large.real, small.imag + large.imag});
    return complex64_t{high.real + log.real, log.imag};
  }
};

struct LogicalAnd {
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a & b;
  }
};

struct LogicalOr {
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a | b;
  }
};

struct LogicalXor {
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a != b;
  }
};

struct Maximum {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    return ((a > b) | (a != a)) ? a : b;
  }
  METAL_FUNC complex64_t operator()(complex64_t a, complex64_t b) const {
    return (Greater()(a, b) & !IsNan()(b)) | IsNan()(a) ? a : b;
  }
};

struct Minimum {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    return ((a < b) | (a != a)) ? a : b;
  }
  METAL_FUNC complex64_t operator()(complex64_t a, complex64_t b) const {
    return (Less()(a, b) & !IsNan()(b)) | IsNan()(a) ? a : b;
  }
};

struct Multiply {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    using W = typename Wrapping<T>::type;
    return T(W(a) * W(b));
  }
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a & b;
  }
  METAL_FUNC complex64_t operator()(complex64_t a, complex64_t b) const {
    return metal::multiply(a, b);
  }
};

struct Power {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    if constexpr (!metal::is_integral_v<T>) {
      return metal::pow(a, b);
    } else {
      using W = typename Wrapping<T>::type;
      if constexpr (metal::is_signed_v<T>) {
        // 1 / a^-b, rounded towards zero. It is zero unless a is 1 or -1.
        if (b < T(0)) {
          const bool unit = (a == T(1)) | (a == T(-1));
          return unit ? ((b & T(1)) != T(0) ? a : T(1)) : T(0);
        }
      }
      W result = W(1);
      W base = W(a);
      for (W exponent = W(b); exponent != W(0); exponent >>= 1) {
        result *= (exponent & W(1)) != W(0) ? base : W(1);
        base *= base;
      }
      return T(result);
    }
  }
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a | !b;
  }
};

struct Subtract {
  template <typename T>
  METAL_FUNC T operator()(T a, T b) const {
    using W = typename Wrapping<T>::type;
    return T(W(a) - W(b));
  }
  METAL_FUNC bool operator()(bool a, bool b) const {
    return a != b;
  }
  METAL_FUNC complex64_t operator()(complex64_t a, complex64_t b) const {
    return complex64_t{a.real - b.real, a.imag - b.imag};
  }
};

// Three arguments.

struct Select {
  template <typename T>
  METAL_FUNC T operator()(bool condition, T a, T b) const {
    return condition ? a : b;
  }
};
