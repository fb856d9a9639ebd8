// The left factor of products in integers, as these take it. The numbers of a group become integers
// of 16 bits relative to the largest magnitude, or of 24 bits: as exact as float32.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_lanes.h"
#include "narrows/backend/cpu/kernels/quantized_tiles.h"

#if NARROWS_INTEGER_PRODUCTS

namespace narrows::cpu::NARROWS_ISA {
namespace {

// Calls store(integers, i) with numbers i to i + 7 of a row as integers, which are relative to the
// largest magnitude of their group: that becomes `most`. Calls store_group(g, scale, sum) with what
// the integers of a group are to be multiplied by, and the sum of the numbers that they stand for.
// With that sum, what rounding adds is multiplied by the numbers of the other factor, not by their
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
      const Floats integers = nearest(load_lanes<float, 8>(in + i) * inverse);
      sum += integers;
      store(__builtin_convertvector(integers, Integers8), i);
    }
    const float scale = magnitude / most;
    store_group(g, scale, sum_of(sum) * scale);
  }
}

// Rows lie together as many as Rows::kTogether says: Rows is the shape of so many.
template <typename Rows>
struct PreparedRows {
  // Of rows that lie together.
  static int64_t bytes(int64_t length, int64_t group) {
    return Rows{length, group}.bytes();
  }
  // Rows from the first one of some that lie together.
  static void prepare(
      const void* in, Dtype dtype, int64_t rows, int64_t length, int64_t group, std::byte* out) {
    const Rows shape{length, group};
    with_stored(in, dtype, [&](const auto* from) {
      for (int64_t row = 0; row < rows; ++row) {
        std::byte* to = out + row / Rows::kTogether * shape.bytes();
        shape.prepare(from + row * length, to, row % Rows::kTogether);
      }
    });
  }
};

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
#endif
