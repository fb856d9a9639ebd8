// Runs a tile kernel over strided operands. It cuts the work into boxes, makes the box of each
// operand contiguous where it is not, and shares the boxes among threads.
#pragma once

#include "metal_kernels/elementwise.h"
#include "narrows/backend/cpu/kernels/tile_kernels.h"

namespace narrows::cpu {

struct TileOperation {
  TileKernel kernel = nullptr; // nullptr: copies the only input
  int inputs = 0;
  int64_t item_size[NARROWS_MAX_OPERANDS] =
      {}; // The casts around a kernel that computes in float32, for operands of 16 bits.
  // Where the kernel computes in float32 and an operand has 16 bits: the casts around it.
  TileKernel widen = nullptr;
  TileKernel narrow = nullptr;
  int64_t grain = 32768; // the least number of elements for a thread
};

// operands: the addresses of the first elements of the inputs and the output.
void run_tiles(
    const TileOperation& operation, void* const* operands, const ElementwiseParams& params);

} // namespace narrows::cpu
