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
      const int64_t scales = groups * size_of(from.scale_dtype);
      __builtin_prefetch(numbers[r].scales + scales);
      __builtin_prefetch(numbers[r].biases + scales);
      for (int64_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(numbers[r].codes + bytes + i);
      }
    }
    store(numbers, j);
  }
}

// Eight rows of eight words as columns; row(i) is where a row begins.
template <typename Row>
NARROWS_INLINE void transpose_words(Row&& row, uint32_t* to, int64_t to_row) {
  transpose_eight(
      [&](int i) { return reinterpret_cast<const float*>(row(i)); },
      reinterpret_cast<float*>(to),
      to_row);
}

// Calls use(word, k) with codes k to k + 7 of eight columns, whose codes have four bits.
template <typename Use>
NARROWS_INLINE void each_nibbles(const QuantizedNumbers* columns, int64_t depth, Use&& use) {
  alignas(64) uint32_t turned[8][8];
  for (int64_t k = 0; k < depth; k += 64) {
    const int64_t count = depth - k < 64 ? 32 : 64; // groups have whole blocks of 32
    if (count == 64) {
      transpose_words([&](int r) { return columns[r].codes + k / 2; }, turned[0], 8);
    } else {
      alignas(32) std::byte rest[8][32] = {};
      for (int r = 0; r < 8; ++r) {
        std::memcpy(rest[r], columns[r].codes + k / 2, 16);
      }
      transpose_words([&](int r) { return rest[r]; }, turned[0], 8);
    }
    for (int64_t i = 0; i < count; i += 8) {
      use(load_as<Words>(turned[i / 8]), k + i);
    }
  }
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
