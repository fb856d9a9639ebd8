// Products of a few rows with codes of four bits, in integers: fewer instructions for a code than
// floats take, so that memory is what bounds them.
//
// The numbers of a group of the left factor become integers of 24 bits (16 where they are stored in
// 16 bits), relative to the largest magnitude: as exact as the numbers themselves. An integer is
// split into digits of eight bits with signs, which one instruction multiplies by codes.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_codes.h"
#include "narrows/backend/cpu/kernels/quantized_tiles.h"

#if defined(__AVX2__)
#include <immintrin.h>

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Codes, or digits of numbers, that are multiplied at once: those at even places, then the others.
constexpr int64_t kCodesAtOnce = 64;
constexpr int64_t kHalf = kCodesAtOnce / 2;
constexpr int64_t kGroupsAtOnce = 16;

constexpr int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// One row of the left factor in memory: digits by blocks of kCodesAtOnce numbers, of each block the
// highest digits first; then a scale and the sum of the numbers for each group.
template <int kDigits>
struct IntegerRow {
  static constexpr int64_t kBlockBytes = kDigits * kCodesAtOnce;

  int64_t length;
  int64_t group;

  int64_t blocks() const {
    return (length + kCodesAtOnce - 1) / kCodesAtOnce;
  }
  int64_t groups() const {
    return round_up(length / group, kGroupsAtOnce);
  }
  int64_t bytes() const {
    return round_up(blocks() * kBlockBytes + 2 * groups() * int64_t{sizeof(float)}, 64);
  }
  float* scales(std::byte* row) const {
    return reinterpret_cast<float*>(row + blocks() * kBlockBytes);
  }
  const float* scales(const std::byte* row) const {
    return reinterpret_cast<const float*>(row + blocks() * kBlockBytes);
  }

  template <typename Stored>
  void prepare(const Stored* in, std::byte* row) const {
    std::memset(row, 0, static_cast<size_t>(bytes()));
    float* of_scales = scales(row);
    float* of_sums = of_scales + groups();
    constexpr float kMost = kDigits == 3 ? 8323071.0f : 32511.0f; // 127 as the highest digit
    for (int64_t g = 0; g < length / group; ++g) {
      Floats largest{};
      Floats sum{};
      for (int64_t i = g * group; i < (g + 1) * group; i += 8) {
        const Floats x = load_lanes<float, 8>(in + i);
        largest = larger(magnitudes(x), largest);
        sum += x;
      }
      const float magnitude = largest_of(largest);
      of_sums[g] = sum_of(sum);
      of_scales[g] = magnitude / kMost;
      // What is too small for a scale counts as zero.
      const float inverse = magnitude > 1e-30f ? kMost / magnitude : 0.0f;
      for (int64_t i = g * group; i < (g + 1) * group; i += 8) {
        store_digits(load_lanes<float, 8>(in + i) * inverse, i, row);
      }
    }
  }

 private:
  static NARROWS_INLINE void store_digits(Floats x, int64_t at, std::byte* row) {
    __m256i integers = _mm256_cvtps_epi32(bits_as<__m256>(x));
    std::byte* block = row + at / kCodesAtOnce * kBlockBytes + at % kCodesAtOnce / 2;
    // The low bytes of the integers at even places, then at odd ones, of each half.
    const __m256i low_bytes = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 8, 4, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    for (int digit = kDigits - 1; digit >= 0; --digit) {
      const __m256i bytes = _mm256_shuffle_epi8(integers, low_bytes);
      const auto first = static_cast<uint32_t>(_mm256_extract_epi32(bytes, 0));
      const auto second = static_cast<uint32_t>(_mm256_extract_epi32(bytes, 4));
      const uint32_t even = (first & 0xffffu) | second << 16;
      const uint32_t odd = first >> 16 | (second & 0xffff0000u);
      std::memcpy(block + digit * kCodesAtOnce, &even, 4);
      std::memcpy(block + digit * kCodesAtOnce + kHalf, &odd, 4);
      // The low byte has a sign: what is left is rounded.
      integers = _mm256_srai_epi32(_mm256_add_epi32(integers, _mm256_set1_epi32(128)), 8);
    }
  }
};

