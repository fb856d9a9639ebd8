#include "narrows/backend/cpu/huge_pages.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace narrows::cpu {
namespace {

TEST(HugePages, MappedMemoryIsAligned) {
  void* memory = map_huge_pages(5 << 20);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % kHugePage, 0u);
  std::memset(memory, 1, 5 << 20);
  unmap_huge_pages(memory, 5 << 20);
}

TEST(HugePages, ReleasedNeighboursAreJoined) {
  HugePageArenas arenas;
  char* a = static_cast<char*>(arenas.allocate(1 << 20));
  char* b = static_cast<char*>(arenas.allocate(1 << 20));
  char* c = static_cast<char*>(arenas.allocate(1 << 20));
  EXPECT_EQ(b, a + (1 << 20));
  arenas.release(a, 1 << 20);
  arenas.release(b, 1 << 20);
  // Best fit: the joined hole, not the larger rest of the arena.
  EXPECT_EQ(arenas.allocate(2 << 20), a);
  arenas.release(a, 2 << 20);
  arenas.release(c, 1 << 20);
}

TEST(HugePages, BlocksDoNotOverlap) {
  struct Block {
    char* memory;
    int64_t bytes;
    char mark;
  };
  HugePageArenas arenas;
  std::vector<Block> blocks;
  std::mt19937 random(3);
  for (int round = 0; round < 4000; ++round) {
    if (blocks.size() < 100 || random() % 2) {
      const int64_t bytes = 4096 * (16 + static_cast<int64_t>(random() % 200));
      const char mark = static_cast<char>(random());
      char* memory = static_cast<char*>(arenas.allocate(bytes));
      ASSERT_NE(memory, nullptr);
      memory[0] = memory[bytes - 1] = mark;
      blocks.push_back({memory, bytes, mark});
    } else {
      const size_t i = random() % blocks.size();
      const Block block = blocks[i];
      EXPECT_EQ(block.memory[0], block.mark);
      EXPECT_EQ(block.memory[block.bytes - 1], block.mark);
      arenas.release(block.memory, block.bytes);
      blocks[i] = blocks.back();
      blocks.pop_back();
    }
  }
  for (const Block& block : blocks) {
    EXPECT_EQ(block.memory[0], block.mark);
    arenas.release(block.memory, block.bytes);
  }
}

} // namespace
} // namespace narrows::cpu
