// Attention and its gradient. A simdgroup computes one row of results. Its lanes share the keys, or
// the queries, of a tile for scores, and then share the columns for sums of rows.
#include "common.h"

#include "attention.h"

// Columns that a lane sums at a time. Threadgroups of further columns compute the scores again.
#define NARROWS_ATTENTION_COLUMNS 4

template <typename T>
METAL_FUNC T lane_value(T value, ushort lane) {
  if constexpr (sizeof(T) == 8) {
    const uint2 words = as_type<uint2>(value);
    return as_type<T>(uint2(simd_shuffle(words.x, lane), simd_shuffle(words.y, lane)));
  } else {
    return simd_shuffle(value, lane);
  }
}

// The first elements of an entry of the batch and of a head.
METAL_FUNC int64_t start_of(
    constant AttentionParams& p, constant AttentionView& view, int64_t entry, int64_t head) {
  int64_t offset = head * view.head;
  for (int64_t d = p.batch_ndim - 1; d >= 0; --d) {
    const int64_t outer = entry / p.batch_shape[d];
    offset += (entry - outer * p.batch_shape[d]) * view.batch[d];
    entry = outer;
  }
  return offset;
}

template <typename T>
METAL_FUNC Compute<T> inner_product(
    device const T* a, int64_t a_column, device const T* b, int64_t b_column, int64_t size) {
  Compute<T> sum = Compute<T>(0);
  for (int64_t d = 0; d < size; ++d) {
    sum = metal::fma(Compute<T>(a[d * a_column]), Compute<T>(b[d * b_column]), sum);
  }
  return sum;
}

// The number of keys that query t sees at most under a causal mask.
METAL_FUNC int64_t visible_keys(constant AttentionParams& p, int64_t t) {
  return t + 1 + p.keys - p.queries;
}

template <typename T>
struct Score {
  Compute<T> value;
  bool hidden;
};

// The score of query t and key j. `mask` has numbers to add, `sees` tells where a query sees a key.
template <typename T>
METAL_FUNC Score<T> score_of(
    constant AttentionParams& p,
    device const T* query,
    device const T* key,
    device const T* mask,
    device const bool* sees,
    int64_t mask_start,
    int64_t t,
    int64_t j) {
  using Value = Compute<T>;
  Value score = Value(p.scale) *
                inner_product<T>(
                    query + t * p.query.row, p.query.column, key + j * p.key.row, p.key.column, p.size);
  const int64_t place = mask_start + t * p.mask.row + j * p.mask.column;
  bool hidden = false;
  if (p.mask_kind == AttentionMask::causal) {
    hidden = j >= visible_keys(p, t);
  } else if (p.mask_kind == AttentionMask::boolean) {
    hidden = !sees[place];
  } else if (p.mask_kind == AttentionMask::additive) {
    score += Value(mask[place]);
  }
  return Score<T>{hidden ? Value(NARROWS_HIDDEN_SCORE) : score, hidden};
}

