#include "gpu_under_test.h"
#include "narrows/backend/emulated/backend.h"

namespace narrows::testing {

Backend& tested_backend() {
  return *emulated::emulated_backend();
}

bool gpu_has_float64() {
  return true;
}

std::vector<emulated::ThreadOrder> orders() {
  using emulated::ThreadOrder;
  return {ThreadOrder::forward, ThreadOrder::reverse, ThreadOrder::random};
}

} // namespace narrows::testing
