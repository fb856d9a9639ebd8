#include "narrows/ops/tensordot.h"

#include <gtest/gtest.h>

#include "narrows/ops/creation.h"

namespace narrows {
namespace {

TEST(Tensordot, Shapes) {
  const array a = zeros({2, 3, 4});
  EXPECT_EQ(tensordot(a, zeros({3, 4, 5}), 2).shape(), (Shape{2, 5}));
  EXPECT_EQ(tensordot(a, zeros({5, 2, 4}), {-1, 0}, {2, 1}).shape(), (Shape{3, 5}));
  EXPECT_EQ(tensordot(a, zeros({5}), 0).shape(), (Shape{2, 3, 4, 5}));
  EXPECT_EQ(inner(a, zeros({5, 4})).shape(), (Shape{2, 3, 5}));
  EXPECT_EQ(outer(a, zeros({2, 2})).shape(), (Shape{24, 4}));
  EXPECT_EQ(vecdot(a, zeros({1, 3, 1}), 1).shape(), (Shape{2, 4}));
  EXPECT_EQ(kron(a, zeros({5, 2})).shape(), (Shape{2, 15, 8}));
}

TEST(Tensordot, Refuses) {
  const array a = zeros({2, 3});
  EXPECT_THROW(tensordot(a, a, 3), ValueError);
  EXPECT_THROW(tensordot(a, a, {0}, {1}), ValueError);
  EXPECT_THROW(tensordot(a, a, {0, 0}, {0, 1}), ValueError);
  EXPECT_THROW(tensordot(a, a, {0}, {0, 1}), ValueError);
  EXPECT_THROW(tensordot(zeros({2}, int32), zeros({2}, int32), 1), ValueError);
  EXPECT_THROW(inner(a, zeros({2, 4})), ValueError);
  EXPECT_THROW(vecdot(a, zeros({2, 4})), ValueError);
}

} // namespace
} // namespace narrows
