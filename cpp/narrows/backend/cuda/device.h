// CUDA's errors, the stream that runs everything, and waiting for it.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "metal_kernels/compat/signature.h"

namespace narrows::cuda {

// RuntimeError if a call failed, with what was being done.
void check(cudaError_t status, std::string_view what);

// CUDA does not work in a child of fork(): false, or a RuntimeError.
bool is_usable_process();
void check_process();

// All streams of the device share one CUDA stream: batches of work run in the order in which they
// were submitted.
cudaStream_t stream();

// The kernel of this name; nullptr if the library has none.
const metal_emu::KernelInfo* find_kernel(std::string_view name);

// Asks until the answer is no longer "not ready", and returns it. Interruptible.
cudaError_t poll(cudaError_t (*query)(void*), void* argument);

} // namespace narrows::cuda
