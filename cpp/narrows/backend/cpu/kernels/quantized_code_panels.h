// Products of many rows with affine codes in integers of 16 bits: a part of the matrix that fits
// into a cache becomes panels of codes as they are, and one instruction multiplies pairs of codes
// by pairs of numbers. That is twice what floats do at a time, and codes need not become floats.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_columns.h"
#include "narrows/backend/cpu/kernels/quantized_left.h"

#if defined(__AVX2__)

namespace narrows::cpu::NARROWS_ISA {
namespace {

constexpr int kPairRows = kTileRows<kTileVectors>;

// kPairRows rows of the left factor in memory: of each pair of numbers, those of all rows; then of
// each group the scales of all rows, and the sums of their numbers. Numbers i and i + 4 of each
// eight are a pair.
struct PairRows {
  static constexpr int64_t kTogether = kPairRows;

  int64_t length;
  int64_t group;

  int64_t pairs() const { // in words
    return length / 2 * kPairRows;
  }
  int64_t bytes() const {
    return round_up((pairs() + 2 * (length / group) * kPairRows) * int64_t{sizeof(float)}, 64);
  }

  template <typename Stored>
  void prepare(const Stored* in, std::byte* rows, int64_t row) const {
    auto* to = reinterpret_cast<int32_t*>(rows) + row;
    auto* of_groups = reinterpret_cast<float*>(rows) + pairs() + row;
    as_integers(
        in,
        length,
        group,
        32767.0f,
        [&](Integers8 integers, int64_t i) {
          const auto first = bits_as<__m256i>(integers);
          const __m128i second = _mm256_extracti128_si256(first, 1);
          const auto pairs = bits_as<Vector<int32_t, 4>>(
              _mm_blend_epi16(_mm256_castsi256_si128(first), _mm_slli_epi32(second, 16), 0xaa));
          for (int j = 0; j < 4; ++j) {
            to[(i / 2 + j) * kPairRows] = pairs[j];
          }
        },
        [&](int64_t g, float scale, float sum) {
          of_groups[2 * g * kPairRows] = scale;
          of_groups[(2 * g + 1) * kPairRows] = sum;
        });
  }
};

// Where a panel has what: pairs of kPanelWidth columns for each two of `depth` codes; then for each
// group the scales of the columns, and their biases.
struct CodePanel {
  static constexpr int64_t kColumns = kPanelWidth;

  int64_t depth;
  int64_t groups;

  int64_t pairs() const { // in words
    return depth / 2 * kPanelWidth;
  }
  int64_t bytes() const {
    return (pairs() + 2 * groups * kPanelWidth) * int64_t{sizeof(float)};
  }
};

template <typename Codes>
struct CodePanels {
  static constexpr int64_t kBlock = 8 * Codes::kOctets; // codes of a block

  static void of_rows(
      const QuantizedNumbers& from,
      int64_t distance,
      int64_t rows,
      int64_t groups,
      std::byte* panels) {
    const CodePanel shape{groups * from.group, groups};
    each_eight_columns(
        from, distance, rows, groups, kPanelWidth, [&](const QuantizedNumbers* numbers, int64_t j) {
          std::byte* panel = panels + j / kPanelWidth * shape.bytes();
          auto* pairs = reinterpret_cast<uint32_t*>(panel) + j % kPanelWidth;
          auto* scales = reinterpret_cast<float*>(panel) + shape.pairs() + j % kPanelWidth;
          store_scales(numbers, groups, kPanelWidth, scales);
          if constexpr (Codes::kBits == 4) {
            store_nibbles(numbers, shape.depth, pairs);
          } else {
            store_pairs(numbers, shape.depth, pairs);
          }
        });
  }
  static void multiply(
      const std::byte* left,
      int64_t length,
      int64_t first,
      int64_t rows,
      int64_t groups,
      int64_t group,
      const std::byte* panels,
      int64_t columns,
      float* out,
      int64_t out_row) {
    const PairRows shape{length, group};
    const CodePanel panel{groups * group, groups};
    for (int64_t j = 0; j < columns;
         j += kPanelWidth, panels += panel.bytes(), out += kPanelWidth) {
      const std::byte* from = left;
      float* to = out;
      int64_t rest = rows;
      for (; rest >= kPairRows; rest -= kPairRows) {
        multiply_tile<kPairRows>(shape, from, first, panel, panels, to, out_row);
        from += shape.bytes();
        to += kPairRows * out_row;
      }
      multiply_rest(rest, shape, from, first, panel, panels, to, out_row);
    }
  }

  static constexpr CodePanelTile tile() {
    return {
        kPairRows,
        88 * kPairRows,
        PreparedRows<PairRows>::bytes,
        PreparedRows<PairRows>::prepare,
        of_rows,
        panels_bytes<CodePanel>,
        multiply};
  }

 private:
  using Integers = Vector<int32_t, kPanelLanes>;
  using Reals = Vector<float, kPanelLanes>;

