// These tests look into the memory of arrays and count its bytes, so they run on the CPU, even if
// another device is the default.
#include <gtest/gtest.h>

#include <cstdlib>

#include "narrows/runtime/device.h"

namespace narrows {
namespace {

class OnCpu : public ::testing::Environment {
 public:
  void SetUp() override {
    setenv("NARROWS_CALIBRATION", "0", 0); // plans do not depend on the machine
    set_default_device({Device::Type::cpu, 0});
  }
};

const ::testing::Environment* const on_cpu = ::testing::AddGlobalTestEnvironment(new OnCpu);

} // namespace
} // namespace narrows
