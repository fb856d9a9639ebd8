// These tests look into the memory of arrays and count its bytes, so they run on the CPU, even if
// another device is the default.
#include <gtest/gtest.h>

#include "narrows/runtime/device.h"

namespace narrows {
namespace {

class OnCpu : public ::testing::Environment {
 public:
  void SetUp() override {
    set_default_device({Device::Type::cpu, 0});
  }
};

const ::testing::Environment* const on_cpu = ::testing::AddGlobalTestEnvironment(new OnCpu);

} // namespace
} // namespace narrows
