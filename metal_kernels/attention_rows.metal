// Attention of few queries and many keys, whose numbers are read in packs. The heads of queries
// that share keys and values share the reading of them, too.
#include "common.h"

#include "attention_score.h"

// Numbers of a key that a lane has.
constant constexpr int kEight = 8;
// The most simdgroups of a threadgroup.
constant constexpr int kMostSimdgroups = 8;
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

// As start_of, with numbers of 32 bits.
METAL_FUNC int64_t
first_of(constant AttentionParams& p, constant AttentionView& view, uint entry, int head) {
  int64_t offset = head * view.head;
  METAL_ROLLED
  for (int d = int(p.batch_ndim) - 1; d >= 0; --d) {
    const uint outer = entry / uint(p.batch_shape[d]);
    offset += int64_t(entry - outer * uint(p.batch_shape[d])) * view.batch[d];
    entry = outer;
  }
  return offset;
}

METAL_FUNC float weight_of(float score, float largest) {
  // All scores are -inf so far: exp(-inf - -inf) would be NaN.
  return metal::exp(score - (largest == -INFINITY ? 0.0f : largest));
}

// A threadgroup has a part of the keys of one query. kLanes lanes have a key, so a simdgroup has
// 32 / kLanes keys side by side, and reads several times as many at once.
template <typename T, int kLanes>
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
  constexpr int kAhead = sizeof(T) == 2 ? 8 : 4;
  constexpr int kKeys = 32 / kLanes; // side by side
  constexpr int kSize = kLanes * kEight;
  THREADGROUP_ARRAY(float, maxima, [kMostSimdgroups]);
  THREADGROUP_ARRAY(float, totals, [kMostSimdgroups]);
  THREADGROUP_ARRAY(float, shared, [kMostSimdgroups][kSize]);
  constant AttentionParams& p = params.attention;

  const uint row = params.parts == 1 ? group : group / uint(params.parts);
  const int part = int(group - row * uint(params.parts));
  const uint of_heads = p.queries == 1 ? row : row / uint(p.queries);
  const int query_number = int(row - of_heads * uint(p.queries));
  const uint entry = p.batch_ndim == 0 ? 0u : of_heads / uint(p.heads);
  const int head = int(of_heads - entry * uint(p.heads));
  const int key_head = int(uint(head) / uint(p.heads / p.key_heads));
  const int column = int(lane % kLanes) * kEight;
  const int of_key = int(lane / kLanes);
  const int size = int(p.size);
  const int value_size = int(p.value_size);
  query +=
      first_of(p, p.query, entry, head) + query_number * p.query.row + (column < size ? column : 0);
  key += first_of(p, p.key, entry, key_head) + (column < size ? column : 0);
  value += first_of(p, p.value, entry, key_head) + (column < value_size ? column : 0);
  const int64_t mask_start = first_of(p, p.mask, entry, head) + query_number * p.mask.row;
  mask += mask_start;
  sees += mask_start;
  const int mask_column = int(p.mask.column);
  const int visible = int(visible_keys(p, query_number));

  const EightNumbers<T> numbers = EightNumbers<T>::read(query);
  float queries[kEight];
  float sums[kEight];
  METAL_UNROLL
  for (int e = 0; e < kEight; ++e) {
    queries[e] = column < size ? numbers.at(e) : 0.0f;
    sums[e] = 0.0f;
  }
  float largest = -INFINITY;
  float total = 0.0f;
  if (p.has_sinks != 0 && part == 0 && simdgroup == 0 && of_key == 0) {
    largest = float(sinks[first_of(p, p.sinks, entry, head)]);
    total = 1.0f;
  }
  const int begin = part * params.part_keys;
  const int end = metal::min(begin + params.part_keys, int(p.keys));
  for (int first = begin + int(simdgroup) * kKeys * kAhead; first < end;
       first += int(simdgroups) * kKeys * kAhead) {
    EightNumbers<T> keys[kAhead];
    EightNumbers<T> values[kAhead];
    METAL_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const int j = metal::min(first + u * kKeys + of_key, end - 1);
      keys[u] = EightNumbers<T>::read(key + j * int(p.key.row));
    }
    METAL_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const int j = metal::min(first + u * kKeys + of_key, end - 1);
      values[u] = EightNumbers<T>::read(value + j * int(p.value.row));
    }
    uint hidden = 0; // by bits
    float added[kAhead];
    METAL_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      added[u] = 0.0f;
    }
    if (p.mask_kind == AttentionMask::boolean) {
      METAL_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        const int j = metal::min(first + u * kKeys + of_key, end - 1);
        hidden |= uint(!sees[j * mask_column]) << uint(u);
      }
    } else if (p.mask_kind == AttentionMask::additive) {
      METAL_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        const int j = metal::min(first + u * kKeys + of_key, end - 1);
        added[u] = float(mask[j * mask_column]);
      }
    } else if (p.mask_kind == AttentionMask::causal) {
      METAL_UNROLL
      for (int u = 0; u < kAhead; ++u) {
        hidden |= uint(first + u * kKeys + of_key >= visible) << uint(u);
      }
    }
    // So that compilers do not move reads behind the first products.
    simdgroup_barrier(mem_flags::mem_device);
    float scores[kAhead];
    float larger = largest;
    METAL_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      float product = 0.0f;
      METAL_UNROLL
      for (int e = 0; e < kEight; ++e) {
        product = metal::fma(queries[e], keys[u].at(e), product);
      }
      METAL_UNROLL
      for (ushort distance = kLanes / 2; distance > 0; distance /= 2) {
        product += simd_shuffle_xor(product, distance);
      }
      const float score = p.scale * product + added[u];
      scores[u] = (hidden >> uint(u) & 1u) != 0u ? NARROWS_HIDDEN_SCORE : score;
      scores[u] = first + u * kKeys + of_key < end ? scores[u] : float(-INFINITY);
      larger = Maximum()(larger, scores[u]);
    }
    const float factor = weight_of(largest, larger);
    largest = larger;
    total *= factor;
    METAL_UNROLL
    for (int e = 0; e < kEight; ++e) {
      sums[e] *= factor;
    }
    METAL_UNROLL
    for (int u = 0; u < kAhead; ++u) {
      const float weight = weight_of(scores[u], larger);
      total += weight;
      METAL_UNROLL
      for (int e = 0; e < kEight; ++e) {
        sums[e] = metal::fma(weight, values[u].at(e), sums[e]);
      }
    }
  }
  // The keys of a simdgroup together, then those of the threadgroup.
  float maximum = largest;
  METAL_UNROLL
  for (ushort distance = kLanes; distance < 32; distance *= 2) {
    maximum = Maximum()(maximum, simd_shuffle_xor(maximum, distance));
  }
  const float share = weight_of(largest, maximum);
  total *= share;
  METAL_UNROLL
  for (ushort distance = kLanes; distance < 32; distance *= 2) {
    total += simd_shuffle_xor(total, distance);
  }
  METAL_UNROLL
  for (int e = 0; e < kEight; ++e) {
    float sum = sums[e] * share;
    METAL_UNROLL
    for (ushort distance = kLanes; distance < 32; distance *= 2) {
      sum += simd_shuffle_xor(sum, distance);
    }
    if (of_key == 0) {
      shared[simdgroup][column + e] = sum;
    }
  }
  if (lane == 0) {
    maxima[simdgroup] = maximum;
    totals[simdgroup] = total;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int c = int(simdgroup * 32 + lane); c < kSize; c += int(simdgroups) * 32) {
    maximum = lane < simdgroups ? maxima[lane] : float(-INFINITY);
    largest = combine_lanes<MaximumOf<float>>(maximum);
    const float of_lane = weight_of(maximum, largest);
    total = combine_lanes<SumOf<float>>(lane < simdgroups ? totals[lane] * of_lane : 0.0f);
    float sum = 0.0f;
    for (uint s = 0; s < simdgroups; ++s) {
      sum = metal::fma(simd_shuffle(of_lane, ushort(s)), shared[s][c], sum);
    }
    if (params.parts > 1) {
      device float* to = partial + (int64_t(row) * params.parts + part) * (value_size + 2);
      if (c < value_size) {
        to[2 + c] = sum;
      }
      if (c == 0) {
        to[0] = largest;
        to[1] = total;
      }
    } else {
      const float inverse = 1.0f / total;
      if (c < value_size) {
        result[int64_t(row) * value_size + c] = T(sum * inverse);
      }
      if (c == 0) {
        statistics[2 * int64_t(row)] = largest;
        statistics[2 * int64_t(row) + 1] = inverse;
      }
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

#define NARROWS_ATTENTION_ROWS(T, tname)                                   \
  INSTANTIATE_KERNEL("attention_" tname "_rows_8", attention_rows, T, 8)   \
  INSTANTIATE_KERNEL("attention_" tname "_rows_16", attention_rows, T, 16) \
  INSTANTIATE_KERNEL("attention_" tname "_rows_32", attention_rows, T, 32) \
  INSTANTIATE_KERNEL("attention_" tname "_together", attention_rows_together, T)
NARROWS_ATTENTION_ROWS(half, "float16")
NARROWS_ATTENTION_ROWS(bfloat, "bfloat16")
NARROWS_ATTENTION_ROWS(float, "float32")
