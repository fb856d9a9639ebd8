// Products of a few rows with codes of one, two and four bits, in integers: fewer instructions for
// a code than floats take, so that memory is what bounds them.
//
// The numbers of a group of the left factor become integers of 16 bits relative to the largest
// magnitude, or of 24 bits: as exact as float32. An integer is split into digits of eight bits with
// signs, which one instruction multiplies by codes.
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

// Codes are asked for so many bytes before they are needed. The processor's own prefetching ends
// with each page, and codes are used more slowly than a loop that only reads would use them.
constexpr int64_t kBytesAhead = 2048;
NARROWS_INLINE void prefetch_codes(const std::byte* codes) {
  _mm_prefetch(reinterpret_cast<const char*>(codes) + kBytesAhead, _MM_HINT_T0);
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
  static NARROWS_INLINE __m256i add(__m256i sums, __m256i codes, __m256i digits) {
#if defined(__AVX512VNNI__)
    return _mm256_dpbusd_epi32(sums, codes, digits);
#else
    return _mm256_dpbusd_avx_epi32(sums, codes, digits);
#endif
  }
  // The sums of two digits, the higher one first, as one integer.
  static NARROWS_INLINE __m256i joined(__m256i high, __m256i low) {
    return _mm256_add_epi32(_mm256_slli_epi32(high, 8), low);
  }
  static NARROWS_INLINE __m256i whole(__m256i sums) {
    return sums;
  }
};
#else
// They are in 16 bits, two places for each of the eight, until they are joined.
struct DigitSums {
  static NARROWS_INLINE __m256i add(__m256i sums, __m256i codes, __m256i digits) {
    return _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, digits));
  }
  static NARROWS_INLINE __m256i joined(__m256i high, __m256i low) {
    return _mm256_add_epi32(_mm256_madd_epi16(high, _mm256_set1_epi16(256)), whole(low));
  }
  static NARROWS_INLINE __m256i whole(__m256i sums) {
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
  }
};
#endif

constexpr int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