  // A word has eight codes of four bits: what is left after a shift and a mask is a pair.
  static NARROWS_INLINE void store_nibbles(
      const QuantizedNumbers* rows, int64_t depth, uint32_t* pairs) {
    each_nibbles(rows, depth, [&](Words word, int64_t) {
      for (uint32_t t = 0; t < 4; ++t, pairs += kPanelWidth) {
        const Words pair = word >> (4 * t) & 0x000f000fu;
        std::memcpy(pairs, &pair, sizeof(pair));
      }
    });
  }

  static NARROWS_INLINE void store_pairs(
      const QuantizedNumbers* rows, int64_t depth, uint32_t* pairs) {
    alignas(64) uint32_t words[8][kPanelDepth / 2];
    for (int r = 0; r < 8; ++r) {
      const std::byte* block = rows[r].codes;
      for (int64_t k = 0; k < depth; k += kBlock, block += Codes::kBytes) {
        store_pairs_of(Codes::template octet<0>(block), words[r] + k / 2);
        store_pairs_of(Codes::template octet<1>(block), words[r] + k / 2 + 4);
        store_pairs_of(Codes::template octet<2>(block), words[r] + k / 2 + 8);
        store_pairs_of(Codes::template octet<3>(block), words[r] + k / 2 + 12);
      }
    }
    for (int64_t i = 0; i < depth / 2; i += 8, pairs += 8 * kPanelWidth) {
      transpose_words([&](int r) { return words[r] + i; }, pairs, kPanelWidth);
    }
  }
  static NARROWS_INLINE void store_pairs_of(Words codes, uint32_t* to) {
    const auto eight = bits_as<__m256i>(codes);
    const __m128i second = _mm_slli_epi32(_mm256_extracti128_si256(eight, 1), 16);
    const __m128i pairs = _mm_or_si128(_mm256_castsi256_si128(eight), second);
    std::memcpy(to, &pairs, sizeof(pairs));
  }

  static NARROWS_INLINE Integers add_products(Integers sums, Integers pairs, Integers codes) {
#if defined(__AVX512VNNI__)
    return bits_as<Integers>(_mm512_dpwssd_epi32(
        bits_as<__m512i>(sums), bits_as<__m512i>(pairs), bits_as<__m512i>(codes)));
#elif defined(__AVX512BW__)
    return sums +
           bits_as<Integers>(_mm512_madd_epi16(bits_as<__m512i>(pairs), bits_as<__m512i>(codes)));
#else
    return bits_as<Integers>(
        add_pairs(bits_as<__m256i>(sums), bits_as<__m256i>(pairs), bits_as<__m256i>(codes)));
#endif
  }

  // out += M rows times a panel, whose codes are to be multiplied by numbers from `first` on.
  template <int M>
  static void multiply_tile(
      const PairRows& shape,
      const std::byte* left,
      int64_t first,
      const CodePanel& panel,
      const std::byte* codes,
      float* out,
      int64_t out_row) {
    constexpr int V = kTileVectors;
    const auto* pairs = reinterpret_cast<const int32_t*>(left) + first / 2 * kPairRows;
    const auto* of_rows = reinterpret_cast<const float*>(left) + shape.pairs() +
                          2 * (first / shape.group) * kPairRows;
    const auto* of_columns = reinterpret_cast<const float*>(codes) + panel.pairs();
    for (int64_t g = 0; g < panel.groups; ++g) {
      Integers sums[M][V] = {};
      const int32_t* end = pairs + shape.group / 2 * kPairRows;
#pragma GCC unroll 2
      for (; pairs != end; pairs += kPairRows, codes += V * kVectorBytes) {
        Integers right[V];
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j) {
          right[j] = load_as<Integers>(codes + j * kVectorBytes);
        }
#pragma GCC unroll 8
        for (int i = 0; i < M; ++i) {
          const Integers pair = splat<int32_t, kPanelLanes>(pairs[i]);
#pragma GCC unroll 4
          for (int j = 0; j < V; ++j) {
            sums[i][j] = add_products(sums[i][j], pair, right[j]);
          }
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) {
        const Reals scale = splat<float, kPanelLanes>(of_rows[i]);
        const Reals sum = splat<float, kPanelLanes>(of_rows[kPairRows + i]);
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j) {
          float* to = out + i * out_row + j * kPanelLanes;
          const Reals product = __builtin_convertvector(sums[i][j], Reals) * scale;
          const Reals scales = load_as<Reals>(of_columns + j * kPanelLanes);
          const Reals biases = load_as<Reals>(of_columns + kPanelWidth + j * kPanelLanes);
          const Reals total = multiply_add<float, kPanelLanes>(product, scales, load_as<Reals>(to));
          store_lanes<kPanelLanes>(to, multiply_add<float, kPanelLanes>(sum, biases, total));
        }
      }
      of_rows += 2 * kPairRows;
      of_columns += 2 * kPanelWidth;
    }
  }

  // Fewer rows than kPairRows.
  template <int M = kPairRows - 1, typename... Arguments>
  static void multiply_rest(int64_t rows, const Arguments&... arguments) {
    if (rows == M) {
      multiply_tile<M>(arguments...);
    } else if constexpr (M > 1) {
      multiply_rest<M - 1>(rows, arguments...);
    }
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
#endif
