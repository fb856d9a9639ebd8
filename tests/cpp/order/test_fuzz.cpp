// Random graphs, budgets and concurrencies, checked against the guarantees of the memory order.
// NARROWS_FUZZ_ROUNDS sets the number of graphs.

#include <cstdlib>

#include "narrows/order/waves.h"
#include "narrows/runtime/device.h"
#include "null_device.h"
#include "order/order_checks.h"

namespace narrows {
namespace {

using order_checks::RandomGraph;

uint32_t rounds() {
  const char* text = std::getenv("NARROWS_FUZZ_ROUNDS");
  return text ? static_cast<uint32_t>(std::atoi(text)) : 20000;
}

class OrderFuzz : public NullDevice {
 protected:
  const Stream stream_ = default_stream(default_device());
  const std::vector<Stream> one_{stream_};
  const std::vector<Stream> several_{stream_, stream_, stream_, new_stream(stream_.device)};
};

bool valid(const OrderGraph& graph, const Order& order) {
  std::vector<uint8_t> done(graph.node_count, 0);
  for (uint32_t node : order) {
    for (uint32_t input : graph.inputs[node]) {
      if (!done[input]) {
        return false;
      }
    }
    if (done[node]++) {
      return false;
    }
  }
  return order.size() == graph.node_count;
}

TEST_F(OrderFuzz, PlansKeepWhatIsPromised) {
  const uint32_t count = rounds();
  for (uint32_t seed = 0; seed < count && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(~seed);
    const RandomGraph graph(seed, seed % 8 ? one_ : several_);
    const int64_t least = order_checks::check_plan(graph.outputs, 0, 0, 1);
    const int64_t budget = get_active_memory() + least * static_cast<int64_t>(random() % 8) / 4;
    for (const int concurrency : {1, static_cast<int>(2 + random() % 19)}) {
      for (const int64_t small_bytes : {int64_t{0}, static_cast<int64_t>(1 + random() % 2000)}) {
        order_checks::check_plan(graph.outputs, small_bytes, 0, concurrency);
        order_checks::check_plan(graph.outputs, small_bytes, budget, concurrency);
      }
    }
    const SmallBytesScope small_bytes(static_cast<int64_t>(random() % 500));
    const MemoryBudgetScope scope(budget);
    order_checks::check_evaluation(graph.outputs);
  }
  EXPECT_EQ(active(), 0);
}

int64_t planned_peak(const Tape& nodes, const Order& order, const std::vector<array>& outputs) {
  Tape tape;
  for (uint32_t node : order) {
    tape.push_back(nodes[node]);
  }
  Plan plan;
  make_plan(tape, outputs, plan);
  return plan.peak_bytes();
}

// Orders as counted in the graph: `eager` never raises a peak, waves stay within every budget, and
// plans hold what was counted where the count claims to be exact.
TEST_F(OrderFuzz, OrdersStayWithinTheirBudgets) {
  const uint32_t count = rounds();
  uint32_t exact = 0;
  for (uint32_t seed = 0; seed < count && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const RandomGraph made(seed + (1u << 30), seed % 8 ? one_ : several_);
    std::lock_guard lock(graph_mutex());
    Tape tape;
    Plan plan;
    plan_graph(made.outputs, {OrderPolicy::width, 20, 0, 0}, tape, plan);
    if (plan.steps.empty()) {
      continue;
    }
    const OrderGraph graph = make_order_graph(plan, made.outputs);
    ASSERT_EQ(graph.node_count, tape.size());
    for (const int64_t width : {int64_t{1}, static_cast<int64_t>(1 + random() % 30), int64_t{0}}) {
      Order order;
      if (width > 0) {
        order_by_width(graph, width, order);
        Tape expected;
        Plan unused;
        plan_graph(made.outputs, {OrderPolicy::width, width, 0, 0}, expected, unused);
        for (size_t i = 0; i < order.size(); ++i) {
          ASSERT_EQ(tape[order[i]], expected[i]);
        }
      } else {
        order_by_need(graph, order);
      }
      ASSERT_TRUE(valid(graph, order));
      const int64_t peak = peak_of(graph, order);
      CountedOrder base;
      run_eagerly(graph, order, peak, base);
      ASSERT_TRUE(valid(graph, base.nodes));
      ASSERT_LE(base.peak, peak);
      ASSERT_EQ(base.peak, peak_of(graph, base.nodes));
      if (graph.is_exact) {
        exact += width == 1;
        ASSERT_EQ(planned_peak(tape, order, made.outputs), peak);
        ASSERT_EQ(planned_peak(tape, base.nodes, made.outputs), base.peak);
      }
      for (int i = 0; i < 4; ++i) {
        const int64_t budget = base.peak + (i ? static_cast<int64_t>(random() % 1000) : 0);
        const WaveLimits limits{
            budget, static_cast<uint32_t>(1 + random() % 20), i == 2 ? 500 : INT64_MAX};
        order_in_waves(graph, base, limits, order);
        ASSERT_TRUE(valid(graph, order));
        ASSERT_LE(peak_of(graph, order), budget);
      }
    }
  }
  EXPECT_GT(exact, count / 20);
}

} // namespace
} // namespace narrows
