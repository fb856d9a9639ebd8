// Attention of few queries and many keys, whose numbers are read in packs. The heads of queries
// that share keys and values share the reading of them, too.
#include "common.h"

#include "attention_score.h"

// Numbers of a key that a lane has.
constant constexpr int kEight = 8;
// The most parts of the keys.
constant constexpr int kMostParts = 128;

template <typename T>
struct EightNumbers {
  enum { each = 16 / sizeof(T), count = kEight / each };
  Pack<T, each> packs[count];

  static METAL_FUNC EightNumbers read(device const T* from) {
    EightNumbers eight;
    METAL_UNROLL
    for (int i = 0; i < count; ++i) {
      eight.packs[i] = *(device const Pack<T, each>*)(from + i * each);
    }
    return eight;
  }
  METAL_FUNC float at(int i) const {
    return float(packs[i / each].values[i % each]);
  }
};

// A row: a query of a head, and where its numbers lie.
struct RowPlace {
  int head;
  int query;
};
METAL_FUNC RowPlace row_place(constant AttentionParams& p, int key_head, int row) {
  const int queries = int(p.queries);
  const int of_head = queries == 1 ? row : row / queries;
  return RowPlace{key_head * int(p.heads / p.key_heads) + of_head, row - of_head * queries};
}

// As start_of, with numbers of 32 bits.
METAL_FUNC int64_t
first_of(constant AttentionParams& p, constant AttentionView& view, uint entry, int head) {
  int64_t offset = head * view.head;
  for (int d = int(p.batch_ndim) - 1; d >= 0; --d) {
    const uint outer = entry / uint(p.batch_shape[d]);
    offset += int64_t(entry - outer * uint(p.batch_shape[d])) * view.batch[d];
    entry = outer;
  }
  return offset;
}

// What the mask says of a key.
template <typename T>
struct Shown {
  T added;
  bool hidden;
};
template <typename T>
METAL_FUNC Shown<T> shown_by_mask(
    constant AttentionParams& p,
    device const T* mask,
    device const bool* sees,
    int64_t mask_start,
    int query,
    int key) {
  const int64_t place = mask_start + query * p.mask.row + key * p.mask.column;
  if (p.mask_kind == AttentionMask::boolean) {
    return Shown<T>{T(0.0f), !sees[place]};
  }
  if (p.mask_kind == AttentionMask::additive) {
    return Shown<T>{mask[place], false};
  }
  return Shown<T>{
      T(0.0f), p.mask_kind == AttentionMask::causal && key >= int(visible_keys(p, query))};
}
template <typename T>
METAL_FUNC float score_of(constant AttentionParams& p, float product, Shown<T> shown) {
  return shown.hidden ? NARROWS_HIDDEN_SCORE : p.scale * product + float(shown.added);
}

METAL_FUNC float weight_of(float score, float largest) {
  // All scores are -inf so far: exp(-inf - -inf) would be NaN.
  return metal::exp(score - (largest == -INFINITY ? 0.0f : largest));
}

