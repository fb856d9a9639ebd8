// Vectors of the width of this translation unit's instruction set, and conversions between
// stored elements and vectors of the type that they are computed in.
//
// Everything is in an anonymous namespace: a function that was compiled for AVX-512 must never
// be the one copy that the linker keeps for code that runs on older processors.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#define NARROWS_INLINE inline __attribute__((always_inline))

namespace narrows::cpu::NARROWS_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

#if defined(__AVX512F__)
// The unmasked forms of some intrinsics make g++ 12 warn of an uninitialized operand.
constexpr __mmask16 kAllLanes = 0xffff;
#endif

template <typename T, int N>
struct VectorType {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <typename T, int N>
using Vector = typename VectorType<T, N>::type;

template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

// Elements as they are stored. bool is stored as uint8_t 0 or 1.
struct Half {
  uint16_t bits;
};
struct Bfloat {
  uint16_t bits;
};
struct Complex {
  float re;
  float im;
};
// Accumulates complex sums.
struct ComplexDouble {
  double re;
  double im;
};

template <typename T>
constexpr bool kIs16Bit = std::is_same_v<T, Half> || std::is_same_v<T, Bfloat>;
template <typename T>
constexpr bool kIsComplex = std::is_same_v<T, Complex> || std::is_same_v<T, ComplexDouble>;

template <typename To, typename From>
NARROWS_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

template <typename T>
NARROWS_INLINE T load_as(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T, int N>
NARROWS_INLINE Vector<T, N> splat(T value) {
  return value - Vector<T, N>{};
}

// Float of the bits of N IEEE halves: exponent and mantissa are shifted into place and rescaled,
// which is exact for subnormals too.
template <int N>
NARROWS_INLINE Vector<float, N> half_bits_to_float(Vector<uint16_t, N> bits) {
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    return bits_as<Vector<float, N>>(_mm512_maskz_cvtph_ps(kAllLanes, bits_as<__m256i>(bits)));
  }
#endif
#if defined(__F16C__)
  if constexpr (N == 8) {
    return bits_as<Vector<float, N>>(_mm256_cvtph_ps(bits_as<__m128i>(bits)));
  }
#endif
  using U = Vector<uint32_t, N>;
  const U wide = __builtin_convertvector(bits, U);
  const U sign = (wide & 0x8000u) << 16;
  const U magnitude = wide & 0x7fffu;
  const Vector<float, N> scaled = bits_as<Vector<float, N>>(magnitude << 13) * 0x1p112f;
  const U inf_nan = (U)(magnitude >= 0x7c00u) & 0x7f800000u;
  return bits_as<Vector<float, N>>(bits_as<U>(scaled) | inf_nan | sign);
}

template <int N>
NARROWS_INLINE Vector<uint16_t, N> float_to_half_bits(Vector<float, N> value) {
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    return bits_as<Vector<uint16_t, N>>(
        _mm512_maskz_cvtps_ph(kAllLanes, bits_as<__m512>(value), _MM_FROUND_TO_NEAREST_INT));
  }
#endif
#if defined(__F16C__)
  if constexpr (N == 8) {
    return bits_as<Vector<uint16_t, N>>(
        _mm256_cvtps_ph(bits_as<__m256>(value), _MM_FROUND_TO_NEAREST_INT));
  }
#endif
  using U = Vector<uint32_t, N>;
  const U bits = bits_as<U>(value);
  const U sign = bits & 0x80000000u;
  const U magnitude = bits ^ sign;
  const U nan = ((magnitude >> 13) & 0x3ffu) | 0x7e00u;
  const U infinity = U{} + 0x7c00u;
  // Adding 0.5 lines a subnormal's mantissa up with the half's last bit and rounds it.
  const U subnormal = bits_as<U>(bits_as<Vector<float, N>>(magnitude) + 0.5f) - 0x3f000000u;
  const U normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const U finite = magnitude < 0x38800000u ? subnormal : normal;
  const U half = magnitude > 0x7f800000u ? nan : (magnitude >= 0x477ff000u ? infinity : finite);
  return __builtin_convertvector(half | (sign >> 16), Vector<uint16_t, N>);
}

template <int N>
NARROWS_INLINE Vector<uint16_t, N> float_to_bfloat_bits(Vector<float, N> value) {
  using U = Vector<uint32_t, N>;
  const U bits = bits_as<U>(value);
  const U rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const U quiet_nan = (bits >> 16) | 0x40u;
  const U result = (bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded;
  return __builtin_convertvector(result, Vector<uint16_t, N>);
}

// N consecutive elements, converted to T.
template <typename T, int N, typename Stored>
NARROWS_INLINE Vector<T, N> load_lanes(const Stored* from) {
  if constexpr (std::is_same_v<Stored, Half>) {
    return half_bits_to_float<N>(load_as<Vector<uint16_t, N>>(from));
  } else if constexpr (std::is_same_v<Stored, Bfloat>) {
    using U = Vector<uint32_t, N>;
    const U wide = __builtin_convertvector((load_as<Vector<uint16_t, N>>(from)), U);
    return bits_as<Vector<float, N>>(wide << 16);
  } else if constexpr (std::is_same_v<Stored, T>) {
    return load_as<Vector<T, N>>(from);
  } else {
    return __builtin_convertvector((load_as<Vector<Stored, N>>(from)), Vector<T, N>);
  }
}

template <int N, typename Stored, typename V>
NARROWS_INLINE void store_lanes(Stored* to, V value) {
  if constexpr (std::is_same_v<Stored, Half>) {
    const auto bits = float_to_half_bits<N>(value);
    std::memcpy(to, &bits, sizeof(bits));
  } else if constexpr (std::is_same_v<Stored, Bfloat>) {
    const auto bits = float_to_bfloat_bits<N>(value);
    std::memcpy(to, &bits, sizeof(bits));
  } else if constexpr (std::is_same_v<V, Vector<Stored, N>>) {
    std::memcpy(to, &value, sizeof(value));
  } else {
    const auto stored = __builtin_convertvector(value, Vector<Stored, N>);
    std::memcpy(to, &stored, sizeof(stored));
  }
}

// One element, converted to T.
template <typename T, typename Stored>
NARROWS_INLINE T widen(Stored value) {
  if constexpr (std::is_same_v<Stored, Half>) {
    return static_cast<T>(half_bits_to_float<4>(Vector<uint16_t, 4>{} + value.bits)[0]);
  } else if constexpr (std::is_same_v<Stored, Bfloat>) {
    return static_cast<T>(bits_as<float>(static_cast<uint32_t>(value.bits) << 16));
  } else if constexpr (kIsComplex<Stored>) {
    return T{value.re, value.im};
  } else {
    return static_cast<T>(value);
  }
}

template <typename Stored, typename T>
NARROWS_INLINE Stored narrow(T value) {
  if constexpr (std::is_same_v<Stored, Half>) {
    return {float_to_half_bits<4>(splat<float, 4>(static_cast<float>(value)))[0]};
  } else if constexpr (std::is_same_v<Stored, Bfloat>) {
    return {float_to_bfloat_bits<4>(splat<float, 4>(static_cast<float>(value)))[0]};
  } else if constexpr (kIsComplex<Stored>) {
    return {
        static_cast<decltype(Stored::re)>(value.re), static_cast<decltype(Stored::re)>(value.im)};
  } else {
    return static_cast<Stored>(value);
  }
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
