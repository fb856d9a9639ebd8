// Attention of few queries. The simdgroups of a threadgroup share the keys of one query. The lanes
// of a simdgroup share the keys of a tile for scores, and then share the columns for sums of
// values.
#include "common.h"

#include "attention_score.h"

// Columns that a lane sums at a time. Threadgroups of further columns compute the scores again.
#define NARROWS_ATTENTION_COLUMNS 4
// The most simdgroups of a threadgroup.
#define NARROWS_ATTENTION_SIMDGROUPS 16

template <typename T>
METAL_FUNC T lane_value(T value, ushort lane) {
  if constexpr (sizeof(T) == 8) {
    const uint2 words = as_type<uint2>(value);
    return as_type<T>(uint2(simd_shuffle(words.x, lane), simd_shuffle(words.y, lane)));
  } else {
    return simd_shuffle(value, lane);
  }
}

// Some elements are read before any is multiplied, so that the reads overlap.
template <typename T>
METAL_FUNC Compute<T> inner_product(
    device const T* a, int64_t a_column, device const T* b, int64_t b_column, int64_t size) {
  constexpr int kInFlight = 8;
  Compute<T> sum = Compute<T>(0);
  int64_t d = 0;
  for (; d + kInFlight <= size; d += kInFlight) {
    T x[kInFlight];
    T y[kInFlight];
    METAL_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      x[k] = a[(d + k) * a_column];
      y[k] = b[(d + k) * b_column];
    }
    METAL_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      sum = metal::fma(Compute<T>(x[k]), Compute<T>(y[k]), sum);
    }
  }
  for (; d < size; ++d) {
    sum = metal::fma(Compute<T>(a[d * a_column]), Compute<T>(b[d * b_column]), sum);
  }
  return sum;
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
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  using Value = Compute<T>;
  constexpr int kColumns = NARROWS_ATTENTION_COLUMNS;
  THREADGROUP_ARRAY(Value, maxima, [NARROWS_ATTENTION_SIMDGROUPS]);
  THREADGROUP_ARRAY(Value, totals, [NARROWS_ATTENTION_SIMDGROUPS]);
  THREADGROUP_ARRAY(Value, partial, [NARROWS_ATTENTION_SIMDGROUPS][kColumns * 32]);
  const int64_t parts =
      metal::max(int64_t(1), (p.value_size + 32 * kColumns - 1) / (32 * kColumns));
  const int64_t row = int64_t(group) / parts;
  const int64_t first_column = (int64_t(group) - row * parts) * 32 * kColumns + lane;
  const int64_t t = row % p.queries;
  const int64_t head = row / p.queries % p.heads;
  const int64_t entry = row / p.queries / p.heads;
  const int64_t key_head = head / (p.heads / p.key_heads);
  query += start_of(p, p.query, entry, head) + t * p.query.row;
  key += start_of(p, p.key, entry, key_head);
  value += start_of(p, p.value, entry, key_head);
  const int64_t mask_start = start_of(p, p.mask, entry, head);

  Value maximum = Value(-INFINITY);
  Value sum = Value(0);
  if (p.has_sinks != 0 && simdgroup == 0) {
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
  for (int64_t first = 32 * int64_t(simdgroup); first < end; first += 32 * int64_t(simdgroups)) {
    const int64_t j = first + lane;
    Value score = Value(-INFINITY);
    if (j < end) {
      const Value product =
          inner_product<T>(query, p.query.column, key + j * p.key.row, p.key.column, p.size);
      score = score_of<T>(p, product, mask, sees, mask_start, t, j).value;
    }
    const Value largest = Maximum()(maximum, combine_lanes<MaximumOf<T>>(score));
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
  if (lane == 0) {
    maxima[simdgroup] = maximum;
    totals[simdgroup] = sum;
  }
  METAL_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    partial[simdgroup][32 * c + lane] = sums[c];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0) {
    return;
  }
  for (uint s = 1; s < simdgroups; ++s) {
    maximum = Maximum()(maximum, maxima[s]);
  }
  const Value shift = maximum == Value(-INFINITY) ? Value(0) : maximum;
  sum = Value(0);
  METAL_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    sums[c] = Value(0);
  }
  for (uint s = 0; s < simdgroups; ++s) {
    const Value factor = metal::exp(maxima[s] - shift);
    sum = metal::fma(totals[s], factor, sum);
    METAL_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      sums[c] = metal::fma(partial[s][32 * c + lane], factor, sums[c]);
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

#define NARROWS_ATTENTION(T, tname, unused) INSTANTIATE_KERNEL("attention_" tname, attention, T)
NARROWS_TYPES_floating(NARROWS_ATTENTION, unused)
