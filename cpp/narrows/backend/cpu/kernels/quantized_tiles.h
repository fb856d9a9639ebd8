// The inner loops of quantized numbers, found by mode, bits and instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "narrows/backend/cpu/integer_isa.h"
#include "narrows/core/dtype.h"
#include "narrows/core/kernel_id.h"

namespace narrows::cpu {

// Quantized numbers in memory: groups that follow each other.
struct QuantizedNumbers {
  const std::byte* codes;
  const std::byte* scales;
  const std::byte* biases; // nullptr: none
  Dtype scale_dtype;       // of scales and biases
  int64_t group;           // numbers of a group
  int64_t bits;

  // The numbers from this group on.
  QuantizedNumbers from(int64_t groups) const {
    const int64_t moved = groups * size_of(scale_dtype);
    return {
        codes + groups * group * bits / 8,
        scales + moved,
        biases ? biases + moved : nullptr,
        scale_dtype,
        group,
        bits};
  }
};

// The left factor of a product: rows of float32, and of each group of a row's numbers the sums of
// every eighth.
struct ProductRows {
  const float* values;
  const float* sums; // nullptr where numbers have no biases
  int64_t length;    // of a row, in numbers
};
inline constexpr int64_t kGroupSums = 8;

// The most rows of the left factor that a call of `products` takes.
inline constexpr int64_t kMostProductRows = 4;

// The same products in integers, for some kinds of codes and instruction sets.
struct IntegerTile {
  // Of a row of the left factor as the products take it.
  int64_t (*row_bytes)(int64_t length, int64_t group);
  void (*prepare)(
      const void* in, Dtype dtype, int64_t rows, int64_t length, int64_t group, std::byte* out);
  // As QuantizedTile::products, of rows that were prepared.
  void (*products)(
      const std::byte* left,
      int64_t length,
      int64_t rows,
      const QuantizedNumbers& right,
      int64_t columns,
      float* out,
      int64_t out_stride);
};

// Products of many rows in float32. A part of the quantized matrix becomes panels: rows of what the
// products in registers take at once, one panel after the other.
inline constexpr int64_t kPanelDepth = 256;   // the most rows of panels, which are summed over
inline constexpr int64_t kPanelColumns = 128; // the most columns of all panels together

struct PanelTile {
  // Panels of `groups` groups of each of `rows` rows of numbers, which are `distance` groups apart.
  // of_rows: each row of numbers is a column. of_columns: each is a row. Columns that the last
  // panel has beyond them mean nothing.
  void (*of_rows)(
      const QuantizedNumbers& from, int64_t distance, int64_t rows, int64_t groups, float* panels);
  void (*of_columns)(
      const QuantizedNumbers& from, int64_t distance, int64_t rows, int64_t groups, float* panels);
  // out = left @ panels, or out += that. `columns` is rounded up to whole panels, of which `out`
  // has the columns, too.
  void (*multiply)(
      const float* left,
      int64_t left_row,
      int64_t rows,
      int64_t depth,
      const float* panels,
      int64_t columns,
      float* out,
      int64_t out_row,
      bool adds);
};

// Products of many rows in integers, for some kinds of codes and instruction sets. Panels have
// codes, scales and biases as they are.
struct CodePanelTile {
  int64_t rows;      // of the left factor that lie together: a tile
  int64_t most_rows; // that are prepared at once: whole tiles, also if they are halved three times
  // Of a tile as the products take it; and rows from the first of a tile on.
  int64_t (*tile_bytes)(int64_t length, int64_t group);
  void (*prepare)(
      const void* in, Dtype dtype, int64_t rows, int64_t length, int64_t group, std::byte* out);
  // Panels, as PanelTile::of_rows; and the bytes of those of some columns, rounded up to whole
  // panels.
  void (*of_rows)(
      const QuantizedNumbers& from,
      int64_t distance,
      int64_t rows,
      int64_t groups,
      std::byte* panels);
  int64_t (*panels_bytes)(int64_t depth, int64_t group, int64_t columns);
  // out += rows of `length` numbers that were prepared, from the number `first` on, @ panels. They
  // begin with a tile.
  // `columns` is rounded up as in PanelTile::multiply.
  void (*multiply)(
      const std::byte* left,
      int64_t length,
      int64_t first,
      int64_t rows,
      int64_t groups,
      int64_t group,
      const std::byte* panels,
      int64_t columns,
      float* out,
      int64_t out_row);
};

// Nothing in them: there are no such products.
struct IntegerTiles {
  IntegerTile few_rows{};
  CodePanelTile panels{};
};

struct QuantizedTile {
  // Codes, scales and biases of `groups` groups.
  void (*quantize)(
      const void* in,
      Dtype dtype,
      int64_t groups,
      int64_t group,
      void* codes,
      void* scales,
      void* biases);
  // The numbers of `groups` groups.
  void (*dequantize)(const QuantizedNumbers& numbers, int64_t groups, Dtype dtype, void* out);
  // The products of each of `rows` rows of the left factor, at most kMostProductRows, with each of
  // `columns` rows of numbers: out[row * out_stride + column].
  void (*products)(
      const ProductRows& left,
      int64_t rows,
      const QuantizedNumbers& right,
      int64_t columns,
      float* out,
      int64_t out_stride);
  // sums[row * length + i] += factors[row] * number i, of a row of `length` numbers.
  void (*add_scaled)(
      const QuantizedNumbers& numbers,
      int64_t length,
      const float* factors,
      int64_t rows,
      float* sums);
  // sums: of each group of `group` numbers, those of ProductRows. values: all numbers in float32.
  // Either may be nullptr.
  void (*prepare)(
      const void* in, Dtype dtype, int64_t groups, int64_t group, float* values, float* sums);
  // From and to float32.
  void (*widen)(const void* in, Dtype dtype, int64_t n, float* out);
  void (*store)(const float* in, int64_t n, Dtype dtype, void* out);
  PanelTile panels;
  IntegerTile integer{};        // nothing: there are no such products
  CodePanelTile code_panels{};  // nothing: there are no such products
  int64_t least_panel_rows = 0; // with fewer rows, products of rows of numbers are faster
};

// Those of an instruction set. Of products in integers they have none.
#define NARROWS_DECLARE_TILES(isa)                  \
  namespace isa {                                   \
  QuantizedTile quantized_tile(const KernelId& id); \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_TILES)
#undef NARROWS_DECLARE_TILES

// Products in integers. is_exact: they keep the 24 bits of float32.
#define NARROWS_DECLARE_TILES(isa)                               \
  namespace isa {                                                \
  IntegerTiles integer_tiles(const KernelId& id, bool is_exact); \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_TILES)
#if defined(__x86_64__)
NARROWS_DECLARE_TILES(v3_vnni)
NARROWS_DECLARE_TILES(v4_vnni)
NARROWS_DECLARE_TILES(v4_amx)
#elif defined(__aarch64__)
NARROWS_DECLARE_TILES(dot)
NARROWS_DECLARE_TILES(i8mm)
#endif
#undef NARROWS_DECLARE_TILES

// Those of cpu_isa_level() and integer_isa(), by mode and bits.
QuantizedTile quantized_tile(const KernelId& id);

} // namespace narrows::cpu
