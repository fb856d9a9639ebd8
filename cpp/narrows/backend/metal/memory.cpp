#include "narrows/backend/metal/memory.h"

#include <algorithm>

#include "narrows/core/errors.h"

namespace narrows::metal {

void* Memory::allocate(int64_t bytes) {
  AutoreleaseScope scope;
  const auto length = static_cast<NS::UInteger>(bytes);
  if (length > device_->maxBufferLength()) {
    return nullptr;
  }
  // Encoders order their work themselves, so Metal need not look for conflicts between command
  // buffers.
  MTL::Buffer* buffer = device_->newBuffer(
      length, MTL::ResourceStorageModeShared | MTL::ResourceHazardTrackingModeUntracked);
  if (!buffer) {
    return nullptr;
  }
  void* const address = buffer->contents();
  std::lock_guard lock(mutex_);
  buffers_.emplace(address, buffer);
  return address;
}

void Memory::release(void* memory, int64_t) {
  MTL::Buffer* buffer = nullptr;
  {
    std::lock_guard lock(mutex_);
    buffer = buffers_.extract(memory).mapped();
  }
  AutoreleaseScope scope;
  buffer->release();
}

int64_t Memory::capacity() const {
  constexpr uint64_t kMost = INT64_MAX;
  return static_cast<int64_t>(std::min<uint64_t>(device_->recommendedMaxWorkingSetSize(), kMost));
}

MTL::Buffer* Memory::find(const Buffer& buffer) const {
  std::lock_guard lock(mutex_);
  const auto found = buffers_.find(buffer.memory);
  if (found == buffers_.end()) {
    fail<std::runtime_error>(
        "[metal] ", buffer.bytes, " bytes by ", buffer.label, " are not in the device's memory.");
  }
  return found->second;
}

} // namespace narrows::metal
