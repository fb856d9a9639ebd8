// Batch normalization and its gradient.
#include <numeric>

#include "harness.h"
#include "metal_kernels/batch_norm.h"

namespace narrows::testing {
namespace {

class BatchNormKernels : public KernelTest {};

// One row, few and many channels, packs of four or not, several pieces of rows, blocks of channels.
constexpr BatchNormParams kCases[] = {
    {1, 5, 1e-3F},
    {7, 3, 1e-3F},
    {300, 1, 1e-5F},
    {9, 16, 1e-5F},
    {3000, 20, 1e-5F},
    {70000, 4, 1e-5F},
    {5, 300, 1e-3F},
    {40, 1300, 1e-3F}};

Memory numbers(int64_t size, double middle, unsigned seed) {
  TypedBuffer values(float32, size);
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(middle, 2);
  for (int64_t i = 0; i < size; ++i) {
    values.set(i, normal(random));
  }
  return memory_of(values);
}

// Compares one of the three outputs, which stand behind the inputs. Operands may begin one element
// behind an aligned place.
void expect_output_same(
    KernelFamily family,
    const std::vector<Memory>& inputs,
    const BatchNormParams& p,
    size_t output,
    int64_t offset,
    Tolerance tolerance) {
  const KernelId kernel{family, 0, float32, float32};
  ASSERT_TRUE(gpu_has(kernel));
  std::vector<Memory> operands = inputs;
  std::vector<size_t> order(inputs.size());
  std::iota(order.begin(), order.end(), 0);
  // The last operand is compared.
  for (const size_t k : {(output + 1) % 3, (output + 2) % 3, output}) {
    operands.emplace_back(float32, (k == 0 ? p.rows : 1) * p.channels + offset);
    order.push_back(inputs.size() + k);
  }
  expect_same_on_both(
      name_of(kernel) + " " + std::to_string(p.rows) + " x " + std::to_string(p.channels) +
          ", output " + std::to_string(output),
      operands,
      std::vector<int64_t>(operands.size(), offset),
      [&](Encoder& encoder, std::span<const Operand> places) {
        std::vector<Operand> ordered(places.size());
        for (size_t i = 0; i < places.size(); ++i) {
          ordered[order[i]] = places[i];
        }
        run_call(encoder, kernel, ordered, p);
      },
      tolerance);
}

TEST_P(BatchNormKernels, normalizes) {
  for (const BatchNormParams& p : kCases) {
    for (const int64_t offset : {0, 1}) {
      const std::vector<Memory> inputs{
          numbers(p.rows * p.channels + offset, 10, 1),
          numbers(p.channels + offset, 1, 2),
          numbers(p.channels + offset, 0, 3)};
      for (size_t output = 0; output < 3; ++output) {
        expect_output_same(KernelFamily::batch_norm, inputs, p, output, offset, {2e-5, 2e-5});
      }
    }
  }
}

TEST_P(BatchNormKernels, gradient) {
  for (const BatchNormParams& p : kCases) {
    for (const int64_t offset : {0, 1}) {
      Memory variances = numbers(p.channels + offset, 20, 5);
      const std::vector<Memory> inputs{
          numbers(p.rows * p.channels + offset, 0.5, 1),
          numbers(p.rows * p.channels + offset, 10, 2),
          numbers(p.channels + offset, 1, 3),
          numbers(p.channels + offset, 10, 4),
          variances};
      const double rows = std::sqrt(static_cast<double>(p.rows));
      for (size_t output = 0; output < 3; ++output) {
        expect_output_same(
            KernelFamily::batch_norm_gradient,
            inputs,
            p,
            output,
            offset,
            {2e-5, output == 0 ? 1e-5 : 1e-5 * rows});
      }
    }
  }
}

NARROWS_IN_ALL_ORDERS(BatchNormKernels)

} // namespace
} // namespace narrows::testing
