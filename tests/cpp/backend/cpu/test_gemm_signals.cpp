// During products the stack pointer stays in the thread's stack, because the kernel writes the
// frames of signals in front of it.
#include <gtest/gtest.h>

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <cstdint>
#include <string>
#include <vector>

#include "backend/cpu/stack_signals.h"
#include "narrows/backend/cpu/gemm.h"
#include "narrows/core/dtype.h"

namespace narrows::cpu {
namespace {

struct Size {
  int64_t m, n, k;
  int64_t batch = 1;
};

void check(Dtype dtype, const Size& size, bool transpose_a, bool transpose_b) {
  SCOPED_TRACE(
      ::testing::Message() << name_of(dtype) << " " << size.m << "x" << size.n << "x" << size.k
                           << " batch " << size.batch << " " << transpose_a << transpose_b);
  const GemmShape shape{
      size.m,
      size.n,
      size.k,
      transpose_a,
      transpose_b,
      transpose_a ? size.m : size.k,
      transpose_b ? size.k : size.n,
      size.n};
  const int64_t a_size = size.m * size.k, b_size = size.k * size.n, c_size = size.m * size.n;
  std::vector<int64_t> a_offsets, b_offsets, c_offsets;
  for (int64_t i = 0; i < size.batch; ++i) {
    a_offsets.push_back(i * a_size);
    b_offsets.push_back(i * b_size);
    c_offsets.push_back(i * c_size);
  }
  // Any bytes that are finite numbers in every dtype.
  const auto bytes_of = [&](int64_t count) {
    return std::vector<std::byte>(
        static_cast<size_t>(size.batch * count * size_of(dtype)), std::byte{0x3c});
  };
  const auto a = bytes_of(a_size), b = bytes_of(b_size);
  auto expected = bytes_of(c_size), c = bytes_of(c_size);
  std::vector<std::byte> scratch(
      static_cast<size_t>(gemm_batched_workspace(dtype, shape, size.batch)) + 64);
  void* workspace = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64);
  const auto multiply = [&](std::vector<std::byte>& out) {
    gemm_batched(
        dtype,
        shape,
        1,
        a.data(),
        a_offsets.data(),
        b.data(),
        b_offsets.data(),
        0,
        out.data(),
        c_offsets.data(),
        size.batch,
        workspace);
  };
  multiply(expected);
  inside = 0;
  outside = 0;
  while (inside + outside < kSignalsForEach) {
    multiply(c);
    ASSERT_EQ(c, expected);
  }
  EXPECT_EQ(outside, 0);
}

TEST(GemmSignals, StackPointerStaysInTheStack) {
  const Signals signals;
  for (const Dtype dtype :
       {Dtype::float16, Dtype::bfloat16, Dtype::float32, Dtype::float64, Dtype::complex64}) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        for (const Size& size : std::initializer_list<Size>{
                 {16, 16, 16},
                 {100, 110, 120},
                 {128, 128, 128, 6},
                 {512, 512, 512},
                 {300, 8, 700},
                 {8, 300, 700},
                 {1, 900, 800},
                 {900, 1, 800},
                 {30, 20, 20000}}) {
          check(dtype, size, transpose_a, transpose_b);
        }
      }
    }
  }
}

} // namespace
} // namespace narrows::cpu

#endif
