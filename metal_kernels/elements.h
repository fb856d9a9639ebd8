// Element types in kernels: the type to compute in, conversions, vectors of elements, and lists of
// types.
#pragma once

// 16-bit floats are only stored. An element is computed in its Compute type.
template <typename T>
struct ComputeOf {
  using type = T;
};
template <>
struct ComputeOf<half> {
  using type = float;
};
template <>
struct ComputeOf<bfloat> {
  using type = float;
};
template <typename T>
using Compute = typename ComputeOf<T>::type;

// At least 32 bits, because simdgroup functions need that.
template <typename T>
struct WideOf {
  using type = Compute<T>;
};
#define NARROWS_WIDE(T, Wide) \
  template <>                 \
  struct WideOf<T> {          \
    using type = Wide;        \
  };
NARROWS_WIDE(bool, uint32_t)
NARROWS_WIDE(uint8_t, uint32_t)
NARROWS_WIDE(uint16_t, uint32_t)
NARROWS_WIDE(int8_t, int32_t)
NARROWS_WIDE(int16_t, int32_t)
#undef NARROWS_WIDE
template <typename T>
using Wide = typename WideOf<T>::type;

// N elements that are read and written at once.
template <typename T, int N>
struct alignas(N * sizeof(T)) Pack {
  T values[N];
};

// The number of elements that a thread takes at once: those of the larger type fill 16 bytes.
// Strided kernels, which may have to take them one by one, take at most eight. Contiguous kernels
// take several packs, to have several loads in flight.
template <typename A, typename B>
struct ElementsPerThread {
  enum {
    value = 16 / (sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B)),
    strided = value < 8 ? value : 8,
    packs = value <= 2 ? 4 : 2
  };
};

// Floats out of the range of integers become the smallest integer. Conversions to small types wrap
// around.
template <typename T>
METAL_FUNC int32_t to_int32(T x) {
  return x >= T(-2147483648.0f) && x < T(2147483648.0f) ? int32_t(x) : int32_t(0x80000000u);
}
template <typename T>
METAL_FUNC int64_t to_int64(T x) {
  const T limit = T(9223372036854775808.0f);
  return x >= -limit && x < limit ? int64_t(x) : int64_t(uint64_t(1) << 63);
}
template <typename T>
METAL_FUNC uint64_t to_uint64(T x) {
  const T limit = T(9223372036854775808.0f);
  const bool large = x >= limit;
  const int64_t low = to_int64(large ? x - limit : x);
  return uint64_t(low) ^ (large ? uint64_t(1) << 63 : uint64_t(0));
}

template <typename To>
struct Convert {
  template <typename From>
  METAL_FUNC To operator()(From x) const {
    if constexpr (metal::is_same_v<To, bool>) {
      return x != From(0);
    } else if constexpr (metal::is_integral_v<From> || !metal::is_integral_v<To>) {
      return To(x);
    } else if constexpr (metal::is_same_v<To, uint64_t>) {
      return to_uint64(x);
    } else if constexpr (metal::is_same_v<To, int64_t> || metal::is_same_v<To, uint32_t>) {
      return To(to_int64(x));
    } else {
      return To(to_int32(x));
    }
  }
  METAL_FUNC To operator()(complex64_t x) const {
    if constexpr (metal::is_same_v<To, bool>) {
      return x.real != 0.0f || x.imag != 0.0f;
    } else {
      return Convert()(x.real);
    }
  }
};
template <>
struct Convert<complex64_t> {
  template <typename From>
  METAL_FUNC complex64_t operator()(From x) const {
    return complex64_t{float(x), 0.0f};
  }
  METAL_FUNC complex64_t operator()(complex64_t x) const {
    return x;
  }
};

// The type of a result, by the column `result` of elementwise.def.
template <typename T>
struct ResultOf {
  using same = T;
  using boolean = bool;
  using real = T;
};
template <>
struct ResultOf<complex64_t> {
  using same = complex64_t;
  using boolean = bool;
  using real = float;
};

// MACRO(T, "name of T", ...) for each type. Metal has no float64.
#if METAL_HAS_FLOAT64
#define NARROWS_FLOAT64_TYPE(MACRO, ...) MACRO(double, "float64", __VA_ARGS__)
#else
#define NARROWS_FLOAT64_TYPE(MACRO, ...)
#endif
#define NARROWS_BOOLEAN_TYPES(MACRO, ...) MACRO(bool, "bool", __VA_ARGS__)
#define NARROWS_UNSIGNED_TYPES(MACRO, ...) \
  MACRO(uint8_t, "uint8", __VA_ARGS__)     \
  MACRO(uint16_t, "uint16", __VA_ARGS__)   \
  MACRO(uint32_t, "uint32", __VA_ARGS__)   \
  MACRO(uint64_t, "uint64", __VA_ARGS__)
#define NARROWS_SIGNED_TYPES(MACRO, ...) \
  MACRO(int8_t, "int8", __VA_ARGS__)     \
  MACRO(int16_t, "int16", __VA_ARGS__)   \
  MACRO(int32_t, "int32", __VA_ARGS__)   \
  MACRO(int64_t, "int64", __VA_ARGS__)
#define NARROWS_FLOATING_TYPES(MACRO, ...) \
  MACRO(half, "float16", __VA_ARGS__)      \
  MACRO(bfloat, "bfloat16", __VA_ARGS__)   \
  MACRO(float, "float32", __VA_ARGS__)     \
  NARROWS_FLOAT64_TYPE(MACRO, __VA_ARGS__)
#define NARROWS_COMPLEX_TYPES(MACRO, ...) MACRO(complex64_t, "complex64", __VA_ARGS__)

// The types of the column `kernels` of elementwise.def.
#define NARROWS_TYPES_boolean NARROWS_BOOLEAN_TYPES
#define NARROWS_TYPES_integral(MACRO, ...)   \
  NARROWS_BOOLEAN_TYPES(MACRO, __VA_ARGS__)  \
  NARROWS_UNSIGNED_TYPES(MACRO, __VA_ARGS__) \
  NARROWS_SIGNED_TYPES(MACRO, __VA_ARGS__)
#define NARROWS_TYPES_floating NARROWS_FLOATING_TYPES
#define NARROWS_TYPES_inexact(MACRO, ...)    \
  NARROWS_FLOATING_TYPES(MACRO, __VA_ARGS__) \
  NARROWS_COMPLEX_TYPES(MACRO, __VA_ARGS__)
#define NARROWS_TYPES_real(MACRO, ...) \
  NARROWS_TYPES_integral(MACRO, __VA_ARGS__) NARROWS_FLOATING_TYPES(MACRO, __VA_ARGS__)
#define NARROWS_TYPES_numeric(MACRO, ...)    \
  NARROWS_UNSIGNED_TYPES(MACRO, __VA_ARGS__) \
  NARROWS_SIGNED_TYPES(MACRO, __VA_ARGS__)   \
  NARROWS_TYPES_inexact(MACRO, __VA_ARGS__)
#define NARROWS_TYPES_any(MACRO, ...)       \
  NARROWS_BOOLEAN_TYPES(MACRO, __VA_ARGS__) \
  NARROWS_TYPES_numeric(MACRO, __VA_ARGS__)
