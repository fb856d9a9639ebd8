// Runs a tile kernel over strided operands: cuts the work into boxes, makes each operand's box
// contiguous where it is not, and spreads the boxes over threads.
#pragma once

#include "metal_kernels/elementwise.h"
#include "narrows/backend/cpu/kernels/tile_kernels.h"

namespace narrows::cpu {

struct TileOperation {
  TileKernel kernel = nullptr; // null: a copy of the one input
  int inputs = 0;
  int64_t item_size[NARROWS_MAX_OPERANDS] = {}; // of the inputs, then of the output
  // Where the kernel computes in float32 and an operand has 16 bits: the casts around it.
  TileKernel widen = nullptr;
  TileKernel narrow = nullptr;
  int64_t grain = 32768; // the fewest elements that are worth a thread
};

// operands: the addresses of the inputs' and the output's first elements.
void run_tiles(
    const TileOperation& operation, void* const* operands, const ElementwiseParams& params);

} // namespace narrows::cpu
