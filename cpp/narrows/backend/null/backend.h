// A device that counts bytes and runs nothing: exact orders and peaks without computing anything.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows {

Backend* null_backend();

// Sets what its concurrency() returns, 16 at first. Returns the previous value.
int set_null_concurrency(int steps);

// Sets the limits of its programs, for tests. Returns the previous limits.
ProgramLimits set_null_program_limits(const ProgramLimits& limits);

} // namespace narrows
