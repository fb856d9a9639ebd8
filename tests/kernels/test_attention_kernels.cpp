// Attention and its gradient.
#include "harness.h"
#include "metal_kernels/attention.h"

namespace narrows::testing {
namespace {

class AttentionKernels : public KernelTest {};

struct AttentionCase {
  const char* name;
  int64_t batch, heads, key_heads, queries, keys, size, value_size;
  AttentionMask mask;
  bool sinks;
};
const AttentionCase kCases[] = {
    {"one", 1, 1, 1, 1, 1, 1, 1, AttentionMask::none, false},
    {"decode", 2, 4, 2, 1, 70, 8, 8, AttentionMask::none, true},
    {"causal", 1, 2, 1, 33, 40, 6, 5, AttentionMask::causal, false},
    {"blind queries", 1, 1, 1, 40, 9, 3, 4, AttentionMask::causal, true},
    {"boolean", 2, 2, 2, 7, 35, 4, 3, AttentionMask::boolean, true},
    {"additive", 1, 2, 1, 7, 35, 4, 3, AttentionMask::additive, false},
    {"wide", 1, 1, 1, 3, 34, 130, 140, AttentionMask::none, false},
    {"many keys", 1, 1, 1, 2, 1100, 12, 10, AttentionMask::causal, true},
    {"packs", 2, 4, 2, 1, 70, 64, 64, AttentionMask::boolean, true},
    {"packs of all lanes", 1, 2, 1, 3, 41, 96, 200, AttentionMask::causal, false},
    {"packs in parts", 1, 4, 2, 1, 1600, 8, 16, AttentionMask::additive, true},
    {"packs of rows in parts", 1, 3, 1, 2, 1540, 72, 24, AttentionMask::causal, false},
    {"wide packs in parts", 1, 2, 1, 1, 1537, 136, 8, AttentionMask::boolean, true},
    {"tiles", 1, 2, 1, 70, 150, 20, 75, AttentionMask::causal, true},
    {"packs", 1, 4, 2, 72, 100, 64, 64, AttentionMask::boolean, true},
    {"padded packs", 2, 1, 1, 40, 50, 80, 72, AttentionMask::additive, false},
    {"long rows", 1, 2, 1, 20, 70, 128, 128, AttentionMask::causal, false},
    {"longer rows", 1, 1, 1, 20, 40, 132, 20, AttentionMask::causal, true},
    {"blind tiles", 1, 1, 1, 90, 20, 32, 32, AttentionMask::causal, false},
    {"tiles of a mask", 2, 1, 1, 66, 65, 17, 3, AttentionMask::additive, false},
};

// A row-contiguous operand: (batch, heads, rows, columns).
AttentionView contiguous_view(int64_t heads, int64_t rows, int64_t columns) {
  AttentionView view{};
  view.batch[0] = heads * rows * columns;
  view.head = rows * columns;
  view.row = columns;
  view.column = 1;
  return view;
}

AttentionParams params_of(const AttentionCase& c) {
  AttentionParams p{};
  p.batch_ndim = 1;
  p.batch_shape[0] = c.batch;
  p.heads = c.heads;
  p.key_heads = c.key_heads;
  p.queries = c.queries;
  p.keys = c.keys;
  p.size = c.size;
  p.value_size = c.value_size;
  p.scale = 1.0F / static_cast<float>(8 * c.size); // no score is beyond 6
  p.has_sinks = c.sinks ? 1 : 0;
  p.mask_kind = c.mask;
  p.query = contiguous_view(c.heads, c.queries, c.size);
  p.key = contiguous_view(c.key_heads, c.keys, c.size);
  p.value = contiguous_view(c.key_heads, c.keys, c.value_size);
  p.statistics = contiguous_view(c.heads, c.queries, 2);
  p.correction = contiguous_view(c.heads, c.queries, 1);
  p.cotangent = contiguous_view(c.heads, c.queries, c.value_size);
  p.mask = contiguous_view(1, c.queries, c.keys); // one for all heads
  p.mask.head = 0;
  p.sinks.head = 1;
  return p;
}

Memory numbers(Dtype dtype, int64_t size, unsigned seed) {
  TypedBuffer values(dtype, size);
  fill_varied(values, seed, false);
  return memory_of(values);
}

// Queries, keys, values, the mask and the sinks if there are such.
std::vector<Memory> inputs_of(const AttentionCase& c, Dtype dtype, bool with_sinks) {
  std::vector<Memory> result{
      numbers(dtype, c.batch * c.heads * c.queries * c.size, 1),
      numbers(dtype, c.batch * c.key_heads * c.keys * c.size, 2),
      numbers(dtype, c.batch * c.key_heads * c.keys * c.value_size, 3)};
  if (c.mask == AttentionMask::boolean || c.mask == AttentionMask::additive) {
    const Dtype mask = c.mask == AttentionMask::boolean ? bool_ : dtype;
    result.push_back(numbers(mask, c.batch * c.queries * c.keys, 4));
  }
  if (with_sinks && c.sinks) {
    result.push_back(numbers(dtype, c.heads, 5));
  }
  return result;
}

Dtype precision(Dtype dtype) {
  return dtype == float64 ? float64 : float32;
}

Tolerance tolerance_of(Dtype dtype) {
  return {20 * default_tolerance(dtype).relative, 50 * default_tolerance(dtype).absolute};
}

// The last operand is compared. Each output becomes the last one in turn; `places` says where it
// belongs.
template <typename Params>
void expect_outputs_same(
    const KernelId& kernel,
    const std::string& name,
    const std::vector<Memory>& inputs,
    const std::vector<Memory>& outputs,
    const Params& params,
    Tolerance tolerance) {
  if (!gpu_has(kernel)) {
    return;
  }
  for (size_t last = 0; last < outputs.size(); ++last) {
    std::vector<Memory> operands = inputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      operands.push_back(outputs[(last + 1 + i) % outputs.size()]);
    }
    expect_same_on_both(
        name_of(kernel) + " " + name + ", output " + std::to_string(last),
        operands,
        std::vector<int64_t>(operands.size(), 0),
        [&](Encoder& encoder, std::span<const Operand> places) {
          std::vector<Operand> ordered(places.begin(), places.end());
          for (size_t i = 0; i < outputs.size(); ++i) {
            ordered[inputs.size() + (last + 1 + i) % outputs.size()] = places[inputs.size() + i];
          }
          run_call(encoder, kernel, ordered, params);
        },
        tolerance);
  }
}

TEST_P(AttentionKernels, attention) {
  for (Dtype dtype : {float16, bfloat16, float32, float64}) {
    for (const AttentionCase& c : kCases) {
      const int64_t rows = c.batch * c.heads * c.queries;
      expect_outputs_same(
          {KernelFamily::attention, 0, dtype, dtype},
          c.name,
          inputs_of(c, dtype, true),
          {Memory(dtype, rows * c.value_size), Memory(precision(dtype), rows * 2)},
          params_of(c),
          tolerance_of(dtype));
    }
  }
}

// Statistics of scores that the operands do not give, so that weights do not sum up to 1.
TEST_P(AttentionKernels, gradient) {
  for (Dtype dtype : {float16, bfloat16, float32, float64}) {
    for (const AttentionCase& c : kCases) {
      if (c.keys > 1500) {
        continue; // these are for few queries, whose gradient has no kernels of its own
      }
      const int64_t rows = c.batch * c.heads * c.queries;
      const int64_t keys = c.batch * c.key_heads * c.keys;
      std::vector<Memory> inputs = inputs_of(c, dtype, false);
      TypedBuffer statistics(precision(dtype), rows * 2);
      for (int64_t i = 0; i < rows; ++i) {
        statistics.set(2 * i, 6.0 + static_cast<double>(i % 3));
        statistics.set(2 * i + 1, 0.25);
      }
      inputs.push_back(memory_of(statistics));
      inputs.push_back(numbers(precision(dtype), rows, 6));
      inputs.push_back(numbers(dtype, rows * c.value_size, 7));
      expect_outputs_same(
          {KernelFamily::attention_gradient, 0, dtype, dtype},
          c.name,
          inputs,
          {Memory(dtype, rows * c.size),
           Memory(dtype, keys * c.size),
           Memory(dtype, keys * c.value_size)},
          params_of(c),
          tolerance_of(dtype));
    }
  }
}

NARROWS_IN_ALL_ORDERS(AttentionKernels)

} // namespace
} // namespace narrows::testing
