#include "narrows/backend/metal/backend.h"

#include <map>
#include <mutex>

#include "narrows/backend/gpu/program.h"
#include "narrows/backend/metal/encoder.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/allocator.h"

namespace narrows::metal {
namespace {

// How many steps a stream runs side by side between two barriers.
constexpr int kConcurrency = 4;

class MetalBackend final : public Backend {
 public:
  explicit MetalBackend(const NS::SharedPtr<MTL::Device>& device) : shared_(device) {
  }

  MemorySource& memory() override {
    return shared_.memory;
  }
  bool addresses(const MemorySource* source) const override {
    return source == &shared_.memory;
  }
  Encoder& encoder(Stream stream) override {
    std::lock_guard lock(mutex_);
    auto& encoder = encoders_[stream.index];
    if (!encoder) {
      encoder = std::make_unique<MetalEncoder>(shared_);
    }
    return *encoder;
  }
  bool supports(const KernelId& kernel) const override {
    return gpu::has_kernel(
        kernel, [this](const std::string& name) { return shared_.device.has_kernel(name); });
  }
  Scratch scratch(KernelFamily family) const override {
    return gpu::scratch_of(family);
  }
  int concurrency() const override {
    return kConcurrency;
  }
  bool ready_by_event() const override {
    return true;
  }
  void wait_idle() override {
    for (MetalEncoder* encoder : all_encoders()) {
      encoder->wait_idle();
    }
  }
  const ProgramLimits& program_limits() const override {
    return gpu::program_limits(shared_.programs.has_compiler());
  }
  std::string_view interface() const override {
    return "metal";
  }
  bool is_preferred() const override {
    return true;
  }
  DeviceInfo info() const override;

  int64_t set_run_ahead(int64_t bytes) {
    return shared_.run_ahead.exchange(bytes);
  }
  void wait_for_compilations() {
    shared_.programs.wait();
  }

 private:
  std::vector<MetalEncoder*> all_encoders() {
    std::lock_guard lock(mutex_);
    std::vector<MetalEncoder*> all;
    for (const auto& [stream, encoder] : encoders_) {
      all.push_back(encoder.get());
    }
    return all;
  }

  Shared shared_;
  std::mutex mutex_;
  std::map<int, std::unique_ptr<MetalEncoder>> encoders_; // by stream, kept for good
};

DeviceInfo MetalBackend::info() const {
  AutoreleaseScope scope;
  MTL::Device* device = shared_.device.get();
  return {
      {"architecture", std::string(device->architecture()->name()->utf8String())},
      {"device_name", std::string(device->name()->utf8String())},
      {"max_buffer_length", static_cast<int64_t>(device->maxBufferLength())},
      {"max_recommended_working_set_size", shared_.memory.capacity()},
      {"memory_size", machine_memory()}};
}

// Never destroyed: the device's threads may call back until the process ends.
MetalBackend* the_backend() {
  static MetalBackend* backend = []() -> MetalBackend* {
    AutoreleaseScope scope;
    const auto device = NS::TransferPtr(MTL::CreateSystemDefaultDevice());
    return device ? new MetalBackend(device) : nullptr;
  }();
  return backend;
}

} // namespace

Backend* metal_backend() {
  return the_backend();
}

int64_t set_run_ahead(int64_t bytes) {
  return the_backend() ? the_backend()->set_run_ahead(bytes) : 0;
}

void wait_for_compilations() {
  if (the_backend()) {
    the_backend()->wait_for_compilations();
  }
}

} // namespace narrows::metal