// Codes as they are.
struct PlainCodes {
  static constexpr bool kHasBias = true;
  static NARROWS_INLINE __m256i bytes(__m256i codes) {
    return codes;
  }
};
// Floats of four bits: twice the number, plus 12.
struct FloatCodeBytes {
  static constexpr bool kHasBias = false;
  static NARROWS_INLINE __m256i bytes(__m256i codes) {
    const __m256i table = _mm256_setr_epi8(
        12,
        13,
        14,
        15,
        16,
        18,
        20,
        24,
        12,
        11,
        10,
        9,
        8,
        6,
        4,
        0,
        12,
        13,
        14,
        15,
        16,
        18,
        20,
        24,
        12,
        11,
        10,
        9,
        8,
        6,
        4,
        0);
    return _mm256_shuffle_epi8(table, codes);
  }
};

template <typename Codes, typename Bytes, int kDigits>
struct IntegerProducts {
  using Row = IntegerRow<kDigits>;

  // Scales and biases of a row of codes, of kGroupsAtOnce groups.
  struct Scales {
    float scales[kGroupsAtOnce];
    float biases[kGroupsAtOnce];

    NARROWS_INLINE void load(const QuantizedNumbers& from, int64_t first, int64_t count) {
      if (count < kGroupsAtOnce) {
        std::memset(scales, 0, sizeof(scales));
        std::memset(biases, 0, sizeof(biases));
      }
      Codes::load_scales(from.scales, from.scale_dtype, first, count, scales);
      if constexpr (Bytes::kHasBias) {
        Codes::load_scales(from.biases, from.scale_dtype, first, count, biases);
      } else {
        for (int i = 0; i < kGroupsAtOnce; ++i) {
          biases[i] = -6 * scales[i];
          scales[i] *= 0.5f;
        }
      }
    }
  };

