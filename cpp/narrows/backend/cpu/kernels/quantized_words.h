// Products of a few rows with affine codes of 3, 5, 6 and 8 bits, in integers of 16 bits: codes are
// unpacked two at a time, and one instruction multiplies 16 of them by numbers of the left factor.
//
// The numbers of a group of the left factor become integers relative to the largest magnitude, as
// quantized_integer.h has them: of 16 bits, or of 24 bits in two parts.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_integer.h"

#if defined(__AVX2__)

namespace narrows::cpu::NARROWS_ISA {
namespace {

// 32 codes as two vectors of 16-bit words: those at even places, then the others. A pair of
// neighbours is brought into one word by a shuffle, to the top of it by a product, which is a shift
// by another distance in each word, and apart by shifts that are the same in all.
template <int kBits>
class CodeWords {
 public:
  static constexpr int kBytes = 4 * kBits; // of 32 codes

  static NARROWS_INLINE void unpack(const std::byte* codes, __m256i& even, __m256i& odd) {
    __m256i pairs;
    if constexpr (kBits == 8) {
      pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
    } else {
      const __m256i bytes = load(codes);
      pairs = _mm256_mullo_epi16(
          _mm256_shuffle_epi8(bytes, load_as<__m256i>(kPlaces.bytes)),
          load_as<__m256i>(kPlaces.factors));
    }
    odd = _mm256_srli_epi16(pairs, 16 - kBits);
    even = _mm256_and_si256(
        _mm256_srli_epi16(pairs, 16 - 2 * kBits), _mm256_set1_epi16((1 << kBits) - 1));
  }

 private:
  // Each half of a vector has so many bytes of the codes, over and over; the second half has the
  // last ones. Nothing beyond the codes is read.
  static constexpr int kLoaded = kBits == 3 ? 8 : 16;
  static constexpr int kSecond = kBytes - kLoaded;

  static NARROWS_INLINE __m256i load(const std::byte* codes) {
    if constexpr (kLoaded == 8) {
      const __m256i first = _mm256_set1_epi64x(load_as<int64_t>(codes));
      const __m256i second = _mm256_set1_epi64x(load_as<int64_t>(codes + kSecond));
      return _mm256_blend_epi32(first, second, 0xf0);
    } else {
      const __m256i first = _mm256_broadcastsi128_si256(load_as<__m128i>(codes));
      const __m256i second = _mm256_broadcastsi128_si256(load_as<__m128i>(codes + kSecond));
      return _mm256_blend_epi32(first, second, 0xf0);
    }
  }

  struct Places {
    int8_t bytes[32];
    int16_t factors[16];

    constexpr Places() : bytes(), factors() {
      for (int i = 0; i < 16; ++i) {
        const int bit = 2 * kBits * i;
        const int start = i < 8 ? 0 : kSecond;
        const int first = bit / 8 - start;
        const int shift = bit % 8;
        bytes[2 * i] = static_cast<int8_t>(first);
        bytes[2 * i + 1] = static_cast<int8_t>(first + 1 < kLoaded ? first + 1 : first);
        factors[i] = static_cast<int16_t>(kBits == 8 ? 1 : 1 << (16 - 2 * kBits - shift));
      }
    }
  };
  static constexpr Places kPlaces{};
};

template <typename Codes, int kParts>
class WordProducts {
 public:
  static constexpr int64_t kBlock = 32; // codes that are unpacked at once
  static constexpr int64_t kPartBytes = 2 * kBlock;
  static constexpr int64_t kBlockBytes = kParts * kPartBytes;
  using Words = CodeWords<Codes::kBits>;

  // One row of the left factor in memory: by blocks, of each the high parts first, of each part the
  // numbers at even places first; then a scale and the sum of the numbers for each group.
  struct Row {
    static constexpr int64_t kTogether = 1;

    int64_t length;
    int64_t group;

    int64_t words_bytes() const {
      return length / kBlock * kBlockBytes;
    }
    int64_t groups() const {
      return round_up(length / group, kGroupsAtOnce);
    }
    int64_t bytes() const {
      return round_up(words_bytes() + 2 * groups() * int64_t{sizeof(float)}, 64);
    }

    const float* scales(const std::byte* row) const {
      return reinterpret_cast<const float*>(row + words_bytes());
    }

