// The inner loops of pooling by the largest value, for the processor's instruction set.
#pragma once

#include <cstdint>

#include "metal_kernels/pooling.h"
#include "narrows/backend/cpu/isa.h"

namespace narrows::cpu {

// Of one entry of the batch; arrays are row-contiguous and begin with that entry.
struct PoolTile {
  // Rows `begin` to `end - 1` of the result, which are windows along the last two dimensions of
  // places together.
  void (*maximum)(const PoolParams& p, const float* in, int64_t begin, int64_t end, float* out);
  // Channels `begin` to `end - 1` of the cotangent of what was pooled.
  void (*gradient)(
      const PoolParams& p,
      const float* in,
      const float* largest,
      const float* cotangent,
      int64_t begin,
      int64_t end,
      float* out);
};

PoolTile pool_tile();

#define NARROWS_DECLARE_POOL(isa) \
  namespace isa {                 \
  PoolTile pool_tile();           \
  }
NARROWS_EACH_ISA(NARROWS_DECLARE_POOL)
#undef NARROWS_DECLARE_POOL

} // namespace narrows::cpu
