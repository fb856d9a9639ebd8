// Products of many rows with quantized numbers: a part of the matrix that fits into a cache becomes
// panels of float32, and all rows are multiplied by these in registers.
#pragma once

#include "narrows/backend/cpu/kernels/product_loops.h"
#include "narrows/backend/cpu/kernels/quantized_codes.h"
#include "narrows/backend/cpu/kernels/quantized_tiles.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Columns of a panel: a row of it is what the product in registers takes at once.
constexpr int kPanelLanes = kLanes<float>;
constexpr int64_t kPanelWidth = int64_t{kTileVectors} * kPanelLanes;
static_assert(kPanelColumns % kPanelWidth == 0 && kPanelWidth % 8 == 0);

// Four rows of four numbers as columns; row(i) is where a row begins.
template <typename Row>
NARROWS_INLINE void transpose_four(Row&& row, float* to, int64_t to_row) {
  using Four = Vector<float, 4>;
  using Order = Vector<int32_t, 4>;
  Four rows[4];
  for (int i = 0; i < 4; ++i) {
    rows[i] = load_as<Four>(row(i));
  }
  const Four low = __builtin_shuffle(rows[0], rows[2], Order{0, 4, 1, 5});
  const Four high = __builtin_shuffle(rows[0], rows[2], Order{2, 6, 3, 7});
  const Four next_low = __builtin_shuffle(rows[1], rows[3], Order{0, 4, 1, 5});
  const Four next_high = __builtin_shuffle(rows[1], rows[3], Order{2, 6, 3, 7});
  const Four columns[4] = {
      __builtin_shuffle(low, next_low, Order{0, 4, 1, 5}),
      __builtin_shuffle(low, next_low, Order{2, 6, 3, 7}),
      __builtin_shuffle(high, next_high, Order{0, 4, 1, 5}),
      __builtin_shuffle(high, next_high, Order{2, 6, 3, 7})};
  for (int i = 0; i < 4; ++i) {
    std::memcpy(to + i * to_row, &columns[i], sizeof(Four));
  }
}

// Eight rows of eight numbers as columns.
template <typename Row>
NARROWS_INLINE void transpose_eight(Row&& row, float* to, int64_t to_row) {
  if constexpr (kVectorBytes < 32) {
    for (int i = 0; i < 8; i += 4) {
      for (int k = 0; k < 8; k += 4) {
        transpose_four([&](int r) { return row(i + r) + k; }, to + k * to_row + i, to_row);
      }
    }
    return;
  }
  using Order = Vector<int32_t, 8>;
  Floats rows[8];
  Floats pairs[8];
  for (int i = 0; i < 8; ++i) {
    rows[i] = load_as<Floats>(row(i));
  }
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shuffle(rows[i], rows[i + 1], Order{0, 8, 1, 9, 4, 12, 5, 13});
    pairs[i + 1] = __builtin_shuffle(rows[i], rows[i + 1], Order{2, 10, 3, 11, 6, 14, 7, 15});
  }
  // rows[i] has columns i and i + 4 of four rows.
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      const Floats low = pairs[i + j];
      const Floats high = pairs[i + j + 2];
      rows[i + 2 * j] = __builtin_shuffle(low, high, Order{0, 1, 8, 9, 4, 5, 12, 13});
      rows[i + 2 * j + 1] = __builtin_shuffle(low, high, Order{2, 3, 10, 11, 6, 7, 14, 15});
    }
  }
  for (int i = 0; i < 4; ++i) {
    const Floats first = __builtin_shuffle(rows[i], rows[i + 4], Order{0, 1, 2, 3, 8, 9, 10, 11});
    const Floats second =
        __builtin_shuffle(rows[i], rows[i + 4], Order{4, 5, 6, 7, 12, 13, 14, 15});
    std::memcpy(to + i * to_row, &first, sizeof(first));
    std::memcpy(to + (i + 4) * to_row, &second, sizeof(second));
  }
}

// How numbers become panels, given the function that writes those of some groups.
template <typename Dequantize>
struct Panels {
  static void of_rows(
      const QuantizedNumbers& from, int64_t distance, int64_t rows, int64_t groups, float* panels) {
    const int64_t depth = groups * from.group;
    alignas(64) float numbers[8][kPanelDepth];
    for (int64_t j = 0; j < round_up_to(rows, kPanelWidth); j += 8) {
      for (int64_t r = 0; r < 8; ++r) {
        if (j + r < rows) {
          Dequantize::run(from.from((j + r) * distance), groups, numbers[r]);
        } else {
          std::memset(numbers[r], 0, sizeof(numbers[r]));
        }
      }
      float* to = panels + j / kPanelWidth * depth * kPanelWidth + j % kPanelWidth;
      for (int64_t k = 0; k < depth; k += 8) {
        transpose_eight([&](int r) { return numbers[r] + k; }, to + k * kPanelWidth, kPanelWidth);
      }
    }
  }

  static void of_columns(
      const QuantizedNumbers& from, int64_t distance, int64_t rows, int64_t groups, float* panels) {
    alignas(64) float numbers[kPanelColumns] = {};
    for (int64_t k = 0; k < rows; ++k) {
      Dequantize::run(from.from(k * distance), groups, numbers);
      float* to = panels + k * kPanelWidth;
      for (int64_t j = 0; j < groups * from.group; j += kPanelWidth, to += rows * kPanelWidth) {
        std::memcpy(to, numbers + j, kPanelWidth * sizeof(float));
      }
    }
  }

  static void multiply(
      const float* left,
      int64_t left_row,
      int64_t rows,
      int64_t depth,
      const float* panels,
      int64_t columns,
      float* out,
      int64_t out_row,
      bool adds) {
    for (int64_t j = 0; j < columns; j += kPanelWidth, panels += depth * kPanelWidth) {
      small_product<float, kPanelLanes>(
          {left, left_row, 1},
          rows,
          depth,
          panels,
          kPanelWidth,
          kTileVectors,
          out + j,
          out_row,
          adds);
    }
  }

  static constexpr PanelTile tile() {
    return {of_rows, of_columns, multiply};
  }

 private:
  static constexpr int64_t round_up_to(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit * unit;
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
