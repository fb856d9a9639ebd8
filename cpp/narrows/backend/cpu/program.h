// Runs programs: tile by tile, all instructions on one tile before the next, so that what is
// between them stays in the first caches.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::cpu {

void run_program(const ProgramCall& call);

} // namespace narrows::cpu