// kLanes lanes have a key. A simdgroup has 32 / kLanes keys at a time, and kAhead times as many are
// read at once.
template <typename T, int kLanes, int kRows>
kernel void attention_rows(
    device const T* query [[buffer(0)]],
    device const T* key [[buffer(1)]],
    device const T* value [[buffer(2)]],
    device const T* mask [[buffer(3)]],
    device const bool* sees [[buffer(4)]],
    device const T* sinks [[buffer(5)]],
    device float* partial [[buffer(6)]],
    device T* result [[buffer(7)]],
    device float* statistics [[buffer(8)]],
    constant AttentionRowsParams& params [[buffer(9)]],
    uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  constexpr int kAhead = kRows == 1 && sizeof(T) == 2 ? 8 : 4;
  constexpr int kKeys = 32 / kLanes; // side by side
  constexpr int kSize = kLanes * kEight;
  constexpr int kMostSimdgroups = kRows == 1 ? 16 : kLanes == 32 ? 4 : 8;
  THREADGROUP_ARRAY(float, maxima, [kRows][kMostSimdgroups]);
  THREADGROUP_ARRAY(float, totals, [kRows][kMostSimdgroups]);
  THREADGROUP_ARRAY(float, shared, [kMostSimdgroups][kRows * kSize]);
  constant AttentionParams& p = params.attention;

  const uint block = params.parts == 1 ? group : group / uint(params.parts);
  const int part = int(group - block * uint(params.parts));
  const uint all_heads = params.row_blocks == 1 ? block : block / uint(params.row_blocks);
  const uint entry = p.batch_ndim == 0 ? 0u : all_heads / uint(p.key_heads);
  const int key_head = int(all_heads - entry * uint(p.key_heads));
  const int rows = int(p.heads / p.key_heads * p.queries); // of a head of keys
  const int row0 = int(block - all_heads * uint(params.row_blocks)) * kRows;
  const int column = int(lane % kLanes) * kEight;
  const int of_key = int(lane / kLanes);
  const int size = int(p.size);
  const int value_size = int(p.value_size);
  key += first_of(p, p.key, entry, key_head) + (column < size ? column : 0);
  value += first_of(p, p.value, entry, key_head) + (column < value_size ? column : 0);

  float queries[kRows][kEight];
  float sums[kRows][kEight];
  float largest[kRows];
  float total[kRows];
  int64_t mask_start[kRows];
  int query_number[kRows];
  METAL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const RowPlace place = row_place(p, key_head, metal::min(row0 + r, rows - 1));
    const EightNumbers<T> numbers = EightNumbers<T>::read(
        query + first_of(p, p.query, entry, place.head) + place.query * p.query.row +
        (column < size ? column : 0));
    METAL_UNROLL
    for (int e = 0; e < kEight; ++e) {
      queries[r][e] = column < size ? numbers.at(e) : 0.0f;
      sums[r][e] = 0.0f;
    }
    mask_start[r] = first_of(p, p.mask, entry, place.head);
    query_number[r] = place.query;
    const bool has_sink = p.has_sinks != 0 && part == 0 && simdgroup == 0 && of_key == 0;
    largest[r] =
        has_sink ? float(sinks[first_of(p, p.sinks, entry, place.head)]) : float(-INFINITY);
    total[r] = has_sink ? 1.0f : 0.0f;
  }

  const int begin = part * params.part_keys;
  const int end = metal::min(begin + params.part_keys, int(p.keys));
  for (int first = begin + int(simdgroup) * kKeys * kAhead; first < end;
       first += int(simdgroups) * kKeys * kAhead) {
    EightNumbers<T> keys[kAhead];
    EightNumbers<T> values[kAhead];
    METAL_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const int64_t j = metal::min(first + u * kKeys + of_key, end - 1);
      keys[u] = EightNumbers<T>::read(key + j * p.key.row);
    }
    METAL_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const int64_t j = metal::min(first + u * kKeys + of_key, end - 1);
      values[u] = EightNumbers<T>::read(value + j * p.value.row);
    }
    Shown<T> shown[kRows][kAhead];
    METAL_UNROLL
    for (int r = 0; r < kRows; ++r) {
      METAL_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        const int j = metal::min(first + u * kKeys + of_key, end - 1);
        shown[r][u] = shown_by_mask<T>(p, mask, sees, mask_start[r], query_number[r], j);
      }
    }
    float scores[kRows][kAhead];
    METAL_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      METAL_UNROLL
      for (int r = 0; r < kRows; ++r) {
        float product = 0.0f;
        METAL_UNROLL
        for (int e = 0; e < kEight; ++e) {
          product = metal::fma(queries[r][e], keys[u].at(e), product);
        }
        METAL_UNROLL
        for (ushort distance = kLanes / 2; distance > 0; distance /= 2) {
          product += simd_shuffle_xor(product, distance);
        }
        scores[r][u] =
            first + u * kKeys + of_key < end ? score_of(p, product, shown[r][u]) : float(-INFINITY);
      }
    }
    METAL_UNROLL
    for (int r = 0; r < kRows; ++r) {
      float larger = largest[r];
      METAL_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        larger = Maximum()(larger, scores[r][u]);
      }
      const float factor = weight_of(largest[r], larger);
      largest[r] = larger;
      total[r] *= factor;
      METAL_UNROLL
      for (int e = 0; e < kEight; ++e) {
        sums[r][e] *= factor;
      }
      METAL_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        const float weight = weight_of(scores[r][u], larger);
        total[r] += weight;
        METAL_UNROLL
        for (int e = 0; e < kEight; ++e) {
          sums[r][e] = metal::fma(weight, values[u].at(e), sums[r][e]);
        }
      }
    }
  }
  // The keys of a simdgroup together, then those of the threadgroup.
  METAL_UNROLL
  for (int r = 0; r < kRows; ++r) {
    float larger = largest[r];
    METAL_UNROLL
    for (ushort distance = kLanes; distance < 32; distance *= 2) {
      larger = Maximum()(larger, simd_shuffle_xor(larger, distance));
    }
    const float factor = weight_of(largest[r], larger);
    float sum = total[r] * factor;
    METAL_UNROLL
    for (ushort distance = kLanes; distance < 32; distance *= 2) {
      sum += simd_shuffle_xor(sum, distance);
    }
    METAL_UNROLL
    for (int e = 0; e < kEight; ++e) {
      float of_values = sums[r][e] * factor;
      METAL_UNROLL
      for (ushort distance = kLanes; distance < 32; distance *= 2) {
        of_values += simd_shuffle_xor(of_values, distance);
      }
      if (of_key == 0) {
        shared[simdgroup][r * kSize + column + e] = of_values;
      }
    }
    if (lane == 0) {
      maxima[r][simdgroup] = larger;
      totals[r][simdgroup] = sum;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint item = simdgroup; item < uint(kRows * kSize / 32); item += simdgroups) {
    const int r = int(item) / (kSize / 32);
    const int c = (int(item) * 32 + int(lane)) % kSize;
    const float maximum = lane < simdgroups ? maxima[r][lane] : float(-INFINITY);
    const float largest_of_all = combine_lanes<MaximumOf<float>>(maximum);
    const float factor = weight_of(maximum, largest_of_all);
    const float sum =
        combine_lanes<SumOf<float>>(lane < simdgroups ? totals[r][lane] * factor : 0.0f);
    float of_values = 0.0f;
    for (uint s = 0; s < simdgroups; ++s) {
      of_values = metal::fma(simd_shuffle(factor, ushort(s)), shared[s][r * kSize + c], of_values);
    }
    if (row0 + r >= rows) {
      continue;
    }
    const RowPlace place = row_place(p, key_head, row0 + r);
    const int64_t row = (int64_t(entry) * p.heads + place.head) * p.queries + place.query;
    if (params.parts > 1) {
      device float* to = partial + (row * params.parts + part) * (value_size + 2);
      if (c < value_size) {
        to[2 + c] = of_values;
      }
      if (c == 0) {
        to[0] = largest_of_all;
        to[1] = sum;
      }
      continue;
    }
    const float inverse = 1.0f / sum;
    if (c < value_size) {
      result[row * value_size + c] = T(of_values * inverse);
    }
    if (c == 0) {
      statistics[2 * row] = largest_of_all;
      statistics[2 * row + 1] = inverse;
    }
  }
}

