// Whole graphs on the GPU under test. Primitives encode in the same way for both devices.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <random>

#include "gpu_under_test.h"
#include "narrows/narrows.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/device.h"

namespace narrows {
namespace {

constexpr Device kGpu{Device::Type::gpu, 0};

class GpuGraph : public ::testing::Test {
 protected:
  void SetUp() override {
    previous_ = set_backend(Device::Type::gpu, &testing::tested_backend());
  }
  void TearDown() override {
    set_backend(Device::Type::gpu, previous_);
  }

 private:
  Backend* previous_ = nullptr;
};

void expect_close(const array& a, const array& b) {
  ASSERT_EQ(a.shape(), b.shape());
  const array x = astype(a, float32).eval();
  const array y = astype(b, float32).eval();
  const auto difference = max(abs(subtract(x, y))).item<float>();
  EXPECT_LE(difference, 1e-5f * (1 + max(abs(x)).item<float>()));
}

// The same graph made on both devices.
void expect_same(const std::function<array()>& make) {
  const array on_cpu = [&] {
    StreamScope scope(default_stream({Device::Type::cpu, 0}));
    return make();
  }();
  const array on_gpu = [&] {
    StreamScope scope(default_stream(kGpu));
    return make();
  }();
  on_gpu.eval();
  expect_close(on_cpu, on_gpu);
}

array numbers(const Shape& shape) {
  const array count = arange(int64_t{0}, element_count(shape), int64_t{1}, float32);
  return reshape(sin(count), shape);
}

TEST_F(GpuGraph, elementwise_and_broadcast) {
  expect_same([] {
    const array a = numbers({7, 1, 9});
    const array b = transpose(numbers({9, 5}));
    return where(greater(a, b), add(a, b), multiply(exp(a), b));
  });
}
TEST_F(GpuGraph, reductions_and_scans) {
  expect_same([] {
    const array a = numbers({6, 40, 30});
    return concatenate({sum(a, Axes{1}), cumsum(max(a, Axes{1}), 1)}, 1);
  });
}
TEST_F(GpuGraph, softmax_and_matmul) {
  expect_same([] {
    const array a = numbers({3, 20, 70});
    const array scores = matmul(a, swapaxes(a, 1, 2));
    return matmul(softmax(scores, Axes{-1}), a);
  });
}
TEST_F(GpuGraph, random_numbers) {
  expect_same([] {
    return random::normal({33, 7}, float32, std::nullopt, std::nullopt, random::key(3));
  });
}
TEST_F(GpuGraph, slices_and_casts) {
  expect_same([] {
    const array a = astype(multiply(numbers({50}), array(100.0f)), int32);
    return flip(slice(a, {3}, {47}, {2}));
  });
}

// Much independent work beside dependent work, in memory that is used again and again. All numbers
// are small integers, so the result is exact.
array random_graph(uint32_t seed, int start) {
  std::mt19937 random(seed);
  const array small = array(17.0f);
  std::vector<array> all;
  for (int i = 0; i < 6; ++i) {
    const array count = arange(int64_t{0}, int64_t{24 * 24}, int64_t{1}, float32);
    all.push_back(remainder(reshape(add(count, array(float(start + i))), {24, 24}), small));
  }
  const auto any = [&] {
    return all[all.size() - 1 - random() % std::min<size_t>(all.size(), 12)];
  };
  const std::function<array()> operations[] = {
      [&] { return add(any(), any()); },
      [&] { return multiply(transpose(any()), any()); },
      [&] { return matmul(any(), any()); },
      [&] { return subtract(any(), sum(any(), Axes{1}, true)); },
      [&] { return add(any(), sum(any(), Axes{0})); },
      [&] {
        return slice_update(any(), slice(any(), {0, 0}, {9, 24}, {1, 1}), {5, 0}, {14, 24}, {1, 1});
      }};
  for (int i = 0; i < 200; ++i) {
    all.push_back(remainder(operations[random() % std::size(operations)](), small));
  }
  return concatenate({all.end() - 12, all.end()}, 0);
}

TEST_F(GpuGraph, repeated_graphs_with_other_numbers) {
  for (const uint32_t seed : {1u, 2u, 3u, 4u}) {
    for (const int start : {0, 1, 1, 2, 1, 1}) {
      SCOPED_TRACE(seed);
      const auto on = [&](Device device) {
        const StreamScope scope(default_stream(device));
        return random_graph(seed, start).eval();
      };
      EXPECT_TRUE(array_equal(on({Device::Type::cpu, 0}), on(kGpu)).item<bool>());
    }
  }
}

TEST_F(GpuGraph, both_devices_in_one_graph) {
  const array a = numbers({100});
  const array b = exp(a, kGpu);
  const array c = add(b, a);
  const array d = sum(c, std::nullopt, false, kGpu);
  EXPECT_NEAR(d.item<float>(), sum(add(exp(a), a)).item<float>(), 1e-4);
}

} // namespace
} // namespace narrows
