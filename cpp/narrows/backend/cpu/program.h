// Runs programs tile by tile: all instructions run on one tile before the next, so that values in
// between stay in the first-level caches.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::cpu {

// The limits of programs. More instructions would gain little, and the values of a tile must stay
// in the first-level caches.
inline constexpr ProgramLimits kProgramLimits{
    .instructions = 64,
    .operands = 24,
    .outputs = 8,
    .registers = 88,
    .row_bytes = int64_t{2} << 20};

void run_program(const ProgramCall& call);

} // namespace narrows::cpu
