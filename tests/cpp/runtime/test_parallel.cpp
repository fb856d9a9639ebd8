#include "narrows/runtime/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <new>
#include <stdexcept>

#include "narrows/runtime/subnormals.h"

namespace narrows {
namespace {

TEST(Parallel, ExceptionsReachTheCaller) {
  for (int64_t failing = 0; failing < 8; ++failing) {
    std::atomic<int64_t> called{0};
    const auto f = [&](int64_t begin, int64_t end) {
      called += end - begin;
      if (begin <= failing && failing < end) {
        throw std::runtime_error("as asked");
      }
    };
    EXPECT_THROW(
        parallel_for(8, 1, [&](int64_t begin, int64_t end) { f(begin, end); }), std::runtime_error);
    EXPECT_EQ(called, 8);
  }
}

TEST(Parallel, AllMayThrow) {
  EXPECT_THROW(
      parallel_for(100, 1, [](int64_t, int64_t) { throw std::bad_alloc(); }), std::bad_alloc);
}

#if defined(__x86_64__)
float halved(float x) {
  volatile float half = 0.5f;
  return x * half;
}

TEST(Parallel, ThreadsComputeInTheModeOfTheCaller) {
  const float least = std::numeric_limits<float>::min();
  for (const Dtype dtype : {Dtype::float64, Dtype::float32, Dtype::float16, Dtype::bfloat16}) {
    const FloatMode before = float_mode();
    const bool flushes = dtype == Dtype::float32 || dtype == Dtype::bfloat16;
    {
      const SubnormalsFlushed scope(dtype);
      std::atomic<int64_t> zeros{0};
      parallel_for(
          8, 1, [&](int64_t begin, int64_t end) { zeros += halved(least) == 0 ? end - begin : 0; });
      EXPECT_EQ(zeros, flushes ? 8 : 0);
      EXPECT_EQ(halved(least) == 0, flushes);
    }
    EXPECT_EQ(float_mode(), before);
    EXPECT_GT(halved(least), 0);
  }
}
#endif

} // namespace
} // namespace narrows
