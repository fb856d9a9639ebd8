// Products of a few rows with codes of one, two and four bits, in integers: fewer instructions for
// a code than floats take, so that memory is what bounds them.
//
// The numbers of a group of the left factor become integers of 16 bits relative to the largest
// magnitude, or of 24 bits: as exact as float32. An integer is split into digits of eight bits with
// signs, which one instruction multiplies by codes.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_left.h"

#if NARROWS_INTEGER_PRODUCTS

namespace narrows::cpu::NARROWS_ISA {
namespace {

constexpr int64_t kGroupsAtOnce = 16;

// Codes are asked for so many bytes before they are needed. The processor's own prefetching ends
// with each page, and codes are used more slowly than a loop that only reads would use them.
constexpr int64_t kBytesAhead = 2048;
NARROWS_INLINE void prefetch_codes(const std::byte* codes) {
  __builtin_prefetch(codes + kBytesAhead);
}

// The scales of kGroupsAtOnce groups of a row of codes times those of kRows rows of the left
// factor. A Row gives scales of its groups, and then their sums, each for `groups()` groups.
template <int kRows>
struct GroupFactors {
  alignas(32) float factors[kRows][kGroupsAtOnce];

  // Those of groups `g0` on. Products with biases are added to `totals`.
  template <typename Codes, typename Bytes, typename Row>
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
    if constexpr (Bytes::kHasBias) {
      biases = scales_of<Codes>(right.biases, right.scale_dtype, first, count, space[1]);
    } else {
      std::memset(space[1], 0, sizeof(space[1]));
    }
    if constexpr (Bytes::kIsHalved) {
      for (int i = 0; i < kGroupsAtOnce; ++i) {
        space[0][i] = scales[i] * 0.5f;
      }
      scales = space[0];
    }
    if constexpr (Bytes::kSubtracted != 0) {
      for (int i = 0; i < kGroupsAtOnce; ++i) {
        space[1][i] = biases[i] + Bytes::kSubtracted * scales[i];
      }
      biases = space[1];
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
    return {PreparedRows<Row>::bytes, PreparedRows<Row>::prepare, products};
  }
};

// One row of the left factor in memory: digits by blocks of kCodesAtOnce numbers, of each block the
// highest digits first; then a scale and the sum of the numbers for each group.
template <int kDigits>
struct IntegerRow {
  static constexpr int64_t kTogether = 1;
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
  void prepare(const Stored* in, std::byte* row, int64_t) const {
    std::memset(row, 0, static_cast<size_t>(bytes()));
    float* of_scales = scales(row);
    constexpr float kMost = kDigits == 3 ? 8323071.0f : 32511.0f; // 127 as the highest digit
    as_integers(
        in,
        length,
        group,
        kMost,
        [&](Integers8 integers, int64_t i) { store_digits(integers, i, row); },
        [&](int64_t g, float scale, float sum) {
          of_scales[g] = scale;
          of_scales[groups() + g] = sum;
        });
  }

 private:
  static NARROWS_INLINE void store_digits(Integers8 integers, int64_t at, std::byte* row) {
    std::byte* block = row + at / kCodesAtOnce * kBlockBytes + at % kCodesAtOnce / 2;
    for (int digit = kDigits - 1; digit >= 0; --digit) {
      std::byte bytes[8];
      store_low_bytes(integers, bytes);
      std::memcpy(block + digit * kCodesAtOnce, bytes, 4);
      std::memcpy(block + digit * kCodesAtOnce + kHalf, bytes + 4, 4);
      integers = high_digits(integers);
    }
  }
};

// What bytes stand for codes, so that a number is its scale times (a byte plus kSubtracted), or
// half of that.

// Codes as they are.
struct PlainCodes {
  static constexpr bool kHasBias = true;
  static constexpr bool kIsHalved = false;
  static constexpr float kSubtracted = 0;
  static NARROWS_INLINE ByteLanes bytes(ByteLanes codes) {
    return codes;
  }
};
// Floats of four bits: twice the number, plus 12.
struct FloatCodeBytes {
  static constexpr bool kHasBias = false;
  static constexpr bool kIsHalved = true;
  static constexpr float kSubtracted = -12;
  static NARROWS_INLINE ByteLanes bytes(ByteLanes codes) {
    static constexpr int8_t kTable[16] = {
        12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
    return entries(kTable, codes);
  }
};
#if defined(__ARM_FEATURE_DOTPROD)
// Codes of eight bits as bytes with signs.
struct SignedCodes {
  static constexpr bool kHasBias = true;
  static constexpr bool kIsHalved = false;
  static constexpr float kSubtracted = 128;
  static NARROWS_INLINE ByteLanes bytes(ByteLanes codes) {
    const int8x16_t sign = vdupq_n_s8(-128);
    return {veorq_s8(codes.half[0], sign), veorq_s8(codes.half[1], sign)};
  }
};
#endif

template <typename Codes, typename Bytes, int kDigits>
struct IntegerProducts {
  using Row = IntegerRow<kDigits>;

  // sums + the products of kCodesAtOnce codes and digits.
  static NARROWS_INLINE SumLanes
  add_products(SumLanes sums, ByteLanes even, ByteLanes odd, const std::byte* digits) {
    const SumLanes first = DigitSums::add(sums, even, load_bytes(digits));
    return DigitSums::add(first, odd, load_bytes(digits + kHalf));
  }
  // The digits' sums as numbers.
  static NARROWS_INLINE Floats joined(const SumLanes* sums) {
    const SumLanes total = DigitSums::joined(sums[0], sums[1]);
    if constexpr (kDigits == 2) {
      return numbers_of(total);
    } else if constexpr (Codes::kBits <= 4) {
      return numbers_of(DigitSums::with_lower(total, sums[2]));
    } else { // 32 bits do not hold their sum
      const Floats low = numbers_of(DigitSums::whole(sums[2]));
      return multiply_add(numbers_of(total), splat<float, 8>(256.0f), low);
    }
  }

  // For each lane of a block's sums the factor of its group.
  template <int kGroup>
  static NARROWS_INLINE Floats by_lane(const float* factors) {
    if constexpr (kGroup == 16) {
#if defined(__AVX2__)
      const __m256 four = _mm256_castps128_ps256(load_as<__m128>(factors));
      const __m256i order = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
      return bits_as<Floats>(_mm256_permutevar8x32_ps(four, order));
#else
      const float* f = factors;
      return Floats{f[0], f[0], f[1], f[1], f[2], f[2], f[3], f[3]};
#endif
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
      of_groups.template load<Codes, Bytes>(shape, left, right, column, g0, count, totals);
      constexpr int kGroupsOfStep = kGroup < kCodesAtOnce ? kCodesAtOnce / kGroup : 1;
      constexpr int kSteps = kGroup > kCodesAtOnce ? kGroup / kCodesAtOnce : 1;
      for (int64_t g = 0; g < count; g += kGroupsOfStep) {
        SumLanes sums[kRows][kDigits] = {};
        for (int step = 0; step < kSteps; ++step, codes += kStep, digits += Row::kBlockBytes) {
          prefetch_codes(codes);
          ByteLanes even;
          ByteLanes odd;
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
              SumLanes& sum = sums[row][digit];
              sum = add_products(sum, even, odd, digits + row * row_bytes + digit * kCodesAtOnce);
            }
          }
        }
        for (int row = 0; row < kRows; ++row) {
          const Floats factor = by_lane<kGroup>(of_groups.factors[row] + g);
          totals[row] = multiply_add(joined(sums[row]), factor, totals[row]);
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
