// Arrays of any dtype for kernel tests, written and read as numbers.
#pragma once

#include <algorithm>
#include <complex>
#include <cstring>
#include <random>
#include <vector>

#include "narrows/core/dispatch.h"

namespace narrows::testing {

inline constexpr Dtype kAllDtypes[] = {
    bool_,
    uint8,
    uint16,
    uint32,
    uint64,
    int8,
    int16,
    int32,
    int64,
    float16,
    bfloat16,
    float32,
    float64,
    complex64};

// Exact for all elements but integers beyond 2^53.
using Number = std::complex<double>;

class TypedBuffer {
 public:
  TypedBuffer(Dtype dtype, int64_t size)
      : dtype_(dtype), size_(size), bytes_(size * size_of(dtype)) {
  }

  Dtype dtype() const {
    return dtype_;
  }
  int64_t size() const {
    return size_;
  }
  char* data() {
    return bytes_.data();
  }
  const char* data() const {
    return bytes_.data();
  }

  // Rounds the number as kernels round results: by way of float for 16-bit types.
  void set(int64_t i, Number value) {
    dispatch(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T element;
      if constexpr (std::is_same_v<T, complex64_t>) {
        element = complex64_t(value);
      } else if constexpr (std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>) {
        element = T(static_cast<float>(value.real()));
      } else if constexpr (std::is_same_v<T, bool>) {
        element = value.real() != 0;
      } else if constexpr (std::is_integral_v<T>) {
        element = static_cast<T>(static_cast<int64_t>(value.real()));
      } else {
        element = static_cast<T>(value.real());
      }
      std::memcpy(data() + i * sizeof(T), &element, sizeof(T));
    });
  }

  Number get(int64_t i) const {
    return dispatch(dtype_, [&](auto tag) -> Number {
      using T = typename decltype(tag)::type;
      T element;
      std::memcpy(&element, data() + i * sizeof(T), sizeof(T));
      if constexpr (std::is_same_v<T, complex64_t>) {
        return Number(element);
      } else if constexpr (std::is_same_v<T, float16_t> || std::is_same_v<T, bfloat16_t>) {
        return static_cast<double>(static_cast<float>(element));
      } else {
        return static_cast<double>(element);
      }
    });
  }

 private:
  Dtype dtype_;
  int64_t size_;
  std::vector<char> bytes_;
};

inline bool same(Number a, Number b) {
  const auto part = [](double x, double y) { return x == y || (x != x && y != y); };
  return part(a.real(), b.real()) && part(a.imag(), b.imag());
}

// Small multiples of 1/4 (whole numbers for integers): sums of many are exact in float32.
inline void fill_small(TypedBuffer& buffer, unsigned seed) {
  std::mt19937 random(seed);
  const Dtype dtype = buffer.dtype();
  const double step = is_inexact(dtype) ? 0.25 : 1;
  const int lowest = is_unsigned(dtype) ? 0 : -8;
  for (int64_t i = 0; i < buffer.size(); ++i) {
    const auto draw = [&] { return step * (lowest + static_cast<int>(random() % 17)); };
    const double re = dtype == bool_ ? random() % 2 : draw();
    buffer.set(i, is_complex(dtype) ? Number(re, draw()) : Number(re));
  }
}

// Numbers whose products are exact and stay in range.
inline void fill_units(TypedBuffer& buffer, unsigned seed) {
  std::mt19937 random(seed);
  const Dtype dtype = buffer.dtype();
  for (int64_t i = 0; i < buffer.size(); ++i) {
    const auto r = random();
    if (is_complex(dtype)) {
      buffer.set(i, r % 3 == 0 ? Number(0, 1) : Number(r % 3 == 1 ? 1 : -1));
    } else if (is_floating(dtype)) {
      // Few enough twos and halves that no order of multiplying leaves float's range.
      const auto kind = r % std::max<int64_t>(4, buffer.size() / 50);
      const double magnitude = kind == 0 ? 2 : kind == 1 ? 0.5 : 1;
      buffer.set(i, r % 5 == 0 ? -magnitude : magnitude);
    } else if (dtype == bool_) {
      buffer.set(i, r % 64 != 0);
    } else {
      const int most = size_of(dtype) == 8 ? 1 : 3;
      buffer.set(i, is_unsigned(dtype) || r % 2 ? static_cast<double>(1 + r % most) : -1);
    }
  }
}

} // namespace narrows::testing
