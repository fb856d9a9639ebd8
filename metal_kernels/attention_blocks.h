// What the kernels of attention on matrix units share. The four simdgroups of a threadgroup own 16
// rows each. They multiply these with tiles of other rows, which lie in threadgroup memory.
#pragma once

#include "attention_score.h"

#include "simd_blocks.h"

enum : int { kBlockThreads = 128, kOwnRows = 64 };

// Rows of at most kSize numbers in threadgroup memory. The groups of eight numbers of a row change
// their places, so that neither lanes that read a column nor lanes that read a row meet in a bank.
template <typename T, int kSize>
struct BlockTile {
  enum : int {
    kStride = sizeof(T) == 2 && kSize == 96 ? 128 : kSize,
    kPack = 16 / sizeof(T),
    kPacksOfRow = kSize / kPack
  };
  threadgroup T* numbers;

  static METAL_FUNC int place(int row, int column) {
    int group = row % 8;
    if constexpr (sizeof(T) == 4) {
      group = row % 4 ^ row / 4 % 2;
    } else if constexpr (kStride == 32) {
      group = row / 2 % 4;
    }
    return row * kStride + (column ^ group * 8);
  }

  // Blocks of the transposed tile: their row k and column n is the number (row + n, column + k).
  METAL_FUNC RightBlocks<T> transposed(int row, int column, int lane) const {
    RightBlocks<T> result;
    METAL_UNROLL
    for (int d = 0; d < BlockDepth<T>::value / 8; ++d) {
      if constexpr (kRightInColumn) {
        const int at = place(row + right_column(lane, 0), column + 8 * d + right_row(lane, 0));
        result.of[d] = *(threadgroup const Block<T>*)(numbers + at);
      } else {
        METAL_UNROLL
        for (int e = 0; e < 2; ++e) {
          result.of[d].of[e] =
              numbers[place(row + right_column(lane, e), column + 8 * d + right_row(lane, e))];
        }
      }
    }
    return result;
  }
  // Blocks of the tile: their row k and column n is the number (row + k, column + n).
  METAL_FUNC RightBlocks<T> straight(int row, int column, int lane) const {
    if constexpr (kRightInColumn && sizeof(T) == 2) {
      return load_right_rows(numbers + place(row + lane % 16, column));
    } else {
      RightBlocks<T> result;
      METAL_UNROLL
      for (int d = 0; d < BlockDepth<T>::value / 8; ++d) {
        METAL_UNROLL
        for (int e = 0; e < 2; ++e) {
          result.of[d].of[e] =
              numbers[place(row + 8 * d + right_row(lane, e), column + right_column(lane, e))];
        }
      }
      return result;
    }
  }
};

// A matrix with strides, of one head.
template <typename T>
struct HeadRows {
  device const T* numbers;
  int64_t row;
  int64_t column;
  int64_t rows;
  int64_t columns;
};

template <typename T>
METAL_FUNC HeadRows<T> head_rows(
    device const T* numbers,
    constant AttentionParams& p,
    constant AttentionView& view,
    int64_t entry,
    int64_t head,
    int64_t rows,
    int64_t columns) {
  return HeadRows<T>{
      numbers + start_of(p, view, entry, head), view.row, view.column, rows, columns};
}

