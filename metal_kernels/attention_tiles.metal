// Attention of many queries, and its gradient, in square tiles of scores. A tile goes through
// threadgroup memory, from where it is multiplied with rows of values, keys or queries.
#include "common.h"

#include "attention_score.h"

// 256 threads, 16 x 16, have kEach x kEach neighbouring elements of a tile each.
template <typename T>
struct Tile {
  using Value = Compute<T>;
  enum : int {
    kThreads = 256,
    kEach = sizeof(Value) == 8 ? 2 : 4,
    kSize = 16 * kEach,
    kDepth = 32 // of a panel
  };
};

// What threads read at once from threadgroup memory.
template <typename T>
struct alignas(16) TileGroup {
  Compute<T> values[Tile<T>::kEach];
};

// A panel lies as (depth, columns), in groups of kEach columns. In every fourth row the groups
// change their places: so neither threads that write rows nor threads that write columns meet in
// the same bank of the memory.
template <typename T>
using TilePanel = threadgroup TileGroup<T>*;

METAL_FUNC int group_place(int k, int group) {
  return k * 16 + (group ^ (k / 4 % 8));
}
template <typename T>
METAL_FUNC void set_element(TilePanel<T> panel, int k, int column, Compute<T> value) {
  constexpr int kEach = Tile<T>::kEach;
  panel[group_place(k, column / kEach)].values[column % kEach] = value;
}

// A thread's elements of a tile.
template <typename T>
struct TileShare {
  Compute<T> of[Tile<T>::kEach][Tile<T>::kEach];
};

// A matrix with strides.
template <typename T>
struct TileMatrix {
  device const T* elements;
  int64_t row;
  int64_t column;
  int64_t rows;
  int64_t columns;
};

template <typename T>
METAL_FUNC TileMatrix<T> matrix_of(
    device const T* elements,
    constant AttentionView& view,
    int64_t start,
    int64_t rows,
    int64_t columns) {
  return TileMatrix<T>{elements + start, view.row, view.column, rows, columns};
}

template <typename T>
METAL_FUNC TileShare<T> zeros_of_tile() {
  TileShare<T> share;
  METAL_UNROLL
  for (int i = 0; i < Tile<T>::kEach; ++i) {
    METAL_UNROLL
    for (int j = 0; j < Tile<T>::kEach; ++j) {
      share.of[i][j] = Compute<T>(0);
    }
  }
  return share;
}

// Adds the product of kDepth rows of two panels, from row k0 of the left one on.
template <typename T>
METAL_FUNC void add_panels(
    TilePanel<T> left, int k0, TilePanel<T> right, uint lid, thread TileShare<T>& share) {
  constexpr int kEach = Tile<T>::kEach;
  const int ty = int(lid) / 16;
  const int tx = int(lid) % 16;
  METAL_UNROLL
  for (int k = 0; k < Tile<T>::kDepth; ++k) {
    const TileGroup<T> a = left[group_place(k0 + k, ty)];
    const TileGroup<T> b = right[group_place(k, tx)];
    METAL_UNROLL
    for (int i = 0; i < kEach; ++i) {
      METAL_UNROLL
      for (int j = 0; j < kEach; ++j) {
        share.of[i][j] = metal::fma(a.values[i], b.values[j], share.of[i][j]);
      }
    }
  }
}

// Reads columns of some rows: (depth, rows). All loads begin before the first value is stored.
template <typename T>
METAL_FUNC void load_columns(
    TileMatrix<T> from, int64_t row, int64_t column, TilePanel<T> panel, uint lid) {
  constexpr int kDepth = Tile<T>::kDepth;
  constexpr int kAtOnce = Tile<T>::kThreads / kDepth;
  constexpr int kCount = Tile<T>::kSize / kAtOnce;
  const int k = int(lid) % kDepth;
  const int i = int(lid) / kDepth;
  const int64_t rows = column + k < from.columns ? from.rows - row - i : 0; // that are left
  device const T* first = from.elements + (row + i) * from.row + (column + k) * from.column;
  Compute<T> loaded[kCount];
  METAL_UNROLL
  for (int n = 0; n < kCount; ++n) {
    loaded[n] = n * kAtOnce < rows ? Compute<T>(first[n * kAtOnce * from.row]) : Compute<T>(0);
  }
  METAL_UNROLL
  for (int n = 0; n < kCount; ++n) {
    set_element<T>(panel, k, i + n * kAtOnce, loaded[n]);
  }
}