// A threadgroup combines the parts of one row.
template <typename T>
kernel void attention_rows_together(
    device const float* partial [[buffer(0)]],
    device T* result [[buffer(1)]],
    device float* statistics [[buffer(2)]],
    constant AttentionRowsParams& params [[buffer(3)]],
    uint row [[threadgroup_position_in_grid]],
    uint lid [[thread_position_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]]) {
  THREADGROUP_ARRAY(float, factors, [kMostParts]);
  const int parts = params.parts;
  const int value_size = int(params.attention.value_size);
  const int stride = value_size + 2;
  device const float* from = partial + int64_t(row) * parts * stride;
  // Each simdgroup finds the largest score.
  float largest = -INFINITY;
  for (int i = int(lane); i < parts; i += 32) {
    largest = Maximum()(largest, from[i * stride]);
  }
  largest = combine_lanes<MaximumOf<float>>(largest);
  for (int i = int(lid); i < parts; i += int(threads)) {
    factors[i] = weight_of(from[i * stride], largest);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float sum = 0.0f;
  for (int i = int(lane); i < parts; i += 32) {
    sum = metal::fma(from[i * stride + 1], factors[i], sum);
  }
  const float inverse = 1.0f / combine_lanes<SumOf<float>>(sum);
  for (int c = int(lid); c < value_size; c += int(threads)) {
    constexpr int kInFlight = 8;
    float of_values = 0.0f;
    for (int i = 0; i < parts; i += kInFlight) {
      float read[kInFlight];
      METAL_UNROLL
      for (int j = 0; j < kInFlight; ++j) {
        read[j] = from[metal::min(i + j, parts - 1) * stride + 2 + c];
      }
      METAL_UNROLL
      for (int j = 0; j < kInFlight; ++j) {
        if (i + j < parts) {
          of_values = metal::fma(read[j], factors[i + j], of_values);
        }
      }
    }
    result[int64_t(row) * value_size + c] = T(of_values * inverse);
  }
  if (lid == 0) {
    statistics[2 * row] = largest;
    statistics[2 * row + 1] = inverse;
  }
}

#define NARROWS_ATTENTION_ROWS(T, tname, lanes)                                            \
  INSTANTIATE_KERNEL("attention_" tname "_rows_" #lanes "_1", attention_rows, T, lanes, 1) \
  INSTANTIATE_KERNEL("attention_" tname "_rows_" #lanes "_4", attention_rows, T, lanes, 4)
#define NARROWS_ATTENTION_TYPE(T, tname) \
  NARROWS_ATTENTION_ROWS(T, tname, 8)    \
  NARROWS_ATTENTION_ROWS(T, tname, 16)   \
  NARROWS_ATTENTION_ROWS(T, tname, 32)   \
  INSTANTIATE_KERNEL("attention_" tname "_together", attention_rows_together, T)
NARROWS_ATTENTION_TYPE(half, "float16")
NARROWS_ATTENTION_TYPE(bfloat, "bfloat16")
NARROWS_ATTENTION_TYPE(float, "float32")
