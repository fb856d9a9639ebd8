// Vectors of 32 bytes for products in integers, where an instruction set has instructions for them:
// AVX2, with or without VNNI, and the dot products of arm64.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_codes.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

#if defined(__AVX2__) || defined(__ARM_FEATURE_DOTPROD)
#define NARROWS_INTEGER_PRODUCTS 1

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Codes, or digits of numbers, that are multiplied at once: those at even places, then the others.
constexpr int64_t kCodesAtOnce = 64;
constexpr int64_t kHalf = kCodesAtOnce / 2;

constexpr int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

using Integers8 = Vector<int32_t, 8>;

// The nearest integers, ties to even.
NARROWS_INLINE Floats nearest(Floats x) {
#if defined(__AVX2__)
  return bits_as<Floats>(
      _mm256_round_ps(bits_as<__m256>(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  Floats integers;
  for (int i = 0; i < 8; i += 4) {
    float four[4];
    std::memcpy(four, reinterpret_cast<const float*>(&x) + i, sizeof(four));
    vst1q_f32(four, vrndnq_f32(vld1q_f32(four)));
    std::memcpy(reinterpret_cast<float*>(&integers) + i, four, sizeof(four));
  }
  return integers;
#endif
}

// The low bytes of eight integers: those at even places, then the others.
NARROWS_INLINE void store_low_bytes(Integers8 integers, std::byte* to) {
#if defined(__AVX2__)
  const auto all = bits_as<__m256i>(integers);
  const __m128i first = _mm_setr_epi8(0, 8, -1, -1, 4, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m128i second = _mm_setr_epi8(-1, -1, 0, 8, -1, -1, 4, 12, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m128i bytes = _mm_or_si128(
      _mm_shuffle_epi8(_mm256_castsi256_si128(all), first),
      _mm_shuffle_epi8(_mm256_extracti128_si256(all, 1), second));
  const auto eight = _mm_cvtsi128_si64(bytes);
#else
  int32_t words[8];
  std::memcpy(words, &integers, sizeof(words));
  const int32x4_t first = vld1q_s32(words);
  const int32x4_t second = vld1q_s32(words + 4);
  const int32x4_t even = vuzp1q_s32(first, second);
  const int32x4_t odd = vuzp2q_s32(first, second);
  const int16x8_t both = vcombine_s16(vmovn_s32(even), vmovn_s32(odd));
  const uint64_t eight = vget_lane_u64(vreinterpret_u64_s8(vmovn_s16(both)), 0);
#endif
  std::memcpy(to, &eight, sizeof(eight));
}

// The integers without their low bytes, which have signs: what is left is rounded.
NARROWS_INLINE Integers8 high_digits(Integers8 integers) {
  return (integers + 128) >> 8;
}

#if defined(__AVX2__)

using ByteLanes = __m256i;
using SumLanes = __m256i;

NARROWS_INLINE ByteLanes load_bytes(const std::byte* from) {
  return load_as<__m256i>(from);
}

// sums + the products of words of 16 bits, two neighbours to each place.
NARROWS_INLINE __m256i add_pairs(__m256i sums, __m256i a, __m256i b) {
#if defined(__AVX512VNNI__)
  return _mm256_dpwssd_epi32(sums, a, b);
#elif defined(__AVXVNNI__)
  return _mm256_dpwssd_avx_epi32(sums, a, b);
#else
  return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
#endif
}

// Sums of products of codes, which are bytes, and digits: four neighbours to each of eight places.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
struct DigitSums {
  static NARROWS_INLINE SumLanes add(SumLanes sums, ByteLanes codes, ByteLanes digits) {
#if defined(__AVX512VNNI__)
    return _mm256_dpbusd_epi32(sums, codes, digits);
#else
    return _mm256_dpbusd_avx_epi32(sums, codes, digits);
#endif
  }
  // The sums of two digits, the higher one first, as one integer.
  static NARROWS_INLINE SumLanes joined(SumLanes high, SumLanes low) {
    return _mm256_add_epi32(_mm256_slli_epi32(high, 8), low);
  }
  // The same, where the higher ones are joined already.
  static NARROWS_INLINE SumLanes with_lower(SumLanes joined, SumLanes low) {
    return _mm256_add_epi32(_mm256_slli_epi32(joined, 8), low);
  }
  // Those of one digit.
  static NARROWS_INLINE SumLanes whole(SumLanes sums) {
    return sums;
  }
};
#else
// They are in 16 bits, two places for each of the eight, until they are joined.
struct DigitSums {
  static NARROWS_INLINE SumLanes add(SumLanes sums, ByteLanes codes, ByteLanes digits) {
    return _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, digits));
  }
  static NARROWS_INLINE SumLanes joined(SumLanes high, SumLanes low) {
    return _mm256_add_epi32(_mm256_madd_epi16(high, _mm256_set1_epi16(256)), whole(low));
  }
  static NARROWS_INLINE SumLanes with_lower(SumLanes joined, SumLanes low) {
    return _mm256_add_epi32(_mm256_slli_epi32(joined, 8), whole(low));
  }
  static NARROWS_INLINE SumLanes whole(SumLanes sums) {
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
  }
};
#endif

NARROWS_INLINE Floats numbers_of(SumLanes sums) {
  return bits_as<Floats>(_mm256_cvtepi32_ps(sums));
}

// Codes of one, two or four bits as bytes: of kCodesAtOnce those at even places, then the others.
template <int kBits>
NARROWS_INLINE void unpack_bytes(const std::byte* codes, ByteLanes& even, ByteLanes& odd) {
  const __m256i low_bits = _mm256_set1_epi8((1 << kBits) - 1);
  if constexpr (kBits == 4) {
    const __m256i bytes = load_as<__m256i>(codes);
    even = _mm256_and_si256(bytes, low_bits);
    odd = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_bits);
  } else if constexpr (kBits == 2) {
    // The four codes of a byte: two neighbours to each byte of a word.
    const __m256i words = _mm256_cvtepu8_epi16(load_as<__m128i>(codes));
    const __m256i pairs = _mm256_or_si256(words, _mm256_slli_epi16(words, 4));
    even = _mm256_and_si256(pairs, low_bits);
    odd = _mm256_and_si256(_mm256_srli_epi16(pairs, 2), low_bits);
  } else {
    // The eight codes of a byte: two neighbours to each byte of a word of 32 bits.
    const auto words = bits_as<__m256i>(words_of_bytes(codes));
    const __m256i fours = _mm256_or_si256(words, _mm256_slli_epi32(words, 12));
    const __m256i pairs = _mm256_or_si256(fours, _mm256_slli_epi32(fours, 6));
    even = _mm256_and_si256(pairs, low_bits);
    odd = _mm256_and_si256(_mm256_srli_epi32(pairs, 1), low_bits);
  }
}

// Of each sixteen bytes the entries of the table that they name.
NARROWS_INLINE ByteLanes entries(const int8_t (&table)[16], ByteLanes places) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_as<__m128i>(table)), places);
}

