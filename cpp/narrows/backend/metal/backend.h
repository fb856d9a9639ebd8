// Apple GPUs: the kernels of metal_kernels/ through metal-cpp, on memory that the host shares.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::metal {

// nullptr if there is no Metal device.
Backend* metal_backend();

// The most bytes that work in flight on one stream may have written. Memory can exceed the plan's
// peak by that. Returns the previous limit, which is 256 MiB at first.
int64_t set_run_ahead(int64_t bytes);

// Returns when no kernel of a fused step is being compiled.
void wait_for_compilations();

} // namespace narrows::metal
