// What the tests of the Metal backend share: the device, its counters, and the check that nothing
// is left.
#pragma once

#include <gtest/gtest.h>

#include "fake_metal_cpp/fake_metal.h"
#include "gpu_under_test.h"
#include "narrows/backend/metal/backend.h"
#include "narrows/fuse/settings.h"
#include "narrows/narrows.h"
#include "narrows/runtime/allocator.h"

namespace narrows::testing {

inline constexpr Device kGpu{Device::Type::gpu, 0};

// The GPU of each test is the Metal backend. A test may leave neither mistakes nor memory. Nothing
// is fused, so that tests can count dispatches.
class MetalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    previous_ = set_backend(Device::Type::gpu, &tested_backend());
    synchronize();
    tested_backend().wait_idle();
    active_ = get_active_memory();
    fake_metal::take_mistakes();
    fake_metal::reset_counts();
  }
  void TearDown() override {
    tested_backend().wait_idle();
    EXPECT_EQ(fake_metal::take_mistakes(), std::vector<std::string>());
    EXPECT_EQ(get_active_memory(), active_);
    set_backend(Device::Type::gpu, previous_);
  }
  int64_t active_at_first() const {
    return active_;
  }

 private:
  FusionScope is_not_fused_{false};
  Backend* previous_ = nullptr;
  int64_t active_ = 0;
};

inline array numbers(const Shape& shape, StreamOrDevice s = kGpu) {
  const array count = arange(int64_t{0}, element_count(shape), int64_t{1}, float32, s);
  return reshape(sin(count, s), shape, s);
}

inline array evaluated(const array& a) {
  eval(a);
  return a;
}

} // namespace narrows::testing
