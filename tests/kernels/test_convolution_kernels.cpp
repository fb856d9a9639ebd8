// Convolutions and their gradients.
#include "harness.h"
#include "metal_kernels/convolution.h"

namespace narrows::testing {
namespace {

class ConvolutionKernels : public KernelTest {};

struct Case {
  const char* name;
  int64_t batch, groups, inputs, outputs;
  std::array<int64_t, 3> size, filter, stride, padding, dilation, input_dilation;
};
constexpr int64_t kHuge = int64_t{1} << 31;
const Case kCases[] = {
    {"plain", 2, 1, 3, 5, {1, 6, 7}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    {"more than a tile",
     2,
     1,
     20,
     70,
     {1, 9, 7},
     {1, 3, 2},
     {1, 1, 1},
     {0, 1, 0},
     {1, 1, 1},
     {1, 1, 1}},
    {"pieces", 3, 1, 6, 5, {1, 20, 21}, {1, 2, 2}, {1, 1, 1}, {0, 0, 1}, {1, 1, 1}, {1, 1, 1}},
    {"strided", 2, 2, 10, 12, {1, 9, 8}, {1, 3, 2}, {1, 2, 3}, {0, 2, 1}, {1, 2, 1}, {1, 1, 1}},
    {"depthwise", 2, 9, 9, 18, {1, 6, 5}, {1, 3, 3}, {1, 1, 2}, {0, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    {"volumes", 1, 1, 6, 4, {4, 5, 3}, {2, 3, 2}, {1, 2, 1}, {1, 1, 0}, {2, 1, 1}, {1, 1, 1}},
    {"input dilation",
     1,
     1,
     5,
     6,
     {1, 4, 5},
     {1, 2, 3},
     {1, 3, 2},
     {0, 2, 1},
     {1, 1, 2},
     {1, 2, 3}},
    {"fours of channels",
     2,
     1,
     8,
     24,
     {1, 9, 8},
     {1, 3, 3},
     {1, 1, 1},
     {0, 1, 1},
     {1, 1, 1},
     {1, 1, 1}},
    {"fours in groups",
     2,
     2,
     16,
     40,
     {1, 12, 13},
     {1, 3, 3},
     {1, 2, 2},
     {0, 1, 1},
     {1, 1, 1},
     {1, 1, 1}},
    {"coordinates of 64 bits",
     1,
     1,
     8,
     20,
     {1, 4, 5},
     {1, 2, 3},
     {1, kHuge, 1},
     {0, kHuge, 1},
     {1, kHuge, 1},
     {1, 1, 1}},
    {"few channels, coordinates of 64 bits",
     1,
     3,
     6,
     9,
     {1, 4, 5},
     {1, 2, 3},
     {1, kHuge, 1},
     {0, kHuge, 1},
     {1, kHuge, 1},
     {1, 1, 1}},
    {"cut off", 1, 1, 5, 6, {1, 8, 9}, {1, 2, 2}, {1, 1, 2}, {0, -2, -1}, {1, 1, 1}, {1, 1, 1}},
};

ConvolutionParams params_of(const Case& c) {
  ConvolutionParams p{};
  p.batch = c.batch;
  p.groups = c.groups;
  p.x_channels = c.inputs;
  p.y_channels = c.outputs;
  p.ndim = 3;
  for (size_t d = 0; d < 3; ++d) {
    p.x_size[d] = c.size[d];
    p.w_size[d] = c.filter[d];
    p.stride[d] = c.stride[d];
    p.padding[d] = c.padding[d];
    p.w_dilation[d] = c.dilation[d];
    p.x_dilation[d] = c.input_dilation[d];
    const int64_t length = (p.x_size[d] - 1) * p.x_dilation[d] + 1 + 2 * p.padding[d];
    const int64_t reach = (p.w_size[d] - 1) * p.w_dilation[d] + 1;
    p.y_size[d] = (length - reach) / p.stride[d] + 1;
  }
  return p;
}

int64_t volume(const int64_t* size) {
  return size[0] * size[1] * size[2];
}

TEST_P(ConvolutionKernels, all_operations) {
  for (const Dtype dtype : {float16, bfloat16, float32, float64}) {
    for (const Case& c : kCases) {
      const ConvolutionParams p = params_of(c);
      TypedBuffer x(dtype, p.batch * volume(p.x_size) * p.x_channels);
      TypedBuffer w(dtype, p.y_channels * volume(p.w_size) * p.x_channels / p.groups);
      TypedBuffer y(dtype, p.batch * volume(p.y_size) * p.y_channels);
      fill_small(x, 1);
      fill_small(w, 2);
      fill_small(y, 3);
      const TypedBuffer* operands[][3] = {{&x, &w, &y}, {&y, &w, &x}, {&x, &y, &w}};
      for (uint8_t op = 0; op < 3; ++op) {
        std::vector<Memory> memories;
        for (const TypedBuffer* values : operands[op]) {
          memories.emplace_back(dtype, values->size());
          memories.back().copy_from(*values);
        }
        memories.back().fill_bytes(0xa5);
        expect_launch_same(
            {KernelFamily::convolution, op, dtype, dtype},
            c.name,
            memories,
            {0, 0, 0},
            p,
            default_tolerance(dtype));
      }
    }
  }
}

NARROWS_IN_ALL_ORDERS(ConvolutionKernels)

} // namespace
} // namespace narrows::testing
