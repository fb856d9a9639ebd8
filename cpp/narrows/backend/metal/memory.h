// Memory of a Metal device. The host sees it at the same addresses.
#pragma once

#include <mutex>
#include <unordered_map>

#include "narrows/backend/metal/metal_cpp.h"
#include "narrows/runtime/buffer.h"

namespace narrows::metal {

// Every block is a Metal buffer. It is found by the block's address, so that the runtime's buffers
// need not know of Metal.
class Memory final : public MemorySource {
 public:
  explicit Memory(MTL::Device* device) : device_(device) {
  }

  void* allocate(int64_t bytes) override;
  void release(void* memory, int64_t bytes) override;
  bool host_visible() const override {
    return true;
  }
  // The bytes that the device can keep resident. No memory is wired: the system may page.
  int64_t capacity() const override;

  // The Metal buffer of a block. RuntimeError if the memory is not of this source.
  MTL::Buffer* find(const Buffer& buffer) const;

 private:
  MTL::Device* device_;
  mutable std::mutex mutex_;
  std::unordered_map<const void*, MTL::Buffer*> buffers_; // by address
};

} // namespace narrows::metal
