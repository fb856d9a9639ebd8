// MPI, as an engine that connects processes.
#pragma once

#include "narrows/runtime/process_group.h"

namespace narrows::mpi {

extern const Engine kEngine;

} // namespace narrows::mpi