// Reads kRows rows, from `first` on, and zeros beyond the matrix: in packs that are whole and
// aligned, or number by number.
template <typename T, int kSize, int kRows, bool kShort>
METAL_FUNC void load_tile(
    BlockTile<T, kSize> tile, HeadRows<T> from, int64_t first, bool packed, int lid) {
  using At = BlockTile<T, kSize>;
  constexpr int kPack = At::kPack;
  constexpr int kCount = kRows * At::kPacksOfRow / kBlockThreads;
  const int rows = int(metal::min(from.rows - first, int64_t(kRows)));
  device const T* numbers = from.numbers + first * from.row;
  const int64_t step = renewed(from.row);
  if (!packed) {
    METAL_ROLLED
    for (int place = lid; place < kRows * kSize; place += kBlockThreads) {
      const int row = place / kSize;
      const int column = place % kSize;
      const bool exists = row < rows && column < from.columns;
      tile.numbers[At::place(row, column)] =
          factor_of<T, kShort>(exists ? float(numbers[row * step + column * from.column]) : 0.0f);
    }
    return;
  }
  // All loads begin before the first number is stored.
  Pack<T, kPack> packs[kCount];
  METAL_UNROLL
  for (int n = 0; n < kCount; ++n) {
    const int place = lid + n * kBlockThreads;
    const int row = place / At::kPacksOfRow;
    const int column = place % At::kPacksOfRow * kPack;
    if (row < rows && column < from.columns) {
      packs[n] = *(device const Pack<T, kPack>*)(numbers + row * step + column);
    } else {
      METAL_UNROLL
      for (int i = 0; i < kPack; ++i) {
        packs[n].values[i] = T(0.0f);
      }
    }
  }
  METAL_UNROLL
  for (int n = 0; n < kCount; ++n) {
    const int place = lid + n * kBlockThreads;
    if constexpr (kShort && sizeof(T) == 4) {
      METAL_UNROLL
      for (int i = 0; i < kPack; ++i) {
        packs[n].values[i] = short_factor(packs[n].values[i]);
      }
    }
    const int at = At::place(place / At::kPacksOfRow, place % At::kPacksOfRow * kPack);
    *(threadgroup Pack<T, kPack>*)(tile.numbers + at) = packs[n];
  }
}

// The rows that a simdgroup owns, as left factors. Beyond the matrix they are its last row.
template <typename T, int kSize, bool kShort>
struct OwnRows {
  enum : int {
    kDepth = BlockDepth<T>::value,
    // Registers suffice for short rows. Longer ones are read again when they are needed.
    kKeeps = kSize * sizeof(T) <= 256
  };
  HeadRows<T> from;
  device const T* rows[2]; // of the lane
  LeftBlocks<T> kept[kKeeps ? kSize / kDepth : 1];

  METAL_FUNC LeftBlocks<T> read(int column, int lane) const thread {
    LeftBlocks<T> result;
    METAL_UNROLL
    for (int d = 0; d < kDepth / 8; ++d) {
      METAL_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int at = column + 8 * d + block_column(lane) + e;
        METAL_UNROLL
        for (int i = 0; i < 2; ++i) {
          const float number = at < from.columns ? float(rows[i][at * from.column]) : 0.0f;
          result.of[i][d].of[e] = factor_of<T, kShort>(number);
        }
      }
    }
    return result;
  }
  METAL_FUNC void start(HeadRows<T> matrix, int64_t first, int lane) thread {
    from = matrix;
    METAL_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int64_t row = metal::min(first + 8 * i + block_row(lane), from.rows - 1);
      rows[i] = from.numbers + row * from.row;
    }
    if constexpr (kKeeps) {
      METAL_UNROLL
      for (int c = 0; c < kSize; c += kDepth) {
        kept[c / kDepth] = read(c, lane);
      }
    }
  }
  METAL_FUNC LeftBlocks<T> at(int column, int lane) const thread {
    if constexpr (kKeeps) {
      return kept[column / kDepth];
    } else {
      return read(column, lane);
    }
  }
};

// Sets sums to the inner products of own rows and of kRows rows of a tile.
template <typename T, int kSize, int kRows, bool kShort>
METAL_FUNC void multiply_rows(
    thread const OwnRows<T, kSize, kShort>& own,
    BlockTile<T, kSize> tile,
    int lane,
    thread SumBlocks* sums) {
  METAL_UNROLL
  for (int n = 0; n < kRows / 8; ++n) {
    sums[n] = zero_sums();
  }
  METAL_UNROLL
  for (int c = 0; c < kSize; c += BlockDepth<T>::value) {
    const LeftBlocks<T> left = own.at(c, lane);
    METAL_UNROLL
    for (int n = 0; n < kRows / 8; ++n) {
      const RightBlocks<T> right = tile.transposed(8 * n, c, lane);
      add_product<kShort>(sums[n], left, right);
    }
  }
}

