// The GPU that the tests of kernels and graphs run on. Each of their executables defines these
// functions.
#pragma once

#include <vector>

#include "narrows/backend/emulated/engine.h"
#include "narrows/runtime/backend.h"

namespace narrows::testing {

Backend& tested_backend();
bool gpu_has_float64();
std::vector<emulated::ThreadOrder> orders();

} // namespace narrows::testing
