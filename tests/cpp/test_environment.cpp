// These tests look into the memory of arrays and count its bytes: they run on the CPU, also where
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
