// A GPU that runs metal_kernels/ on the host, to test them and what is built on them.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::emulated {

Backend* emulated_backend();

} // namespace narrows::emulated
