// Tiles for processors of arm64, whose instructions multiply bytes with signs: what is loaded stays
// in memory, and products are computed when their sums are stored.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_byte_panels.h"

#if defined(__ARM_FEATURE_DOTPROD)

namespace narrows::cpu::NARROWS_ISA {
namespace {

// What a tile of sums is made of: each part of a group is a tile of rows and one of codes.
class TileProducts {
 public:
  static constexpr int kMostParts = 2;

  void clear() {
    count_ = 0;
  }
  void add(const std::byte* left, const std::byte* codes) {
    parts_[count_++] = {
        reinterpret_cast<const int8_t*>(left), reinterpret_cast<const int8_t*>(codes)};
  }

  // Calls use(left, codes) for each part.
  template <typename Use>
  NARROWS_INLINE void each(Use&& use) const {
    for (int i = 0; i < count_; ++i) {
      use(parts_[i].left, parts_[i].codes);
    }
  }

 private:
  struct Part {
    const int8_t* left;
    const int8_t* codes;
  };
  Part parts_[kMostParts];
  int count_ = 0;
};

// Sums is how a tile of sums is computed and stored.
template <typename Sums>
class MemoryTiles {
 public:
  static constexpr TileOrder kOrder = Sums::kOrder;
  static constexpr bool kCodesHaveSigns = true;

  explicit MemoryTiles(int64_t code_words) : row_bytes_(4 * code_words) {
  }

  template <int tile>
  NARROWS_INLINE void clear() {
    sums_[tile].clear();
  }
  template <int tile>
  NARROWS_INLINE void load(const std::byte* from, int64_t) {
    factors_[tile - 4] = from;
  }
  template <int sums, int left, int codes>
  NARROWS_INLINE void add_products() {
    sums_[sums].add(factors_[left - 4], factors_[codes - 4]);
  }
  template <int tile>
  NARROWS_INLINE void store(int32_t* to, int64_t) const {
    Sums::store(sums_[tile], row_bytes_, to);
  }

 private:
  int64_t row_bytes_;
  const std::byte* factors_[4]; // tiles 4 to 7
  TileProducts sums_[4];
};

// Four neighbours of one row by those of four columns at a time.
struct DotSums {
  static constexpr TileOrder kOrder{4, 1};

  static void store(const TileProducts& products, int64_t row_bytes, int32_t* to) {
    for (int64_t row = 0; row < kTileSide; row += kRows) {
      int32x4_t sums[kRows][4] = {};
      products.each([&](const int8_t* left, const int8_t* codes) {
        const int8_t* rows = left + row * row_bytes;
        for (int64_t k = 0; k < row_bytes; k += 16, codes += 4 * kTileRowBytes) {
          int8x16_t numbers[kRows];
          for (int i = 0; i < kRows; ++i) {
            numbers[i] = vld1q_s8(rows + i * row_bytes + k);
          }
          add<0>(numbers, codes, sums);
          add<1>(numbers, codes, sums);
          add<2>(numbers, codes, sums);
          add<3>(numbers, codes, sums);
        }
      });
      for (int i = 0; i < kRows; ++i) {
        for (int j = 0; j < 4; ++j) {
          vst1q_s32(to + (row + i) * kTileSide + 4 * j, sums[i][j]);
        }
      }
    }
  }

 private:
  static constexpr int kRows = 4; // whose sums are in registers

  template <int lane>
  static NARROWS_INLINE void add(
      const int8x16_t (&numbers)[kRows], const int8_t* codes, int32x4_t (&sums)[kRows][4]) {
    for (int j = 0; j < 4; ++j) {
      const int8x16_t columns = vld1q_s8(codes + lane * kTileRowBytes + 16 * j);
      for (int i = 0; i < kRows; ++i) {
        sums[i][j] = vdotq_laneq_s32(sums[i][j], columns, numbers[i], lane);
      }
    }
  }
};

#if defined(__ARM_FEATURE_MATMUL_INT8)
// Eight neighbours of two rows by those of two columns at a time.
struct MatrixSums {
  static constexpr TileOrder kOrder{8, 2};

  static void store(const TileProducts& products, int64_t row_bytes, int32_t* to) {
    for (int64_t row = 0; row < kTileSide; row += 2 * kPairs) {
      for (int64_t column = 0; column < kTileSide; column += 2 * kPairs) {
        int32x4_t sums[kPairs][kPairs] = {};
        products.each([&](const int8_t* left, const int8_t* codes) {
          const int8_t* rows = left + row * row_bytes;
          const int8_t* columns = codes + column * 8;
          for (int64_t k = 0; k < row_bytes; k += 8, rows += 16, columns += 2 * kTileRowBytes) {
            add(rows, 2 * row_bytes, columns, sums);
          }
        });
        store_pairs(sums, to + row * kTileSide + column);
      }
    }
  }

 private:
  static constexpr int kPairs = 4; // of rows, and of columns, whose sums are in registers

  static NARROWS_INLINE void add(
      const int8_t* rows,
      int64_t distance,
      const int8_t* columns,
      int32x4_t (&sums)[kPairs][kPairs]) {
    int8x16_t numbers[kPairs];
    for (int i = 0; i < kPairs; ++i) {
      numbers[i] = vld1q_s8(rows + i * distance);
    }
    for (int j = 0; j < kPairs; ++j) {
      const int8x16_t codes = vld1q_s8(columns + 16 * j);
      for (int i = 0; i < kPairs; ++i) {
        sums[i][j] = vmmlaq_s32(sums[i][j], numbers[i], codes);
      }
    }
  }

  // Each has the sums of the first row with both columns, then those of the second.
  static NARROWS_INLINE void store_pairs(const int32x4_t (&sums)[kPairs][kPairs], int32_t* to) {
    for (int i = 0; i < kPairs; ++i) {
      for (int j = 0; j < kPairs; j += 2) {
        const int32x4_t a = sums[i][j];
        const int32x4_t b = sums[i][j + 1];
        int32_t* at = to + 2 * i * kTileSide + 2 * j;
        vst1q_s32(at, vcombine_s32(vget_low_s32(a), vget_low_s32(b)));
        vst1q_s32(at + kTileSide, vcombine_s32(vget_high_s32(a), vget_high_s32(b)));
      }
    }
  }
};
using ArmTiles = MemoryTiles<MatrixSums>;
#else
using ArmTiles = MemoryTiles<DotSums>;
#endif

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
#endif
