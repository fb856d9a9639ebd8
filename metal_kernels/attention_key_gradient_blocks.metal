// The gradient of attention of many queries on matrix units: the part of keys and values. Nothing
// is added up between threadgroups, so results don't depend on their order.
#include "common.h"

#include "attention_blocks.h"

// The cotangents of keys and of their values, over all queries of the heads that share them. A
// simdgroup owns 16 keys.
template <typename T, int kSize, bool kShort>
kernel void attention_gradient_keys_blocks(
    device const T* query [[buffer(0)]],
    device const T* key [[buffer(1)]],
    device const T* value [[buffer(2)]],
    device const T* mask [[buffer(3)]],
    device const bool* sees [[buffer(4)]],
    device const float* statistics [[buffer(5)]],
    device const float* correction [[buffer(6)]],
    device const T* cotangent [[buffer(7)]],
    device T* key_result [[buffer(8)]],
    device T* value_result [[buffer(9)]],
    constant AttentionParams& p [[buffer(10)]],
    uint group [[threadgroup_position_in_grid]],
    uint lid [[thread_index_in_threadgroup]]) {
  constexpr int kQueries = kSize * sizeof(T) <= 256 ? 32 : 16;
  constexpr int kPacks = kQueries * BlockTile<T, kSize>::kStride / BlockTile<T, kSize>::kPack;
  using Packs = Pack<T, BlockTile<T, kSize>::kPack>;
  THREADGROUP_ARRAY(Packs, query_packs, [kPacks]);
  THREADGROUP_ARRAY(Packs, cotangent_packs, [kPacks]);
  THREADGROUP_ARRAY(float, rows, [3][kQueries]); // statistics and corrections of queries
  const BlockTile<T, kSize> query_tile{(threadgroup T*)query_packs};
  const BlockTile<T, kSize> cotangent_tile{(threadgroup T*)cotangent_packs};
  const int lane = int(lid) % 32;
  const BlockPlace at = block_place(group, p.keys, p.key_heads, false);
  const int64_t shared = p.heads / p.key_heads;
  const int64_t first_own = at.row + int(lid) / 32 * 16;
  OwnRows<T, kSize, kShort> keys;
  keys.start(head_rows<T>(key, p, p.key, at.entry, at.head, p.keys, p.size), first_own, lane);
  OwnRows<T, kSize, kShort> values;
  values.start(
      head_rows<T>(value, p, p.value, at.entry, at.head, p.keys, p.value_size), first_own, lane);
  const bool hides = hides_keys(p);
  SumBlocks key_sums[kSize / 8];
  SumBlocks value_sums[kSize / 8];
  METAL_UNROLL
  for (int n = 0; n < kSize / 8; ++n) {
    key_sums[n] = zero_sums();
    value_sums[n] = zero_sums();
  }
  // The first query that sees one of the keys, unless some queries see no key.
  int64_t begin = 0;
  if (p.mask_kind == AttentionMask::causal && p.queries <= p.keys) {
    begin = metal::max(int64_t(0), at.row + p.queries - p.keys);
  }
  METAL_ROLLED
  for (int64_t head = at.head * shared; head < (at.head + 1) * shared; ++head) {
    const HeadRows<T> queries = head_rows<T>(query, p, p.query, at.entry, head, p.queries, p.size);
    const HeadRows<T> cotangents =
        head_rows<T>(cotangent, p, p.cotangent, at.entry, head, p.queries, p.value_size);
    const MaskOperands<T> masks{mask, sees, start_of(p, p.mask, at.entry, head)};
    device const float* head_statistics = statistics + start_of(p, p.statistics, at.entry, head);
    device const float* head_correction = correction + start_of(p, p.correction, at.entry, head);
    METAL_ROLLED
    for (int64_t first = begin; first < p.queries; first += kQueries) {
      const int place = renewed(int(lid));
      const int lane = place % 32;
      threadgroup_barrier(mem_flags::mem_threadgroup);
      load_tile<T, kSize, kQueries, kShort>(query_tile, queries, first, p.packed != 0, place);
      load_tile<T, kSize, kQueries, kShort>(
          cotangent_tile, cotangents, first, p.packed != 0, place);
      if (place < kQueries) {
        // Zeros stand for queries beyond the last one.
        const int64_t t = first + place;
        const bool exists = t < p.queries;
        device const float* row = head_statistics + t * p.statistics.row;
        rows[0][place] = exists ? row[0] : 0.0f;
        rows[1][place] = exists ? row[p.statistics.column] : 0.0f;
        rows[2][place] = exists ? head_correction[t * p.correction.row] : 0.0f;
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
      SumBlocks weights[kQueries / 8];
      SumBlocks changes[kQueries / 8];
      multiply_rows<T, kSize, kQueries, kShort>(keys, query_tile, lane, weights);
      multiply_rows<T, kSize, kQueries, kShort>(values, cotangent_tile, lane, changes);
      finish_scores<T, true, kQueries>(p, masks, first_own, first, lane, weights);
      METAL_UNROLL
      for (int n = 0; n < kQueries / 8; ++n) {
        METAL_UNROLL
        for (int e = 0; e < 2; ++e) {
          const int t = 8 * n + block_column(lane) + e;
          METAL_UNROLL
          for (int i = 0; i < 2; ++i) {
            weigh_score(
                weights[n].of[i].of[e],
                changes[n].of[i].of[e],
                hides,
                rows[0][t],
                rows[1][t],
                rows[2][t]);
          }
        }
      }
      add_weighted_rows<T, kSize, kQueries, kShort>(weights, cotangent_tile, lane, value_sums);
      add_weighted_rows<T, kSize, kQueries, kShort>(changes, query_tile, lane, key_sums);
    }
  }
  const float scales[2] = {p.scale, p.scale};
  const float ones[2] = {1.0f, 1.0f};
  const int64_t before = (at.entry * p.key_heads + at.head) * p.keys;
  write_rows<T, kSize>(
      key_sums, scales, key_result + before * p.size, first_own, p.keys, p.size, lane);
  write_rows<T, kSize>(
      value_sums,
      ones,
      value_result + before * p.value_size,
      first_own,
      p.keys,
      p.value_size,
      lane);
}

#define NARROWS_ATTENTION_GRADIENT_BLOCKS(T, name, size, is_short) \
  INSTANTIATE_KERNEL(                                              \
      "attention_gradient_" name "_keys", attention_gradient_keys_blocks, T, size, is_short)
NARROWS_BLOCK_KERNELS(NARROWS_ATTENTION_GRADIENT_BLOCKS)
