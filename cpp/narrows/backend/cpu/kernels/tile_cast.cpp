// Tile kernels that convert between dtypes, and those that select.
#include "narrows/backend/cpu/kernels/tile_loops.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace narrows::cpu::NARROWS_ISA {
namespace {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
template <>
struct DtypeOf<Float16> {
  static constexpr Dtype value = Dtype::float16;
};
template <>
struct DtypeOf<BFloat16> {
  static constexpr Dtype value = Dtype::bfloat16;
};

METAL_FUNC float to_float(BFloat16 x) {
  return metal::detail::float_of(uint32_t(x.bits) << 16);
}

METAL_FUNC BFloat16 to_bfloat16(float x) {
  const uint32_t bits = metal::detail::bits(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {uint16_t(x != x ? (bits >> 16) | 0x40u : rounded)};
}

METAL_FUNC float to_float(Float16 x) {
  const uint32_t sign = uint32_t(x.bits & 0x8000u) << 16;
  const uint32_t magnitude = x.bits & 0x7fffu;
  // Exponent and mantissa in place, then rescaled: right for subnormal numbers too.
  const float scaled = metal::detail::float_of(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
  const uint32_t quiet = magnitude > 0x7c00u ? 0x00400000u : 0u;
  return metal::detail::float_of(metal::detail::bits(scaled) | special | quiet | sign);
}

METAL_FUNC Float16 to_float16(float x) {
  const uint32_t bits = metal::detail::bits(x);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Adding 0.5 lines a subnormal half's last bit up with the float's and rounds.
  const uint32_t subnormal =
      metal::detail::bits(metal::detail::float_of(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  const uint32_t number = magnitude >= 0x477ff000u ? 0x7c00u : finite;
  const uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  return {uint16_t((magnitude > 0x7f800000u ? nan : number) | ((bits >> 16) & 0x8000u))};
}

// Floats beyond the integers: what x86 does, where they become the smallest integer, on every
// processor; conversions to small types wrap around.
METAL_FUNC int32_t to_int32(float x) {
  const bool inside = (x >= -0x1p31f) & (x < 0x1p31f);
  return inside ? int32_t(x) : INT32_MIN;
}
METAL_FUNC int32_t to_int32(double x) {
  const bool inside = (x > -0x1p31 - 1.0) & (x < 0x1p31);
  return inside ? int32_t(x) : INT32_MIN;
}
template <typename T>
METAL_FUNC int64_t to_int64(T x) {
  const bool inside = (x >= T(-0x1p63)) & (x < T(0x1p63));
  return inside ? int64_t(x) : INT64_MIN;
}
template <typename T>
METAL_FUNC uint64_t to_uint64(T x) {
  const bool large = x >= T(0x1p63);
  const int64_t low = to_int64(large ? x - T(0x1p63) : x);
  return uint64_t(low) ^ (large ? uint64_t(1) << 63 : uint64_t(0));
}

template <typename To, typename From>
METAL_FUNC To convert(From x) {
  constexpr bool kToComplex = __is_same(To, complex64_t);
  if constexpr (__is_same(To, From)) {
    return x;
  } else if constexpr (__is_same(From, complex64_t)) {
    if constexpr (__is_same(To, bool)) {
      return (x.real != 0.0f) | (x.imag != 0.0f);
    } else {
      return convert<To>(x.real);
    }
  } else if constexpr (kToComplex) {
    return complex64_t{float(x), 0.0f};
  } else if constexpr (__is_same(To, bool)) {
    return x != From(0);
  } else if constexpr (metal::is_integral_v<From> || !metal::is_integral_v<To>) {
    return To(x);
  } else if constexpr (__is_same(To, uint64_t)) {
    return to_uint64(x);
  } else if constexpr (__is_same(To, int64_t) || __is_same(To, uint32_t)) {
    return To(to_int64(x));
  } else {
    return To(to_int32(x));
  }
}

template <typename To, typename From>
struct Convert {
  METAL_FUNC To operator()(From x) const {
    return convert<To>(x);
  }
};

template <typename Half>
void half_to_float(const void* const* in, void* out, int64_t n) {
  const auto* a = static_cast<const Half*>(in[0]);
  auto* o = static_cast<float*>(out);
  int64_t i = 0;
#if defined(__F16C__)
  if constexpr (__is_same(Half, Float16)) {
    for (; i + 8 <= n; i += 8) {
      const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i));
      _mm256_storeu_ps(o + i, _mm256_cvtph_ps(halves));
    }
  }
#endif
  NARROWS_INDEPENDENT
  for (; i < n; ++i) {
    o[i] = to_float(a[i]);
  }
}

template <typename Half>
void float_to_half(const void* const* in, void* out, int64_t n) {
  const auto* a = static_cast<const float*>(in[0]);
  auto* o = static_cast<Half*>(out);
  int64_t i = 0;
  if constexpr (__is_same(Half, Float16)) {
#if defined(__F16C__)
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    for (; i + 8 <= n; i += 8) {
      const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(a + i), kNearest);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(o + i), halves);
    }
#endif
    NARROWS_INDEPENDENT
    for (; i < n; ++i) {
      o[i] = to_float16(a[i]);
    }
  } else {
    NARROWS_INDEPENDENT
    for (; i < n; ++i) {
      o[i] = to_bfloat16(a[i]);
    }
  }
}

constexpr int64_t kBlock = 512;

// From and to 16-bit floats through float32, a block at a time.
template <typename Half, typename To>
void cast_from_half(const void* const* in, void* out, int64_t n) {
  alignas(64) float block[kBlock];
  const void* const block_in[] = {block};
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = n - i < kBlock ? n - i : kBlock;
    const void* const half_in[] = {static_cast<const Half*>(in[0]) + i};
    half_to_float<Half>(half_in, block, count);
    unary_loop<Convert<To, float>, float>(block_in, static_cast<stored_t<To>*>(out) + i, count);
  }
}
template <typename From, typename Half>
void cast_to_half(const void* const* in, void* out, int64_t n) {
  alignas(64) float block[kBlock];
  const void* const block_in[] = {block};
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = n - i < kBlock ? n - i : kBlock;
    const void* const full_in[] = {static_cast<const stored_t<From>*>(in[0]) + i};
    unary_loop<Convert<float, From>, From>(full_in, block, count);
    float_to_half<Half>(block_in, static_cast<Half*>(out) + i, count);
  }
}
template <typename Half, typename OtherHalf>
void cast_between_halves(const void* const* in, void* out, int64_t n) {
  alignas(64) float block[kBlock];
  const void* const block_in[] = {block};
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = n - i < kBlock ? n - i : kBlock;
    const void* const half_in[] = {static_cast<const Half*>(in[0]) + i};
    half_to_float<Half>(half_in, block, count);
    float_to_half<OtherHalf>(block_in, static_cast<OtherHalf*>(out) + i, count);
  }
}

