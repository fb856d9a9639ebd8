// Products of many rows with affine codes by tiles of 16 rows of 64 bytes: registers of AMX, or
// memory that other instructions read. All rows of one tile are multiplied by all columns of
// another, in integers.
//
// Numbers of the left factor become integers of 16 bits, as quantized_left.h has them, in two
// planes of bytes: the high ones and the low ones, both with signs. Codes are bytes as they are, or
// with signs where instructions have no others. So products are exact, up to the float32 in which
// groups are added up.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_columns.h"
#include "narrows/backend/cpu/kernels/quantized_left.h"

#if NARROWS_INTEGER_PRODUCTS

namespace narrows::cpu::NARROWS_ISA {
namespace {

constexpr int64_t kTileSide = 16;     // rows of the left factor in a tile, and columns
constexpr int64_t kTileRowBytes = 64; // at most
constexpr int64_t kBytePanelWidth = 2 * kTileSide;
static_assert(kPanelColumns % kBytePanelWidth == 0);

// How numbers lie in tiles. One instruction multiplies `depth` neighbours of each row by as many of
// a column. Codes: those neighbours of one column after the other. Rows: each by itself, or as many
// as `rows` together, neighbours of one row after the other.
struct TileOrder {
  int64_t depth; // four or eight
  int64_t rows;
};

// Parts of groups that one tile holds. Of each part there is a tile for each plane of the left
// factor, or for each half of a panel's columns. Tiles of a part follow each other.
struct TileParts {
  int64_t size; // of a part, in numbers

  static TileParts of(int64_t group) {
    return {group < kTileRowBytes ? group : kTileRowBytes};
  }
  int64_t tile_bytes() const {
    return kTileSide * size;
  }
};

// kTileSide rows of the left factor in memory: the planes of each part; then of each group the
// scales of all rows, and the sums of their numbers. Of each eight numbers those at even places
// come first: codes of four bits are taken apart in this order.
template <TileOrder order>
struct PlaneRows {
  static constexpr int64_t kTogether = kTileSide;

  int64_t length;
  int64_t group;

  int64_t planes_bytes() const {
    return 2 * kTileSide * length;
  }
  int64_t bytes() const {
    return planes_bytes() + 2 * (length / group) * kTileSide * int64_t{sizeof(float)};
  }

  template <typename Stored>
  void prepare(const Stored* in, std::byte* rows, int64_t row) const {
    const TileParts parts = TileParts::of(group);
    auto* of_groups = reinterpret_cast<float*>(rows + planes_bytes()) + row;
    as_integers(
        in,
        length,
        group,
        32511.0f, // 127 as the high byte
        [&](Integers8 integers, int64_t i) {
          std::byte* tile = rows + i / parts.size * 2 * parts.tile_bytes();
          std::byte* to = tile + place_of(row, i % parts.size, parts);
          store_low_bytes(high_digits(integers), to);
          store_low_bytes(integers, to + parts.tile_bytes());
        },
        [&](int64_t g, float scale, float sum) {
          of_groups[2 * g * kTileSide] = scale;
          of_groups[(2 * g + 1) * kTileSide] = sum;
        });
  }

 private:
  // Of eight numbers from number `i` of a part on.
  static NARROWS_INLINE int64_t place_of(int64_t row, int64_t i, const TileParts& parts) {
    if constexpr (order.rows == 1) {
      return row * parts.size + i;
    } else {
      static_assert(order.depth == 8);
      return row / order.rows * order.rows * parts.size + i * order.rows + row % order.rows * 8;
    }
  }
};

// Where a panel has what: of each part the tiles of its two halves; then for each group the scales
// of the columns, and their biases.
struct BytePanel {
  static constexpr int64_t kColumns = kBytePanelWidth;

  int64_t depth;
  int64_t groups;

