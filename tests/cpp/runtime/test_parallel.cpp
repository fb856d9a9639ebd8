#include "narrows/runtime/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <stdexcept>

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

} // namespace
} // namespace narrows
