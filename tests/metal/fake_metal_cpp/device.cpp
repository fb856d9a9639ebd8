// The device: buffers, the library of kernels, and what tests see of the fake.
#include <cstdlib>

#include "state.h"

namespace fake_metal {

World& world() {
  static World* instance = new World;
  return *instance;
}

void note(const std::string& mistake) {
  std::lock_guard lock(world().mutex);
  world().mistakes.push_back(mistake);
}

void fail(const std::string& mistake) {
  note(mistake);
  throw std::logic_error("fake Metal: " + mistake);
}

std::vector<std::string> take_mistakes() {
  std::lock_guard lock(world().mutex);
  return std::exchange(world().mistakes, {});
}

Counts counts() {
  std::lock_guard lock(world().mutex);
  return world().counts;
}

void reset_counts() {
  std::lock_guard lock(world().mutex);
  world().counts = {};
}

int64_t live_objects() {
  return world().objects;
}

int64_t live_buffers() {
  return world().buffers;
}

void fail_next(const std::string& kernel) {
  std::lock_guard lock(world().mutex);
  world().failing = kernel;
}

Pause::Pause() {
  std::lock_guard lock(world().mutex);
  ++world().pauses;
}

Pause::~Pause() {
  std::lock_guard lock(world().mutex);
  --world().pauses;
  world().changed.notify_all();
}

Storage::Storage(size_t bytes, uint64_t number) : length(bytes), id(number) {
  constexpr size_t kAlignment = 256;
  const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  memory = static_cast<std::byte*>(std::aligned_alloc(kAlignment, padded));
  std::memset(memory, 0xff, padded);
  ++world().buffers;
}

Storage::~Storage() {
  std::free(memory);
  --world().buffers;
}

} // namespace fake_metal

namespace MTL {

using namespace fake_metal;

namespace {

// Metal has no float64.
bool is_in_library(const std::string& kernel) {
  return kernel.find("float64") == std::string::npos;
}

} // namespace

Device* CreateSystemDefaultDevice() {
  return new Device;
}

NS::String* Architecture::name() const {
  return NS::String::string("fake", NS::UTF8StringEncoding);
}

NS::String* Device::name() const {
  return NS::String::string("Fake GPU", NS::UTF8StringEncoding);
}

Architecture* Device::architecture() const {
  return (new Architecture)->autorelease();
}

NS::UInteger Device::maxBufferLength() const {
  return NS::UInteger{128} << 20;
}

uint64_t Device::recommendedMaxWorkingSetSize() const {
  return uint64_t{256} << 20;
}

Buffer* Device::newBuffer(NS::UInteger length, ResourceOptions options) {
  if (length == 0 || length > maxBufferLength()) {
    return nullptr;
  }
  if (options != (ResourceStorageModeShared | ResourceHazardTrackingModeUntracked)) {
    fake_metal::fail("the fake has shared, untracked buffers only");
  }
  uint64_t id;
  {
    std::lock_guard lock(world().mutex);
    id = ++world().storages;
  }
  auto* buffer = new Buffer;
  buffer->fake_storage = std::make_shared<Storage>(length, id);
  return buffer;
}

// Kernels that still use the storage read NaN from now on, and get a mistake.
Buffer::~Buffer() {
  fake_storage->alive = false;
  std::memset(fake_storage->memory, 0xff, fake_storage->length);
}

NS::UInteger Buffer::length() const {
  return fake_storage->length;
}

void* Buffer::contents() {
  return fake_storage->memory;
}

Library* Device::newLibrary(const NS::URL* url, NS::Error** error) {
  if (!url->fake_path.ends_with(".metallib")) {
    auto* described = new NS::Error;
    described->fake_text = url->fake_path + " is no Metal library";
    *error = described->autorelease();
    return nullptr;
  }
  return new Library;
}

NS::Array* Library::functionNames() const {
  auto* names = new NS::Array;
  const auto add = [&](const std::string& name) {
    auto* string = new NS::String;
    string->fake_text = name;
    names->fake_items.push_back(string);
  };
  if (fake_compiled) {
    for (const auto& [name, kernel] : fake_compiled->kernels) {
      add(name);
    }
  } else {
    for (const std::string& name : narrows::emulated::kernel_names()) {
      if (is_in_library(name)) {
        add(name);
      }
    }
  }
  return static_cast<NS::Array*>(names->autorelease());
}

Function* Library::newFunction(const NS::String* functionName) {
  const std::string name = functionName->utf8String();
  const metal_emu::KernelInfo* kernel = nullptr;
  if (fake_compiled) {
    const auto found = fake_compiled->kernels.find(name);
    kernel = found == fake_compiled->kernels.end() ? nullptr : found->second;
  } else if (is_in_library(name)) {
    kernel = narrows::emulated::find_kernel(name);
  }
  if (!kernel) {
    return nullptr;
  }
  auto* function = new Function;
  function->fake_kernel =
      std::make_shared<KernelState>(KernelState{kernel, fake_compiled != nullptr});
  return function;
}

ComputePipelineState* Device::newComputePipelineState(
    const Function* computeFunction, NS::Error**) {
  auto* state = new ComputePipelineState;
  state->fake_kernel = computeFunction->fake_kernel;
  return state;
}

NS::UInteger ComputePipelineState::maxTotalThreadsPerThreadgroup() const {
  std::lock_guard lock(world().mutex);
  return fake_kernel->was_compiled ? world().most_compiled_threads : 1024;
}

Fence* Device::newFence() {
  return new Fence;
}

SharedEvent* Device::newSharedEvent() {
  return new SharedEvent;
}

SharedEvent::SharedEvent() : fake_state(std::make_shared<SignalState>()) {
}

uint64_t SharedEvent::signaledValue() const {
  std::lock_guard lock(fake_state->mutex);
  return fake_state->value;
}

void SharedEvent::setSignaledValue(uint64_t value) {
  std::lock_guard lock(fake_state->mutex);
  fake_state->value = value;
  fake_state->changed.notify_all();
}

} // namespace MTL
