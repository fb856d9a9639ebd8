// During convolutions the stack pointer stays in the thread's stack, whichever way they are
// computed.
#include <gtest/gtest.h>

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "backend/cpu/stack_signals.h"
#include "narrows/backend/cpu/convolution.h"

namespace narrows::cpu {
namespace {

struct Case {
  const char* name;
  int64_t batch, groups, inputs, outputs, size, kernel, stride, padding, dilation;
  int64_t depth = 1;
};
const Case kCases[] = {
    {"3x3", 4, 1, 32, 48, 20, 3, 1, 1, 1},
    {"3x3 of 16 channels", 4, 1, 16, 16, 32, 3, 1, 1, 1},
    {"odd channels", 3, 1, 7, 5, 17, 3, 1, 1, 1},
    {"strided", 4, 1, 24, 40, 31, 3, 2, 1, 1},
    {"first", 2, 1, 3, 64, 64, 7, 2, 3, 1},
    {"dilated", 2, 1, 16, 16, 30, 3, 1, 2, 2},
    {"points", 4, 1, 128, 64, 14, 1, 1, 0, 1},
    {"points, strided", 4, 1, 64, 128, 14, 1, 2, 0, 1},
    {"depthwise", 4, 64, 64, 64, 28, 3, 1, 1, 1},
    {"groups", 4, 4, 64, 64, 14, 3, 1, 1, 1},
    {"groups of odd channels", 4, 4, 28, 20, 14, 3, 1, 1, 1},
    {"volumes", 1, 1, 16, 16, 10, 3, 1, 1, 1, 10},
};

ConvolutionParams params_of(const Case& c) {
  ConvolutionParams p{};
  p.batch = c.batch;
  p.groups = c.groups;
  p.x_channels = c.inputs;
  p.y_channels = c.outputs;
  p.ndim = c.depth > 1 ? 3 : 2;
  for (int d = 0; d < 3; ++d) {
    const bool is_there = d > 0 || c.depth > 1;
    p.x_size[d] = is_there ? (d == 0 ? c.depth : c.size) : 1;
    p.w_size[d] = is_there ? c.kernel : 1;
    p.stride[d] = is_there ? c.stride : 1;
    p.padding[d] = is_there ? c.padding : 0;
    p.w_dilation[d] = is_there ? c.dilation : 1;
    p.x_dilation[d] = 1;
    const int64_t reach = (p.w_size[d] - 1) * p.w_dilation[d] + 1;
    p.y_size[d] = (p.x_size[d] + 2 * p.padding[d] - reach) / p.stride[d] + 1;
  }
  return p;
}

int64_t volume(const int64_t* size) {
  return size[0] * size[1] * size[2];
}

// Runs it until enough signals have been seen.
void check(
    const ConvolutionCall& call,
    int64_t scratch_bytes,
    const std::function<void(const void*, const void*, void*, void*)>& run) {
  const ConvolutionParams& p = call.params;
  const auto elements = {
      p.batch * volume(p.x_size) * p.x_channels,
      p.batch * volume(p.y_size) * p.y_channels,
      volume(p.w_size) * p.x_channels / p.groups * p.y_channels};
  const auto bytes = static_cast<size_t>(std::max(elements) * size_of(call.dtype));
  // Any bytes that are finite numbers in every dtype.
  const std::vector<std::byte> a(bytes, std::byte{0x3c}), b(bytes, std::byte{0x3c});
  std::vector<std::byte> expected(bytes), out(bytes);
  std::vector<std::byte> memory(static_cast<size_t>(scratch_bytes) + 64);
  void* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
  run(a.data(), b.data(), expected.data(), scratch);
  inside = 0;
  outside = 0;
  while (inside + outside < kSignalsForEach) {
    run(a.data(), b.data(), out.data(), scratch);
    ASSERT_EQ(out, expected);
  }
  EXPECT_EQ(outside, 0);
}

void check_each_way(const ConvolutionCall& call) {
  check(call, tiled_convolution_scratch(call), [&](auto... arguments) {
    tiled_convolution(call, arguments...);
  });
  if (direct::prefers(call)) {
    check(call, direct::scratch_bytes(call), [&](auto... arguments) {
      direct::run(call, arguments...);
    });
  }
  if (const auto ready = onednn::prepare(call, thread_count())) {
    check(call, ready->scratch_bytes(), [&](auto... arguments) { ready->run(arguments...); });
  }
}

TEST(ConvolutionSignals, StackPointerStaysInTheStack) {
  const Signals signals;
  for (const Dtype dtype : {Dtype::float16, Dtype::bfloat16, Dtype::float32, Dtype::float64}) {
    for (const Case& c : kCases) {
      for (const ConvolutionOp op :
           {ConvolutionOp::forward,
            ConvolutionOp::input_gradient,
            ConvolutionOp::weight_gradient}) {
        SCOPED_TRACE(
            ::testing::Message() << c.name << " " << name_of(dtype) << " " << static_cast<int>(op));
        check_each_way({op, dtype, params_of(c)});
      }
    }
  }
}

} // namespace
} // namespace narrows::cpu

#endif
