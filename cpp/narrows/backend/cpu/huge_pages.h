// Memory in huge pages. There is one page fault for each 2 MiB instead of one for each 4 KiB. For
// memory that is written once, those faults cost as much as the writing.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>

namespace narrows::cpu {

inline constexpr int64_t kHugePage = int64_t{2} << 20;

// Maps memory that is aligned to huge pages, and asks for them. nullptr if no memory is left.
void* map_huge_pages(int64_t bytes);
void unmap_huge_pages(void* memory, int64_t bytes);

// Blocks smaller than a huge page, cut from arenas of huge pages. The best fit is taken, and free
// neighbours are joined. Sizes are multiples of 4 KiB.
class HugePageArenas {
 public:
  void* allocate(int64_t bytes);
  // Returns the pages to the system at once, and the arena when it is empty.
  void release(void* memory, int64_t bytes);

 private:
  using Ranges = std::map<uintptr_t, int64_t>; // begin, bytes

  bool add_arena();
  void insert(uintptr_t begin, int64_t bytes);
  void erase(Ranges::iterator range);

  std::mutex mutex_;
  Ranges free_;
  std::set<std::pair<int64_t, uintptr_t>> by_size_; // of free_: bytes, begin
  std::set<uintptr_t> arenas_;                      // begins
};

} // namespace narrows::cpu
