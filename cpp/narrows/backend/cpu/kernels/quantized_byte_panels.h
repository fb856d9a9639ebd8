// Products of many rows with affine codes by tiles: registers of 16 rows of 64 bytes. One
// instruction multiplies all rows of one tile by all columns of another, in integers.
//
// Numbers of the left factor become integers of 16 bits, as quantized_integer.h has them, in two
// planes of bytes: the high ones and the low ones, both with signs. Codes are bytes as they are. So
// products are exact, up to the float32 in which groups are added up.
#pragma once

#include "narrows/backend/cpu/kernels/quantized_code_panels.h"

#if defined(__AVX2__)

namespace narrows::cpu::NARROWS_ISA {
namespace {

constexpr int64_t kTileSide = 16;     // rows of the left factor in a tile, and columns
constexpr int64_t kTileRowBytes = 64; // at most
constexpr int64_t kBytePanelWidth = 2 * kTileSide;
static_assert(kPanelColumns % kBytePanelWidth == 0);

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
struct PlaneRows {
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
    std::byte* planes = rows + row * parts.size;
    auto* of_groups = reinterpret_cast<float*>(rows + planes_bytes()) + row;
    as_integers(
        in,
        length,
        group,
        32511.0f, // 127 as the high byte
        [&](Floats x, int64_t i) {
          std::byte* to = planes + i / parts.size * 2 * parts.tile_bytes() + i % parts.size;
          const __m256i integers = _mm256_cvtps_epi32(bits_as<__m256>(x));
          // The low byte has a sign: what is left is rounded.
          const __m256i high =
              _mm256_srai_epi32(_mm256_add_epi32(integers, _mm256_set1_epi32(128)), 8);
          store_low_bytes(high, to);
          store_low_bytes(integers, to + parts.tile_bytes());
        },
        [&](int64_t g, float scale, float sum) {
          of_groups[2 * g * kTileSide] = scale;
          of_groups[(2 * g + 1) * kTileSide] = sum;
        });
  }

 private:
  static NARROWS_INLINE void store_low_bytes(__m256i integers, std::byte* to) {
    const __m128i first =
        _mm_setr_epi8(0, 8, -1, -1, 4, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i second =
        _mm_setr_epi8(-1, -1, 0, 8, -1, -1, 4, 12, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i bytes = _mm_or_si128(
        _mm_shuffle_epi8(_mm256_castsi256_si128(integers), first),
        _mm_shuffle_epi8(_mm256_extracti128_si256(integers, 1), second));
    const auto eight = _mm_cvtsi128_si64(bytes);
    std::memcpy(to, &eight, sizeof(eight));
  }
};

// Where a panel has what: of each part the tiles of its two halves, whose rows have four codes of
// each column; then for each group the scales of the columns, and their biases.
struct BytePanel {
  int64_t depth;
  int64_t groups;

  int64_t codes_bytes() const {
    return depth * kBytePanelWidth;
  }
  int64_t bytes() const {
    return codes_bytes() + 2 * groups * kBytePanelWidth * int64_t{sizeof(float)};
  }
};

// Tiles is the processor's, or stands in for it in tests. Its constructor takes the number of rows
// of the tiles of codes.
template <typename Codes, typename Tiles>
struct BytePanels {
  static void prepare(
      const void* in, Dtype dtype, int64_t rows, int64_t length, int64_t group, std::byte* out) {
    const PlaneRows shape{length, group};
    with_stored(in, dtype, [&](const auto* from) {
      for (int64_t row = 0; row < rows; ++row) {
        shape.prepare(from + row * length, out + row / kTileSide * shape.bytes(), row % kTileSide);
      }
    });
  }
  static int64_t tile_bytes(int64_t length, int64_t group) {
    return PlaneRows{length, group}.bytes();
  }

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
          std::byte* codes =
              panel + column / kTileSide * parts.tile_bytes() + column % kTileSide * 4;
          if constexpr (Codes::kBits == 4) {
            store_nibbles(numbers, shape.depth, parts, codes);
          } else {
            store_bytes(numbers, shape.depth, parts, codes);
          }
        });
  }
  static int64_t panels_bytes(int64_t depth, int64_t group, int64_t columns) {
    return columns / kBytePanelWidth * BytePanel{depth, depth / group}.bytes();
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
    const PlaneRows shape{length, group};
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
    return {kTileSide, 32 * kTileSide, tile_bytes, prepare, of_rows, panels_bytes, multiply};
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
        const PlaneRows& shape,
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

  // The place of the k-th code of a column, k a multiple of four, in the tiles of its half.
  static NARROWS_INLINE std::byte* place_of(std::byte* codes, const TileParts& parts, int64_t k) {
    return codes + k / parts.size * 2 * parts.tile_bytes() + k % parts.size * (kTileRowBytes / 4);
  }

  // A word has eight codes of four bits: a mask leaves those at even places, as bytes.
  static NARROWS_INLINE void store_nibbles(
      const QuantizedNumbers* columns, int64_t depth, const TileParts& parts, std::byte* codes) {
    alignas(64) uint32_t words[8][kPanelDepth / 8] = {};
    for (int r = 0; r < 8; ++r) {
      std::memcpy(words[r], columns[r].codes, static_cast<size_t>(depth / 2));
    }
    alignas(64) uint32_t turned[8][8];
    for (int64_t k = 0; k < depth; k += 64) {
      transpose_words(words[0] + k / 8, kPanelDepth / 8, turned[0], 8);
      const int64_t end = depth - k < 64 ? depth - k : 64;
      for (int64_t i = 0; i < end; i += 8) {
        const Words word = load_as<Words>(turned[i / 8]);
        const Words even = word & 0x0f0f0f0fu;
        const Words odd = word >> 4 & 0x0f0f0f0fu;
        std::byte* to = place_of(codes, parts, k + i);
        std::memcpy(to, &even, sizeof(even));
        std::memcpy(to + kTileRowBytes, &odd, sizeof(odd));
      }
    }
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
      transpose_words(words[0], kBlock / 4, turned[0], 8);
      for (int64_t i = 0; i < kBlock; i += 4) {
        std::memcpy(place_of(codes, parts, k + i), turned[i / 4], sizeof(turned[0]));
      }
    }
  }
  // 32 codes as bytes, of each eight those at even places first.
  static NARROWS_INLINE void store_block(const std::byte* block, uint32_t* to) {
    const Words octets[4] = {
        Codes::template octet<0>(block),
        Codes::template octet<1>(block),
        Codes::template octet<2>(block),
        Codes::template octet<3>(block)};
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    const __m256i bytes = _mm256_shuffle_epi8(bits_as<__m256i>(low_bytes(octets)), order);
    std::memcpy(to, &bytes, sizeof(bytes));
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