template <int64_t kSize>
void copy(const void* const* in, void* out, int64_t n) {
  __builtin_memmove(out, in[0], static_cast<size_t>(n * kSize));
}

template <typename T>
constexpr bool kIsHalf = __is_same(T, Float16) || __is_same(T, BFloat16);

template <typename From, typename To>
constexpr TileKernel cast_kernel() {
  if constexpr (__is_same(From, To)) {
    return copy<sizeof(From)>;
  } else if constexpr (kIsHalf<From> && kIsHalf<To>) {
    return cast_between_halves<From, To>;
  } else if constexpr (kIsHalf<From> && __is_same(To, float)) {
    return half_to_float<From>;
  } else if constexpr (kIsHalf<To> && __is_same(From, float)) {
    return float_to_half<To>;
  } else if constexpr (kIsHalf<From>) {
    return cast_from_half<From, To>;
  } else if constexpr (kIsHalf<To>) {
    return cast_to_half<From, To>;
  } else {
    return unary_loop<Convert<To, From>, From>;
  }
}

template <typename From, typename... To>
METAL_FUNC void fill_casts_from(TileKernels& table) {
  ((table.cast[static_cast<int>(DtypeOf<From>::value)][static_cast<int>(DtypeOf<To>::value)] =
        cast_kernel<From, To>()),
   ...);
}
template <typename... Types>
METAL_FUNC void fill_casts(TileKernels& table) {
  (fill_casts_from<Types, Types...>(table), ...);
}

template <typename T>
void select_loop(const void* const* in, void* out, int64_t n) {
  const auto* condition = static_cast<const uint8_t*>(in[0]);
  const auto* a = static_cast<const T*>(in[1]);
  const auto* b = static_cast<const T*>(in[2]);
  auto* o = static_cast<T*>(out);
  NARROWS_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T left = a[i];
    const T right = b[i];
    o[i] = Select()(condition[i] != 0, left, right);
  }
}

} // namespace

void add_cast_kernels(TileKernels& table) {
  fill_casts<
      bool,
      uint8_t,
      uint16_t,
      uint32_t,
      uint64_t,
      int8_t,
      int16_t,
      int32_t,
      int64_t,
      Float16,
      BFloat16,
      float,
      double,
      complex64_t>(table);
}

void add_select_kernels(TileKernels& table) {
  table.select[0] = select_loop<uint8_t>;
  table.select[1] = select_loop<uint16_t>;
  table.select[2] = select_loop<uint32_t>;
  table.select[3] = select_loop<uint64_t>;
}

} // namespace narrows::cpu::NARROWS_ISA
