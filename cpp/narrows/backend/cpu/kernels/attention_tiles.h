// The inner loops of attention, found by type and instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "metal_kernels/attention.h"
#include "narrows/backend/cpu/isa.h"
#include "narrows/core/dtype.h"

namespace narrows::cpu {

// Nothing here may be compiled into a function of its own: this is read for each instruction set.

// Queries that are computed together at most, and keys that they see at a time: what these take,
// with the products of one with the other, fits into the caches of a core. The more queries, the
// less often keys and values are read.
inline constexpr int64_t kAttentionQueries = 256;
inline constexpr int64_t kGradientQueries = 64;
inline constexpr int64_t kAttentionKeys = 64;

// The operands of one entry of the batch and one head of keys; `mask` and what is of queries start
// at the first of the heads that share it. Strides are those of the parameters.
struct AttentionOperands {
  const AttentionParams* params;
  const void* query;
  const void* key;
  const void* value;
  const void* mask;
  const void* sinks;
  const void* statistics;
  const void* correction;
  const void* cotangent;
};

// Queries `first` to `first + queries - 1` of heads `first_head` to `first_head + heads - 1`.
struct AttentionBlock {
  int64_t first_head;
  int64_t heads;
  int64_t first;
  int64_t queries;
};

// Keys `begin` to `end - 1`.
struct AttentionRange {
  int64_t begin;
  int64_t end;
};

struct AttentionTile {
  // Writes rows of `result` and `statistics`, which are row-contiguous and start at the first head.
  // Or else, if there is a `state`, what merge() makes them of: one of attention_state_size()
  // elements of the type that is computed in for each range of keys, `distance` elements apart.
  void (*forward)(
      const AttentionOperands& operands,
      const AttentionBlock& block,
      AttentionRange keys,
      void* scratch,
      void* state,
      void* result,
      void* statistics);
  void (*merge)(
      const AttentionOperands& operands,
      const AttentionBlock& block,
      void* states,
      int64_t distance,
      int64_t count,
      void* result,
      void* statistics);
  // Writes the block's cotangents of queries, or what a range of keys gives them to `query_part`,
  // if there is one, in the type that is computed in; adds those of these keys and values to sums,
  // whose rows have attention_row_size() elements of that type.
  void (*backward)(
      const AttentionOperands& operands,
      const AttentionBlock& block,
      AttentionRange keys,
      void* scratch,
      void* query_cotangent,
      void* query_part,
      void* key_sums,
      void* value_sums);
  // `rows` rows of sums, converted.
  void (*store)(const void* sums, int64_t rows, int64_t size, void* to);
  // Sums of n elements of `count` parts, which lie `distance` elements apart, converted.
  void (*add_parts)(const void* parts, int64_t distance, int64_t count, int64_t n, void* to);
  // The type that is computed in.
  int64_t item_size;
};

// Elements between rows of sums: whole vectors of any instruction set.
__attribute__((always_inline)) inline int64_t attention_row_size(int64_t size) {
  return (size + 15) / 16 * 16;
}

// Of so many queries: the largest score and the sum of weights of each, and results.
__attribute__((always_inline)) inline int64_t attention_state_size(int64_t rows, int64_t size) {
  return (rows + 15) / 16 * 16 * (size + 2);
}

// For this process's instruction set. Floating dtypes.
AttentionTile attention_tile(Dtype dtype);

#define NARROWS_DECLARE_ATTENTION(isa)       \
  namespace isa {                            \
  AttentionTile attention_tile(Dtype dtype); \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_ATTENTION)
#undef NARROWS_DECLARE_ATTENTION

} // namespace narrows::cpu
