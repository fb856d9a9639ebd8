// Copies between the device and the host beside the device's other work: a CUDA stream of their
// own, and page-locked memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <type_traits>
#include <unordered_map>

#include "narrows/runtime/buffer.h"

namespace narrows::cuda {

struct DestroyEvent {
  void operator()(cudaEvent_t event) const {
    cudaEventDestroy(event);
  }
};
using OwnedEvent = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, DestroyEvent>;

// The stream of copies. They run one after the other, each behind the work that was on the
// computing stream when it was started. What copies use is told apart by its block of memory. The
// caller sees to it that only one thread is in here, and that collected work has been submitted
// before start().
class CopyStream {
 public:
  // A copy between a block of the device and the host.
  void start(const void* block, void* to, const void* from, int64_t bytes, bool to_host);

  bool has_copies() const {
    return !in_flight_.empty();
  }
  // Whether work that uses the block has to wait for a copy.
  bool concerns(const void* block, bool is_written) const;
  // Work that is put on the computing stream from now on comes behind the copies of the block.
  void wait_for(const void* block);
  // The same for all copies.
  void wait_for_all();

  // The stream; it may be asked whether all copies have ended.
  static cudaStream_t stream();

 private:
  struct InFlight {
    OwnedEvent end;
    bool is_written = false; // by a copy; else it is only read
  };
  // The latest copies of blocks, which the computing stream has not waited for.
  std::unordered_map<const void*, InFlight> in_flight_;
  const void* latest_ = nullptr; // the block of the latest copy
};

// Page-locked memory of the host, of which there is no more than host_copy_limit().
class PageLockedMemory final : public MemorySource {
 public:
  void* allocate(int64_t bytes) override;
  void release(void* memory, int64_t bytes) override;
  bool host_visible() const override {
    return true;
  }
  int64_t capacity() const override;

 private:
  std::mutex mutex_;
  int64_t bytes_ = 0;
};

} // namespace narrows::cuda
