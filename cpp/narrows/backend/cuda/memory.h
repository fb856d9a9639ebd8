// Memory of the GPU, and transfers between it and the host's memory.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <mutex>
#include <set>
#include <span>

#include "narrows/backend/cuda/batch.h"
#include "narrows/runtime/buffer.h"

namespace narrows::cuda {

// Sets 1, 2, 4 or 8 bytes, in order with work that was collected before.
void write_number(const Place& place, const void* value, int64_t bytes);

class CudaMemory final : public MemorySource {
 public:
  void* allocate(int64_t bytes) override;
  void release(void* memory, int64_t bytes) override;
  bool host_visible() const override {
    return false;
  }
  int64_t capacity() const override;
  void read(const void* from, void* to, int64_t bytes) override;
  void write(const void* from, void* to, int64_t bytes) override;

 private:
  // Page-locked memory for transfers: the host copies to or from one chunk while the device uses
  // the other. Without it the device may read the host's memory after a call has returned.
  struct Chunk {
    void* memory = nullptr;
    cudaEvent_t done = nullptr;
  };
  std::array<Chunk, 2>& chunks();
  // Room for `bytes` or less, until the next call: where, and how many.
  std::span<std::byte> room(int64_t bytes);
  // The block that contains the address.
  const void* block_of(const void* address);

  std::mutex blocks_mutex_;
  std::set<const void*> blocks_; // where the blocks begin
  std::mutex mutex_;             // of what follows
  std::array<Chunk, 2> chunks_;
  size_t turn_ = 0;  // the chunk that is being filled with what is written,
  int64_t used_ = 0; // up to here
};

} // namespace narrows::cuda