// Adds the kRows rows of a tile, which have a weight for each own row.
template <typename T, int kSize, int kRows, bool kShort>
METAL_FUNC void add_weighted_rows(
    thread const SumBlocks* weights, BlockTile<T, kSize> tile, int lane, thread SumBlocks* sums) {
  METAL_UNROLL
  for (int k = 0; k < kRows; k += BlockDepth<T>::value) {
    const LeftBlocks<T> left = left_of_sums<T, kShort>(weights + k / 8);
    METAL_UNROLL
    for (int n = 0; n < kSize / 8; ++n) {
      const RightBlocks<T> right = tile.straight(k, 8 * n, lane);
      add_product<kShort>(sums[n], left, right);
    }
  }
}

// Writes columns of own rows, which may be fewer than kSize.
template <typename T, int kSize>
METAL_FUNC void write_rows(
    thread const SumBlocks* sums,
    thread const float* factors,
    device T* result,
    int64_t first,
    int64_t rows,
    int64_t columns,
    int lane) {
  METAL_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int64_t row = first + 8 * i + block_row(lane);
    METAL_UNROLL
    for (int n = 0; n < kSize / 8; ++n) {
      METAL_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int column = 8 * n + block_column(lane) + e;
        if (row < rows && column < columns) {
          result[row * columns + column] = T(sums[n].of[i].of[e] * factors[i]);
        }
      }
    }
  }
}

// What a mask is made of.
template <typename T>
struct MaskOperands {
  device const T* numbers;
  device const bool* sees;
  int64_t start; // of the head
};

// The distance of numbers, where a distance beyond `most` is as good as `most`.
METAL_FUNC int short_distance(int64_t from, int64_t to, int most) {
  return int(metal::max(int64_t(0), metal::min(to - from, int64_t(most))));
}

// Turns the inner products of 16 own rows and kOther others into scores: -inf beyond the matrix.
// The own rows are queries, or keys.
template <typename T, bool kOwnsKeys, int kOther>
METAL_FUNC void finish_scores(
    constant AttentionParams& p,
    MaskOperands<T> mask,
    int64_t own,
    int64_t other,
    int lane,
    thread SumBlocks* scores) {
  METAL_UNROLL
  for (int n = 0; n < kOther / 8; ++n) {
    METAL_UNROLL
    for (int i = 0; i < 2; ++i) {
      scores[n].of[i].of[0] *= p.scale;
      scores[n].of[i].of[1] *= p.scale;
    }
  }
  const int others = short_distance(other, kOwnsKeys ? p.queries : p.keys, kOther);
  const int64_t first_query = kOwnsKeys ? other : own;
  const int64_t key_end = kOwnsKeys ? own + 16 : other + kOther;
  const bool is_causal = p.mask_kind == AttentionMask::causal;
  const bool shown =
      p.mask_kind == AttentionMask::none || (is_causal && key_end <= visible_keys(p, first_query));
  if (shown && others == kOther) {
    return;
  }
  const int64_t own_step = renewed(kOwnsKeys ? p.mask.column : p.mask.row);
  const int64_t other_step = renewed(kOwnsKeys ? p.mask.row : p.mask.column);
  METAL_UNROLL
  for (int i = 0; i < 2; ++i) {
    // Rows that don't exist take part like the last one.
    const int64_t row =
        metal::min(own + 8 * i + block_row(lane), (kOwnsKeys ? p.keys : p.queries) - 1);
    const int64_t start = mask.start + row * own_step + other * other_step;
    // Among the others, those on one side are hidden.
    const int64_t border = kOwnsKeys ? row - (p.keys - p.queries) : visible_keys(p, row);
    const int edge = short_distance(other, border, kOther);
    float added[kOther / 8][2]; // or 1 where a boolean mask hides
    METAL_UNROLL
    for (int n = 0; n < kOther / 8; ++n) {
      METAL_UNROLL
      for (int e = 0; e < 2; ++e) {
        added[n][e] = 0.0f;
      }
    }
    // All loads begin before the first number is added: none is in a branch of its own.
    if (p.mask_kind == AttentionMask::additive) {
      METAL_UNROLL
      for (int n = 0; n < kOther / 8; ++n) {
        METAL_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int c = metal::min(8 * n + block_column(lane) + e, others - 1);
          added[n][e] = float(mask.numbers[start + c * other_step]);
        }
      }
    } else if (p.mask_kind == AttentionMask::boolean) {
      METAL_UNROLL
      for (int n = 0; n < kOther / 8; ++n) {
        METAL_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int c = metal::min(8 * n + block_column(lane) + e, others - 1);
          added[n][e] = mask.sees[start + c * other_step] ? 0.0f : 1.0f;
        }
      }
    }
    const bool is_boolean = p.mask_kind == AttentionMask::boolean;
    METAL_UNROLL
    for (int n = 0; n < kOther / 8; ++n) {
      METAL_UNROLL
      for (int e = 0; e < 2; ++e) {
        const int c = 8 * n + block_column(lane) + e;
        thread float& score = scores[n].of[i].of[e];
        const bool is_hidden =
            is_causal ? (c < edge) == kOwnsKeys : is_boolean && added[n][e] != 0.0f;
        score = is_hidden ? NARROWS_HIDDEN_SCORE : score + added[n][e];
        score = c < others ? score : -INFINITY;
      }
    }
  }
}