// Reads some columns of rows: (depth, columns).
template <typename T>
METAL_FUNC void load_rows(
    TileMatrix<T> from, int64_t row, int64_t column, TilePanel<T> panel, uint lid) {
  constexpr int kSize = Tile<T>::kSize;
  constexpr int kAtOnce = Tile<T>::kThreads / kSize;
  constexpr int kCount = Tile<T>::kDepth / kAtOnce;
  const int k = int(lid) / kSize;
  const int j = int(lid) % kSize;
  const int64_t rows = column + j < from.columns ? from.rows - row - k : 0; // that are left
  device const T* first = from.elements + (row + k) * from.row + (column + j) * from.column;
  Compute<T> loaded[kCount];
  METAL_UNROLL
  for (int n = 0; n < kCount; ++n) {
    loaded[n] = n * kAtOnce < rows ? Compute<T>(first[n * kAtOnce * from.row]) : Compute<T>(0);
  }
  METAL_UNROLL
  for (int n = 0; n < kCount; ++n) {
    set_element<T>(panel, k + n * kAtOnce, j, loaded[n]);
  }
}

// Inner products of rows of both matrices.
template <typename T>
METAL_FUNC TileShare<T> inner_products(
    TileMatrix<T> a,
    int64_t a_row,
    TileMatrix<T> b,
    int64_t b_row,
    TilePanel<T> left,
    TilePanel<T> right,
    uint lid) {
  TileShare<T> products = zeros_of_tile<T>();
  for (int64_t d = 0; d < a.columns; d += Tile<T>::kDepth) {
    load_columns<T>(a, a_row, d, left, lid);
    load_columns<T>(b, b_row, d, right, lid);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_panels<T>(left, 0, right, lid, products);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  return products;
}

// Adds the product of a tile and rows of a matrix. The tile goes through `tile`: (columns, rows).
template <typename T>
METAL_FUNC void add_weighted_rows(
    thread const TileShare<T>& weights,
    TileMatrix<T> from,
    int64_t row,
    int64_t column,
    TilePanel<T> tile,
    TilePanel<T> right,
    uint lid,
    thread TileShare<T>& sums) {
  constexpr int kEach = Tile<T>::kEach;
  const int ty = int(lid) / 16;
  const int tx = int(lid) % 16;
  METAL_UNROLL
  for (int j = 0; j < kEach; ++j) {
    TileGroup<T> group;
    METAL_UNROLL
    for (int i = 0; i < kEach; ++i) {
      group.values[i] = weights.of[i][j];
    }
    tile[group_place(kEach * tx + j, ty)] = group;
  }
  for (int k = 0; k < Tile<T>::kSize; k += Tile<T>::kDepth) {
    load_rows<T>(from, row + k, column, right, lid);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    add_panels<T>(tile, k, right, lid, sums);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

// Combines what the 16 threads of a row have.
template <typename Op>
METAL_FUNC typename Op::Value combine_row(typename Op::Value value) {
  for (ushort mask = 8; mask > 0; mask >>= 1) {
    value = Op::combine(value, lane_xor(value, mask));
  }
  return value;
}

// Which tile of rows and columns, of which head and entry of the batch, a threadgroup computes.
struct TilePlace {
  int64_t column;
  int64_t row;
  int64_t head;
  int64_t entry;
};

template <typename T>
METAL_FUNC TilePlace tile_place(uint group, int64_t rows, int64_t columns, int64_t heads) {
  constexpr int64_t kSize = Tile<T>::kSize;
  const int64_t parts = metal::max(int64_t(1), (columns + kSize - 1) / kSize);
  const int64_t tiles = (rows + kSize - 1) / kSize;
  const int64_t tile = int64_t(group) / parts;
  return TilePlace{
      (int64_t(group) - tile * parts) * kSize,
      tile % tiles * kSize,
      tile / tiles % heads,
      tile / tiles / heads};
}

template <typename T>
kernel void attention_tiled(
    device const T* query [[buffer(0)]],
    device const T* key [[buffer(1)]],
    device const T* value [[buffer(2)]],
    device const T* mask [[buffer(3)]],
    device const bool* sees [[buffer(4)]],
    device const T* sinks [[buffer(5)]],
    device T* result [[buffer(6)]],
    device Compute<T>* statistics [[buffer(7)]],
    constant AttentionParams& p [[buffer(8)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  constexpr int kEach = Tile<T>::kEach;
  constexpr int kSize = Tile<T>::kSize;
  // The left panel of inner products and a tile are never needed at once.
  THREADGROUP_ARRAY(TileGroup<T>, left, [kSize * 16]);
  THREADGROUP_ARRAY(TileGroup<T>, right, [Tile<T>::kDepth * 16]);
  const TilePlace at = tile_place<T>(group, p.queries, p.value_size, p.heads);
  const int64_t key_head = at.head / (p.heads / p.key_heads);
  const TileMatrix<T> queries =
      matrix_of<T>(query, p.query, start_of(p, p.query, at.entry, at.head), p.queries, p.size);
  const TileMatrix<T> keys =
      matrix_of<T>(key, p.key, start_of(p, p.key, at.entry, key_head), p.keys, p.size);
  const TileMatrix<T> values =
      matrix_of<T>(value, p.value, start_of(p, p.value, at.entry, key_head), p.keys, p.value_size);
  const int64_t mask_start = start_of(p, p.mask, at.entry, at.head);
  const int ty = int(lid) / 16;
  const int tx = int(lid) % 16;

  Value maximum[kEach];
  Value sum[kEach];
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    maximum[i] = Value(-INFINITY);
    sum[i] = Value(0);
    if (p.has_sinks != 0) {
      maximum[i] = Value(sinks[start_of(p, p.sinks, at.entry, at.head)]);
      sum[i] = Value(1);
    }
  }
  TileShare<T> sums = zeros_of_tile<T>();
  // Queries that see no key weigh all keys alike.
  const bool stops = p.mask_kind == AttentionMask::causal && visible_keys(p, at.row) > 0;
  const int64_t last = metal::min(at.row + kSize, p.queries) - 1;
  const int64_t end = stops ? metal::min(p.keys, visible_keys(p, last)) : p.keys;
  for (int64_t first = 0; first < end; first += kSize) {
    TileShare<T> weights = inner_products<T>(queries, at.row, keys, first, left, right, lid);
    METAL_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int64_t t = at.row + kEach * ty + i;
      Value largest = Value(-INFINITY);
      METAL_UNROLL
      for (int j = 0; j < kEach; ++j) {
        const int64_t k = first + kEach * tx + j;
        Value score = Value(-INFINITY);
        if (t < p.queries && k < p.keys) {
          score = score_of<T>(p, weights.of[i][j], mask, sees, mask_start, t, k).value;
        }
        weights.of[i][j] = score;
        largest = Maximum()(largest, score);
      }
      largest = Maximum()(maximum[i], combine_row<MaximumOf<T>>(largest));
      // All scores are -inf so far: exp(-inf - -inf) would be NaN.
      const Value shift = largest == Value(-INFINITY) ? Value(0) : largest;
      const Value factor = metal::exp(maximum[i] - shift);
      maximum[i] = largest;
      Value total = Value(0);
      METAL_UNROLL
      for (int j = 0; j < kEach; ++j) {
        weights.of[i][j] = metal::exp(weights.of[i][j] - shift);
        total += weights.of[i][j];
        sums.of[i][j] *= factor;
      }
      sum[i] = sum[i] * factor + combine_row<SumOf<T>>(total);
    }
    add_weighted_rows<T>(weights, values, first, at.column, left, right, lid, sums);
  }
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const int64_t t = at.row + kEach * ty + i;
    if (t >= p.queries) {
      continue;
    }
    const int64_t row = (at.entry * p.heads + at.head) * p.queries + t;
    const Value inverse = Value(1) / sum[i];
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const int64_t column = at.column + kEach * tx + j;
      if (column < p.value_size) {
        result[row * p.value_size + column] = T(p.keys > 0 ? sums.of[i][j] * inverse : Value(0));
      }
    }
    if (at.column == 0 && tx == 0) {
      statistics[2 * row] = maximum[i];
      statistics[2 * row + 1] = inverse;
    }
  }
}

// What the gradient reads, of an entry of the batch and of a head.
template <typename T>
struct GradientOperands {
  TileMatrix<T> queries;
  TileMatrix<T> keys;
  TileMatrix<T> values;
  TileMatrix<T> cotangents;
  device const T* mask;
  device const bool* sees;
  device const Compute<T>* statistics;
  device const Compute<T>* correction;
  int64_t mask_start;

  // From the inner products of query t and key j, and of the cotangent and the value: the weight
  // of the key, and the cotangent of the score.
  METAL_FUNC void weigh(
      constant AttentionParams& p,
      int64_t t,
      int64_t j,
      thread Compute<T>& product,
      thread Compute<T>& other) const {
    using Value = Compute<T>;
    if (t >= p.queries || j >= p.keys) {
      product = Value(0);
      other = Value(0);
      return;
    }
    const Score<T> score = score_of<T>(p, product, mask, sees, mask_start, t, j);
    device const Value* row = statistics + t * p.statistics.row;
    product = metal::exp(score.value - row[0]) * row[p.statistics.column];
    other = score.hidden ? Value(0) : product * (other - correction[t * p.correction.row]);
  }
};

template <typename T>
METAL_FUNC GradientOperands<T> gradient_operands(
    constant AttentionParams& p,
    device const T* query,
    device const T* key,
    device const T* value,
    device const T* mask,
    device const bool* sees,
    device const Compute<T>* statistics,
    device const Compute<T>* correction,
    device const T* cotangent,
    int64_t entry,
    int64_t head) {
  const int64_t key_head = head / (p.heads / p.key_heads);
  return GradientOperands<T>{
      matrix_of<T>(query, p.query, start_of(p, p.query, entry, head), p.queries, p.size),
      matrix_of<T>(key, p.key, start_of(p, p.key, entry, key_head), p.keys, p.size),
      matrix_of<T>(value, p.value, start_of(p, p.value, entry, key_head), p.keys, p.value_size),
      matrix_of<T>(
          cotangent, p.cotangent, start_of(p, p.cotangent, entry, head), p.queries, p.value_size),
      mask,
      sees,
      statistics + start_of(p, p.statistics, entry, head),
      correction + start_of(p, p.correction, entry, head),
      start_of(p, p.mask, entry, head)};
}

// The cotangents of queries.
template <typename T>
kernel void attention_gradient_queries(
    device const T* query [[buffer(0)]],
    device const T* key [[buffer(1)]],
    device const T* value [[buffer(2)]],
    device const T* mask [[buffer(3)]],
    device const bool* sees [[buffer(4)]],
    device const Compute<T>* statistics [[buffer(5)]],
    device const Compute<T>* correction [[buffer(6)]],
    device const T* cotangent [[buffer(7)]],
    device T* result [[buffer(8)]],
    constant AttentionParams& p [[buffer(9)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  constexpr int kEach = Tile<T>::kEach;
  constexpr int kSize = Tile<T>::kSize;
  // The left panel of inner products and a tile are never needed at once.
  THREADGROUP_ARRAY(TileGroup<T>, left, [kSize * 16]);
  THREADGROUP_ARRAY(TileGroup<T>, right, [Tile<T>::kDepth * 16]);
  const TilePlace at = tile_place<T>(group, p.queries, p.size, p.heads);
  const GradientOperands<T> from = gradient_operands<T>(
      p, query, key, value, mask, sees, statistics, correction, cotangent, at.entry, at.head);
  const int ty = int(lid) / 16;
  const int tx = int(lid) % 16;
  TileShare<T> sums = zeros_of_tile<T>();
  int64_t end = p.keys;
  if (p.mask_kind == AttentionMask::causal) {
    const int64_t last = metal::min(at.row + kSize, p.queries) - 1;
    end = metal::max(int64_t(0), metal::min(end, visible_keys(p, last)));
  }
  for (int64_t first = 0; first < end; first += kSize) {
    TileShare<T> products =
        inner_products<T>(from.queries, at.row, from.keys, first, left, right, lid);
    TileShare<T> changes =
        inner_products<T>(from.cotangents, at.row, from.values, first, left, right, lid);
    METAL_UNROLL
    for (int i = 0; i < kEach; ++i) {
      METAL_UNROLL
      for (int j = 0; j < kEach; ++j) {
        from.weigh(
            p,
            at.row + kEach * ty + i,
            first + kEach * tx + j,
            products.of[i][j],
            changes.of[i][j]);
      }
    }
    add_weighted_rows<T>(changes, from.keys, first, at.column, left, right, lid, sums);
  }
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const int64_t t = at.row + kEach * ty + i;
    const int64_t row = (at.entry * p.heads + at.head) * p.queries + t;
    METAL_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const int64_t column = at.column + kEach * tx + j;
      if (t < p.queries && column < p.size) {
        result[row * p.size + column] = T(sums.of[i][j] * Value(p.scale));
      }
    }
  }
}

// The cotangents of keys and of their values, over all queries of the heads that share them.
template <typename T>
kernel void attention_gradient_keys(
    device const T* query [[buffer(0)]],
    device const T* key [[buffer(1)]],
    device const T* value [[buffer(2)]],
    device const T* mask [[buffer(3)]],
    device const bool* sees [[buffer(4)]],
    device const Compute<T>* statistics [[buffer(5)]],
    device const Compute<T>* correction [[buffer(6)]],
    device const T* cotangent [[buffer(7)]],
    device T* key_result [[buffer(8)]],
    device T* value_result [[buffer(9)]],
    constant AttentionParams& p [[buffer(10)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  using Value = Compute<T>;
  constexpr int kEach = Tile<T>::kEach;
  constexpr int kSize = Tile<T>::kSize;
  // The left panel of inner products and a tile are never needed at once.
  THREADGROUP_ARRAY(TileGroup<T>, left, [kSize * 16]);
  THREADGROUP_ARRAY(TileGroup<T>, right, [Tile<T>::kDepth * 16]);
  const TilePlace at = tile_place<T>(group, p.keys, metal::max(p.size, p.value_size), p.key_heads);
  const int64_t shared = p.heads / p.key_heads;
  const int ty = int(lid) / 16;
  const int tx = int(lid) % 16;
  TileShare<T> key_sums = zeros_of_tile<T>();
  TileShare<T> value_sums = zeros_of_tile<T>();
  // The first query that sees one of the keys, unless some queries see no key.
  int64_t begin = 0;
  if (p.mask_kind == AttentionMask::causal && p.queries <= p.keys) {
    begin = metal::max(int64_t(0), at.row + p.queries - p.keys);
  }
  for (int64_t head = at.head * shared; head < (at.head + 1) * shared; ++head) {
    const GradientOperands<T> from = gradient_operands<T>(
        p, query, key, value, mask, sees, statistics, correction, cotangent, at.entry, head);
    for (int64_t first = begin; first < p.queries; first += kSize) {
      TileShare<T> weights =
          inner_products<T>(from.keys, at.row, from.queries, first, left, right, lid);
      TileShare<T> changes =
          inner_products<T>(from.values, at.row, from.cotangents, first, left, right, lid);
      METAL_UNROLL
      for (int i = 0; i < kEach; ++i) {
        METAL_UNROLL
        for (int j = 0; j < kEach; ++j) {
          from.weigh(
              p,
              first + kEach * tx + j,
              at.row + kEach * ty + i,
              weights.of[i][j],
              changes.of[i][j]);
        }
      }
      add_weighted_rows<T>(
          weights, from.cotangents, first, at.column, left, right, lid, value_sums);
      add_weighted_rows<T>(changes, from.queries, first, at.column, left, right, lid, key_sums);
    }
  }
  METAL_UNROLL
  for (int i = 0; i < kEach; ++i) {
    const int64_t j = at.row + kEach * ty + i;
    const int64_t row = (at.entry * p.key_heads + at.head) * p.keys + j;
    METAL_UNROLL
    for (int c = 0; c < kEach; ++c) {
      const int64_t column = at.column + kEach * tx + c;
      if (j < p.keys && column < p.size) {
        key_result[row * p.size + column] = T(key_sums.of[i][c] * Value(p.scale));
      }
      if (j < p.keys && column < p.value_size) {
        value_result[row * p.value_size + column] = T(value_sums.of[i][c]);
      }
    }
  }
}

#define NARROWS_ATTENTION_TILES(T, tname, unused)                                           \
  INSTANTIATE_KERNEL("attention_" tname "_tiled", attention_tiled, T)                       \
  INSTANTIATE_KERNEL("attention_gradient_" tname "_queries", attention_gradient_queries, T) \
  INSTANTIATE_KERNEL("attention_gradient_" tname "_keys", attention_gradient_keys, T)
NARROWS_TYPES_floating(NARROWS_ATTENTION_TILES, unused)