#else

struct ByteLanes {
  int8x16_t half[2];
};
struct SumLanes {
  int32x4_t half[2];
};

NARROWS_INLINE uint8x16_t load_sixteen(const std::byte* from) {
  return vld1q_u8(reinterpret_cast<const uint8_t*>(from));
}
NARROWS_INLINE ByteLanes load_bytes(const std::byte* from) {
  return {vreinterpretq_s8_u8(load_sixteen(from)), vreinterpretq_s8_u8(load_sixteen(from + 16))};
}

// Sums of products of codes and digits, both bytes with signs: four neighbours to each place.
struct DigitSums {
  static NARROWS_INLINE SumLanes
  add(const SumLanes& sums, const ByteLanes& codes, const ByteLanes& digits) {
    return {
        vdotq_s32(sums.half[0], codes.half[0], digits.half[0]),
        vdotq_s32(sums.half[1], codes.half[1], digits.half[1])};
  }
  // The sums of two digits, the higher one first, as one integer.
  static NARROWS_INLINE SumLanes joined(const SumLanes& high, const SumLanes& low) {
    return {
        vaddq_s32(vshlq_n_s32(high.half[0], 8), low.half[0]),
        vaddq_s32(vshlq_n_s32(high.half[1], 8), low.half[1])};
  }
  // The same, where the higher ones are joined already.
  static NARROWS_INLINE SumLanes with_lower(const SumLanes& high, const SumLanes& low) {
    return joined(high, low);
  }
  static NARROWS_INLINE SumLanes whole(const SumLanes& sums) {
    return sums;
  }
};

