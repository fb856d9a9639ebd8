// Kernels of fused programs, compiled by NVRTC.
#pragma once

#include "narrows/backend/gpu/program_kernels.h"

namespace narrows::cuda {

// Its kernels are of the type CompiledKernel.
gpu::ProgramKernels& program_kernels();

} // namespace narrows::cuda
