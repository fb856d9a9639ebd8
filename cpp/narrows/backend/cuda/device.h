// CUDA's errors, the stream that runs everything, and waiting for it.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "metal_kernels/compat/signature.h"

namespace narrows::cuda {

// RuntimeError if a call failed. `what` says what was being done.
void check(cudaError_t status, std::string_view what);

// The number of devices, 0 without a driver. Of several processes of one machine each has a device
// of its own: that of its number among them, which its launcher has told it.
int device_count();
int device_number();
// Each thread has a device in CUDA. This makes it the process's.
void use_device();

// CUDA does not work in a child after fork(): the first returns false, the second raises
// RuntimeError.
bool is_usable_process();
void check_process();

// All streams of the device share one CUDA stream: batches of work run in the order in which they
// were submitted.
cudaStream_t stream();

// The kernel with this name; nullptr if the library has none.
const metal_emu::KernelInfo* find_kernel(std::string_view name);

// Asks until the answer is not "not ready", and returns the answer. Interruptible.
cudaError_t poll(cudaError_t (*query)(void*), void* argument);

} // namespace narrows::cuda
