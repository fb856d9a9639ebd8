// Sorting and Fourier transforms: what they copy and allocate.
#include <gtest/gtest.h>

#include <vector>

#include "narrows/observe/report.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/fft.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/sort.h"
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

TEST(Sort, CopiesWhatIsNotContiguousAlongTheAxis) {
  const array a = numbers({4, 5});
  EXPECT_EQ(allocations(sort(a)), 1u);
  EXPECT_EQ(allocations(sort(a, std::nullopt)), 1u);
  EXPECT_EQ(allocations(sort(a, 0)), 2u);
  EXPECT_EQ(allocations(sort(transpose(a), 0)), 1u);
  EXPECT_EQ(allocations(topk(a, 5)), 0u);
  EXPECT_EQ(sort(a, 0).shape(), (Shape{4, 5}));
}

TEST(Sort, TheKindOfAxisDoesNotMatterToTransforms) {
  const array a = astype(numbers({4, 5, 6}), complex64).eval();
  for (int axis = 0; axis < 3; ++axis) {
    EXPECT_EQ(allocations(fft::fft(a, std::nullopt, axis)), 1u);
  }
  EXPECT_EQ(allocations(fft::rfft(numbers({4, 6}))), 1u);
}

TEST(Sort, Dtypes) {
  EXPECT_EQ(sort(zeros({2}, bfloat16)).dtype(), bfloat16);
  EXPECT_EQ(argsort(zeros({2}, int64)).dtype(), uint32);
  EXPECT_EQ(argpartition(zeros({2}, int8), 1).dtype(), uint32);
  EXPECT_EQ(median(zeros({2}, bool_)).dtype(), float32);
  EXPECT_EQ(fft::fft(zeros({2}, float64)).dtype(), complex64);
  EXPECT_EQ(fft::irfft(zeros({2}, complex64)).dtype(), float32);
}

// Scratch is part of the plan.
TEST(Sort, TakesTheMemoryThatWasPlanned) {
  const array row = numbers({1 << 17});
  const array rows = numbers({100, 3000});
  const array line = numbers({10007});
  const array transforms[] = {
      sort(row),
      argsort(row),
      topk(row, 30),
      partition(row, 1000),
      sort(rows),
      argsort(rows, 0),
      median(rows, Axes{1}),
      fft::fft(row),
      fft::rfft(line),
      fft::fft(rows, std::nullopt, 0)};
  for (const array& a : transforms) {
    reset_peak_memory();
    const std::vector<array> outputs = {a};
    const int64_t predicted = describe_plan(outputs).predicted_peak;
    eval(outputs);
    EXPECT_EQ(get_peak_memory(), predicted);
  }
}

} // namespace
} // namespace narrows
