// Matrix products by cuBLASLt, and by kernels of narrows where it is missing.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::cuda {

// Scratch bytes that the product wants.
int64_t gemm_workspace(const GemmCall& call);

void gemm(const GemmCall& call);

} // namespace narrows::cuda