  int64_t codes_bytes() const {
    return depth * kBytePanelWidth;
  }
  int64_t bytes() const {
    return codes_bytes() + 2 * groups * kBytePanelWidth * int64_t{sizeof(float)};
  }
};

// Tiles is the processor's, or stands in for it: its constructor takes how many words of four codes
// a column has in a tile.
template <typename Codes, typename Tiles>
struct BytePanels {
  using Rows = PlaneRows<Tiles::kOrder>;
  // Codes of eight bits have signs where instructions multiply no others: 128 less, which the bias
  // has more.
  static constexpr bool kSigned = Tiles::kCodesHaveSigns && Codes::kBits == 8;

  static void of_rows(
      const QuantizedNumbers& from,
      int64_t distance,
      int64_t rows,
      int64_t groups,
      std::byte* panels) {
    const BytePanel shape{groups * from.group, groups};
    const TileParts parts = TileParts::of(from.group);
    each_eight_columns(
        from,
        distance,
        rows,
        groups,
        kBytePanelWidth,
        [&](const QuantizedNumbers* numbers, int64_t j) {
          std::byte* panel = panels + j / kBytePanelWidth * shape.bytes();
          const int64_t column = j % kBytePanelWidth;
          auto* scales = reinterpret_cast<float*>(panel + shape.codes_bytes()) + column;
          store_scales(numbers, groups, kBytePanelWidth, scales);
          if constexpr (kSigned) {
            for (int64_t g = 0; g < groups; ++g) {
              float* of_group = scales + 2 * g * kBytePanelWidth;
              float* biases = of_group + kBytePanelWidth;
              const Floats more = load_as<Floats>(of_group) * 128.0f;
              store_lanes<8>(biases, load_as<Floats>(biases) + more);
            }
          }
          std::byte* codes = panel + column / kTileSide * parts.tile_bytes() +
                             column % kTileSide * Tiles::kOrder.depth;
          if constexpr (Codes::kBits == 4) {
            store_nibbles(numbers, shape.depth, parts, codes);
          } else {
            store_bytes(numbers, shape.depth, parts, codes);
          }
        });
  }
  // Sums of a half of the columns are added up while tiles compute the next ones. Both halves lie
  // within 4 KB, because a load waits for earlier stores whose addresses differ by multiples of
  // that.
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
    const Rows shape{length, group};
    const BytePanel panel{groups * group, groups};
    Tiles tiles(TileParts::of(group).size / 4);
    alignas(4096) Sums sums[2];
    for (int64_t j = 0; j < columns; j += kBytePanelWidth, panels += panel.bytes()) {
      Step last{};
      for (int64_t row = 0; row < rows; row += kTileSide) {
        const int64_t count = rows - row < kTileSide ? rows - row : kTileSide;
        const std::byte* tile = left + row / kTileSide * shape.bytes();
        for (int64_t g = 0; g < groups; ++g) {
          const Step step(
              shape, panel, tile, panels, first / group + g, g, count, out + row * out_row + j);
          multiply_group(step, tiles);
          store_half<0>(tiles, sums[0]);
          add_half<1>(last, sums[1], out_row);
          store_half<1>(tiles, sums[1]);
          add_half<0>(step, sums[0], out_row);
          last = step;
        }
      }
      add_half<1>(last, sums[1], out_row);
    }
  }

  static constexpr CodePanelTile tile() {
    return {
        kTileSide,
        32 * kTileSide,
        PreparedRows<Rows>::bytes,
        PreparedRows<Rows>::prepare,
        of_rows,
        panels_bytes<BytePanel>,
        multiply};
  }

 private:
  static constexpr int kLanes = 16;
  using Integers = Vector<int32_t, kLanes>;
  using Reals = Vector<float, kLanes>;
  using Sums = int32_t[2][kTileSide * kTileSide]; // of the planes, the high one first

  // What is multiplied at once: a group of a tile of rows and of a panel.
  struct Step {
    const std::byte* left; // planes, and codes
    const std::byte* right;
    const float* of_rows; // scales and sums of the left factor, and scales and biases of columns
    const float* of_columns;
    int64_t group;
    int64_t rows; // none: there is nothing to do
    float* out;

