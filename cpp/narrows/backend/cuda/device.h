// The CUDA stream that runs everything, and launches on it.
//
// All streams of the device share one CUDA stream: its work runs in the order in which it was
// encoded. So memory may be reused as soon as its last use is encoded, on whichever thread, and a
// plan takes on the device what it was predicted to take, however far the host runs ahead.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "narrows/backend/gpu/dispatch.h"

namespace narrows::cuda {

// RuntimeError if a call failed, with what was being done.
void check(cudaError_t status, std::string_view what);

cudaStream_t stream();

// Whether the library has a kernel of this name.
bool has_kernel(std::string_view name);

// Launches a kernel with the operands' addresses as its first buffers.
void launch(const gpu::Dispatch& dispatch, std::span<const std::uintptr_t> addresses);

// Returns when all that was launched has run. Interruptible; raises the error of work that failed.
void finish();

// The same for what was launched before the event was recorded.
void wait_for(cudaEvent_t event);

} // namespace narrows::cuda
