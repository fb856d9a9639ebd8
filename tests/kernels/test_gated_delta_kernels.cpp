// Gated delta updates.
#include "harness.h"
#include "metal_kernels/gated_delta.h"

namespace narrows::testing {
namespace {

class GatedDeltaKernels : public KernelTest {};

GatedDeltaView view_of(int64_t length, int64_t heads, int64_t columns) {
  return {length * heads * columns, heads * columns, columns, 1};
}

GatedDeltaParams params_of(
    int64_t batch, int64_t length, int64_t key_heads, int64_t heads, int64_t keys, int64_t values) {
  GatedDeltaParams p{};
  p.batch = batch;
  p.length = length;
  p.heads = heads;
  p.key_heads = key_heads;
  p.key_size = keys;
  p.value_size = values;
  p.query = p.key = view_of(length, key_heads, keys);
  p.value = view_of(length, heads, values);
  p.decay = p.rate = view_of(length, heads, 1);
  p.state = {heads * values * keys, keys, values * keys, 1};
  return p;
}

// Between -1 and 1.
Memory small_numbers(Dtype dtype, int64_t size, unsigned seed) {
  TypedBuffer values(dtype, size);
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (int64_t i = 0; i < size; ++i) {
    values.set(i, uniform(random));
  }
  return memory_of(values);
}

TEST_P(GatedDeltaKernels, update) {
  const GatedDeltaParams cases[] = {
      params_of(1, 1, 1, 1, 1, 1), params_of(2, 9, 2, 4, 5, 3), params_of(1, 5, 1, 2, 40, 34)};
  for (Dtype dtype : {float16, bfloat16, float32, float64}) {
    const Dtype computed = dtype == float64 ? float64 : float32;
    for (const GatedDeltaParams& p : cases) {
      const KernelId kernel{KernelFamily::gated_delta, 0, dtype, dtype};
      if (!gpu_has(kernel)) {
        continue;
      }
      const int64_t times = p.batch * p.length;
      const Memory results(dtype, times * p.heads * p.value_size);
      const Memory states(computed, p.batch * p.heads * p.value_size * p.key_size);
      std::vector<Memory> inputs{
          small_numbers(dtype, times * p.key_heads * p.key_size, 1),
          small_numbers(dtype, times * p.key_heads * p.key_size, 2),
          small_numbers(dtype, times * p.heads * p.value_size, 3),
          small_numbers(computed, times * p.heads, 4),
          small_numbers(computed, times * p.heads, 5),
          small_numbers(computed, states.size(), 6)};
      // The last operand is compared.
      for (const bool of_states : {false, true}) {
        std::vector<Memory> operands = inputs;
        operands.push_back(of_states ? results : states);
        operands.push_back(of_states ? states : results);
        const Tolerance tolerance = default_tolerance(of_states ? computed : dtype);
        expect_same_on_both(
            name_of(kernel) + (of_states ? " states" : " results"),
            operands,
            std::vector<int64_t>(operands.size(), 0),
            [&](Encoder& encoder, std::span<const Operand> places) {
              std::vector<Operand> ordered(places.begin(), places.end());
              if (!of_states) {
                std::swap(ordered[6], ordered[7]);
              }
              run_call(encoder, kernel, ordered, p);
            },
            {20 * tolerance.relative, 20 * tolerance.absolute});
      }
    }
  }
}

NARROWS_IN_ALL_ORDERS(GatedDeltaKernels)

} // namespace
} // namespace narrows::testing