    Step() = default;
    NARROWS_INLINE Step(
        const Rows& shape,
        const BytePanel& panel,
        const std::byte* tile,
        const std::byte* codes,
        int64_t left_group,
        int64_t right_group,
        int64_t rows,
        float* out)
        : left(tile + 2 * kTileSide * left_group * shape.group),
          right(codes + kBytePanelWidth * right_group * shape.group),
          of_rows(
              reinterpret_cast<const float*>(tile + shape.planes_bytes()) +
              2 * left_group * kTileSide),
          of_columns(
              reinterpret_cast<const float*>(codes + panel.codes_bytes()) +
              2 * right_group * kBytePanelWidth),
          group(shape.group),
          rows(rows),
          out(out) {
    }
  };

  // Tiles 0 and 1 get the sums of the first half, 2 and 3 those of the second.
  static NARROWS_INLINE void multiply_group(const Step& step, Tiles& tiles) {
    const TileParts parts = TileParts::of(step.group);
    const int64_t tile_bytes = parts.tile_bytes();
    const std::byte* left = step.left;
    const std::byte* right = step.right;
    tiles.template clear<0>();
    tiles.template clear<1>();
    tiles.template clear<2>();
    tiles.template clear<3>();
    for (int64_t i = 0; i < step.group; i += parts.size) {
      tiles.template load<6>(right, kTileRowBytes);
      tiles.template load<4>(left, parts.size);
      tiles.template load<5>(left + tile_bytes, parts.size);
      tiles.template load<7>(right + tile_bytes, kTileRowBytes);
      tiles.template add_products<0, 4, 6>();
      tiles.template add_products<1, 5, 6>();
      tiles.template add_products<2, 4, 7>();
      tiles.template add_products<3, 5, 7>();
      left += 2 * tile_bytes;
      right += 2 * tile_bytes;
    }
  }
  template <int half>
  static NARROWS_INLINE void store_half(Tiles& tiles, Sums& sums) {
    tiles.template store<2 * half>(sums[0], kTileRowBytes);
    tiles.template store<2 * half + 1>(sums[1], kTileRowBytes);
  }

  template <int half>
  static NARROWS_INLINE void add_half(const Step& step, const Sums& sums, int64_t out_row) {
    if (step.rows == 0) {
      return;
    }
    const float* of_columns = step.of_columns + half * kLanes;
    const Reals scales = load_as<Reals>(of_columns);
    const Reals biases = load_as<Reals>(of_columns + kBytePanelWidth);
    for (int64_t i = 0; i < step.rows; ++i) {
      float* to = step.out + i * out_row + half * kLanes;
      const auto high = load_as<Integers>(sums[0] + i * kLanes);
      const auto low = load_as<Integers>(sums[1] + i * kLanes);
      const Reals product = __builtin_convertvector(high * 256 + low, Reals) * scales;
      const Reals scale = splat<float, kLanes>(step.of_rows[i]);
      const Reals sum = splat<float, kLanes>(step.of_rows[kTileSide + i]);
      const Reals total = multiply_add<float, kLanes>(product, scale, load_as<Reals>(to));
      store_lanes<kLanes>(to, multiply_add<float, kLanes>(sum, biases, total));
    }
  }

