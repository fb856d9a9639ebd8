// Runs programs: tile by tile, all instructions on one tile before the next, so that what is
// between them stays in the first caches.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::cpu {

// More instructions than that gain little from what they share, and the values of a tile should
// stay in the first caches.
inline constexpr ProgramLimits kProgramLimits{
    .instructions = 64,
    .operands = 24,
    .outputs = 8,
    .registers = 88,
    .row_bytes = int64_t{2} << 20};

void run_program(const ProgramCall& call);

} // namespace narrows::cpu