    template <typename Stored>
    void prepare(const Stored* in, std::byte* row, int64_t) const {
      std::memset(row, 0, static_cast<size_t>(bytes()));
      auto* of_groups = reinterpret_cast<float*>(row + words_bytes());
      constexpr float kMost = kParts == 2 ? 32767.0f * 256.0f : 32767.0f;
      as_integers(
          in,
          length,
          group,
          kMost,
          [&](Integers8 integers, int64_t i) { store_words(integers, i, row); },
          [&](int64_t g, float scale, float sum) {
            of_groups[g] = scale;
            of_groups[groups() + g] = sum;
          });
    }

    static NARROWS_INLINE void store_words(Integers8 integers, int64_t at, std::byte* row) {
      std::byte* block = row + at / kBlock * kBlockBytes + at % kBlock;
      if constexpr (kParts == 2) {
        const Integers8 high = high_digits(integers);
        store_part(high, block);
        store_part(integers - high * 256, block + kPartBytes);
      } else {
        store_part(integers, block);
      }
    }
    static NARROWS_INLINE void store_part(Integers8 integers, std::byte* to) {
      int16_t even[4];
      int16_t odd[4];
      for (int i = 0; i < 4; ++i) {
        even[i] = static_cast<int16_t>(integers[2 * i]);
        odd[i] = static_cast<int16_t>(integers[2 * i + 1]);
      }
      std::memcpy(to, even, sizeof(even));
      std::memcpy(to + kBlock, odd, sizeof(odd));
    }
  };

  static NARROWS_INLINE __m256i
  add_products(__m256i sums, __m256i even, __m256i odd, const std::byte* words) {
    return add_pairs(
        add_pairs(sums, even, load_as<__m256i>(words)), odd, load_as<__m256i>(words + kBlock));
  }
  // The sums of the parts as numbers.
  static NARROWS_INLINE Floats joined(const __m256i* sums) {
    const auto high = bits_as<Floats>(_mm256_cvtepi32_ps(sums[0]));
    if constexpr (kParts == 2) {
      return multiply_add(
          high, splat<float, 8>(256.0f), bits_as<Floats>(_mm256_cvtepi32_ps(sums[1])));
    } else {
      return high;
    }
  }

  // The products of kRows rows with row `column` of the codes.
  template <int kRows>
  static NARROWS_INLINE void product(
      const Row& shape,
      const std::byte* left,
      const QuantizedNumbers& right,
      int64_t column,
      float* out,
      int64_t out_stride) {
    const int64_t groups = shape.length / shape.group;
    const int64_t blocks = shape.group / kBlock;
    const int64_t row_bytes = shape.bytes();
    const std::byte* codes = right.codes + column * (shape.length / kBlock) * Words::kBytes;
    const std::byte* words = left;
    Floats totals[kRows] = {};
    for (int64_t g0 = 0; g0 < groups; g0 += kGroupsAtOnce) {
      const int64_t count = groups - g0 < kGroupsAtOnce ? groups - g0 : kGroupsAtOnce;
      GroupFactors<kRows> of_groups;
      of_groups.template load<Codes, PlainCodes>(shape, left, right, column, g0, count, totals);
      for (int64_t g = 0; g < count; ++g) {
        __m256i sums[kRows][kParts] = {};
        for (int64_t b = 0; b < blocks; ++b, codes += Words::kBytes, words += kBlockBytes) {
          prefetch_codes(codes);
          __m256i even;
          __m256i odd;
          Words::unpack(codes, even, odd);
          for (int row = 0; row < kRows; ++row) {
            for (int part = 0; part < kParts; ++part) {
              sums[row][part] = add_products(
                  sums[row][part], even, odd, words + row * row_bytes + part * kPartBytes);
            }
          }
        }
        for (int row = 0; row < kRows; ++row) {
          totals[row] = multiply_add(
              joined(sums[row]), splat<float, 8>(of_groups.factors[row][g]), totals[row]);
        }
      }
    }
    for (int row = 0; row < kRows; ++row) {
      out[row * out_stride + column] = sum_of(totals[row]);
    }
  }
};

// With integers of 24 bits, or of 16.
template <typename Codes>
IntegerTile word_tile(bool is_exact) {
  return is_exact ? RowsOfProducts<WordProducts<Codes, 2>>::tile()
                  : RowsOfProducts<WordProducts<Codes, 1>>::tile();
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
#endif