// One query. The threadgroups of the parts of a row follow each other.
template <typename T>
kernel void attention(
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
    uint lane [[thread_index_in_simdgroup]]) {
  using Value = Compute<T>;
  constexpr int kColumns = NARROWS_ATTENTION_COLUMNS;
  const int64_t parts = metal::max(int64_t(1), (p.value_size + 32 * kColumns - 1) / (32 * kColumns));
  const int64_t row = int64_t(group) / parts;
  const int64_t first_column = (int64_t(group) - row * parts) * 32 * kColumns + lane;
  const int64_t t = row % p.queries;
  const int64_t head = row / p.queries % p.heads;
  const int64_t entry = row / p.queries / p.heads;
  const int64_t key_head = head / (p.heads / p.key_heads);
  query += start_of(p, p.query, entry, head);
  key += start_of(p, p.key, entry, key_head);
  value += start_of(p, p.value, entry, key_head);
  const int64_t mask_start = start_of(p, p.mask, entry, head);

  Value maximum = Value(-INFINITY);
  Value sum = Value(0);
  if (p.has_sinks != 0) {
    maximum = Value(sinks[start_of(p, p.sinks, entry, head)]);
    sum = Value(1);
  }
  Value sums[kColumns];
  METAL_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    sums[c] = Value(0);
  }
  const bool stops = p.mask_kind == AttentionMask::causal && visible_keys(p, t) > 0;
  const int64_t end = stops ? visible_keys(p, t) : p.keys;
  for (int64_t first = 0; first < end; first += 32) {
    const int64_t j = first + lane;
    Value score = Value(-INFINITY);
    if (j < end) {
      score = score_of<T>(p, query, key, mask, sees, mask_start, t, j).value;
    }
    const Value largest =
        Maximum()(maximum, combine_lanes<MaximumOf<T>>(score));
    // All scores are -inf so far: exp(-inf - -inf) would be NaN.
    const Value shift = largest == Value(-INFINITY) ? Value(0) : largest;
    const Value factor = metal::exp(maximum - shift);
    const Value weight = metal::exp(score - shift);
    maximum = largest;
    sum = sum * factor + combine_lanes<SumOf<T>>(weight);
    METAL_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      sums[c] *= factor;
    }
    const int64_t count = metal::min(int64_t(32), end - first);
    for (int64_t k = 0; k < count; ++k) {
      const Value w = lane_value(weight, ushort(k));
      device const T* values = value + (first + k) * p.value.row;
      METAL_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        const int64_t column = first_column + 32 * c;
        if (column < p.value_size) {
          sums[c] = metal::fma(w, Value(values[column * p.value.column]), sums[c]);
        }
      }
    }
  }
  const Value inverse = Value(1) / sum;
  METAL_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const int64_t column = first_column + 32 * c;
    if (column < p.value_size) {
      result[row * p.value_size + column] = T(p.keys > 0 ? sums[c] * inverse : Value(0));
    }
  }
  if (first_column == 0) {
    statistics[2 * row] = maximum;
    statistics[2 * row + 1] = inverse;
  }
}

// The weight of a key for a query, and the cotangent of its score.
template <typename T>
struct WeightChange {
  Compute<T> weight;
  Compute<T> change;
};

// The operands of the gradient, from an entry of the batch and a head of each on.
template <typename T>
struct GradientPlace {
  device const T* query;
  device const T* key;
  device const T* value;
  device const T* mask;
  device const bool* sees;
  device const Compute<T>* statistics;
  device const Compute<T>* correction;
  device const T* cotangent;
  int64_t mask_start;

  METAL_FUNC WeightChange<T> at(constant AttentionParams& p, int64_t t, int64_t j) const {
    using Value = Compute<T>;
    const Score<T> score = score_of<T>(p, query, key, mask, sees, mask_start, t, j);
    const Value product = inner_product<T>(
        cotangent + t * p.cotangent.row,
        p.cotangent.column,
        value + j * p.value.row,
        p.value.column,
        p.value_size);
    device const Value* row = statistics + t * p.statistics.row;
    const Value weight = metal::exp(score.value - row[0]) * row[p.statistics.column];
    const Value change = weight * (product - correction[t * p.correction.row]);
    return WeightChange<T>{weight, score.hidden ? Value(0) : change};
  }
};

// The cotangent of one query.
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
    uint lane [[thread_index_in_simdgroup]]) {
  using Value = Compute<T>;
  constexpr int kColumns = NARROWS_ATTENTION_COLUMNS;
  const int64_t parts = (p.size + 32 * kColumns - 1) / (32 * kColumns);
  const int64_t row = int64_t(group) / parts;
  const int64_t first_column = (int64_t(group) - row * parts) * 32 * kColumns + lane;
  const int64_t t = row % p.queries;
  const int64_t head = row / p.queries % p.heads;
  const int64_t entry = row / p.queries / p.heads;
  const int64_t key_head = head / (p.heads / p.key_heads);
  const GradientPlace<T> place{
      query + start_of(p, p.query, entry, head),
      key + start_of(p, p.key, entry, key_head),
      value + start_of(p, p.value, entry, key_head),
      mask,
      sees,
      statistics + start_of(p, p.statistics, entry, head),
      correction + start_of(p, p.correction, entry, head),
      cotangent + start_of(p, p.cotangent, entry, head),
      start_of(p, p.mask, entry, head)};
  Value sums[kColumns];
  METAL_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    sums[c] = Value(0);
  }
  int64_t end = p.keys;
  if (p.mask_kind == AttentionMask::causal) {
    end = metal::max(int64_t(0), visible_keys(p, t));
  }
  for (int64_t first = 0; first < end; first += 32) {
    const int64_t j = first + lane;
    Value change = Value(0);
    if (j < end) {
      change = place.at(p, t, j).change;
    }
    const int64_t count = metal::min(int64_t(32), end - first);
    for (int64_t k = 0; k < count; ++k) {
      const Value w = lane_value(change, ushort(k));
      device const T* keys = place.key + (first + k) * p.key.row;
      METAL_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        const int64_t column = first_column + 32 * c;
        if (column < p.size) {
          sums[c] = metal::fma(w, Value(keys[column * p.key.column]), sums[c]);
        }
      }
    }
  }
  METAL_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const int64_t column = first_column + 32 * c;
    if (column < p.size) {
      result[row * p.size + column] = T(sums[c] * Value(p.scale));
    }
  }
}

