// Runs a test's graphs on the null backend. It counts bytes and computes nothing.
#pragma once

#include <gtest/gtest.h>

#include "narrows/backend/null/backend.h"
#include "narrows/order/settings.h"
#include "narrows/runtime/allocator.h"

namespace narrows {

// Waits until the work of earlier tests has ended.
inline int64_t active_when_idle() {
  synchronize();
  return get_active_memory();
}

class NullDevice : public testing::Test {
 protected:
  NullDevice() : previous_(set_backend(Device::Type::cpu, null_backend())) {
    clear_cache();
    reset_peak_memory();
  }
  // Bytes beyond those that were active before the test.
  int64_t active() const {
    return get_active_memory() - before_;
  }
  int64_t peak() const {
    return get_peak_memory() - before_;
  }
  ~NullDevice() override {
    clear_cache();
    set_backend(Device::Type::cpu, previous_);
  }

 private:
  Backend* previous_;
  int64_t before_ = active_when_idle();
};

} // namespace narrows
