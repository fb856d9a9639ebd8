#include "narrows/backend/cpu/memory.h"

#include <atomic>
#include <cstdlib>

#include "narrows/backend/cpu/huge_pages.h"
#include "narrows/runtime/allocator.h"

namespace narrows::cpu {
namespace {

constexpr int64_t kAlignment = 64; // a cache line, and the widest vector
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kSmallestInArena = INT64_MAX; // blocks from malloc are watched by the sanitizer
#else
constexpr int64_t kSmallestInArena = int64_t{64} << 10;
#endif

// Small blocks from malloc, middle ones from arenas of huge pages, large ones mapped.
class HostMemory final : public MemorySource {
 public:
  void* allocate(int64_t bytes) override {
    if (bytes < kSmallestInArena) {
      return std::aligned_alloc(kAlignment, static_cast<size_t>(bytes));
    }
    return bytes < kHugePage ? arenas_.allocate(bytes) : map_huge_pages(bytes);
  }
  void release(void* memory, int64_t bytes) override {
    if (bytes < kSmallestInArena) {
      std::free(memory);
    } else if (bytes < kHugePage) {
      arenas_.release(memory, bytes);
    } else {
      unmap_huge_pages(memory, bytes);
    }
  }
  bool host_visible() const override {
    return true;
  }
  int64_t capacity() const override {
    return machine_memory();
  }

 private:
  HugePageArenas arenas_;
};

std::atomic<MemorySource*> shared_memory{nullptr};

} // namespace

MemorySource& host_memory() {
  static HostMemory* memory = new HostMemory;
  MemorySource* const shared = shared_memory.load(std::memory_order_acquire);
  return shared ? *shared : *memory;
}

MemorySource* set_host_memory(MemorySource* source) {
  return shared_memory.exchange(source);
}

} // namespace narrows::cpu