// The cotangents of a key and of its value, over all queries of the heads that share them.
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
    uint lane [[thread_index_in_simdgroup]]) {
  using Value = Compute<T>;
  constexpr int kColumns = NARROWS_ATTENTION_COLUMNS;
  const int64_t size = metal::max(p.size, p.value_size);
  const int64_t parts = (size + 32 * kColumns - 1) / (32 * kColumns);
  const int64_t row = int64_t(group) / parts;
  const int64_t first_column = (int64_t(group) - row * parts) * 32 * kColumns + lane;
  const int64_t j = row % p.keys;
  const int64_t key_head = row / p.keys % p.key_heads;
  const int64_t entry = row / p.keys / p.key_heads;
  const int64_t shared = p.heads / p.key_heads;
  Value key_sums[kColumns];
  Value value_sums[kColumns];
  METAL_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    key_sums[c] = Value(0);
    value_sums[c] = Value(0);
  }
  // The first query that sees the key, unless some queries see no key.
  int64_t begin = 0;
  if (p.mask_kind == AttentionMask::causal && p.queries <= p.keys) {
    begin = metal::max(int64_t(0), j + p.queries - p.keys);
  }
  for (int64_t head = key_head * shared; head < (key_head + 1) * shared; ++head) {
    const GradientPlace<T> place{
        query + start_of(p, p.query, entry, head),
        key + start_of(p, p.key, entry, key_head),
        value + start_of(p, p.value, entry, key_head),
        mask,
        sees,
        statistics + start_of(p, p.statistics, entry, head),
        correction + start_of(p, p.correction, entry, head),
        cotangent + start_of(p, p.cotangent, entry, head),
        start_of(p, p.mask, entry, head)};
    for (int64_t first = begin; first < p.queries; first += 32) {
      const int64_t t = first + lane;
      WeightChange<T> mine{Value(0), Value(0)};
      if (t < p.queries) {
        mine = place.at(p, t, j);
      }
      const int64_t count = metal::min(int64_t(32), p.queries - first);
      for (int64_t k = 0; k < count; ++k) {
        const Value weight = lane_value(mine.weight, ushort(k));
        const Value change = lane_value(mine.change, ushort(k));
        device const T* queries = place.query + (first + k) * p.query.row;
        device const T* cotangents = place.cotangent + (first + k) * p.cotangent.row;
        METAL_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          const int64_t column = first_column + 32 * c;
          if (column < p.size) {
            key_sums[c] =
                metal::fma(change, Value(queries[column * p.query.column]), key_sums[c]);
          }
          if (column < p.value_size) {
            value_sums[c] =
                metal::fma(weight, Value(cotangents[column * p.cotangent.column]), value_sums[c]);
          }
        }
      }
    }
  }
  METAL_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const int64_t column = first_column + 32 * c;
    if (column < p.size) {
      key_result[row * p.size + column] = T(key_sums[c] * Value(p.scale));
    }
    if (column < p.value_size) {
      value_result[row * p.value_size + column] = T(value_sums[c]);
    }
  }
}

#define NARROWS_ATTENTION(T, tname, unused)                                                      \
  INSTANTIATE_KERNEL("attention_" tname, attention, T)                                           \
  INSTANTIATE_KERNEL("attention_gradient_" tname "_queries", attention_gradient_queries, T)      \
  INSTANTIATE_KERNEL("attention_gradient_" tname "_keys", attention_gradient_keys, T)
NARROWS_TYPES_floating(NARROWS_ATTENTION, unused)
