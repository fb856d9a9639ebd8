#include "gpu_under_test.h"
#include "narrows/backend/cpu/memory.h"
#include "narrows/backend/metal/backend.h"

namespace narrows::testing {

// As on a Mac, the CPU's arrays lie in the memory that both share.
Backend& tested_backend() {
  static Backend& backend = [&]() -> Backend& {
    Backend& metal = *metal::metal_backend();
    cpu::set_host_memory(&metal.memory());
    return metal;
  }();
  return backend;
}

bool gpu_has_float64() {
  return false;
}

std::vector<emulated::ThreadOrder> orders() {
  return {emulated::ThreadOrder::forward};
}

} // namespace narrows::testing
