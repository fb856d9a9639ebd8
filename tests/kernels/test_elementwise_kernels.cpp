// Elementwise operations, selection, casts, fills and arange.
#include "harness.h"

namespace narrows::testing {
namespace {

// The shape and the strides of a walk, for all dtypes.
struct Walk {
  const char* name;
  std::vector<int64_t> shape;
  std::vector<std::vector<int64_t>> in_strides; // of the inputs; inputs use them in turn
  std::vector<int64_t> in_offsets;
  std::vector<int64_t> out_strides;
  int64_t out_offset = 0;
};

const Walk kWalks[] = {
    {"contiguous", {1000}, {{1}}, {0}, {1}, 0},
    {"unaligned", {203}, {{1}}, {1}, {1}, 3},
    {"scalar", {205}, {{0}, {1}, {1}}, {0, 0, 0}, {1}, 0},
    {"scalar behind", {205}, {{1}, {0}, {1}}, {0, 3, 0}, {1}, 0},
    {"transposed", {6, 7, 9}, {{1, 6, 42}, {0, 9, 1}, {63, 9, 1}}, {0}, {63, 9, 1}, 0},
    {"tiles", {3, 21, 14}, {{294, 1, 21}, {294, 14, 1}, {0, 1, 21}}, {0}, {294, 14, 1}, 0},
    {"reversed", {40, 5}, {{-5, -1}, {0, 0}, {1, 40}}, {250, 7, 0}, {12, 2}, 1},
    {"one element", {}, {{}}, {2}, {}, 1},
    {"aligned rows", {12, 32}, {{64, 1}, {32, 1}, {0, 1}}, {0, 16, 0}, {48, 1}, 0},
    {"odd rows", {7, 67}, {{69, 1}, {71, 1}, {68, 1}}, {1, 0, 3}, {67, 1}, 0},
    {"odd rows in odd ones", {7, 67}, {{0, 1}, {67, 1}, {1, 0}}, {5, 531, 2}, {69, 1}, 5},
    {"rows of many",
     {2, 3, 4, 33},
     {{0, 33, 132, 1}, {396, 0, 33, 1}},
     {3, 4},
     {500, 166, 41, 1},
     1},
    {"turned batches",
     {2, 21, 19},
     {{399, 1, 21}, {399, 19, 1}, {0, 1, 21}},
     {1, 202, 601},
     {399, 19, 1},
     3},
    {"turned ends", {35, 18}, {{1, 35}, {18, 1}, {-1, 35}}, {370, 370, 404}, {27, 1}, 5},
    {"backwards", {9, 41}, {{-43, -1}, {-42, 1}, {41, -1}}, {384, 337, 43}, {-45, 1}, 361},
    {"to the end", {37}, {{1}, {1}, {-1}}, {963, 955, 36}, {1}, 963},
    {"short rows", {60, 3}, {{3, 1}, {4, 1}, {1, 70}}, {1, 2, 0}, {5, 1}, 1},
};
constexpr int64_t kElements = 1000;

// Enough rows that each thread takes several.
const Walk kLongWalks[] = {
    {"scalar", {10007}, {{0}, {1}}, {3, 0}, {1}, 0},
    {"scalar behind", {10007}, {{1}, {0}}, {0, 3}, {1}, 0},
    {"short rows", {530003, 3}, {{3, 1}, {0, 1}}, {1, 0}, {4, 1}, 3},
    {"odd rows", {50001, 2, 35}, {{35, 0, 1}, {0, 35, 1}}, {2, 5}, {71, 35, 1}, 1},
    {"tiles", {3, 60005, 17}, {{17, 51, 1}, {1020085, 1, 60005}}, {0, 7}, {1020085, 17, 1}, 0},
};

ElementwiseParams params_of(const Walk& walk, int inputs) {
  ElementwiseParams p{};
  p.size = 1;
  p.ndim = static_cast<int32_t>(walk.shape.size());
  p.inputs = inputs;
  for (int d = 0; d < p.ndim; ++d) {
    p.shape[d] = walk.shape[d];
    p.size *= walk.shape[d];
    for (int k = 0; k < inputs; ++k) {
      p.strides[k][d] = walk.in_strides[k % walk.in_strides.size()][d];
    }
    p.strides[inputs][d] = walk.out_strides[d];
  }
  return p;
}

void check(
    const KernelId& kernel,
    const std::vector<Dtype>& inputs,
    bool special,
    Tolerance tolerance,
    std::span<const Walk> walks = kWalks,
    int64_t elements = kElements) {
  unsigned seed = 1;
  for (const Walk& walk : walks) {
    std::vector<Memory> operands;
    std::vector<int64_t> offsets;
    for (size_t k = 0; k < inputs.size(); ++k) {
      TypedBuffer values(inputs[k], elements);
      fill_varied(values, ++seed, special);
      operands.emplace_back(inputs[k], elements).copy_from(values);
      offsets.push_back(walk.in_offsets[k % walk.in_offsets.size()]);
    }
    operands.emplace_back(kernel.out, elements);
    offsets.push_back(walk.out_offset);
    const ElementwiseParams params = params_of(walk, static_cast<int>(inputs.size()));
    expect_launch_same(kernel, walk.name, std::move(operands), offsets, params, tolerance);
  }
}

struct Row {
  ElementwiseOp op;
  int arity;
};
constexpr Row kRows[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  {ElementwiseOp::name, arity},
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};

class ElementwiseKernels : public KernelTest {};

TEST_P(ElementwiseKernels, operations) {
  int kernels = 0;
  for (const Row& row : kRows) {
    for (Dtype in : kAllDtypes) {
      for (Dtype out : {in, bool_, float32}) {
        const KernelId kernel{KernelFamily::elementwise, static_cast<uint8_t>(row.op), in, out};
        if (!cpu::has_kernel(kernel)) {
          continue;
        }
        check(kernel, std::vector<Dtype>(row.arity, in), true, default_tolerance(out));
        ++kernels;
        break;
      }
    }
  }
  EXPECT_GT(kernels, 500);
}

TEST_P(ElementwiseKernels, select) {
  for (Dtype dtype : kAllDtypes) {
    check({KernelFamily::select, 0, dtype, dtype}, {bool_, dtype, dtype}, true, {0, 0});
  }
}

TEST_P(ElementwiseKernels, casts) {
  for (Dtype in : kAllDtypes) {
    for (Dtype out : kAllDtypes) {
      check({KernelFamily::cast, 0, in, out}, {in}, true, {0, 0});
    }
  }
}

TEST_P(ElementwiseKernels, threads_of_several_rows) {
  const auto add = static_cast<uint8_t>(ElementwiseOp::add);
  constexpr int64_t kLongElements = 3600000;
  for (Dtype dtype : {uint8, bfloat16}) {
    const KernelId kernel{KernelFamily::elementwise, add, dtype, dtype};
    check(kernel, {dtype, dtype}, false, default_tolerance(dtype), kLongWalks, kLongElements);
  }
}

TEST_P(ElementwiseKernels, fill) {
  const Number value(3, -2);
  for (Dtype dtype : kAllDtypes) {
    TypedBuffer pattern(dtype, 1);
    pattern.set(0, value);
    for (const int64_t offset : {0, 1}) {
      for (const int64_t count : {1, 7, 1024, 3000}) {
        std::vector<Memory> operands{Memory(dtype, 3001)};
        expect_same_on_both(
            concat_message("fill ", name_of(dtype), " ", count),
            operands,
            {offset},
            [&](Encoder& encoder, std::span<const Operand> places) {
              FillParams params{count, 0};
              std::memcpy(&params.value, pattern.data(), static_cast<size_t>(size_of(dtype)));
              run_call(encoder, {KernelFamily::fill, 0, dtype, dtype}, places, params);
            },
            {0, 0});
      }
    }
  }
}

TEST_P(ElementwiseKernels, arange) {
  for (Dtype dtype : kAllDtypes) {
    if (dtype == bool_) {
      continue;
    }
    ArangeParams params{};
    params.size = 3000;
    params.start = 0.1;
    params.step = -1.0 / 3;
    params.int_start = 100;
    params.int_step = -7;
    const KernelId kernel{KernelFamily::arange, 0, dtype, dtype};
    std::vector<Memory> operands{Memory(dtype, 3000)};
    expect_launch_same(kernel, "", operands, {0}, params, {1e-7, 0});
  }
}

NARROWS_IN_ALL_ORDERS(ElementwiseKernels)

} // namespace
} // namespace narrows::testing
