// The associative operations of reductions and scans, on scalars and on vectors.
#pragma once

#include "narrows/backend/cpu/kernels/lanes.h"
#include "narrows/core/dtype.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Each has T, the type it computes in, its identity and apply(earlier, later). apply takes T or
// a vector of T.

template <typename Type>
struct SumOf {
  using T = Type;
  static constexpr T identity() {
    return T{};
  }
  template <typename V>
  static NARROWS_INLINE V apply(V a, V b) {
    if constexpr (kIsComplex<V>) {
      return {a.re + b.re, a.im + b.im};
    } else {
      return a + b;
    }
  }
};

template <typename Type>
struct ProductOf {
  using T = Type;
  static constexpr T identity() {
    if constexpr (kIsComplex<T>) {
      return {1, 0};
    } else {
      return T(1);
    }
  }
  template <typename V>
  static NARROWS_INLINE V apply(V a, V b) {
    if constexpr (kIsComplex<V>) {
      return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    } else {
      return a * b;
    }
  }
};

NARROWS_INLINE bool is_nan(Complex z) {
  return z.re != z.re || z.im != z.im;
}

// The later element replaces the earlier one if it is beyond it, or is the first NaN.
template <typename Type, bool kMax>
struct ExtremeOf {
  using T = Type;
  static constexpr T identity() {
    if constexpr (kIsComplex<T>) {
      const float end = kMax ? -__builtin_inff() : __builtin_inff();
      return {end, end};
    } else if constexpr (std::is_floating_point_v<T>) {
      return kMax ? -__builtin_inff() : __builtin_inff();
    } else if constexpr (std::is_signed_v<T>) {
      constexpr T kLowest = static_cast<T>(T{1} << (8 * sizeof(T) - 1));
      return kMax ? kLowest : static_cast<T>(~kLowest);
    } else {
      return kMax ? T{0} : static_cast<T>(~T{0});
    }
  }
  static constexpr bool is_max() {
    return kMax;
  }
  static NARROWS_INLINE bool beyond(T a, T b) {
    if constexpr (kIsComplex<T>) {
      if (is_nan(b) || is_nan(a)) {
        return !is_nan(a);
      }
      return kMax ? (b.re > a.re || (b.re == a.re && b.im > a.im))
                  : (b.re < a.re || (b.re == a.re && b.im < a.im));
    } else if constexpr (std::is_floating_point_v<T>) {
      return (kMax ? b > a : b < a) || (b != b && a == a);
    } else {
      return kMax ? b > a : b < a;
    }
  }
  template <typename V>
  static NARROWS_INLINE V apply(V a, V b) {
    if constexpr (std::is_same_v<V, T>) {
      return beyond(a, b) ? b : a;
    } else if constexpr (std::is_floating_point_v<T>) {
      return (kMax ? b > a : b < a) ? b : (b != b ? b : a);
    } else {
      return (kMax ? b > a : b < a) ? b : a;
    }
  }
};
template <typename T>
using MaxOf = ExtremeOf<T, true>;
template <typename T>
using MinOf = ExtremeOf<T, false>;

// Whether Op::apply takes vectors.
template <typename Op>
constexpr bool kHasVectors = !kIsComplex<typename Op::T>;

// make.template operator()<T, Stored>() for the type that a dtype's elements are compared in and
// the one that they are stored in.
template <typename Make>
NARROWS_INLINE auto dispatch_ordered(Dtype in, Make make) {
  switch (in) {
    case Dtype::bool_:
    case Dtype::uint8:
      return make.template operator()<uint8_t, uint8_t>();
    case Dtype::uint16:
      return make.template operator()<uint16_t, uint16_t>();
    case Dtype::uint32:
      return make.template operator()<uint32_t, uint32_t>();
    case Dtype::uint64:
      return make.template operator()<uint64_t, uint64_t>();
    case Dtype::int8:
      return make.template operator()<int8_t, int8_t>();
    case Dtype::int16:
      return make.template operator()<int16_t, int16_t>();
    case Dtype::int32:
      return make.template operator()<int32_t, int32_t>();
    case Dtype::int64:
      return make.template operator()<int64_t, int64_t>();
    case Dtype::float16:
      return make.template operator()<float, Half>();
    case Dtype::bfloat16:
      return make.template operator()<float, Bfloat>();
    case Dtype::float32:
      return make.template operator()<float, float>();
    case Dtype::float64:
      return make.template operator()<double, double>();
    case Dtype::complex64:
      break;
  }
  return make.template operator()<Complex, Complex>();
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
