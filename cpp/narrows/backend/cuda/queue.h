// The way of encoded work to the device.
//
// Work is collected in batches, which run one after the other on one CUDA stream. A batch of a
// shape that was seen before runs as a CUDA graph: independent pieces overlap, and they start in a
// fraction of the time that launches take. Memory may be reused as soon as its last use is encoded,
// on any thread. So a plan takes the predicted memory on the device, however far the host runs
// ahead.
#pragma once

#include <cuda_runtime_api.h>

#include <exception>
#include <span>
#include <string>

#include "narrows/backend/cuda/batch.h"

namespace narrows::cuda {

// Collects a kernel, with the operands' addresses as its first buffers.
void launch(const gpu::Dispatch& dispatch, std::span<const Place> operands);

void launch(
    const CompiledKernel& kernel, const gpu::Dispatch& dispatch, std::span<const Place> operands);

// Collects a call of a library, with its operands' places.
void launch(const HeldLibraryCall& call, std::span<const Place> operands);

// Starts a copy between the device and the host's memory, behind all encoded work and all copies
// before, on a stream of its own. Work that needs its end waits for it: what is launched from now
// on and reads the place that a copy writes to, or writes to the place of a copy.
void copy(const Place& place, void* on_host, int64_t bytes, bool to_host);

// Submits the collected work. Work that is put on the returned stream comes behind it, and behind
// copies unless these go on.
cudaStream_t submit(bool copies_go_on = false);

// Returns when all encoded work has run. Interruptible. Raises the error of work that failed.
void finish();

// The same for the work that was submitted before the event was recorded.
void wait_for(cudaEvent_t event);

// Work on the stream that others put there has failed: all waits raise this error from now on.
void fail_from_now_on(const std::string& message);

// The error of work that failed, or nullptr. Does not wait.
std::exception_ptr error_so_far();

} // namespace narrows::cuda