// exp(x), for scores less the largest one.
METAL_FUNC float exp_of_difference(float x) {
  return power_of_two(x * 1.44269504f);
}

// For gradients: turns a score into its weight, and the cotangent of the weight into that of the
// score.
METAL_FUNC void weigh_score(
    thread float& score,
    thread float& change,
    bool hides,
    float maximum,
    float inverse,
    float correction) {
  const float weight = exp_of_difference(score - maximum) * inverse;
  const bool is_hidden = hides && score == NARROWS_HIDDEN_SCORE;
  change = is_hidden ? 0.0f : weight * (change - correction);
  score = weight;
}

METAL_FUNC bool hides_keys(constant AttentionParams& p) {
  return p.mask_kind == AttentionMask::causal || p.mask_kind == AttentionMask::boolean;
}

// Which rows, of which head and entry of the batch, a threadgroup owns.
struct BlockPlace {
  int64_t row;
  int64_t head;
  int64_t entry;
};

// Rows with many others come first where a causal mask makes later rows see more.
METAL_FUNC BlockPlace block_place(uint group, int64_t rows, int64_t heads, bool last_first) {
  const int64_t tiles = (rows + kOwnRows - 1) / kOwnRows;
  const int64_t matrix = int64_t(group) / tiles;
  const int64_t tile = int64_t(group) - matrix * tiles;
  return BlockPlace{
      (last_first ? tiles - 1 - tile : tile) * kOwnRows, matrix % heads, matrix / heads};
}

// MACRO(T, "name of T", size, short, "name of short") for each kernel.
#define NARROWS_BLOCK_SIZES(MACRO, T, tname, is_short, sname) \
  MACRO(T, tname "_blocks32" sname, 32, is_short)             \
  MACRO(T, tname "_blocks64" sname, 64, is_short)             \
  MACRO(T, tname "_blocks96" sname, 96, is_short)             \
  MACRO(T, tname "_blocks128" sname, 128, is_short)
#define NARROWS_BLOCK_KERNELS(MACRO)                        \
  NARROWS_BLOCK_SIZES(MACRO, half, "float16", false, "")    \
  NARROWS_BLOCK_SIZES(MACRO, bfloat, "bfloat16", false, "") \
  NARROWS_BLOCK_SIZES(MACRO, float, "float32", false, "")   \
  NARROWS_BLOCK_SIZES(MACRO, float, "float32", true, "_short")
