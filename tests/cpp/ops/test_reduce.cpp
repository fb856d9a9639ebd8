// Reductions, scans and row operations: what they copy and overwrite, which shapes they refuse.
#include <gtest/gtest.h>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/scan.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/softmax.h"
#include "narrows/ops/strided.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

array numbers(const Shape& shape) {
  return reshape(arange(int64_t{0}, element_count(shape), int64_t{1}, float32), shape).eval();
}

// The buffers that evaluating the array would allocate.
size_t allocations(const array& a) {
  std::lock_guard lock(graph_mutex());
  Tape tape;
  Plan planned;
  plan_outputs({&a, 1}, tape, planned);
  return planned.allocated.size();
}

TEST(Reduce, ReadsStridedInputsWithoutACopy) {
  const array a = transpose(numbers({3, 4, 5}), {2, 0, 1}).eval();
  EXPECT_EQ(allocations(sum(a, Axes{0})), 1u);
  EXPECT_EQ(allocations(argmax(a)), 1u);
  EXPECT_EQ(sum(a).item<float>(), 59 * 60 / 2);
  EXPECT_EQ(argmax(a).item<uint32_t>(), 59u);
}

TEST(Reduce, PacksAndLoopsOverManyDimensions) {
  const Shape shape(18, 2);
  const array a = transpose(numbers(shape)).eval();
  Axes every_other;
  for (int i = 0; i < 18; i += 2) {
    every_other.push_back(i);
  }
  // The sum over the rest of the dimensions does not depend on how they were summed before.
  const array partial = sum(a, every_other);
  EXPECT_EQ(partial.shape(), Shape(9, 2));
  const double count = 1 << 18;
  EXPECT_EQ(sum(partial).item<double>(), count * (count - 1) / 2);
  EXPECT_EQ(max(max(a, every_other)).item<double>(), count - 1);
}

TEST(Reduce, OfOneElementIsAView) {
  const array a = numbers({3, 1, 5});
  EXPECT_EQ(allocations(sum(a, Axes{1})), 0u);
  EXPECT_EQ(allocations(max(a, Axes{})), 0u);
  EXPECT_EQ(sum(a, Axes{1}).shape(), (Shape{3, 5}));
  EXPECT_EQ(sum(a, Axes{1}, true).shape(), (Shape{3, 1, 5}));
}

TEST(Reduce, Dtypes) {
  EXPECT_EQ(sum(zeros({2}, bool_)).dtype(), int32);
  EXPECT_EQ(prod(zeros({2}, uint16)).dtype(), uint32);
  EXPECT_EQ(sum(zeros({2}, int64)).dtype(), int64);
  EXPECT_EQ(max(zeros({2}, int8)).dtype(), int8);
  EXPECT_EQ(all(zeros({2})).dtype(), bool_);
  EXPECT_EQ(mean(zeros({2}, int8)).dtype(), float32);
  EXPECT_EQ(var(zeros({2}, complex64)).dtype(), float32);
}

TEST(Reduce, MeanOf16BitFloatsDoesNotOverflow) {
  EXPECT_EQ(mean(full({70000}, make_scalar(3.0, float16))).item<float>(), 3);
}

TEST(Reduce, NoElements) {
  EXPECT_EQ(sum(zeros({0, 3})).item<float>(), 0);
  EXPECT_EQ(prod(zeros({0})).item<float>(), 1);
  EXPECT_TRUE(all(zeros({0})).item<bool>());
  EXPECT_FALSE(any(zeros({0})).item<bool>());
  EXPECT_TRUE(std::isnan(mean(zeros({0})).item<float>()));
  EXPECT_EQ(max(zeros({0, 3}), Axes{1}).shape(), Shape{0});
  EXPECT_THROW(max(zeros({0, 3}), Axes{0}), ValueError);
  EXPECT_THROW(argmin(zeros({0})), ValueError);
  EXPECT_THROW(logsumexp(zeros({0})), ValueError);
}

TEST(Reduce, RefusesAxes) {
  EXPECT_THROW(sum(zeros({2, 3}), Axes{2}), IndexError);
  EXPECT_THROW(sum(zeros({2, 3}), Axes{0, -2}), ValueError);
  EXPECT_THROW(argmax(zeros({2, 3}), -3), IndexError);
  EXPECT_THROW(cumsum(zeros({2, 3}), 2), IndexError);
  EXPECT_THROW(softmax(zeros({2, 3}), Axes{2}), IndexError);
}

TEST(Softmax, OverwritesAnInputThatDies) {
  const array a = numbers({4, 5});
  EXPECT_EQ(allocations(softmax(a, Axes{1})), 1u);
  const array overwriting = softmax(negative(a), Axes{1});
  EXPECT_EQ(allocations(overwriting), 1u);
  // Along another axis: the packed copy is overwritten.
  EXPECT_EQ(allocations(softmax(a, Axes{0})), 1u);
  const array rows = sum(softmax(a, Axes{0}), Axes{0}).eval();
  for (int i = 0; i < 5; ++i) {
    EXPECT_NEAR(rows.data<float>()[i], 1, 1e-6);
  }
}

TEST(Scan, OverwritesAnInputThatDies) {
  const array a = numbers({4, 5});
  const array overwriting = cumsum(negative(a), 0);
  EXPECT_EQ(allocations(overwriting), 1u);
  const array total = cumsum(transpose(a)).eval();
  EXPECT_EQ(total.shape(), Shape{20});
  EXPECT_EQ(total.data<float>()[2], 15);
  EXPECT_EQ(total.data<float>()[19], 190);
}

} // namespace
} // namespace narrows
