// Which pieces of a batch wait for which. Runs on machines without CUDA, too.
#include "narrows/backend/cuda/dependencies.h"

#include <gtest/gtest.h>

#include <bitset>
#include <functional>
#include <random>
#include <vector>

namespace narrows::cuda {
namespace {

constexpr size_t kPieces = 64;
using Pieces = std::bitset<kPieces>;

const void* block(size_t number) {
  return reinterpret_cast<const void*>(4096 * (number + 1));
}

BlockUse reads(size_t number) {
  return {block(number), false};
}

BlockUse writes(size_t number) {
  return {block(number), true};
}

// The pieces that each piece waits for.
std::vector<std::vector<uint32_t>> waits_of(const Dependencies& dependencies) {
  std::vector<std::vector<uint32_t>> result;
  for (size_t at = 0; at < dependencies.shape().size();) {
    const auto first = dependencies.shape().begin() + static_cast<std::ptrdiff_t>(at) + 1;
    const uint32_t count = Dependencies::count_of(dependencies.shape()[at]);
    result.emplace_back(first, first + count);
    at += 1 + count;
  }
  return result;
}

// The pieces that have ended before each piece begins.
std::vector<Pieces> ended_before(const std::vector<std::vector<uint32_t>>& waits) {
  std::vector<Pieces> ended(waits.size());
  for (size_t i = 0; i < waits.size(); ++i) {
    for (const uint32_t before : waits[i]) {
      ended[i] |= ended[before];
      ended[i].set(before);
    }
  }
  return ended;
}

// The size of the largest set of pieces of which none waits for another: the number of pieces less
// the largest matching of pieces with later ones (Dilworth, by Fulkerson's proof).
size_t widest(const std::vector<Pieces>& ended) {
  std::vector<int> matched(ended.size(), -1);
  size_t matches = 0;
  for (size_t i = 0; i < ended.size(); ++i) {
    Pieces tried;
    const std::function<bool(size_t)> match = [&](size_t after) {
      for (size_t before = 0; before < ended.size(); ++before) {
        if (!ended[after][before] || tried[before]) {
          continue;
        }
        tried.set(before);
        if (matched[before] < 0 || match(static_cast<size_t>(matched[before]))) {
          matched[before] = static_cast<int>(after);
          return true;
        }
      }
      return false;
    };
    matches += match(i) ? 1 : 0;
  }
  return ended.size() - matches;
}

TEST(Dependencies, AreReadsAfterWritesAndWritesAfterBoth) {
  Dependencies d;
  d.add(std::vector{writes(0)}, 0);
  d.add(std::vector{writes(1)}, 0);
  d.add(std::vector{reads(0), writes(2)}, 0);
  d.add(std::vector{reads(0), reads(1), writes(3)}, 0);
  d.add(std::vector{reads(3), writes(0)}, 0);           // after its writer and its readers
  d.add(std::vector{reads(2), reads(2), writes(2)}, 0); // in place
  d.add(std::vector{writes(2), reads(2)}, 0);
  const std::vector<std::vector<uint32_t>> expected = {{}, {}, {0}, {0, 1}, {2, 3}, {2}, {5}};
  EXPECT_EQ(waits_of(d), expected);
  d.clear();
  d.add(std::vector{reads(0)}, 0);
  EXPECT_EQ(waits_of(d), std::vector<std::vector<uint32_t>>{{}});
  EXPECT_EQ(d.width(), 1u);
}

TEST(Dependencies, AddNoOrderUntilAllLanesAreTaken) {
  Dependencies d;
  for (size_t i = 0; i < 2 * Dependencies::kMostLanes; ++i) {
    d.add(std::vector{writes(i)}, 0);
  }
  const auto waits = waits_of(d);
  for (size_t i = 0; i < Dependencies::kMostLanes; ++i) {
    EXPECT_EQ(waits[i], std::vector<uint32_t>{});
    EXPECT_EQ(waits[i + Dependencies::kMostLanes], std::vector<uint32_t>{static_cast<uint32_t>(i)});
  }
  EXPECT_EQ(d.width(), Dependencies::kMostLanes);
}

TEST(Dependencies, ChainsHaveALaneEach) {
  Dependencies d;
  for (size_t i = 0; i < 30; ++i) {
    d.add(std::vector{reads(i % 3), writes(i % 3)}, 0);
  }
  EXPECT_EQ(d.width(), 3u);
  EXPECT_EQ(widest(ended_before(waits_of(d))), 3u);
}

TEST(Dependencies, MoreChainsThanLanesDoNotWaitForEachOtherInTheMiddle) {
  Dependencies d;
  for (size_t step = 0; step < 3; ++step) {
    for (size_t chain = 0; chain < 2 * Dependencies::kMostLanes; ++chain) {
      d.add(std::vector{reads(chain), writes(chain)}, 0);
    }
  }
  for (const std::vector<uint32_t>& waits : waits_of(d)) {
    EXPECT_LE(waits.size(), 1u);
  }
}

TEST(Dependencies, KindsArePartOfTheShape) {
  Dependencies a;
  Dependencies b;
  a.add(std::vector{writes(0)}, 0);
  b.add(std::vector{writes(7)}, 0);
  EXPECT_EQ(a.shape(), b.shape());
  b.clear();
  b.add(std::vector{writes(0)}, 1);
  EXPECT_NE(a.shape(), b.shape());
  EXPECT_EQ(Dependencies::count_of(b.shape()[0]), 0u);
}

TEST(Dependencies, OrderAllConflictsInFewLanes) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const size_t blocks = 1 + random() % 40;
    const size_t pieces = 1 + random() % kPieces;
    std::vector<std::vector<BlockUse>> uses(pieces);
    Dependencies d;
    for (std::vector<BlockUse>& piece : uses) {
      for (size_t i = 1 + random() % 4; i > 0; --i) {
        piece.push_back({block(random() % blocks), random() % 3 == 0});
      }
      d.add(piece, 0);
    }
    const std::vector<Pieces> ended = ended_before(waits_of(d));
    ASSERT_EQ(ended.size(), pieces);
    for (size_t i = 0; i < pieces; ++i) {
      for (size_t j = 0; j < i; ++j) {
        for (const BlockUse& mine : uses[i]) {
          for (const BlockUse& other : uses[j]) {
            const bool conflict =
                mine.block == other.block && (mine.is_written || other.is_written);
            ASSERT_TRUE(!conflict || ended[i][j]) << i << " and " << j << " of round " << round;
          }
        }
      }
    }
    EXPECT_LE(widest(ended), d.width());
    EXPECT_LE(d.width(), Dependencies::kMostLanes);
  }
}

} // namespace
} // namespace narrows::cuda
