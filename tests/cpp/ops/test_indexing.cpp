// Where the results of gathers and scatters lie, and the memory that they need.
#include "narrows/ops/indexing.h"

#include "narrows/ops/advanced.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/gather.h"
#include "narrows/ops/scatter.h"
#include "narrows/ops/strided.h"
#include "narrows/run/evaluate.h"
#include "null_device.h"

namespace narrows {
namespace {

class Indexing : public NullDevice {
 protected:
  // The peak of evaluating the array, in bytes.
  int64_t cost(array& a) {
    reset_peak_memory();
    const int64_t before = get_active_memory();
    eval(a);
    return get_peak_memory() - before;
  }
  static array evaluated(array a) {
    eval(a);
    return a;
  }
};

constexpr int64_t kRowBytes = 1024 * 4;

TEST_F(Indexing, GatherTakesItsResult) {
  const array a = evaluated(zeros({100, 1024}));
  const array rows = evaluated(zeros({8}, int32));
  array result = take(a, rows, 0);
  EXPECT_EQ(cost(result), 8 * kRowBytes);
  array columns = take(transpose(a), rows, 1);
  EXPECT_EQ(cost(columns), 8 * kRowBytes);
  // Broadcast indices and strided arrays are read as they lie.
  array lines = take_along_axis(transpose(a), broadcast_to(rows, {1024, 8}), 1);
  EXPECT_EQ(cost(lines), 8 * kRowBytes);
}

TEST_F(Indexing, ScatterOverwritesWhatNobodyUses) {
  const array row = evaluated(ones({1, 1024}));
  const array place = evaluated(zeros({1}, int32));
  const array many = evaluated(broadcast_to(place, {1, 1024}));
  array a = evaluated(zeros({100, 1024}));
  const Buffer* const buffer = a.buffer().get();
  for (int i = 0; i < 5; ++i) {
    a = slice_update_at(a, row, place, {0});
    EXPECT_EQ(cost(a), 0);
    a = put_along_axis(a, many, row, 0);
    EXPECT_EQ(cost(a), 0);
    const AdvancedItem item = IndexArray{place};
    a = index_update(a, {&item, 1}, row, UpdateOp::add);
    EXPECT_EQ(cost(a), 0);
  }
  EXPECT_EQ(a.buffer().get(), buffer);
}

TEST_F(Indexing, ScatterCopiesWhatOthersHold) {
  const array row = evaluated(ones({1, 1024}));
  const array place = evaluated(zeros({1}, int32));
  const array a = evaluated(zeros({100, 1024}));
  array b = slice_update_at(a, row, place, {0});
  EXPECT_EQ(cost(b), 100 * kRowBytes);
  EXPECT_NE(b.buffer().get(), a.buffer().get());
}

TEST_F(Indexing, ScatterDoesNotOverwriteItsOwnIndices) {
  array a = evaluated(zeros({1024}, int32));
  a = scatter_axis(a, a, a, 0);
  EXPECT_EQ(cost(a), kRowBytes);
}

TEST_F(Indexing, RefusesWhatDoesNotFit) {
  const array a = zeros({4, 3});
  const array i = zeros({2}, int32);
  EXPECT_THROW(gather(a, {}, {}, {1, 3}), ValueError);
  EXPECT_THROW(gather(a, {i}, {0, 1}, {1, 1}), ValueError);
  EXPECT_THROW(gather(a, {i, i}, {0, 0}, {1, 1}), ValueError);
  EXPECT_THROW(gather(a, {i}, {2}, {1, 1}), IndexError);
  EXPECT_THROW(gather(a, {i}, {0}, {1}), ValueError);
  EXPECT_THROW(gather(a, {i}, {0}, {5, 1}), ValueError);
  EXPECT_THROW(gather(a, {i}, {0}, {-1, 1}), ValueError);
  EXPECT_THROW(gather(a, {zeros({2})}, {0}, {1, 1}), ValueError);
  EXPECT_THROW(scatter(a, {i}, zeros({2, 1, 4}), {0}), ValueError);
  EXPECT_THROW(scatter(a, {i}, zeros({3, 1, 3}), {0}), ValueError);
  EXPECT_THROW(scatter(a, {i}, zeros({3}), {0}), ValueError);
  EXPECT_THROW(gather_axis(a, zeros({2, 2}, int32), 0), ValueError);
  EXPECT_THROW(scatter_axis(a, zeros({2, 3}, int32), zeros({1, 3}), 0), ValueError);
  EXPECT_THROW(gather_axis(zeros({0, 3}), zeros({2, 3}, int32), 0), ValueError);
}

} // namespace
} // namespace narrows
