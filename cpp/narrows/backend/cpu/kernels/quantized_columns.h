// What panels of codes share: they are made of eight columns at a time.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_panels.h"

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Panels of some columns. Panel is the shape of one.
template <typename Panel>
int64_t panels_bytes(int64_t depth, int64_t group, int64_t columns) {
  return columns / Panel::kColumns * Panel{depth, depth / group}.bytes();
}

// The scales of eight columns, and then their biases, of each group: rows of `width` columns.
template <typename Stored>
NARROWS_INLINE void store_columns(
    const QuantizedNumbers* columns,
    const std::byte* QuantizedNumbers::*from,
    int64_t groups,
    int64_t width,
    float* to) {
  for (int64_t r = 0; r < 8; ++r) {
    const auto* stored = reinterpret_cast<const Stored*>(columns[r].*from);
    int64_t g = 0;
    for (; g + 4 <= groups; g += 4) {
      const auto four = load_lanes<float, 4>(stored + g);
      for (int64_t i = 0; i < 4; ++i) {
        to[2 * (g + i) * width + r] = four[i];
      }
    }
    for (; g < groups; ++g) {
      to[2 * g * width + r] = widen<float>(stored[g]);
    }
  }
}
inline void store_scales(
    const QuantizedNumbers* columns, int64_t groups, int64_t width, float* to) {
  with_stored(to, columns->scale_dtype, [&](auto* stored) {
    using Stored = std::remove_reference_t<decltype(*stored)>;
    store_columns<Stored>(columns, &QuantizedNumbers::scales, groups, width, to);
    store_columns<Stored>(columns, &QuantizedNumbers::biases, groups, width, to + width);
  });
}

// Calls store(numbers, column) with eight neighbouring columns at a time, up to whole panels:
// columns behind the last one repeat it. The next panels are most likely made of the codes that
// follow these: they are asked for.
template <typename Store>
NARROWS_INLINE void each_eight_columns(
    const QuantizedNumbers& from,
    int64_t distance,
    int64_t rows,
    int64_t groups,
    int64_t width,
    Store&& store) {
  const int64_t bytes = groups * from.group * from.bits / 8;
  for (int64_t j = 0; j < (rows + width - 1) / width * width; j += 8) {
    QuantizedNumbers numbers[8];
    for (int64_t r = 0; r < 8; ++r) {
      numbers[r] = from.from((j + r < rows ? j + r : rows - 1) * distance);
      for (int64_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(numbers[r].codes + bytes + i);
      }
    }
    store(numbers, j);
  }
}

NARROWS_INLINE void transpose_words(
    const uint32_t* from, int64_t from_row, uint32_t* to, int64_t to_row) {
  transpose_eight(
      reinterpret_cast<const float*>(from), from_row, reinterpret_cast<float*>(to), to_row);
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
