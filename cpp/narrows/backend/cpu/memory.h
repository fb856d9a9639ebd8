// The host's memory, from malloc or, for large blocks, from huge pages.
#pragma once

#include "narrows/runtime/buffer.h"

namespace narrows::cpu {

MemorySource& host_memory();

// Makes the CPU's new buffers come from a source that the host can see: a GPU's, where both share
// one memory. nullptr: the host's own, as at first. Returns the previous one.
MemorySource* set_host_memory(MemorySource* source);

} // namespace narrows::cpu
