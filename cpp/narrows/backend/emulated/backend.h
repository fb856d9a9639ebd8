// A GPU that runs metal_kernels/ on the host, to test them and what is built on them.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::emulated {

Backend* emulated_backend();

// A GPU whose memory the host cannot address, so that plans need transfers. Reading its addresses
// on the host is a fault.
Backend* separate_emulated_backend();

} // namespace narrows::emulated
