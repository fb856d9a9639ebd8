// The gradient of attention of many queries on matrix units: the part of queries. Scores are
// computed again from the statistics of rows.
#include "common.h"

#include "attention_blocks.h"

// The cotangents of queries. A simdgroup owns 16 queries.
template <typename T, int kSize, bool kShort>
kernel void attention_gradient_queries_blocks(
    device const T* query [[buffer(0)]],
    device const T* key [[buffer(1)]],
    device const T* value [[buffer(2)]],
    device const T* mask [[buffer(3)]],
    device const bool* sees [[buffer(4)]],
    device const float* statistics [[buffer(5)]],
    device const float* correction [[buffer(6)]],
    device const T* cotangent [[buffer(7)]],
    device T* result [[buffer(8)]],
    constant AttentionParams& p [[buffer(9)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  constexpr int kKeys = kSize * sizeof(T) <= 128 ? 64 : 32;
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
  OwnRows<T, kSize, kShort> queries;
  queries.start(
      head_rows<T>(query, p, p.query, at.entry, at.head, p.queries, p.size), first_own, lane);
  OwnRows<T, kSize, kShort> cotangents;
  cotangents.start(
      head_rows<T>(cotangent, p, p.cotangent, at.entry, at.head, p.queries, p.value_size),
      first_own,
      lane);
  const MaskOperands<T> masks{mask, sees, start_of(p, p.mask, at.entry, at.head)};
  const bool hides = hides_keys(p);
  float maximum[2];
  float inverse[2];
  float corrections[2];
  METAL_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int64_t t = metal::min(first_own + 8 * i + block_row(lane), p.queries - 1);
    device const float* row =
        statistics + start_of(p, p.statistics, at.entry, at.head) + t * p.statistics.row;
    maximum[i] = row[0];
    inverse[i] = row[p.statistics.column];
    corrections[i] =
        correction[start_of(p, p.correction, at.entry, at.head) + t * p.correction.row];
  }
  SumBlocks sums[kSize / 8];
  METAL_UNROLL
  for (int n = 0; n < kSize / 8; ++n) {
    sums[n] = zero_sums();
  }
  int64_t end = p.keys;
  if (is_causal) {
    const int64_t last = metal::min(at.row + kOwnRows, p.queries) - 1;
    end = metal::max(int64_t(0), metal::min(end, visible_keys(p, last)));
  }
  METAL_ROLLED
  for (int64_t first = 0; first < end; first += kKeys) {
    const int place = renewed(int(lid));
    const int lane = place % 32;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    load_tile<T, kSize, kKeys, kShort>(key_tile, keys, first, p.packed != 0, place);
    load_tile<T, kSize, kKeys, kShort>(value_tile, values, first, p.packed != 0, place);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    SumBlocks weights[kKeys / 8];
    SumBlocks changes[kKeys / 8];
    multiply_rows<T, kSize, kKeys, kShort>(queries, key_tile, lane, weights);
    multiply_rows<T, kSize, kKeys, kShort>(cotangents, value_tile, lane, changes);
    finish_scores<T, false, kKeys>(p, masks, first_own, first, lane, weights);
    METAL_UNROLL
    for (int n = 0; n < kKeys / 8; ++n) {
      METAL_UNROLL
      for (int i = 0; i < 2; ++i) {
        METAL_UNROLL
        for (int e = 0; e < 2; ++e) {
          weigh_score(
              weights[n].of[i].of[e],
              changes[n].of[i].of[e],
              hides,
              maximum[i],
              inverse[i],
              corrections[i]);
        }
      }
    }
    add_weighted_rows<T, kSize, kKeys, kShort>(changes, key_tile, lane, sums);
  }
  const float scales[2] = {p.scale, p.scale};
  device T* head_result = result + (at.entry * p.heads + at.head) * p.queries * p.size;
  write_rows<T, kSize>(sums, scales, head_result, first_own, p.queries, p.size, lane);
}

#define NARROWS_ATTENTION_GRADIENT_BLOCKS(T, name, size, is_short) \
  INSTANTIATE_KERNEL(                                              \
      "attention_gradient_" name "_queries", attention_gradient_queries_blocks, T, size, is_short)
NARROWS_BLOCK_KERNELS(NARROWS_ATTENTION_GRADIENT_BLOCKS)
