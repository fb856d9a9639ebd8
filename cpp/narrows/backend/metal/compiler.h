// Kernels of fused programs, compiled by Metal.
#pragma once

#include "narrows/backend/gpu/program_kernels.h"
#include "narrows/backend/metal/device.h"

namespace narrows::metal {

// Its kernels are of the type Device::Pipeline. They are not kept in files: Metal keeps what it
// compiled itself, for all processes of the user, and finds it by the source. Binary archives would
// be a second cache of the same.
class MetalCompiler final : public gpu::KernelCompiler {
 public:
  explicit MetalCompiler(Device& device) : device_(device) {
  }
  gpu::Dialect dialect() const override {
    return gpu::Dialect::metal;
  }
  bool load() override {
    return true; // it is a part of Metal
  }
  const void* compile(const std::string& text, const Program& program) override;

 private:
  Device& device_;
};

} // namespace narrows::metal
