// What only a real GPU of NVIDIA does: its errors, which end its use in the process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "gpu_under_test.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/device.h"

namespace narrows {
namespace {

// Runs good work, then a copy to an address that is nobody's, then more good work, and prints the
// error that the wait raises.
[[noreturn]] void fault() {
  Backend& gpu = testing::tested_backend();
  Encoder& encoder = gpu.encoder(default_stream({Device::Type::gpu, 0}));
  const BufferRef good = allocate(gpu.memory(), 4096, "test");
  Buffer bad;
  bad.memory = reinterpret_cast<void*>(uintptr_t{0x1000});
  bad.bytes = bad.capacity = 4096;
  const std::array pattern{std::byte{1}};
  try {
    for (int i = 0; i < 100; ++i) {
      encoder.fill({good.get(), 0}, pattern, 4096);
    }
    encoder.finish();
    encoder.copy({good.get(), 0}, {&bad, 0}, 4096);
    for (int i = 0; i < 100; ++i) {
      encoder.fill({good.get(), 0}, pattern, 4096);
    }
    encoder.finish();
  } catch (const std::runtime_error& error) {
    std::fputs(error.what(), stderr);
    _exit(1);
  }
  _exit(0);
}

TEST(Cuda, errors_of_the_device_name_the_work_that_made_them) {
  if (testing::tested_backend().interface() != "cuda") {
    GTEST_SKIP() << "the GPU under test is another";
  }
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const bool blocking = std::getenv("CUDA_LAUNCH_BLOCKING");
  EXPECT_EXIT(
      fault(),
      ::testing::ExitedWithCode(1),
      blocking ? "cast_.*illegal" : "illegal.* kernels cast_.*CUDA_LAUNCH_BLOCKING");
}

} // namespace
} // namespace narrows
