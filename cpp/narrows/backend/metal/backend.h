// Apple GPUs: the kernels of metal_kernels/ through metal-cpp, on memory that the host shares.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::metal {

// nullptr where there is no Metal device.
Backend* metal_backend();

// How many bytes the work that is in flight on one stream may have written: what memory may exceed
// the plan's by. Returns the previous limit, 256 MiB at first.
int64_t set_run_ahead(int64_t bytes);

} // namespace narrows::metal
