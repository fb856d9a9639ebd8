// The CPU as a backend: work runs at once, on the calling thread and on the thread pool.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::cpu {

Backend* cpu_backend();

} // namespace narrows::cpu
