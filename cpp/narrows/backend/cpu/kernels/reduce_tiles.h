// The inner loops of reductions, found by operation, type and instruction set.
#pragma once

#include <cstdint>

#include "narrows/backend/cpu/isa.h"
#include "narrows/core/kernel_id.h"

namespace narrows {
enum class ReduceOp : uint8_t;
enum class ArgReduceOp : uint8_t;
} // namespace narrows

namespace narrows::cpu {

// Outputs that one call of a tile function may cover: their accumulators fit in the first-level
// cache, and on a thread's stack.
inline constexpr int64_t kReduceTile = 2048;
// Bytes of the largest accumulator.
inline constexpr int64_t kMaxAccumulatorSize = 16;

// Strides count elements.
struct ReduceTile {
  int64_t accumulator_size;
  // Sets n accumulators to the operation's identity.
  void (*begin)(void* accumulators, int64_t n);
  // accumulators[i] op= reduce over r < reduced of in[i * kept_stride + r * reduced_stride]
  void (*add)(
      const void* in,
      int64_t kept,
      int64_t kept_stride,
      int64_t reduced,
      int64_t reduced_stride,
      void* accumulators);
  // accumulators[i] op= from[i]
  void (*merge)(const void* from, int64_t n, void* accumulators);
  // out[i * out_stride] = accumulators[i]
  void (*finish)(const void* accumulators, int64_t n, void* out, int64_t out_stride);
};

// Keys are the extreme values so far, indices where they were found.
struct ArgReduceTile {
  int64_t key_size;
  // Starts with each output's first element, which has this index.
  void (*begin)(
      const void* in,
      int64_t kept,
      int64_t kept_stride,
      uint32_t index,
      void* keys,
      uint32_t* indices);
  // Goes on with further elements, which are numbered from `index`.
  void (*add)(
      const void* in,
      int64_t kept,
      int64_t kept_stride,
      int64_t reduced,
      int64_t reduced_stride,
      uint32_t index,
      void* keys,
      uint32_t* indices);
  // Goes on with results of elements that come after all those seen so far.
  void (*merge)(
      const void* from_keys,
      const uint32_t* from_indices,
      int64_t n,
      void* keys,
      uint32_t* indices);
};

// For this process's instruction set.
ReduceTile reduce_tile(ReduceOp op, Dtype in);
ArgReduceTile arg_reduce_tile(ArgReduceOp op, Dtype in);

#define NARROWS_DECLARE_TILES(isa)                      \
  namespace isa {                                       \
  ReduceTile reduce_tile(ReduceOp op, Dtype in);        \
  ArgReduceTile arg_reduce_tile(ArgReduceOp, Dtype in); \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_TILES)
#undef NARROWS_DECLARE_TILES

} // namespace narrows::cpu
