// The host's memory, from malloc or, for large blocks, from huge pages.
#pragma once

#include "narrows/runtime/buffer.h"

namespace narrows::cpu {

MemorySource& host_memory();

// Sets the source of the CPU's new buffers. The host must see it: it is a GPU's memory where both
// devices share one. nullptr: the host's own memory, the default. Returns the previous source.
MemorySource* set_host_memory(MemorySource* source);

} // namespace narrows::cpu