  // The sums of products of codes and numbers, four to each of 16 places.
  static NARROWS_INLINE __m256i multiplied(__m256i even, __m256i odd, const std::byte* digits) {
    const auto load = [&](int64_t offset) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(digits + offset));
    };
    return _mm256_add_epi16(
        _mm256_maddubs_epi16(even, load(0)), _mm256_maddubs_epi16(odd, load(kHalf)));
  }
  // The digits' sums as one integer.
  static NARROWS_INLINE __m256i joined(const __m256i* sums) {
    const __m256i one = _mm256_set1_epi16(1);
    __m256i total = _mm256_add_epi32(
        _mm256_madd_epi16(sums[0], _mm256_set1_epi16(256)), _mm256_madd_epi16(sums[1], one));
    if constexpr (kDigits == 3) {
      total = _mm256_add_epi32(_mm256_slli_epi32(total, 8), _mm256_madd_epi16(sums[2], one));
    }
    return total;
  }

  // kBlocks: blocks of codes that a group is; 0: a block has two groups.
  template <int kRows, int kBlocks>
  static NARROWS_INLINE void products_of(
      const Row& shape,
      const std::byte* left,
      const QuantizedNumbers& right,
      int64_t column,
      float* out,
      int64_t out_stride) {
    const int64_t groups = shape.length / shape.group;
    const std::byte* codes = right.codes + column * shape.length / 2;
    const std::byte* end = codes + shape.length / 2;
    const int64_t row_bytes = shape.bytes();
    const __m256i low_bits = _mm256_set1_epi8(15);
    Floats totals[kRows] = {};
    const std::byte* digits = left;
    for (int64_t g0 = 0; g0 < groups; g0 += kGroupsAtOnce) {
      const int64_t count = groups - g0 < kGroupsAtOnce ? groups - g0 : kGroupsAtOnce;
      Scales scales;
      scales.load(right, column * groups + g0, count);
      alignas(32) float factors[kRows][kGroupsAtOnce];
      for (int row = 0; row < kRows; ++row) {
        const float* of_row = shape.scales(left + row * row_bytes) + g0;
        for (int i = 0; i < kGroupsAtOnce; i += 8) {
          const Floats factor = load_as<Floats>(of_row + i) * load_as<Floats>(scales.scales + i);
          std::memcpy(factors[row] + i, &factor, sizeof(factor));
          totals[row] = multiply_add(
              load_as<Floats>(of_row + shape.groups() + i),
              load_as<Floats>(scales.biases + i),
              totals[row]);
        }
      }
      constexpr int kGroupsOfStep = kBlocks == 0 ? 2 : 1;
      constexpr int kSteps = kBlocks == 0 ? 1 : kBlocks;
      for (int64_t g = 0; g < count; g += kGroupsOfStep) {
        __m256i sums[kRows][kDigits];
        for (int step = 0; step < kSteps; ++step, codes += kHalf, digits += Row::kBlockBytes) {
          __m256i word;
          if (kBlocks == 0 && end - codes < kHalf) {
            word = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
            word = _mm256_inserti128_si256(word, _mm_setzero_si128(), 1);
          } else {
            word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
          }
          const __m256i even = Bytes::bytes(_mm256_and_si256(word, low_bits));
          const __m256i odd = Bytes::bytes(_mm256_and_si256(_mm256_srli_epi16(word, 4), low_bits));
          for (int row = 0; row < kRows; ++row) {
            for (int digit = 0; digit < kDigits; ++digit) {
              const __m256i sum =
                  multiplied(even, odd, digits + row * row_bytes + digit * kCodesAtOnce);
              sums[row][digit] = step == 0 ? sum : _mm256_add_epi16(sums[row][digit], sum);
            }
          }
        }
        for (int row = 0; row < kRows; ++row) {
          Floats factor = splat<float, 8>(factors[row][g]);
          if constexpr (kBlocks == 0) {
            const float next = factors[row][g + 1];
            const float first = factors[row][g];
            factor = Floats{first, first, first, first, next, next, next, next};
          }
          const auto total = bits_as<Floats>(_mm256_cvtepi32_ps(joined(sums[row])));
          totals[row] = multiply_add(total, factor, totals[row]);
        }
      }
    }
    for (int row = 0; row < kRows; ++row) {
      out[row * out_stride + column] = sum_of(totals[row]);
    }
  }

  template <int kRows>
  static void product_rows(
      const std::byte* left,
      int64_t length,
      const QuantizedNumbers& right,
      int64_t columns,
      float* out,
      int64_t out_stride) {
    const Row shape{length, right.group};
    for (int64_t column = 0; column < columns; ++column) {
      if (right.group == 32) {
        products_of<kRows, 0>(shape, left, right, column, out, out_stride);
      } else if (right.group == 64) {
        products_of<kRows, 1>(shape, left, right, column, out, out_stride);
      } else {
        products_of<kRows, 2>(shape, left, right, column, out, out_stride);
      }
    }
  }
  static void products(
      const std::byte* left,
      int64_t length,
      int64_t rows,
      const QuantizedNumbers& right,
      int64_t columns,
      float* out,
      int64_t out_stride) {
    switch (rows) {
      case 1:
        return product_rows<1>(left, length, right, columns, out, out_stride);
      case 2:
        return product_rows<2>(left, length, right, columns, out, out_stride);
      case 3:
        return product_rows<3>(left, length, right, columns, out, out_stride);
      default:
        return product_rows<4>(left, length, right, columns, out, out_stride);
    }
  }
  static int64_t row_bytes(int64_t length, int64_t group) {
    return Row{length, group}.bytes();
  }
  static void prepare(
      const void* in, Dtype dtype, int64_t rows, int64_t length, int64_t group, std::byte* out) {
    const Row shape{length, group};
    with_stored(in, dtype, [&](const auto* from) {
      for (int64_t row = 0; row < rows; ++row) {
        shape.prepare(from + row * length, out + row * shape.bytes());
      }
    });
  }
  static constexpr IntegerTile tile() {
    return {row_bytes, prepare, products};
  }
};

// By the dtype of the numbers.
template <typename Codes, typename Bytes>
IntegerTile integer_tile(Dtype dtype) {
  return dtype == Dtype::float32 ? IntegerProducts<Codes, Bytes, 3>::tile()
                                 : IntegerProducts<Codes, Bytes, 2>::tile();
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
#endif
