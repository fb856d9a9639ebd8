// Random numbers: the same for the same key, everywhere and always.
#include <gtest/gtest.h>

#include <thread>

#include "narrows/ops/composite.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/random.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/run/evaluate.h"

namespace narrows {
namespace {

template <typename T>
std::vector<T> values(const array& a) {
  const array flat = contiguous(a).eval();
  return {flat.data<T>(), flat.data<T>() + flat.size()};
}

TEST(Random, Split) {
  EXPECT_EQ(values<uint32_t>(random::key(uint64_t{2} << 32 | 5)), (std::vector<uint32_t>{2, 5}));
  const std::vector<uint32_t> expected = {
      3134548294, 3733159049, 3746501087, 894150801, 801545058, 2363201431};
  EXPECT_EQ(values<uint32_t>(random::split(random::key(42), 3)), expected);
}

TEST(Random, Uniform) {
  const array key = random::key(42);
  const std::vector<float> expected = {
      0x1.75aad2p-1f, 0x1.bd06fap-1f, 0x1.924e1cp-3f, 0x1.aa5d44p-3f, 0x1.7e34dcp-3f};
  EXPECT_EQ(values<float>(random::uniform({5}, float32, key)), expected);
  const std::vector<float> half = {0x1.75cp-1f, 0x1.bdp-1f, 0x1.924p-3f, 0x1.aa4p-3f, 0x1.7e4p-3f};
  EXPECT_EQ(values<float>(astype(random::uniform({5}, float16, key), float32)), half);
  const std::vector<float> moved = {0x1.bdcf48p-1f, 0x1.243f8p+1f, -0x1.b3e3c2p+0f, -0x1.b02f5p+0f};
  EXPECT_EQ(values<float>(random::uniform(array(-2), array(3), {4}, float32, key)), moved);
}

TEST(Random, UniformStaysBelowOne) {
  for (Dtype dtype : {float16, bfloat16, float32, float64}) {
    const array u = random::uniform({1 << 20}, dtype, random::key(3));
    EXPECT_LT(max(u).item<double>(), 1);
    EXPECT_GE(min(u).item<double>(), 0);
    EXPECT_NEAR(mean(astype(u, float32)).item<double>(), 0.5, 3e-3);
  }
}

TEST(Random, RandintAndBernoulli) {
  const array key = random::key(42);
  EXPECT_EQ(
      values<int32_t>(random::randint(array(-5), array(5), {7}, int32, key)),
      (std::vector<int32_t>{1, 0, -3, -2, 2, -3, -5}));
  EXPECT_EQ(
      values<int32_t>(astype(random::bernoulli(array(0.3f), Shape{12}, key), int32)),
      (std::vector<int32_t>{0, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1}));
  const array certain = random::bernoulli(array(1.0f), Shape{1 << 20}, key);
  EXPECT_TRUE(all(certain).item<bool>());
  const array high = random::randint(array(100), array(200), {1 << 20}, uint8, key);
  EXPECT_EQ(max(high).item<int>(), 199);
}

TEST(Random, Normal) {
  const std::vector<float> expected = {
      0.612265408f, 1.122588634f, -0.854413033f, -0.812732398f, -0.890404701f};
  const auto z = values<float>(random::normal({5}, float32, {}, {}, random::key(42)));
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(z[i], expected[i], 1e-6);
  }
}

TEST(Random, Categorical) {
  EXPECT_EQ(
      values<uint32_t>(random::categorical(zeros({4, 7}), -1, {}, {}, random::key(42))),
      (std::vector<uint32_t>{0, 6, 0, 5}));
}

TEST(Random, SeedStartsTheSequence) {
  const std::vector<float> first = {0x1.3e726ap-4f, 0x1.65484cp-3f, 0x1.aa509ep-1f};
  const std::vector<float> second = {0x1.2b6008p-1f, 0x1.bf4c18p-2f, 0x1.69b782p-1f};
  random::seed(7);
  const array state = random::default_keys().state();
  const array a = random::uniform({3});
  const array b = random::uniform({3});
  EXPECT_EQ(values<float>(a), first);
  EXPECT_EQ(values<float>(b), second);
  random::default_keys().set_state(state);
  EXPECT_EQ(values<float>(random::uniform({3})), first);
}

TEST(Random, ThreadsShareASequence) {
  random::KeySequence keys(1);
  std::vector<array> taken(64);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 16; ++i) {
        taken[16 * t + i] = keys.next();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      EXPECT_NE(values<uint32_t>(taken[i]), values<uint32_t>(taken[j]));
    }
  }
}

TEST(Random, Refuses) {
  EXPECT_THROW(random::uniform({3}, float32, zeros({3}, uint32)), ValueError);
  EXPECT_THROW(random::uniform({3}, float32, zeros({2}, int32)), ValueError);
  EXPECT_THROW(random::uniform({3}, int32), ValueError);
  EXPECT_THROW(random::uniform({-1}), ValueError);
  EXPECT_THROW(random::uniform(zeros({2}), array(1.0f), {3}), ValueError);
  EXPECT_THROW(random::randint(array(0), array(2), {3}, float32), ValueError);
  EXPECT_THROW(random::bernoulli(array(1)), ValueError);
  EXPECT_THROW(random::categorical(zeros({2, 3}), -1, Shape{2}, 4), ValueError);
}

} // namespace
} // namespace narrows
