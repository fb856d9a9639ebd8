// Operations of several processes: their memory, their order, their failures.
#include "narrows/ops/distributed.h"

#include <gtest/gtest.h>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/order/settings.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"
#include "narrows/transforms/compile.h"
#include "narrows/transforms/vmap.h"
#include "null_device.h"
#include "stand_in_group.h"

namespace narrows {
namespace {

constexpr int64_t kMega = int64_t{1} << 20;

using Distributed = NullDevice;

// An array of a megabyte.
array mega() {
  return zeros({kMega / 4}).eval();
}

TEST_F(Distributed, SumsOverwriteWhatDies) {
  const int group = StandInGroup::make(1, 4);
  for (const auto& operation : {distributed::all_sum, distributed::all_max, distributed::all_min}) {
    array y = operation(mega(), group, {});
    y.eval();
    EXPECT_EQ(active(), kMega);
    EXPECT_EQ(peak(), kMega);
  }
  const array kept = mega();
  const array y = distributed::all_sum(kept, group).eval();
  EXPECT_EQ(active(), 2 * kMega);
}

TEST_F(Distributed, OthersTakeTheirResults) {
  const int group = StandInGroup::make(0, 4);
  array gathered = distributed::all_gather(mega(), group);
  EXPECT_EQ(gathered.shape(), (Shape{kMega}));
  gathered.eval();
  EXPECT_EQ(active(), 4 * kMega);
  EXPECT_EQ(peak(), 5 * kMega);
  const array part = distributed::sum_scatter(std::exchange(gathered, array()), group).eval();
  EXPECT_EQ(part.shape(), (Shape{kMega / 4}));
  EXPECT_EQ(active(), kMega);
  const array received = distributed::recv({kMega / 4}, float32, 3, group).eval();
  EXPECT_EQ(active(), 2 * kMega);
  const array sent = distributed::send(received, 2, group).eval();
  EXPECT_EQ(active(), 2 * kMega);
}

TEST_F(Distributed, StridedArraysArePacked) {
  const int group = StandInGroup::make(0, 2);
  const array x = reshape(mega(), {512, 512}).eval();
  const array y = distributed::all_sum(transpose(x), group).eval();
  EXPECT_TRUE(y.layout().row_contiguous);
  EXPECT_EQ(active(), 2 * kMega);
  EXPECT_EQ(peak(), 2 * kMega);
}

std::vector<int64_t> sizes_of(const StandInGroup& group) {
  std::vector<int64_t> sizes;
  for (const StandInGroup::Done& done : group.done) {
    sizes.push_back(done.params.count);
  }
  return sizes;
}

// Whatever is evaluated first, operations run as they were recorded.
TEST(DistributedOrder, IsThatOfTheRecording) {
  for (const int width : {1, 20}) {
    const BfsMaxWidthScope scope(width);
    StandInGroup* object = nullptr;
    const int group = StandInGroup::make(0, 2, &object);
    std::vector<array> sums;
    for (int64_t i = 1; i <= 6; ++i) {
      sums.push_back(distributed::all_sum(zeros({i}), group));
    }
    sums[3].eval();
    EXPECT_EQ(sizes_of(*object), (std::vector<int64_t>{1, 2, 3, 4}));
    eval(std::vector<array>{sums[5], sums[0], sums[4]});
    EXPECT_EQ(sizes_of(*object), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  }
}

TEST(DistributedOrder, HoldsForCompiledFunctionsAndBatches) {
  StandInGroup* object = nullptr;
  const int group = StandInGroup::make(0, 2, &object);
  const Function function = [&](const std::vector<array>& x) {
    const array of_argument = distributed::all_sum(x[0], group);
    return std::vector<array>{of_argument, distributed::all_sum(zeros({4}), group)};
  };
  const auto graph = record_graph(function, {zeros({3})});
  const array first = distributed::all_sum(zeros({2}), group);
  const std::vector<array> called = call(graph, {zeros({3})});
  const Function both = [&](const std::vector<array>& x) {
    const array same = distributed::all_sum(zeros({5}), group);
    return std::vector<array>{add(same, distributed::all_sum(x[0], group))};
  };
  const array batch = vmap(both, {zeros({7, 5})}, {0}).outputs[0].value;
  const array last = distributed::all_sum(zeros({6}), group);
  ASSERT_EQ(called.size(), 2u);
  last.eval();
  EXPECT_EQ(sizes_of(*object), (std::vector<int64_t>{2, 3, 4, 5, 35, 6}));
}

TEST(DistributedFailure, EndsTheOrderAndKeepsWhatIsStillUsed) {
  StandInGroup* object = nullptr;
  const int group = StandInGroup::make(0, 2, &object);
  object->fails = true;
  EXPECT_THROW(distributed::all_sum(zeros({1}), group).eval(), std::runtime_error);
  object->fails = false;
  distributed::all_sum(zeros({2}), group).eval();
  EXPECT_EQ(sizes_of(*object), (std::vector<int64_t>{1, 2}));
  const int64_t before = get_active_memory();
  object->fails = object->holds = true;
  EXPECT_THROW(distributed::all_gather(zeros({1024}), group).eval(), std::runtime_error);
  EXPECT_GE(get_active_memory() - before, 3 * 4096);
}

TEST(DistributedErrors, SayWhatIsWrong) {
  const int group = StandInGroup::make(1, 4);
  const array x = zeros({6});
  EXPECT_THROW(distributed::all_sum(x, 1 << 20), ValueError);
  EXPECT_THROW(distributed::all_sum(x, -1), ValueError);
  EXPECT_THROW(distributed::sum_scatter(x, group), ValueError);
  EXPECT_THROW(distributed::sum_scatter(zeros({}), group), ValueError);
  EXPECT_THROW(distributed::all_gather(zeros({int64_t{1} << 30}), group), ValueError);
  for (const int peer : {-1, 1, 4}) {
    EXPECT_THROW(distributed::send(x, peer, group), ValueError);
    EXPECT_THROW(distributed::recv({2}, float32, peer, group), ValueError);
  }
  EXPECT_THROW(distributed::split(kAlone, 0), std::runtime_error);
  EXPECT_TRUE(distributed::all_sum(x).same_as(x));
}

} // namespace
} // namespace narrows
