#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "narrows/core/dtype.h"
#include "narrows/core/errors.h"
#include "narrows/core/half.h"
#include "narrows/core/kernel_families.h"
#include "narrows/core/layout.h"
#include "narrows/core/shape.h"

namespace narrows {
namespace {

TEST(Dtype, NamesGoBothWays) {
  for (int i = 0; i < kDtypeCount; ++i) {
    const Dtype dtype = static_cast<Dtype>(i);
    EXPECT_EQ(dtype_named(name_of(dtype)), dtype);
  }
  EXPECT_EQ(dtype_named("float8"), std::nullopt);
}

TEST(Dtype, PromotionIsSymmetricAndMonotone) {
  for (int i = 0; i < kDtypeCount; ++i) {
    for (int j = 0; j < kDtypeCount; ++j) {
      const Dtype a = static_cast<Dtype>(i);
      const Dtype b = static_cast<Dtype>(j);
      EXPECT_EQ(promote(a, b), promote(b, a));
      EXPECT_EQ(promote(a, promote(a, b)), promote(a, b));
    }
  }
  EXPECT_EQ(promote(uint8, int8), int16);
  EXPECT_EQ(promote(uint32, int32), int64);
  EXPECT_EQ(promote(uint64, int8), float32);
  EXPECT_EQ(promote(int64, float16), float16);
  EXPECT_EQ(promote(float16, bfloat16), float32);
  EXPECT_EQ(promote(float64, complex64), complex64);
}

TEST(Half, EveryBitPatternSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t pattern = static_cast<uint16_t>(bits);
    const float half = half_bits_to_float(pattern);
    const float brain = bfloat_bits_to_float(pattern);
    if (std::isnan(half)) {
      EXPECT_TRUE(std::isnan(half_bits_to_float(float_to_half_bits(half))));
    } else {
      EXPECT_EQ(float_to_half_bits(half), pattern);
    }
    if (std::isnan(brain)) {
      EXPECT_TRUE(std::isnan(bfloat_bits_to_float(float_to_bfloat_bits(brain))));
    } else {
      EXPECT_EQ(float_to_bfloat_bits(brain), pattern);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(float_to_half_bits(1.0f + 0x1p-11f), 0x3c00); // a tie, down to even
  EXPECT_EQ(float_to_half_bits(1.0f + 0x3p-11f), 0x3c02); // a tie, up to even
  EXPECT_EQ(float_to_half_bits(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half_bits(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half_bits(0x1p-25f), 0x0000);
  EXPECT_EQ(float_to_half_bits(0x1.8p-25f), 0x0001);
  EXPECT_EQ(float_to_bfloat_bits(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(float_to_bfloat_bits(std::numeric_limits<float>::max()), 0x7f80);
}

TEST(Shape, SizesAreChecked) {
  EXPECT_EQ(checked_size("op", {}), 1);
  EXPECT_EQ(checked_size("op", {2, 3}), 6);
  EXPECT_EQ(checked_size("op", {0, int64_t{1} << 62, int64_t{1} << 62}), 0);
  EXPECT_THROW(checked_size("op", {-1}), ValueError);
  EXPECT_THROW(checked_size("op", {int64_t{1} << 31, int64_t{1} << 31}), ValueError);
  EXPECT_THROW(checked_size("op", {int64_t{1} << 62, 4}), ValueError);
}

TEST(Shape, MessagesNameOpAndValues) {
  try {
    normalize_axis("softmax", 3, {2, 5});
    FAIL();
  } catch (const IndexError& error) {
    EXPECT_STREQ(error.what(), "[softmax] axis 3 is out of range for an array of shape (2, 5).");
  }
  EXPECT_EQ(to_string(Shape{}), "()");
  EXPECT_EQ(to_string(Shape{4}), "(4,)");
}

TEST(Shape, Broadcasts) {
  EXPECT_EQ(broadcast_shapes("op", {3, 1}, {2, 1, 4}), (Shape{2, 3, 4}));
  EXPECT_EQ(broadcast_shapes("op", {0}, {1}), (Shape{0}));
  EXPECT_THROW(broadcast_shapes("op", {3}, {2}), ValueError);
}

TEST(SmallVector, KeepsItsElementsWhenItGrowsAndMoves) {
  SmallVector<int64_t, 2> numbers;
  for (int64_t i = 0; i < 100; ++i) {
    numbers.push_back(i);
  }
  const SmallVector<int64_t, 2> copy = numbers;
  SmallVector<int64_t, 2> moved = std::move(numbers);
  EXPECT_EQ(copy, moved);
  moved.insert(0, -1);
  moved.erase(50);
  EXPECT_EQ(moved[0], -1);
  EXPECT_EQ(moved[50], 50);
  EXPECT_EQ(moved.size(), 100u);
}

TEST(Layout, KnowsWhatIsDense) {
  struct Row {
    Shape shape;
    Strides strides;
    bool row_contiguous;
    bool dense;
  };
  const Row rows[] = {
      {{2, 3}, {3, 1}, true, true},
      {{2, 3}, {1, 2}, false, true},
      {{2, 3}, {6, 2}, false, false},
      {{2, 3}, {0, 1}, false, false},
      {{2, 3}, {-3, 1}, false, false},
      {{2, 1, 3}, {3, 77, 1}, true, true}, // a dimension of one has no stride
      {{}, {}, true, true},
      {{0, 3}, {99, 7}, true, true},
      {{4, 2, 3}, {1, 12, 4}, false, true},
  };
  for (const Row& row : rows) {
    const Layout layout = Layout::strided(row.shape, row.strides, 0);
    EXPECT_EQ(layout.row_contiguous, row.row_contiguous) << to_string(row.shape);
    EXPECT_EQ(layout.dense, row.dense) << to_string(row.shape);
  }
}

TEST(Layout, CollapsesWhatIsOneRunInEveryOperand) {
  const Strides rows = row_major_strides({2, 3, 4});
  const Strides transposed{1, 2, 6};
  const Strides* same[] = {&rows, &rows};
  EXPECT_EQ(collapse({2, 3, 4}, same, 2).shape, (Shape{24}));
  const Strides* mixed[] = {&transposed, &rows};
  EXPECT_EQ(collapse({2, 3, 4}, mixed, 2).shape, (Shape{2, 3, 4}));
  // The output's order rules: what is transposed alike is walked as one run.
  const Strides* alike[] = {&transposed, &transposed};
  EXPECT_EQ(collapse({2, 3, 4}, alike, 2).shape, (Shape{24}));
}

TEST(KernelId, HasAName) {
  const KernelId add{
      KernelFamily::elementwise, static_cast<uint8_t>(ElementwiseOp::add), float32, float32};
  EXPECT_EQ(name_of(add), "elementwise_add_float32_float32");
  EXPECT_EQ(name_of({KernelFamily::cast, 0, int8, bool_}), "cast_int8_bool");
}

} // namespace
} // namespace narrows
