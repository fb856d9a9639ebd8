// The host's memory, from malloc or, for large blocks, from huge pages.
#pragma once

#include "narrows/runtime/buffer.h"

namespace narrows::cpu {

MemorySource& host_memory();

} // namespace narrows::cpu