  // Codes k to k + 7 of eight columns, k a multiple of eight: the first four of each, and the
  // others.
  static NARROWS_INLINE void store_eight(
      Words first, Words second, const TileParts& parts, int64_t k, std::byte* codes) {
    std::byte* to =
        codes + k / parts.size * 2 * parts.tile_bytes() + k % parts.size * (kTileRowBytes / 4);
    if constexpr (kSigned) {
      first ^= 0x80808080u;
      second ^= 0x80808080u;
    }
    if constexpr (Tiles::kOrder.depth == 4) {
      std::memcpy(to, &first, sizeof(first));
      std::memcpy(to + kTileRowBytes, &second, sizeof(second));
    } else {
      using Order = Vector<int32_t, 8>;
      const Words low = __builtin_shuffle(first, second, Order{0, 8, 1, 9, 2, 10, 3, 11});
      const Words high = __builtin_shuffle(first, second, Order{4, 12, 5, 13, 6, 14, 7, 15});
      std::memcpy(to, &low, sizeof(low));
      std::memcpy(to + sizeof(low), &high, sizeof(high));
    }
  }

  // A word has eight codes of four bits: a mask leaves those at even places, as bytes.
  static NARROWS_INLINE void store_nibbles(
      const QuantizedNumbers* columns, int64_t depth, const TileParts& parts, std::byte* codes) {
    each_nibbles(columns, depth, [&](Words word, int64_t k) {
      store_eight(word & 0x0f0f0f0fu, word >> 4 & 0x0f0f0f0fu, parts, k, codes);
    });
  }

  static NARROWS_INLINE void store_bytes(
      const QuantizedNumbers* columns, int64_t depth, const TileParts& parts, std::byte* codes) {
    constexpr int64_t kBlock = 32;
    alignas(64) uint32_t words[8][kBlock / 4];
    alignas(64) uint32_t turned[8][8];
    for (int64_t k = 0; k < depth; k += kBlock) {
      for (int r = 0; r < 8; ++r) {
        store_block(columns[r].codes + k / kBlock * Codes::kBytes, words[r]);
      }
      transpose_words([&](int r) { return words[r]; }, turned[0], 8);
      for (int64_t i = 0; i < kBlock; i += 8) {
        const Words first = load_as<Words>(turned[i / 4]);
        store_eight(first, load_as<Words>(turned[i / 4 + 1]), parts, k + i, codes);
      }
    }
  }
  // 32 codes as bytes, of each eight those at even places first.
  static NARROWS_INLINE void store_block(const std::byte* block, uint32_t* to) {
#if defined(__AVX2__)
    const Words octets[4] = {
        Codes::template octet<0>(block),
        Codes::template octet<1>(block),
        Codes::template octet<2>(block),
        Codes::template octet<3>(block)};
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    const __m256i bytes = _mm256_shuffle_epi8(bits_as<__m256i>(low_bytes(octets)), order);
    std::memcpy(to, &bytes, sizeof(bytes));
#else
    std::byte with_zeros[2 * Codes::kBytes] = {};
    std::memcpy(with_zeros, block, Codes::kBytes);
    ByteLanes even;
    ByteLanes odd;
    unpack_bytes<Codes::kBits>(with_zeros, even, odd);
    const int32x4_t of_even = vreinterpretq_s32_s8(even.half[0]);
    const int32x4_t of_odd = vreinterpretq_s32_s8(odd.half[0]);
    auto* words = reinterpret_cast<int32_t*>(to);
    vst1q_s32(words, vzip1q_s32(of_even, of_odd));
    vst1q_s32(words + 4, vzip2q_s32(of_even, of_odd));
#endif
  }
};

// The codes of so many bits.
template <typename Tiles>
CodePanelTile byte_panels(int bits) {
  switch (bits) {
    case 1:
      return BytePanels<AffineCodes<1>, Tiles>::tile();
    case 2:
      return BytePanels<AffineCodes<2>, Tiles>::tile();
    case 3:
      return BytePanels<AffineCodes<3>, Tiles>::tile();
    case 5:
      return BytePanels<AffineCodes<5>, Tiles>::tile();
    case 6:
      return BytePanels<AffineCodes<6>, Tiles>::tile();
    case 8:
      return BytePanels<AffineCodes<8>, Tiles>::tile();
    default:
      return BytePanels<AffineCodes<4>, Tiles>::tile();
  }
}

} // namespace
} // namespace narrows::cpu::NARROWS_ISA
#endif
