#include "narrows/order/search.h"

#include <cmath>

#include "narrows/core/errors.h"
#include "narrows/fuse/settings.h"
#include "narrows/order/max_tree.h"
#include "null_device.h"
#include "order/order_checks.h"
#include "order/order_graphs.h"

namespace narrows {
namespace {

constexpr int64_t kMegabyte = int64_t{1} << 20;

class OrderOfKind : public NullDevice, public testing::WithParamInterface<order_graphs::Kind> {};

TEST_P(OrderOfKind, KeepsWhatIsPromised) {
  const std::vector<array> outputs = GetParam().make();
  const int64_t least = order_checks::check_plan(outputs, 0, 0, 1);
  for (const int concurrency : {1, 4, 16}) {
    for (const int64_t small_bytes : {int64_t{0}, kMegabyte, 32 * kMegabyte}) {
      order_checks::check_plan(outputs, small_bytes, 0, concurrency);
      order_checks::check_plan(outputs, small_bytes, get_active_memory() + least, concurrency);
      order_checks::check_plan(outputs, small_bytes, 1, concurrency);
    }
  }
}

TEST_P(OrderOfKind, PredictsTheCountedPeak) {
  {
    const SmallBytesScope every_graph_is_large(0);
    order_checks::check_evaluation(GetParam().make());
  }
  order_checks::check_evaluation(GetParam().make());
  EXPECT_EQ(active(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, OrderOfKind, testing::ValuesIn(order_graphs::kKinds), [](const auto& info) {
      return std::string(info.param.name);
    });

class OrderMemoryTest : public NullDevice {
 protected:
  ~OrderMemoryTest() override {
    set_null_concurrency(16);
  }
  struct Planned {
    int64_t peak;
    int waves;
  };
  Planned plan(const std::vector<array>& outputs, const OrderOptions& options) {
    std::lock_guard lock(graph_mutex());
    Tape tape;
    Plan plan;
    plan_graph(outputs, options, tape, plan);
    return {plan.peak_bytes(), order_checks::waves_of(plan, 16)};
  }
};

TEST_F(OrderMemoryTest, HasTheParallelismOfUnlimitedBreadth) {
  double log_waves = 0;
  double log_peak = 0;
  for (const order_graphs::Kind& kind : order_graphs::kKinds) {
    const std::vector<array> outputs = kind.make();
    const Planned memory = plan(outputs, {OrderPolicy::memory, 0, 0, 32 * kMegabyte});
    const Planned unlimited = plan(outputs, {OrderPolicy::width, kUnlimitedWidth, 0, 0});
    const Planned depth_first = plan(outputs, {OrderPolicy::width, 1, 0, 0});
    const double waves = static_cast<double>(memory.waves) / unlimited.waves;
    const double peak = static_cast<double>(memory.peak) / static_cast<double>(depth_first.peak);
    RecordProperty(std::string(kind.name) + "_waves", std::to_string(waves));
    RecordProperty(std::string(kind.name) + "_peak", std::to_string(peak));
    log_waves += std::log(waves) / std::size(order_graphs::kKinds);
    log_peak += std::log(peak) / std::size(order_graphs::kKinds);
  }
  // It is not 1: 1/34 of the memory buys nothing where each further node needs that much. A wave
  // has room for three products of `chains`.
  EXPECT_LE(std::exp(log_waves), 1.18);
  EXPECT_LE(std::exp(log_peak), 0.9);
}

TEST_F(OrderMemoryTest, CastsNeedTheirOutputsAndOneIntermediate) {
  const std::vector<array> outputs = order_graphs::casts();
  set_null_concurrency(1);
  const int64_t output = 4096 * 128;
  EXPECT_EQ(
      plan(outputs, {OrderPolicy::memory, 0, 0, 32 * kMegabyte}).peak, 500 * output + 8 * output);
}

TEST_F(OrderMemoryTest, SmallGraphsHaveTheOrderOfWidth20) {
  std::vector<array> outputs;
  for (int i = 0; i < 50; ++i) {
    outputs.push_back(astype(zeros({1024}, int64), int8));
  }
  EXPECT_EQ(
      plan(outputs, {OrderPolicy::memory, 0, 0, kMegabyte}).peak,
      plan(outputs, {OrderPolicy::width, 20, 0, 0}).peak);
  // Not if they exceed the budget.
  EXPECT_LT(
      plan(outputs, {OrderPolicy::memory, 0, 1, kMegabyte}).peak,
      plan(outputs, {OrderPolicy::width, 20, 0, 0}).peak);
}

TEST_F(OrderMemoryTest, BudgetTakesParallelismBack) {
  const std::vector<array> outputs = order_graphs::casts();
  const Planned free = plan(outputs, {OrderPolicy::memory, 0, 0, 32 * kMegabyte});
  const int64_t least = plan(outputs, {OrderPolicy::memory, 0, 1, 32 * kMegabyte}).peak;
  const int64_t outside = get_active_memory(); // counts against budgets too
  const int64_t budget = (free.peak + least) / 2;
  const Planned bound = plan(outputs, {OrderPolicy::memory, 0, outside + budget, 32 * kMegabyte});
  EXPECT_LE(bound.peak, budget);
  EXPECT_GT(bound.waves, free.waves);
  const PlanReport report = [&] {
    const OrderPolicyScope policy(OrderPolicy::memory);
    const FusionScope every_node_is_a_step(false);
    const MemoryBudgetScope scope(outside + least - 1000, false);
    return describe_plan(outputs);
  }();
  EXPECT_EQ(report.predicted_peak, outside + least);
  EXPECT_EQ(report.over_budget, 1000);
}

TEST_F(OrderMemoryTest, NodesWithVeryManyEdgesAreFast) {
  const array shared = zeros({1024, 1024});
  std::vector<array> parts;
  for (int i = 0; i < 20000; ++i) {
    parts.push_back(i % 2 ? shared : exp(shared));
  }
  const array joined = concatenate(parts, 0);
  parts.clear();
  order_checks::check_plan({joined}, 0, 0, 16);
}

TEST_F(OrderMemoryTest, LongChains) {
  array x = zeros({1024, 1024});
  for (int i = 0; i < 300000; ++i) {
    x = exp(x);
  }
  set_null_concurrency(1);
  EXPECT_EQ(plan({x}, {OrderPolicy::memory, 0, 0, 0}).peak, 4 * kMegabyte);
}

TEST(OrderSettings, ScopesAndCalls) {
  const OrderOptions before = order_options();
  {
    const OrderPolicyScope memory(OrderPolicy::memory);
    EXPECT_EQ(order_options().policy, OrderPolicy::memory);
    const MemoryBudgetScope budget(1000);
    {
      const BfsMaxWidthScope width(7);
      EXPECT_EQ(order_options().policy, OrderPolicy::width);
      EXPECT_EQ(order_options().width, 7);
      EXPECT_EQ(order_options().budget, 1000);
    }
    EXPECT_EQ(order_options().policy, OrderPolicy::memory);
    EXPECT_EQ(order_options().width, before.width);
  }
  EXPECT_EQ(order_options().policy, before.policy);
  EXPECT_EQ(order_options().budget, before.budget);

  set_order_policy(OrderPolicy::memory);
  EXPECT_EQ(set_bfs_max_width(9), before.width);
  EXPECT_EQ(order_options().policy, OrderPolicy::width);
  EXPECT_EQ(set_memory_budget(5), before.budget);
  EXPECT_EQ(order_options().budget, 5);
  set_memory_budget(before.budget);
  set_bfs_max_width(before.width);
  set_order_policy(before.policy);
  EXPECT_THROW(set_memory_budget(-1), ValueError);
  EXPECT_THROW(order_policy_from("depth"), ValueError);
}

TEST(MaxTree, AgreesWithPlainSearch) {
  std::mt19937 random(11);
  for (const size_t count : {1, 2, 5, 64, 100}) {
    std::vector<int64_t> plain(count);
    for (int64_t& number : plain) {
      number = static_cast<int64_t>(random() % 100);
    }
    MaxTree tree(plain);
    for (int i = 0; i < 500; ++i) {
      const size_t first = random() % count;
      const size_t last = first + random() % (count - first + 1);
      const int64_t number = static_cast<int64_t>(random() % 41) - 20;
      tree.add(first, last, number);
      for (size_t at = first; at < last; ++at) {
        plain[at] += number;
      }
      const size_t from = random() % count;
      const size_t to = from + random() % (count - from + 1);
      int64_t highest = MaxTree::kLowest;
      for (size_t at = from; at < to; ++at) {
        highest = std::max(highest, plain[at]);
      }
      ASSERT_EQ(tree.highest(from, to), highest);
    }
  }
}

} // namespace
} // namespace narrows
