#include "narrows/runtime/allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "narrows/core/errors.h"
#include "narrows/runtime/device.h"

namespace narrows {
namespace {

// A source with a capacity. It counts the bytes that it gave out.
class CountedMemory final : public MemorySource {
 public:
  explicit CountedMemory(int64_t capacity, bool host_visible = true)
      : capacity_(capacity), host_visible_(host_visible) {
  }
  ~CountedMemory() override {
    clear_cache(); // it may contain blocks of the source
  }
  void* allocate(int64_t bytes) override {
    if (held + bytes > capacity_) {
      return nullptr;
    }
    held += bytes;
    ++allocations;
    return std::malloc(static_cast<size_t>(bytes));
  }
  void release(void* memory, int64_t bytes) override {
    held -= bytes;
    std::free(memory);
  }
  bool host_visible() const override {
    return host_visible_;
  }
  int64_t capacity() const override {
    return int64_t{1} << 40;
  }

  int64_t held = 0;
  int allocations = 0;

 private:
  int64_t capacity_;
  bool host_visible_;
};

// Waits until the work of earlier tests has ended.
int64_t active_when_idle() {
  synchronize();
  return get_active_memory();
}

class AllocatorTest : public testing::Test {
 protected:
  AllocatorTest() {
    clear_cache();
    reset_peak_memory();
  }
  ~AllocatorTest() override {
    clear_cache();
  }
  int64_t active() const {
    return get_active_memory() - before_;
  }
  int64_t peak() const {
    return get_peak_memory() - before_;
  }
  CountedMemory memory_{int64_t{1} << 30};

