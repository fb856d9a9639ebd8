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
  // The nearest, ties to even; what is larger than all of them, and NaN, is the largest.
  static NARROWS_INLINE Words encode(Floats x) {
    const Floats a = smaller(magnitudes(x), splat<float, 8>(kLargest));
    const Words bits = bits_as<Words>(a);
    const Words normal = ((bits + 0x7ffffu + (bits >> 20 & 1u)) >> 20) - (120u << 3);
    const Words code = a < 0x1p-6f ? rounded(a * 512.0f) : normal;
    return code | signs(x) >> 24;
  }
};

// One number by the functions for eight.
NARROWS_INLINE float decode_e4m3(uint8_t code) {
  return E4M3::decode(Words{} + code)[0];
}
NARROWS_INLINE uint8_t encode_e4m3(float x) {
  return static_cast<uint8_t>(E4M3::encode(splat<float, 8>(x))[0]);
}

// Scales that are powers of two: their exponents plus 127.
struct PowerScale {
  static NARROWS_INLINE float decode(uint8_t code) {
    return bits_as<float>(code == 0 ? 0x00400000u : uint32_t{code} << 23);
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
  static NARROWS_INLINE float decode(uint8_t code) {
    return decode_e4m3(code);
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
  static constexpr bool kHasBias = false;

  uint8_t code;
  float scale;

  static NARROWS_INLINE Floats number(Words codes) {
    return Format::decode(codes);
  }
  [[gnu::noinline]] static void load_scales(
      const void* from, Dtype, int64_t first, int64_t count, float* to) {
    const auto* codes = static_cast<const uint8_t*>(from) + first;
    for (int64_t i = 0; i < count; ++i) {
      to[i] = Scale::decode(codes[i]);
    }
  }

  static NARROWS_INLINE FloatCodes of(Floats lowest, Floats highest) {
    const float magnitude = largest_of(magnitudes(larger(highest, -lowest)));
    FloatCodes result;
    result.code = Scale::encode(magnitude / Format::kLargest);
    result.scale = Scale::decode(result.code);
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
