#include "narrows/order/cache.h"

#include <mutex>
#include <numeric>
#include <string>
#include <utility>

#include "narrows/order/known_order.h"
#include "null_device.h"
#include "order/order_checks.h"
#include "order/order_graphs.h"

namespace narrows {
namespace {

class OrderCacheTest : public NullDevice {
 protected:
  static OrderQuestion question(const std::vector<array>& outputs, int64_t budget = 0) {
    std::lock_guard lock(graph_mutex());
    Tape tape;
    Plan plan;
    plan_graph(outputs, {OrderPolicy::width, 20, 0, 0}, tape, plan);
    return {
        make_order_graph(plan, outputs), {OrderPolicy::memory, 0, budget, 0}, budget, 16, false, 0};
  }
  static std::vector<array> chain(int length) {
    array last = zeros({64, 64});
    for (int i = 0; i < length; ++i) {
      last = exp(last);
    }
    return {last};
  }
};

TEST_F(OrderCacheTest, KnowsAGraphAgain) {
  OrderCache cache;
  cache.keep(question(chain(5)), {{3, 2, 1}, 77});
  const OrderAnswer* known = cache.find(question(chain(5)));
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(known->nodes, (Order{3, 2, 1}));
  EXPECT_EQ(known->peak_bytes, 77);
  EXPECT_EQ(cache.find(question(chain(5), 1)), nullptr);
  EXPECT_EQ(cache.find(question(chain(6))), nullptr);
}

// Of smaller budgets that were kept, the answer that takes least extra time.
TEST_F(OrderCacheTest, KnowsAnswersForTighterBudgets) {
  OrderCache cache;
  cache.keep(question(chain(5), 50), {{1}, 60, 0.1, 1}); // not kept
  cache.keep(question(chain(5), 70), {{2}, 70, 0.3, 1});
  cache.keep(question(chain(5), 80), {{3}, 75, 0.2, 1});
  cache.keep(question(chain(5), 90), {{4}, 90, 0.1, 1});
  cache.keep(question(chain(6), 60), {{5}, 60, 0.1, 1});
  EXPECT_EQ(cache.find_tighter(question(chain(5), 70)), nullptr);
  ASSERT_NE(cache.find_tighter(question(chain(5), 71)), nullptr);
  EXPECT_EQ(cache.find_tighter(question(chain(5), 71))->nodes, (Order{2}));
  EXPECT_EQ(cache.find_tighter(question(chain(5), 90))->nodes, (Order{3}));
  EXPECT_EQ(cache.find_tighter(question(chain(5), 100))->nodes, (Order{4}));
}

TEST_F(OrderCacheTest, TellsHeldArraysApart) {
  OrderCache cache;
  const array inner = exp(zeros({64, 64}));
  const std::vector<array> outputs = {exp(exp(inner))};
  cache.keep(question(chain(3)), {{}, 1});
  EXPECT_EQ(cache.find(question(outputs)), nullptr);
}

TEST_F(OrderCacheTest, ForgetsTheOldest) {
  OrderCache cache;
  for (int i = 1; i <= 9; ++i) {
    cache.keep(question(chain(i)), {{}, i});
  }
  EXPECT_EQ(cache.find(question(chain(1))), nullptr);
  for (int i = 2; i <= 9; ++i) {
    ASSERT_NE(cache.find(question(chain(i))), nullptr);
    EXPECT_EQ(cache.find(question(chain(i)))->peak_bytes, i);
  }
}

// Names and sizes in the order of the plan, and the plan's peak.
std::pair<std::string, int64_t> planned(const std::vector<array>& outputs) {
  std::lock_guard lock(graph_mutex());
  Tape tape;
  Plan plan;
  plan_graph(outputs, {OrderPolicy::memory, 0, 0, 0}, tape, plan);
  std::string steps;
  for (const Step& step : plan.steps) {
    steps += concat_message(
        step.primitive->name(), " ", plan.values[plan.outputs_of(step)[0]].shape().size(), "\n");
  }
  return {steps, plan.peak_bytes()};
}

TEST_F(OrderCacheTest, GraphsThatComeAgainArePlannedAlike) {
  for (const order_graphs::Kind& kind : order_graphs::kKinds) {
    SCOPED_TRACE(kind.name);
    const auto first = planned(kind.make());
    EXPECT_EQ(planned(kind.make()), first);
    EXPECT_EQ(planned(kind.make()), first);
  }
}

class KnownOrderTest : public NullDevice {
 protected:
  KnownOrderTest() {
    const array a = exp(zeros({64, 64}));
    outputs_ = {add(exp(a), sqrt(a))};
    const std::lock_guard lock(graph_mutex());
    plan_graph(outputs_, {OrderPolicy::width, 20, 0, 0}, tape_, plan_);
  }
  std::vector<array> outputs_;
  Tape tape_;
  Plan plan_;
};

TEST_F(KnownOrderTest, KeepsInputsInFrontOfTheirReaders) {
  const std::lock_guard lock(graph_mutex());
  const Tape before = tape_;
  const auto size = static_cast<uint32_t>(tape_.size());
  Order order(size);
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[size - 2], order[size - 3]); // exp and sqrt
  EXPECT_TRUE(reorder(order, tape_));
  EXPECT_EQ(tape_[size - 2], before[size - 3]);
  EXPECT_EQ(tape_[size - 3], before[size - 2]);
  const Tape reordered = tape_;
  std::swap(order[size - 1], order[size - 2]); // the sum and what it reads
  EXPECT_FALSE(reorder(order, tape_));
  EXPECT_FALSE(reorder({}, tape_));
  EXPECT_EQ(tape_, reordered);
}

TEST_F(KnownOrderTest, TellsPlansApart) {
  const KnownOrder known({OrderPolicy::memory, 0, 0, 0}, false, {}, plan_);
  EXPECT_TRUE(known.has_planned(plan_));
  Plan other = plan_;
  other.steps[1].live_bytes += 1;
  EXPECT_FALSE(known.has_planned(other));
  other = plan_;
  other.steps.pop_back();
  EXPECT_FALSE(known.has_planned(other));
  other = plan_;
  other.streams.clear();
  EXPECT_FALSE(known.has_planned(other));
  const int concurrency = set_null_concurrency(1);
  EXPECT_FALSE(known.has_planned(plan_));
  set_null_concurrency(concurrency);
  EXPECT_TRUE(known.has_planned(plan_));
}

} // namespace
} // namespace narrows