NARROWS_INLINE Floats numbers_of(const SumLanes& sums) {
  const float32x4_t first = vcvtq_f32_s32(sums.half[0]);
  const float32x4_t second = vcvtq_f32_s32(sums.half[1]);
  return Floats{first[0], first[1], first[2], first[3], second[0], second[1], second[2], second[3]};
}

// Codes as bytes: of kCodesAtOnce those at even places, then the others. A pair of neighbours is
// brought into one word of 16 bits, and moved to its low end by a distance of its own.
template <int kBits>
class PairsOfCodes {
 public:
  // Pairs 8 * part to 8 * part + 7, with what follows them above. Nothing beyond the codes is read.
  template <int part>
  static NARROWS_INLINE uint16x8_t load(const std::byte* codes) {
    uint8x16_t bytes;
    if constexpr (kBytes < 16) {
      bytes = vcombine_u8(vld1_u8(reinterpret_cast<const uint8_t*>(codes)), vdup_n_u8(0));
    } else {
      bytes = load_sixteen(codes + start_of(part));
    }
    const uint8x16_t pairs = vqtbl1q_u8(bytes, vld1q_u8(kPlaces.bytes[part]));
    return vshlq_u16(vreinterpretq_u16_u8(pairs), vld1q_s16(kPlaces.shifts[part]));
  }

 private:
  static constexpr int kBytes = kCodesAtOnce * kBits / 8;

  static constexpr int start_of(int part) {
    const int first = 2 * kBits * part;
    return kBytes < 16 ? 0 : (first < kBytes - 16 ? first : kBytes - 16);
  }

  struct Places {
    uint8_t bytes[4][16];
    int16_t shifts[4][8]; // to the left

    constexpr Places() : bytes(), shifts() {
      for (int part = 0; part < 4; ++part) {
        for (int i = 0; i < 8; ++i) {
          const int bit = 2 * kBits * (8 * part + i) - 8 * start_of(part);
          const int first = bit / 8;
          bytes[part][2 * i] = static_cast<uint8_t>(first);
          bytes[part][2 * i + 1] = static_cast<uint8_t>(first < 15 ? first + 1 : first);
          shifts[part][i] = static_cast<int16_t>(-(bit % 8));
        }
      }
    }
  };
  static constexpr Places kPlaces{};
};

template <int kBits>
NARROWS_INLINE void unpack_bytes(const std::byte* codes, ByteLanes& even, ByteLanes& odd) {
  const uint8x16_t low_bits = vdupq_n_u8((1 << kBits) - 1);
  const auto half = [&]<int i>(std::integral_constant<int, i>) {
    uint8x16_t of_even;
    uint8x16_t of_odd;
    if constexpr (kBits == 8) {
      const uint8x16_t first = load_sixteen(codes + 32 * i);
      const uint8x16_t second = load_sixteen(codes + 32 * i + 16);
      of_even = vuzp1q_u8(first, second);
      of_odd = vuzp2q_u8(first, second);
    } else if constexpr (kBits == 4) {
      const uint8x16_t bytes = load_sixteen(codes + 16 * i);
      of_even = vandq_u8(bytes, low_bits);
      of_odd = vshrq_n_u8(bytes, 4);
    } else {
      const uint16x8_t first = PairsOfCodes<kBits>::template load<2 * i>(codes);
      const uint16x8_t second = PairsOfCodes<kBits>::template load<2 * i + 1>(codes);
      const auto low_bytes = [](uint16x8_t a, uint16x8_t b) {
        return vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b));
      };
      of_even = vandq_u8(low_bytes(first, second), low_bits);
      of_odd = vandq_u8(low_bytes(vshrq_n_u16(first, kBits), vshrq_n_u16(second, kBits)), low_bits);
    }
    even.half[i] = vreinterpretq_s8_u8(of_even);
    odd.half[i] = vreinterpretq_s8_u8(of_odd);
  };
  half(std::integral_constant<int, 0>());
  half(std::integral_constant<int, 1>());
}

// The entries of the table that the bytes name.
NARROWS_INLINE ByteLanes entries(const int8_t (&table)[16], const ByteLanes& places) {
  const int8x16_t all = vld1q_s8(table);
  return {
      vqtbl1q_s8(all, vreinterpretq_u8_s8(places.half[0])),
      vqtbl1q_s8(all, vreinterpretq_u8_s8(places.half[1]))};
}

#endif

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
#endif
