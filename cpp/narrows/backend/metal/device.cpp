#include "narrows/backend/metal/device.h"

#include "narrows/backend/metal/backend.h"
#include "narrows/core/errors.h"
#include "narrows/runtime/shared_library.h"

namespace narrows::metal {
namespace {

// The kernels are installed beside the library that contains this function.
std::string library_path() {
  return directory_of(reinterpret_cast<const void*>(&metal_backend)) + "narrows.metallib";
}

} // namespace

Device::Device(NS::SharedPtr<MTL::Device> device) : device_(std::move(device)) {
  AutoreleaseScope scope;
  NS::Error* error = nullptr;
  const std::string path = library_path();
  library_ = NS::TransferPtr(device_->newLibrary(NS::URL::fileURLWithPath(to_ns(path)), &error));
  if (!library_) {
    fail<std::runtime_error>("[metal] cannot load the kernels in ", path, ": ", describe(error));
  }
  NS::Array* names = library_->functionNames();
  for (NS::UInteger i = 0; i < names->count(); ++i) {
    kernels_.insert(names->object<NS::String>(i)->utf8String());
  }
}

const Device::Pipeline& Device::pipeline(const std::string& kernel) {
  std::lock_guard lock(mutex_);
  const auto found = pipelines_.find(kernel);
  if (found != pipelines_.end()) {
    return found->second;
  }
  if (!has_kernel(kernel)) {
    fail<std::runtime_error>(
        "[metal] there is no kernel ", kernel, " on this device; the CPU has all dtypes.");
  }
  return pipelines_.emplace(kernel, make_pipeline(library_.get(), kernel)).first->second;
}

Device::Pipeline Device::compile(const std::string& source, const std::string& kernel) {
  AutoreleaseScope scope;
  // As in CMakeLists.txt.
  const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
  options->setFastMathEnabled(false);
  options->setLanguageVersion(MTL::LanguageVersion3_1);
  NS::Error* error = nullptr;
  const auto library = NS::TransferPtr(device_->newLibrary(to_ns(source), options.get(), &error));
  if (!library) {
    fail<std::runtime_error>("[metal] cannot compile the kernel ", kernel, ": ", describe(error));
  }
  return make_pipeline(library.get(), kernel);
}

Device::Pipeline Device::make_pipeline(MTL::Library* library, const std::string& kernel) {
  AutoreleaseScope scope;
  NS::Error* error = nullptr;
  const auto function = NS::TransferPtr(library->newFunction(to_ns(kernel)));
  Pipeline pipeline;
  pipeline.name = kernel;
  if (function) {
    pipeline.state = NS::TransferPtr(device_->newComputePipelineState(function.get(), &error));
  }
  if (!pipeline.state) {
    fail<std::runtime_error>("[metal] cannot prepare the kernel ", kernel, ": ", describe(error));
  }
  pipeline.most_threads = static_cast<uint32_t>(pipeline.state->maxTotalThreadsPerThreadgroup());
  return pipeline;
}

} // namespace narrows::metal
