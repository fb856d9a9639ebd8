// What only a real NVIDIA GPU does: errors that end its use in the process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "gpu_under_test.h"
#include "metal_kernels/elementwise.h"
#include "metal_kernels/fill.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/device.h"

namespace narrows {
namespace {

// Runs correct work, a copy to an invalid address, and correct work again. Prints the error that
// the wait raises.
[[noreturn]] void fault() {
  Backend& gpu = testing::tested_backend();
  Encoder& encoder = gpu.encoder(default_stream({Device::Type::gpu, 0}));
  const BufferRef good = allocate(gpu.memory(), 4096, "test");
  Buffer bad;
  bad.memory = reinterpret_cast<void*>(uintptr_t{0x1000});
  bad.bytes = bad.capacity = 4096;
  const Operand places[] = {{good.get(), 0}, {&bad, 0}};
  const auto fill = [&] {
    const KernelId kernel{KernelFamily::fill, 0, uint8, uint8};
    encoder.run({kernel, std::span(places, 1), FillParams{4096, 1}});
  };
  try {
    for (int i = 0; i < 100; ++i) {
      fill();
    }
    encoder.finish();
    ElementwiseParams copy{};
    copy.size = copy.shape[0] = 4096;
    copy.ndim = copy.inputs = 1;
    copy.strides[0][0] = copy.strides[1][0] = 1;
    encoder.run({{KernelFamily::cast, 0, uint8, uint8}, places, copy});
    for (int i = 0; i < 100; ++i) {
      fill();
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