// Calls store(x, i) with numbers i to i + 7 of a row as integers, which are relative to the largest
// magnitude of their group: that becomes `most`. Calls store_group(g, scale, sum) with what the
// integers of a group are to be multiplied by, and the sum of the numbers that they stand for. With
// that sum, what rounding adds is multiplied by the numbers of the other factor, not by their
// codes, which are larger.
template <typename Stored, typename Store, typename StoreGroup>
NARROWS_INLINE void as_integers(
    const Stored* in,
    int64_t length,
    int64_t group,
    float most,
    Store&& store,
    StoreGroup&& store_group) {
  for (int64_t g = 0; g < length / group; ++g) {
    Floats largest{};
    for (int64_t i = g * group; i < (g + 1) * group; i += 8) {
      largest = larger(magnitudes(load_lanes<float, 8>(in + i)), largest);
    }
    const float magnitude = largest_of(largest);
    // What is too small for a scale counts as zero.
    const float inverse = magnitude > 1e-30f ? most / magnitude : 0.0f;
    Floats sum{};
    for (int64_t i = g * group; i < (g + 1) * group; i += 8) {
      const Floats x = load_lanes<float, 8>(in + i) * inverse;
      const auto integers = bits_as<Floats>(
          _mm256_round_ps(bits_as<__m256>(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
      sum += integers;
      store(integers, i);
    }
    const float scale = magnitude / most;
    store_group(g, scale, sum_of(sum) * scale);
  }
}

// How rows of the left factor are prepared.
template <typename Row>
struct PreparedRows {
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
};

// The scales of kGroupsAtOnce groups of a row of codes times those of kRows rows of the left
// factor. A Row gives scales of its groups, and then their sums, each for `groups()` groups.
template <int kRows>
struct GroupFactors {
  alignas(32) float factors[kRows][kGroupsAtOnce];

  // Those of groups `g0` on. Products with biases are added to `totals`.
  template <typename Codes, bool kIsHalved, typename Row>
  NARROWS_INLINE void load(
      const Row& shape,
      const std::byte* left,
      const QuantizedNumbers& right,
      int64_t column,
      int64_t g0,
      int64_t count,
      Floats* totals) {
    const int64_t first = column * (shape.length / shape.group) + g0;
    float space[2][kGroupsAtOnce];
    const float* scales = scales_of<Codes>(right.scales, right.scale_dtype, first, count, space[0]);
    const float* biases = space[1];
    if constexpr (kIsHalved) { // a code is twice the number, plus 12
      for (int i = 0; i < kGroupsAtOnce; ++i) {
        space[1][i] = -6 * scales[i];
        space[0][i] = scales[i] * 0.5f;
      }
    } else {
      biases = scales_of<Codes>(right.biases, right.scale_dtype, first, count, space[1]);
    }
    for (int row = 0; row < kRows; ++row) {
      const float* of_row = shape.scales(left + row * shape.bytes()) + g0;
      for (int i = 0; i < kGroupsAtOnce; i += 8) {
        const Floats factor = load_as<Floats>(of_row + i) * load_as<Floats>(scales + i);
        std::memcpy(factors[row] + i, &factor, sizeof(factor));
        totals[row] = multiply_add(
            load_as<Floats>(of_row + shape.groups() + i), load_as<Floats>(biases + i), totals[row]);
      }
    }
  }

 private:
  template <typename Stored>
  static NARROWS_INLINE const float* widen_all(const Stored* from, float* space) {
    for (int i = 0; i < kGroupsAtOnce; i += 8) {
      store_lanes<8>(space + i, load_lanes<float, 8>(from + i));
    }
    return space;
  }

  // In place where they are float32. Behind the last group of a row there are zeros.
  template <typename Codes>
  static NARROWS_INLINE const float* scales_of(
      const void* from, Dtype dtype, int64_t first, int64_t count, float* space) {
    if (count == kGroupsAtOnce) {
      if (dtype == Dtype::float32) {
        return static_cast<const float*>(from) + first;
      }
      if (dtype == Dtype::float16) {
        return widen_all(static_cast<const Half*>(from) + first, space);
      }
      if (dtype == Dtype::bfloat16) {
        return widen_all(static_cast<const Bfloat*>(from) + first, space);
      }
    }
    if (count < kGroupsAtOnce) {
      std::memset(space, 0, kGroupsAtOnce * sizeof(float));
    }
    Codes::load_scales(from, dtype, first, count, space);
    return space;
  }
};

// Products of several rows with several rows of codes, given those of `Products::Row`s with one.
template <typename Products>
struct RowsOfProducts {
  using Row = typename Products::Row;

  static void products(
      const std::byte* left,
      int64_t length,
      int64_t rows,
      const QuantizedNumbers& right,
      int64_t columns,
      float* out,
      int64_t out_stride) {
    const Row shape{length, right.group};
    const auto multiply = [&]<int kRows>(std::integral_constant<int, kRows>) {
      for (int64_t column = 0; column < columns; ++column) {
        Products::template product<kRows>(shape, left, right, column, out, out_stride);
      }
    };
    switch (rows) {
      case 1:
        return multiply(std::integral_constant<int, 1>());
      case 2:
        return multiply(std::integral_constant<int, 2>());
      case 3:
        return multiply(std::integral_constant<int, 3>());
      default:
        return multiply(std::integral_constant<int, 4>());
    }
  }
  static constexpr IntegerTile tile() {
    return {PreparedRows<Row>::row_bytes, PreparedRows<Row>::prepare, products};
  }
};

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
    constexpr float kMost = kDigits == 3 ? 8323071.0f : 32511.0f; // 127 as the highest digit
    as_integers(
        in,
        length,
        group,
        kMost,
        [&](Floats x, int64_t i) { store_digits(x, i, row); },
        [&](int64_t g, float scale, float sum) {
          of_scales[g] = scale;
          of_scales[groups() + g] = sum;
        });
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

// Codes of one, two or four bits as bytes: of kCodesAtOnce those at even places, then the others.
template <int kBits>
NARROWS_INLINE void unpack_bytes(const std::byte* codes, __m256i& even, __m256i& odd) {
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

  // sums + the products of kCodesAtOnce codes and digits.
  static NARROWS_INLINE __m256i
  add_products(__m256i sums, __m256i even, __m256i odd, const std::byte* digits) {
    const __m256i first = DigitSums::add(sums, even, load_as<__m256i>(digits));
    return DigitSums::add(first, odd, load_as<__m256i>(digits + kHalf));
  }
  // The digits' sums as one integer.
  static NARROWS_INLINE __m256i joined(const __m256i* sums) {
    const __m256i total = DigitSums::joined(sums[0], sums[1]);
    if constexpr (kDigits == 3) {
      return _mm256_add_epi32(_mm256_slli_epi32(total, 8), DigitSums::whole(sums[2]));
    }
    return total;
  }

  // For each lane of a block's sums the factor of its group.
  template <int kGroup>
  static NARROWS_INLINE Floats by_lane(const float* factors) {
    if constexpr (kGroup == 16) {
      const __m256 four = _mm256_castps128_ps256(load_as<__m128>(factors));
      const __m256i order = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
      return bits_as<Floats>(_mm256_permutevar8x32_ps(four, order));
    } else if constexpr (kGroup == 32) {
      const float a = factors[0];
      const float b = factors[1];
      return Floats{a, a, a, a, b, b, b, b};
    } else {
      return splat<float, 8>(factors[0]);
    }
  }

  // kGroup: codes of a group. A block may have several groups, and a group several blocks.
  template <int kRows, int kGroup>
  static NARROWS_INLINE void products_of(
      const Row& shape,
      const std::byte* left,
      const QuantizedNumbers& right,
      int64_t column,
      float* out,
      int64_t out_stride) {
    const int64_t groups = shape.length / shape.group;
    constexpr int64_t kStep = kCodesAtOnce * Codes::kBits / 8;
    const int64_t code_bytes = shape.length * Codes::kBits / 8;
    const std::byte* codes = right.codes + column * code_bytes;
    const std::byte* end = codes + code_bytes;
    const int64_t row_bytes = shape.bytes();
    Floats totals[kRows] = {};
    const std::byte* digits = left;
    for (int64_t g0 = 0; g0 < groups; g0 += kGroupsAtOnce) {
      const int64_t count = groups - g0 < kGroupsAtOnce ? groups - g0 : kGroupsAtOnce;
      GroupFactors<kRows> of_groups;
      of_groups.template load<Codes, !Bytes::kHasBias>(
          shape, left, right, column, g0, count, totals);
      constexpr int kGroupsOfStep = kGroup < kCodesAtOnce ? kCodesAtOnce / kGroup : 1;
      constexpr int kSteps = kGroup > kCodesAtOnce ? kGroup / kCodesAtOnce : 1;
      for (int64_t g = 0; g < count; g += kGroupsOfStep) {
        __m256i sums[kRows][kDigits] = {};
        for (int step = 0; step < kSteps; ++step, codes += kStep, digits += Row::kBlockBytes) {
          prefetch_codes(codes);
          __m256i even;
          __m256i odd;
          if (kGroup < kCodesAtOnce && end - codes < kStep) [[unlikely]] {
            std::byte rest[kStep] = {}; // the row ends within a block
            std::memcpy(rest, codes, static_cast<size_t>(end - codes));
            unpack_bytes<Codes::kBits>(rest, even, odd);
          } else {
            unpack_bytes<Codes::kBits>(codes, even, odd);
          }
          even = Bytes::bytes(even);
          odd = Bytes::bytes(odd);
          for (int row = 0; row < kRows; ++row) {
            for (int digit = 0; digit < kDigits; ++digit) {
              __m256i& sum = sums[row][digit];
              sum = add_products(sum, even, odd, digits + row * row_bytes + digit * kCodesAtOnce);
            }
          }
        }
        for (int row = 0; row < kRows; ++row) {
          const Floats factor = by_lane<kGroup>(of_groups.factors[row] + g);
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
  static NARROWS_INLINE void product(
      const Row& shape,
      const std::byte* left,
      const QuantizedNumbers& right,
      int64_t column,
      float* out,
      int64_t out_stride) {
    if constexpr (!Bytes::kHasBias) {
      products_of<kRows, Codes::kGroup>(shape, left, right, column, out, out_stride);
    } else if (right.group == 32) {
      products_of<kRows, 32>(shape, left, right, column, out, out_stride);
    } else if (right.group == 64) {
      products_of<kRows, 64>(shape, left, right, column, out, out_stride);
    } else {
      products_of<kRows, 128>(shape, left, right, column, out, out_stride);
    }
  }
};

// With integers of 24 bits, or of 16.
template <typename Codes, typename Bytes>
IntegerTile integer_tile(bool is_exact) {
  return is_exact ? RowsOfProducts<IntegerProducts<Codes, Bytes, 3>>::tile()
                  : RowsOfProducts<IntegerProducts<Codes, Bytes, 2>>::tile();
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
#endif
