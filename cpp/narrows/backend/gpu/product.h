// Matrix products as a part of what kernels of other families need.
#pragma once

#include "metal_kernels/matmul.h"
#include "narrows/backend/gpu/dispatch.h"

namespace narrows::gpu {

// Appends `count` products, of the call's first three operands unless other places are set. A grid
// has room for kMostProducts.
inline constexpr int64_t kMostProducts = 65535;
Dispatch& add_product(
    Dtype dtype, const MatmulTileParams& params, int64_t count, Dispatches& dispatches);

} // namespace narrows::gpu
