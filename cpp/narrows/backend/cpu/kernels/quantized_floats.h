// Codes that are floating-point numbers of 4 and 8 bits.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_codes.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Four bits: a sign, two of an exponent, one of a mantissa. They stand for 0, 0.5, 1, 1.5, 2, 3,
// 4, 6.
struct E2M1 {
  static constexpr int kBits = 4;
  static constexpr float kLargest = 6;

  static NARROWS_INLINE Floats decode(Words codes) {
    const Floats table = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    const Floats magnitude = __builtin_shuffle(table, bits_as<Vector<int32_t, 8>>(codes & 7u));
    return bits_as<Floats>(bits_as<Words>(magnitude) | (codes & 8u) << 28);
  }
  // The nearest; what lies in the middle goes to zero. Zero has no sign, and so has NaN.
  static NARROWS_INLINE Words encode(Floats x) {
    const Floats a = magnitudes(x);
    Words code{};
    for (const float middle : {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f}) {
      code -= bits_as<Words>(a > middle);
    }
    return code | (bits_as<Words>(code != 0u) & signs(x) >> 28);
  }
};

// Eight bits: a sign, four of an exponent, three of a mantissa; no infinities.
struct E4M3 {
  static constexpr int kBits = 8;
  static constexpr float kLargest = 448;

  static NARROWS_INLINE Floats decode(Words codes) {
    const Words half = (codes & 0x7fu) << 7 | (codes & 0x80u) << 8;
    const Floats x =
        half_bits_to_float<8>(__builtin_convertvector(half, Vector<uint16_t, 8>)) * 256.0f;
    const Words nan = bits_as<Words>((codes & 0x7fu) == 0x7fu) & 0x7fc00000u;
    return bits_as<Floats>(bits_as<Words>(x) | nan);
  }
#if defined(__AVX2__)
  // Of 16 codes. One that is moved to the place of a half's exponent is a half 2^8 times too small.
  static NARROWS_INLINE void decode_sixteen(const std::byte* codes, Floats& first, Floats& second) {
    const __m256i words = _mm256_cvtepu8_epi16(load_as<__m128i>(codes));
    const __m256i moved = _mm256_srai_epi16(_mm256_slli_epi16(words, 8), 1);
    const __m256i halves = _mm256_and_si256(moved, _mm256_set1_epi16(static_cast<int16_t>(0xbfff)));
    const __m256i magnitudes = _mm256_and_si256(words, _mm256_set1_epi16(0x7f));
    const __m256i nan = _mm256_cmpeq_epi16(magnitudes, _mm256_set1_epi16(0x7f));
    const __m256i all = _mm256_or_si256(halves, nan);
    first = bits_as<Floats>(_mm256_cvtph_ps(_mm256_castsi256_si128(all))) * 256.0f;
    second = bits_as<Floats>(_mm256_cvtph_ps(_mm256_extracti128_si256(all, 1))) * 256.0f;
  }
#endif
  // The nearest, ties to even; what is larger than all of them, and NaN, is the largest.
  static NARROWS_INLINE Words encode(Floats x) {
    const Floats a = smaller(magnitudes(x), splat<float, 8>(kLargest));
    const Words bits = bits_as<Words>(a);
    const Words normal = ((bits + 0x7ffffu + (bits >> 20 & 1u)) >> 20) - (120u << 3);
    const Words code = a < 0x1p-6f ? rounded(a * 512.0f) : normal;
    return code | signs(x) >> 24;
  }
};

// One number by the function for eight.
NARROWS_INLINE uint8_t encode_e4m3(float x) {
  return static_cast<uint8_t>(E4M3::encode(splat<float, 8>(x))[0]);
}

// Scales that are powers of two: their exponents plus 127.
struct PowerScale {
  static NARROWS_INLINE Floats decode(Words codes) {
    return bits_as<Floats>((bits_as<Words>(codes == 0u) & 0x00400000u) | codes << 23);
  }
  // The smallest that is not below x; one for zero.
  static NARROWS_INLINE uint8_t encode(float x) {
    constexpr uint32_t kSmallest = 0x00400000u;
    const auto bits = bits_as<uint32_t>(x);
    const uint32_t up = bits <= kSmallest ? 0 : (bits >> 23) + ((bits & 0x7fffffu) != 0 ? 1 : 0);
    return static_cast<uint8_t>(x == 0 ? 127 : (up < 255 ? up : 255));
  }
};

// Scales that are 8-bit floats.
struct FloatScale {
  static NARROWS_INLINE Floats decode(Words codes) {
    return E4M3::decode(codes);
  }
  static NARROWS_INLINE uint8_t encode(float x) {
    return encode_e4m3(x);
  }
};

// Floats with one scale for each group.
template <typename Format, typename Scale, int octets>
struct FloatCodes : PackedCodes<Format::kBits, octets> {
  static constexpr int kBits = Format::kBits;
  static constexpr int kOctets = octets;
  static constexpr int kGroup = 8 * octets < 32 ? 16 : 32;
  static constexpr bool kHasBias = false;
#if defined(__AVX2__)
  static constexpr bool kSixteens = std::is_same_v<Format, E4M3>;
#else
  static constexpr bool kSixteens = false;
#endif

  uint8_t code;
  float scale;

  static NARROWS_INLINE Floats number(Words codes) {
    return Format::decode(codes);
  }
  [[gnu::noinline]] static void load_scales(
      const void* from, Dtype, int64_t first, int64_t count, float* to) {
    const auto* codes = static_cast<const uint8_t*>(from) + first;
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
      store_lanes<8>(to + i, Scale::decode(words_of_bytes(codes + i)));
    }
    for (; i < count; ++i) {
      to[i] = decoded(codes[i]);
    }
  }

  static NARROWS_INLINE float decoded(uint8_t scale) {
    return Scale::decode(Words{} + scale)[0];
  }

  static NARROWS_INLINE FloatCodes of(Floats lowest, Floats highest) {
    const float magnitude = largest_of(magnitudes(larger(highest, -lowest)));
    FloatCodes result;
    result.code = Scale::encode(magnitude / Format::kLargest);
    result.scale = decoded(result.code);
    result.scale = result.scale == 0 ? 1.0f : result.scale;
    return result;
  }
  NARROWS_INLINE Words encode(Floats x) const {
    return Format::encode(x / scale);
  }
  template <typename Stored>
  NARROWS_INLINE void store_scales(void* scales, void*, int64_t at) const {
    static_cast<uint8_t*>(scales)[at] = code;
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
