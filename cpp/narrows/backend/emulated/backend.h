// A GPU that runs metal_kernels/ on the host, to test them and what is built on them.
#pragma once

#include "narrows/runtime/backend.h"

namespace narrows::emulated {

Backend* emulated_backend();

// One whose memory the host cannot address, so that plans transfer. Its addresses are none of the
// host's: reading them there is a fault.
Backend* separate_emulated_backend();

} // namespace narrows::emulated
