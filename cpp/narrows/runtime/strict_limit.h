// The strict limit of a memory, for those who plan to stay below it.
#pragma once

#include <cstdint>
#include <optional>

#include "narrows/runtime/buffer.h"

namespace narrows {

// What set_memory_limit() set for the memory that the source is of, if that is strict.
std::optional<int64_t> strict_limit(MemorySource& source);

} // namespace narrows
