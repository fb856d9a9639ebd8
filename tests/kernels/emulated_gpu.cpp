#include <cstdlib>
#include <string_view>

#include "gpu_under_test.h"
#include "narrows/backend/emulated/backend.h"
#include "narrows/runtime/tf32.h"

namespace narrows::testing {
namespace {

// Where NARROWS_TEST_GPU=1 is set it is the machine's GPU.
bool tests_real_gpu() {
  const char* text = std::getenv("NARROWS_TEST_GPU");
  return text && std::string_view(text) == "1";
}

} // namespace

Backend& tested_backend() {
  if (!tests_real_gpu()) {
    return *emulated::emulated_backend();
  }
  set_tf32(false); // float32 results are compared with those of the CPU
  return backend_for({Device::Type::gpu, 0});
}

bool gpu_has_float64() {
  return true;
}

std::vector<emulated::ThreadOrder> orders() {
  using emulated::ThreadOrder;
  return tests_real_gpu()
             ? std::vector{ThreadOrder::forward}
             : std::vector{ThreadOrder::forward, ThreadOrder::reverse, ThreadOrder::random};
}

} // namespace narrows::testing
