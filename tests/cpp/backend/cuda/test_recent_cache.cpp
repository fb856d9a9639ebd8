#include "narrows/backend/cuda/recent_cache.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace narrows::cuda {
namespace {

class RecentCacheTest : public testing::Test {
 protected:
  std::shared_ptr<const int> get(int key) {
    return cache_.get(key, [&](int made) {
      made_.push_back(made);
      return std::make_shared<const int>(10 * made);
    });
  }
  RecentCache<int, int> cache_{3};
  std::vector<int> made_;
};

TEST_F(RecentCacheTest, MakesEachValueOnce) {
  for (const int key : {1, 2, 1, 3, 2, 1}) {
    EXPECT_EQ(*get(key), 10 * key);
  }
  EXPECT_EQ(made_, (std::vector<int>{1, 2, 3}));
}

TEST_F(RecentCacheTest, TheOneThatWasNotUsedForLongestMakesRoom) {
  for (const int key : {1, 2, 3, 1, 4, 1, 3, 2}) {
    get(key);
  }
  EXPECT_EQ(made_, (std::vector<int>{1, 2, 3, 4, 2}));
  EXPECT_EQ(cache_.size(), 3u);
}

TEST_F(RecentCacheTest, GivesUpNothingHoweverManyThereAre) {
  for (int key = 0; key < 10'000; ++key) {
    EXPECT_EQ(*get(key), 10 * key);
  }
  EXPECT_EQ(cache_.size(), 3u);
}

TEST_F(RecentCacheTest, WhatIsInUseLivesOn) {
  const std::shared_ptr<const int> held = get(7);
  for (int key = 0; key < 5; ++key) {
    get(key);
  }
  EXPECT_EQ(*held, 70);
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_NE(get(7), held);
}

TEST_F(RecentCacheTest, WhatCannotBeMadeIsTriedAgain) {
  const auto fails = [](int) -> std::shared_ptr<const int> { throw std::runtime_error("no"); };
  EXPECT_THROW(cache_.get(5, fails), std::runtime_error);
  EXPECT_EQ(cache_.size(), 0u);
  EXPECT_EQ(*get(5), 50);
}

} // namespace
} // namespace narrows::cuda