 private:
  int64_t before_ = active_when_idle();
};

TEST_F(AllocatorTest, CountsWhatIsHeld) {
  {
    const BufferRef a = allocate(memory_, 100, "a");
    EXPECT_EQ(active(), 128);
    const BufferRef b = allocate(memory_, 70000, "b");
    EXPECT_EQ(active(), 128 + 73728);
  }
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(peak(), 128 + 73728);
  EXPECT_EQ(get_cache_memory(), 128 + 73728);
  reset_peak_memory();
  EXPECT_EQ(peak(), 0);
  clear_cache();
  EXPECT_EQ(get_cache_memory(), 0);
  EXPECT_EQ(memory_.held, 0);
}

TEST_F(AllocatorTest, ZeroBytesTakeNothing) {
  const BufferRef empty = allocate(memory_, 0, "empty");
  EXPECT_TRUE(empty);
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(memory_.allocations, 0);
}

TEST_F(AllocatorTest, ReusesFreedBlocks) {
  allocate(memory_, 1 << 20, "first").reset();
  const BufferRef again = allocate(memory_, 1 << 20, "second");
  EXPECT_EQ(memory_.allocations, 1);
  EXPECT_EQ(get_cache_memory(), 0);
}

TEST_F(AllocatorTest, WhatIsDoneAgainGetsTheSameBlocks) {
  std::mt19937 random(1);
  std::vector<BufferRef> held;
  const auto addresses_of_a_program = [&](uint32_t seed) {
    std::mt19937 steps(seed);
    std::vector<void*> addresses;
    for (int i = 0; i < 300; ++i) {
      if (held.empty() || steps() % 2) {
        held.push_back(allocate(memory_, 4096 << steps() % 3, "test"));
        addresses.push_back(held.back()->memory);
      } else {
        held.erase(held.begin() + static_cast<ptrdiff_t>(steps() % held.size()));
      }
    }
    return addresses;
  };
  addresses_of_a_program(7);
  std::vector<std::vector<void*>> runs;
  for (int run = 0; run < 3; ++run) {
    std::shuffle(held.begin(), held.end(), random); // the order of the ends does not matter
    held.clear();
    runs.push_back(addresses_of_a_program(7));
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_EQ(runs[0], runs[2]);
}

TEST_F(AllocatorTest, SlackOfALargerBlockCountsAsCache) {
  allocate(memory_, 1 << 20, "first").reset();
  const int64_t smaller = (1 << 20) - 4096 * 10;
  {
    const BufferRef again = allocate(memory_, smaller, "second");
    EXPECT_EQ(memory_.allocations, 1);
    EXPECT_EQ(active(), smaller);
    EXPECT_EQ(get_cache_memory(), 4096 * 10);
  }
  EXPECT_EQ(get_cache_memory(), 1 << 20);
  // A block is too large for half its size.
  const BufferRef half = allocate(memory_, 1 << 19, "third");
  EXPECT_EQ(memory_.allocations, 2);
}

TEST_F(AllocatorTest, CacheKeepsTheLatestUpToItsLimit) {
  const int64_t previous = set_cache_limit(3 << 20);
  for (int i = 0; i < 4; ++i) {
    std::vector<BufferRef> held;
    for (int j = 0; j < 4; ++j) {
      held.push_back(allocate(memory_, 1 << 20, "block"));
    }
  }
  EXPECT_EQ(get_cache_memory(), 3 << 20);
  EXPECT_EQ(set_cache_limit(0), 3 << 20);
  EXPECT_EQ(get_cache_memory(), 0);
  set_cache_limit(previous);
  EXPECT_THROW(set_cache_limit(-1), ValueError);
}

TEST_F(AllocatorTest, FreesTheCacheBeforeItFails) {
  CountedMemory small(1 << 20);
  allocate(small, 600 << 10, "first").reset();
  allocate(small, 900 << 10, "second").reset();
  EXPECT_EQ(small.held, 900 << 10);
  clear_cache(); // before the source is destroyed
}

TEST_F(AllocatorTest, StrictLimitNamesTheLargestHolders) {
  const BufferRef holder = allocate(memory_, 1 << 20, "holder");
  const int64_t previous = set_memory_limit(get_active_memory() + 4096, true);
  try {
    allocate(memory_, 8192, "asker");
    ADD_FAILURE();
  } catch (const MemoryError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("[asker] cannot allocate 8192 bytes"), std::string::npos) << message;
    EXPECT_NE(message.find("1048576 bytes by holder"), std::string::npos) << message;
  }
  EXPECT_EQ(active(), 1 << 20);
  set_memory_limit(previous);
  EXPECT_TRUE(allocate(memory_, 8192, "asker"));
}

TEST_F(AllocatorTest, GuidelineLimitShrinksTheCacheAndGoesOn) {
  allocate(memory_, 1 << 20, "cached").reset();
  const int64_t previous = set_memory_limit(get_active_memory() + 4096);
  const BufferRef more = allocate(memory_, 1 << 19, "more");
  EXPECT_EQ(get_cache_memory(), 0);
  EXPECT_EQ(active(), 1 << 19);
  set_memory_limit(previous);
}

TEST_F(AllocatorTest, RefusesWhatTheMachineDoesNotHave) {
  EXPECT_THROW(allocate(memory_, int64_t{1} << 41, "huge"), MemoryError);
  EXPECT_EQ(active(), 0);
}

TEST_F(AllocatorTest, EachMemoryIsCountedByItself) {
  CountedMemory device(int64_t{1} << 30, false);
  CountedMemory beside(int64_t{1} << 30); // of the host, like memory_
  {
    const BufferRef a = allocate(memory_, 1 << 20, "a");
    const BufferRef b = allocate(beside, 1 << 20, "b");
    const BufferRef c = allocate(device, 1 << 16, "c");
    EXPECT_EQ(active(), 2 << 20);
    EXPECT_EQ(get_active_memory(beside), get_active_memory());
    EXPECT_EQ(get_active_memory(device), 1 << 16);
    EXPECT_EQ(get_peak_memory(device), 1 << 16);
  }
  EXPECT_EQ(get_active_memory(device), 0);
  EXPECT_EQ(get_cache_memory(), 2 << 20);
  set_cache_limit(set_cache_limit(0));
  EXPECT_EQ(memory_.held + beside.held, 0);
  EXPECT_EQ(device.held, 1 << 16);
  // A full host does not affect the device, and the message is about the host.
  const BufferRef large = allocate(device, 1 << 24, "large");
  const int64_t limit = set_memory_limit(get_active_memory() + 64, true);
  const BufferRef more = allocate(device, 1 << 20, "more");
  try {
    allocate(memory_, 128, "asker");
    ADD_FAILURE();
  } catch (const MemoryError& error) {
    EXPECT_EQ(std::string(error.what()).find("large"), std::string::npos) << error.what();
  }
  set_memory_limit(limit);
  reset_peak_memory(device);
  EXPECT_EQ(get_peak_memory(device), (1 << 24) + (1 << 20));
}

TEST_F(AllocatorTest, BorrowedMemoryIsGivenBackOnceAndNotCounted) {
  int released = 0;
  int value = 0;
  {
    const BufferRef a = borrow(&value, sizeof(value), [&] { ++released; });
    const BufferRef b = a;
    EXPECT_EQ(active(), 0);
  }
  EXPECT_EQ(released, 1);
}

TEST_F(AllocatorTest, CountsStayRightUnderThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<BufferRef> held;
      for (int i = 0; i < 2000; ++i) {
        held.push_back(allocate(memory_, 64 * (1 + (i * 7 + t) % 50), "thread"));
        if (i % 3 == 0) {
          held.erase(held.begin() + i % static_cast<int>(held.size()));
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(get_cache_memory(), memory_.held);
}

TEST(Stream, ScopeIsTheThreadsDefault) {
  const Device cpu{Device::Type::cpu, 0};
  const Stream before = default_stream(cpu);
  const Stream mine = new_stream(cpu);
  {
    StreamScope scope(mine);
    EXPECT_EQ(default_stream(cpu), mine);
    std::thread([&] { EXPECT_EQ(default_stream(cpu), before); }).join();
  }
  EXPECT_EQ(default_stream(cpu), before);
}

} // namespace
} // namespace narrows
