// Matrix products: which layouts are copied, which shapes are refused.
#include <gtest/gtest.h>

#include "narrows/ops/composite.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

array numbers(const Shape& shape) {
  return reshape(arange(int64_t{0}, element_count(shape), int64_t{1}, float32), shape).eval();
}

size_t allocations(const array& a) {
  std::lock_guard lock(graph_mutex());
  Tape tape;
  Plan planned;
  plan_outputs({&a, 1}, tape, planned);
  return planned.allocated.size();
}

// The product by elementwise operations.
array reference(const array& a, const array& b) {
  return sum(multiply(expand_dims(a, {-1}), expand_dims(b, {-3})), Axes{-2});
}

void expect_product(const array& a, const array& b, size_t buffers) {
  const array product = matmul(a, b);
  EXPECT_EQ(allocations(product), buffers);
  EXPECT_TRUE(array_equal(product, reference(a, b)).item<bool>());
}

TEST(Matmul, ReadsLayoutsThatLibrariesTake) {
  const array a = numbers({4, 6});
  const array b = numbers({6, 5});
  expect_product(a, b, 1);
  expect_product(transpose(numbers({6, 4})).eval(), transpose(numbers({5, 6})).eval(), 1);
  expect_product(slice(numbers({8, 9}), {0, 1}, {8, 7}, {2, 1}).eval(), b, 1);
  // Stacks that broadcast, in any order of the leading dimensions.
  expect_product(numbers({2, 1, 4, 6}), numbers({3, 6, 5}), 1);
  expect_product(transpose(numbers({4, 3, 6}), {1, 0, 2}).eval(), b, 1);
}

TEST(Matmul, PacksOtherLayouts) {
  const array b = numbers({6, 5});
  expect_product(slice(numbers({4, 12}), {0, 0}, {4, 12}, {1, 2}).eval(), b, 2);
  expect_product(flip(numbers({4, 6})).eval(), b, 2);
  expect_product(broadcast_to(numbers({1, 6}), {4, 6}).eval(), flip(b).eval(), 3);
}

TEST(Matmul, Vectors) {
  const array v = numbers({6});
  const array b = numbers({6, 5});
  EXPECT_EQ(matmul(v, b).shape(), Shape{5});
  EXPECT_EQ(matmul(transpose(b), v).shape(), Shape{5});
  EXPECT_EQ(matmul(v, v).item<float>(), 55);
  EXPECT_EQ(matmul(numbers({3, 4, 6}), v).shape(), (Shape{3, 4}));
}

TEST(Matmul, NothingToSum) {
  const array product = matmul(zeros({2, 0}), zeros({0, 3}));
  EXPECT_TRUE(array_equal(product, zeros({2, 3})).item<bool>());
  const array c = numbers({3});
  const array scaled = addmm(c, zeros({2, 0}), zeros({0, 3}), 1, 2);
  EXPECT_TRUE(array_equal(scaled, broadcast_to(add(c, c), {2, 3})).item<bool>());
}

TEST(Matmul, Refuses) {
  EXPECT_THROW(matmul(zeros({}), zeros({2})), ValueError);
  EXPECT_THROW(matmul(zeros({2, 3}), zeros({2, 3})), ValueError);
  EXPECT_THROW(matmul(zeros({2, 3, 4}), zeros({3, 4, 5})), ValueError);
  EXPECT_THROW(matmul(zeros({2, 3}, int32), zeros({3, 2}, int32)), ValueError);
  EXPECT_THROW(addmm(zeros({4, 2, 2}), zeros({2, 3}), zeros({3, 2})), ValueError);
}

TEST(AddMM, OverwritesAnAddendThatDies) {
  const array a = numbers({4, 6});
  const array b = numbers({6, 5});
  const array c = numbers({4, 5});
  const array overwriting = addmm(negative(negative(c)), a, b);
  EXPECT_EQ(allocations(overwriting), 1u);
  const array expected = add(matmul(a, b), c);
  EXPECT_TRUE(array_equal(overwriting, expected).item<bool>());
  EXPECT_TRUE(array_equal(addmm(c, a, b), expected).item<bool>());
}

TEST(AddMM, KeepsAnAddendThatIsAFactor) {
  const array a = numbers({4, 4});
  array copy = negative(negative(a));
  const array result = addmm(copy, copy, copy);
  copy = array();
  EXPECT_TRUE(array_equal(result, add(matmul(a, a), a)).item<bool>());
}

} // namespace
} // namespace narrows
