// Rotary position embeddings.
#include "harness.h"
#include "metal_kernels/rope.h"

namespace narrows::testing {
namespace {

class RopeKernels : public KernelTest {};

struct RopeCase {
  RopeParams params{};
  std::vector<double> offsets;
};

// Heads lie behind one another in time, as a product leaves them, and are moved to the front.
RopeCase rope_case(
    int64_t length, int64_t size, int64_t dims, bool traditional, float base, bool is_moved) {
  RopeCase result{{}, {3, 17}};
  RopeParams& p = result.params;
  p.batch = 2;
  p.heads = 3;
  p.length = length;
  p.size = size;
  p.dims = dims;
  p.traditional = traditional;
  p.base = base;
  p.scale = base == 0 ? 0.5F : 1.0F;
  const int64_t entry = p.heads * length * size;
  const std::array<int64_t, 3> plain{entry, length * size, size};
  const std::array<int64_t, 3> moved{entry, size, p.heads * size};
  std::copy_n((is_moved ? moved : plain).begin(), 3, p.in);
  std::copy_n(plain.begin(), 3, p.out);
  if (traditional) {
    result.offsets = {5};
  }
  p.offsets = static_cast<int64_t>(result.offsets.size());
  p.offset_bytes = is_moved ? 4 : 8;
  return result;
}

Memory numbers(Dtype dtype, int64_t size, double low, double high, unsigned seed) {
  TypedBuffer values(dtype, size);
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  for (int64_t i = 0; i < size; ++i) {
    values.set(i, uniform(random));
  }
  return memory_of(values);
}

TEST_P(RopeKernels, turns) {
  const RopeCase cases[] = {
      rope_case(1, 2, 2, false, 100, false),
      rope_case(5, 64, 64, false, 10000, true),
      rope_case(4, 11, 6, true, 10000, true),
      rope_case(7, 10, 8, false, 0, false),
      rope_case(3, 16, 16, true, 0, true)};
  for (const Dtype dtype : {float16, bfloat16, float32}) {
    for (const RopeCase& each : cases) {
      const RopeParams& p = each.params;
      const int64_t count = p.batch * p.heads * p.length * p.size;
      TypedBuffer offsets(p.offset_bytes == 4 ? int32 : int64, p.offsets);
      for (int64_t i = 0; i < p.offsets; ++i) {
        offsets.set(i, each.offsets[static_cast<size_t>(i)]);
      }
      std::vector<Memory> operands{numbers(dtype, count, -2, 2, 1), memory_of(offsets)};
      if (p.base == 0) {
        operands.push_back(numbers(float32, p.dims / 2, 1, 50, 2));
      }
      operands.emplace_back(dtype, count);
      const Tolerance tolerance = default_tolerance(dtype);
      expect_launch_same(
          {KernelFamily::rope, 0, dtype, dtype},
          "size " + std::to_string(p.size),
          operands,
          std::vector<int64_t>(operands.size(), 0),
          p,
          {8 * tolerance.relative, 8 * tolerance.absolute + 1e-5});
    }
  }
}

NARROWS_IN_ALL_ORDERS(RopeKernels)

} // namespace
} // namespace narrows::testing
