// Attention of many queries on matrix units. A simdgroup owns 16 queries; scores and weights stay
// in its registers.
#include "common.h"

#include "attention_blocks.h"

template <typename T, int kSize, bool kShort>
kernel void attention_blocks(
    device const T* query [[buffer(0)]],
    device const T* key [[buffer(1)]],
    device const T* value [[buffer(2)]],
    device const T* mask [[buffer(3)]],
    device const bool* sees [[buffer(4)]],
    device const T* sinks [[buffer(5)]],
    device T* result [[buffer(6)]],
    device float* statistics [[buffer(7)]],
    constant AttentionParams& p [[buffer(8)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  constexpr int kKeys = kSize * sizeof(T) <= 256 ? 64 : 32;
  constexpr int kPacks = kKeys * BlockTile<T, kSize>::kStride / BlockTile<T, kSize>::kPack;
  using Packs = Pack<T, BlockTile<T, kSize>::kPack>;
  THREADGROUP_ARRAY(Packs, key_packs, [kPacks]);
  THREADGROUP_ARRAY(Packs, value_packs, [kPacks]);
  const BlockTile<T, kSize> key_tile{(threadgroup T*)key_packs};
  const BlockTile<T, kSize> value_tile{(threadgroup T*)value_packs};
  const int lane = int(lid) % 32;
  const bool is_causal = p.mask_kind == AttentionMask::causal;
  const BlockPlace at = block_place(group, p.queries, p.heads, is_causal);
  const int64_t key_head = at.head / (p.heads / p.key_heads);
  const int64_t first_own = at.row + int(lid) / 32 * 16;
  const HeadRows<T> keys = head_rows<T>(key, p, p.key, at.entry, key_head, p.keys, p.size);
  const HeadRows<T> values =
      head_rows<T>(value, p, p.value, at.entry, key_head, p.keys, p.value_size);
  OwnRows<T, kSize, kShort> own;
  own.start(head_rows<T>(query, p, p.query, at.entry, at.head, p.queries, p.size), first_own, lane);
  const MaskOperands<T> masks{mask, sees, start_of(p, p.mask, at.entry, at.head)};

  // A lane's sums are those of its own columns.
  float maximum[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0.0f, 0.0f};
  if (p.has_sinks != 0) {
    maximum[0] = maximum[1] = float(sinks[start_of(p, p.sinks, at.entry, at.head)]);
    sum[0] = sum[1] = block_column(lane) == 0 ? 1.0f : 0.0f;
  }
  SumBlocks sums[kSize / 8];
  METAL_UNROLL
  for (int n = 0; n < kSize / 8; ++n) {
    sums[n] = zero_sums();
  }
  // Queries that see no key weigh all keys alike.
  const bool stops = is_causal && visible_keys(p, at.row) > 0;
  const int64_t last = metal::min(at.row + kOwnRows, p.queries) - 1;
  const int64_t end = stops ? metal::min(p.keys, visible_keys(p, last)) : p.keys;
  METAL_ROLLED
  for (int64_t first = 0; first < end; first += kKeys) {
    const int place = renewed(int(lid));
    const int lane = place % 32;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_tile<T, kSize, kKeys, kShort>(key_tile, keys, first, p.packed != 0, place);
    load_tile<T, kSize, kKeys, kShort>(value_tile, values, first, p.packed != 0, place);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    SumBlocks weights[kKeys / 8];
    multiply_rows<T, kSize, kKeys, kShort>(own, key_tile, lane, weights);
    finish_scores<T, false, kKeys>(p, masks, first_own, first, lane, weights);
    METAL_UNROLL
    for (int i = 0; i < 2; ++i) {
      float largest = maximum[i];
      METAL_UNROLL
      for (int n = 0; n < kKeys / 8; ++n) {
        largest = Maximum()(largest, weights[n].of[i].of[0]);
        largest = Maximum()(largest, weights[n].of[i].of[1]);
      }
      largest = combine_block_row<MaximumOf<float>>(largest);
      // All scores are -inf so far: exp(-inf - -inf) would be NaN.
      const float shift = largest == -INFINITY ? 0.0f : largest;
      const float factor = exp_of_difference(maximum[i] - shift);
      maximum[i] = largest;
      sum[i] *= factor;
      METAL_UNROLL
      for (int n = 0; n < kKeys / 8; ++n) {
        METAL_UNROLL
        for (int e = 0; e < 2; ++e) {
          weights[n].of[i].of[e] = exp_of_difference(weights[n].of[i].of[e] - shift);
          sum[i] += weights[n].of[i].of[e];
        }
      }
      METAL_UNROLL
      for (int n = 0; n < kSize / 8; ++n) {
        sums[n].of[i].of[0] *= factor;
        sums[n].of[i].of[1] *= factor;
      }
    }
    add_weighted_rows<T, kSize, kKeys, kShort>(weights, value_tile, lane, sums);
  }
  float inverse[2];
  METAL_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int64_t t = first_own + 8 * i + block_row(lane);
    inverse[i] = 1.0f / combine_block_row<SumOf<float>>(sum[i]);
    if (t < p.queries && block_column(lane) == 0) {
      const int64_t row = (at.entry * p.heads + at.head) * p.queries + t;
      statistics[2 * row] = maximum[i];
      statistics[2 * row + 1] = inverse[i];
    }
    inverse[i] = p.keys > 0 ? inverse[i] : 0.0f;
  }
  device T* head_result = result + (at.entry * p.heads + at.head) * p.queries * p.value_size;
  write_rows<T, kSize>(sums, inverse, head_result, first_own, p.queries, p.value_size, lane);
}

#define NARROWS_ATTENTION_BLOCKS(T, name, size, is_short) \
  INSTANTIATE_KERNEL("attention_" name, attention_blocks, T, size, is_short)
NARROWS_BLOCK_KERNELS(NARROWS_ATTENTION_BLOCKS)
