#include "narrows/backend/cpu/huge_pages.h"

#include <sys/mman.h>

namespace narrows::cpu {
namespace {

constexpr int64_t kArena = int64_t{32} << 20;

} // namespace

void* map_huge_pages(int64_t bytes) {
  const size_t padded = static_cast<size_t>(bytes + kHugePage);
  void* mapped = mmap(nullptr, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return nullptr;
  }
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = aligned + static_cast<uintptr_t>(bytes);
  if (aligned > begin) {
    munmap(mapped, aligned - begin);
  }
  if (begin + padded > end) {
    munmap(reinterpret_cast<void*>(end), begin + padded - end);
  }
  void* memory = reinterpret_cast<void*>(aligned);
#ifdef MADV_HUGEPAGE
  madvise(memory, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
  return memory;
}

void unmap_huge_pages(void* memory, int64_t bytes) {
  munmap(memory, static_cast<size_t>(bytes));
}

void* HugePageArenas::allocate(int64_t bytes) {
  std::lock_guard lock(mutex_);
  auto best = by_size_.lower_bound({bytes, 0});
  if (best == by_size_.end()) {
    if (!add_arena()) {
      return nullptr;
    }
    best = by_size_.lower_bound({bytes, 0});
  }
  const auto [size, begin] = *best;
  erase(free_.find(begin));
  if (size > bytes) {
    insert(begin + static_cast<uintptr_t>(bytes), size - bytes);
  }
  return reinterpret_cast<void*>(begin);
}

void HugePageArenas::release(void* memory, int64_t bytes) {
  madvise(memory, static_cast<size_t>(bytes), MADV_DONTNEED);
  std::lock_guard lock(mutex_);
  uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  auto next = free_.lower_bound(begin);
  // Arenas may be neighbours in memory. Only ranges of the same arena are joined.
  if (next != free_.end() && next->first == begin + static_cast<uintptr_t>(bytes) &&
      !arenas_.contains(next->first)) {
    bytes += next->second;
    const auto joined = next++;
    erase(joined);
  }
  if (next != free_.begin() && !arenas_.contains(begin)) {
    const auto previous = std::prev(next);
    if (previous->first + static_cast<uintptr_t>(previous->second) == begin) {
      begin = previous->first;
      bytes += previous->second;
      erase(previous);
    }
  }
  if (bytes == kArena) {
    arenas_.erase(begin);
    unmap_huge_pages(reinterpret_cast<void*>(begin), kArena);
  } else {
    insert(begin, bytes);
  }
}

bool HugePageArenas::add_arena() {
  void* memory = map_huge_pages(kArena);
  if (memory == nullptr) {
    return false;
  }
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  arenas_.insert(begin);
  insert(begin, kArena);
  return true;
}

void HugePageArenas::insert(uintptr_t begin, int64_t bytes) {
  free_.emplace(begin, bytes);
  by_size_.emplace(bytes, begin);
}

void HugePageArenas::erase(Ranges::iterator range) {
  by_size_.erase({range->second, range->first});
  free_.erase(range);
}

} // namespace narrows::cpu
