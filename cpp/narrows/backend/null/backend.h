// A device that counts bytes and runs nothing: exact orders and peaks without the work.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows {

Backend* null_backend();

// What its concurrency() says, 16 at first; returns the previous value.
int set_null_concurrency(int steps);

// What its programs may consist of, for tests. Returns the previous limits.
ProgramLimits set_null_program_limits(const ProgramLimits& limits);

} // namespace narrows
