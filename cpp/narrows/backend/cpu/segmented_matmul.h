// Products of ranges of columns with the same ranges of rows.
#pragma once

#include "metal_kernels/gather_matmul.h"
#include "narrows/core/kernel_id.h"

namespace narrows::cpu {

// Calls of the family gather_matmul whose mode is NARROWS_CHOSEN_RANGES, as its row runs them. What
// a range does not cover is not read.
void run_segmented_matmul(
    const KernelId& id, void* const* operands, const GatherMatmulParams& params, void* scratch);
int64_t segmented_matmul_scratch(const KernelId& id, const GatherMatmulParams& params);

} // namespace narrows::cpu
