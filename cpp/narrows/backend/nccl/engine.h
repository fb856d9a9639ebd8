// NCCL, as an engine that connects processes with a GPU each.
#pragma once

#include "narrows/runtime/process_group.h"

namespace narrows::nccl {

extern const Engine kEngine;

} // namespace narrows::nccl
