// The Metal device, its library of kernels, and the pipelines made of them.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <unordered_map>

#include "narrows/backend/metal/metal_cpp.h"

namespace narrows::metal {

class Device {
 public:
  // RuntimeError if the library of kernels cannot be loaded.
  explicit Device(NS::SharedPtr<MTL::Device> device);

  MTL::Device* get() const {
    return device_.get();
  }
  bool has_kernel(const std::string& name) const {
    return kernels_.count(name) > 0;
  }

  // A kernel, ready to be dispatched.
  struct Pipeline {
    std::string name;
    NS::SharedPtr<MTL::ComputePipelineState> state;
    uint32_t most_threads = 0; // per threadgroup
  };
  // The pipeline of a kernel. It is made on first use, and kept. RuntimeError if the library has no
  // such kernel.
  const Pipeline& pipeline(const std::string& kernel);

  // The pipeline of a kernel of this source, which is compiled. RuntimeError if that fails.
  Pipeline compile(const std::string& source, const std::string& kernel);

 private:
  Pipeline make_pipeline(MTL::Library* library, const std::string& kernel);

  NS::SharedPtr<MTL::Device> device_;
  NS::SharedPtr<MTL::Library> library_;
  std::set<std::string> kernels_; // names in the library
  std::mutex mutex_;
  std::unordered_map<std::string, Pipeline> pipelines_;
};

} // namespace narrows::metal
