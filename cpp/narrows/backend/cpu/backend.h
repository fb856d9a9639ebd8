// The host's processor as a backend: work runs at once, on the calling thread and the pool.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::cpu {

Backend* cpu_backend();

} // namespace narrows::cpu
