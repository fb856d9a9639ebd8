// Nodes that run again to keep a budget. NARROWS_FUZZ_ROUNDS sets the number of random graphs,
// NARROWS_FUZZ_FIRST the seed of the first, so that one that failed can be run again.

#include "narrows/order/recompute.h"

#include <array>
#include <cstdlib>
#include <numeric>
#include <set>
#include <string_view>

#include "narrows/fuse/settings.h"
#include "narrows/order/costs.h"
#include "narrows/order/recompute_timeline.h"
#include "narrows/order/repeats.h"
#include "narrows/order/step_graph.h"
#include "narrows/plan/host_copy.h"
#include "narrows/record/runs_once.h"
#include "narrows/runtime/device.h"
#include "null_device.h"
#include "order/order_checks.h"

namespace narrows {
namespace {

using order_checks::RandomGraph;
using namespace std::string_view_literals;

constexpr int64_t kMegabyte = int64_t{1} << 20;

uint32_t from_environment(const char* name, uint32_t otherwise) {
  const char* text = std::getenv(name);
  return text ? static_cast<uint32_t>(std::atoi(text)) : otherwise;
}
uint32_t rounds() {
  return from_environment("NARROWS_FUZZ_ROUNDS", 500);
}
uint32_t first_seed() {
  return from_environment("NARROWS_FUZZ_FIRST", 0);
}

// A primitive like exp; what it does in its n-th run is up to a test.
class Counted : public Primitive {
 public:
  explicit Counted(int* runs, int fails_at = 0) : runs_(runs), fails_at_(fails_at) {
  }
  const char* name() const override {
    return "counted";
  }
  void encode(Encoder&, const StepView&) const override {
    if (++*runs_ == fails_at_) {
      fail<std::runtime_error>("[counted] run ", fails_at_);
    }
  }

 private:
  int* runs_;
  int fails_at_;
};

class CountedOnce final : public Counted, public RunsOnce {
  using Counted::Counted;
};

class RecomputeTest : public NullDevice {
 protected:
  RecomputeTest() : one_step_each_(false), policy_(OrderPolicy::memory), small_(0) {
  }

  // As forward and backward: each of `count` values of a megabyte is used by the next and, in the
  // reverse order, by a product. The first is made by the primitive.
  static array there_and_back(int count, std::shared_ptr<const Primitive> first) {
    const array x = zeros({512, 512});
    const std::vector<OutputSpec> specs{{{512, 512}, float32}};
    std::vector<array> values{record(std::move(first), x.stream(), specs, std::array{x})[0]};
    for (int i = 1; i < count; ++i) {
      values.push_back(exp(values.back()));
    }
    array product = values.back();
    for (int i = count - 1; i-- > 0;) {
      product = multiply(product, values[i]);
    }
    return product;
  }
  static int64_t outside() {
    return get_active_memory();
  }

  const FusionScope one_step_each_;
  const OrderPolicyScope policy_;
  const SmallBytesScope small_;
};

std::vector<std::string> ops_of(const PlanReport& report) {
  std::vector<std::string> ops;
  for (const PlanReport::Step& step : report.steps) {
    ops.push_back(step.op + (step.repeats ? " again" : ""));
  }
  return ops;
}

TEST_F(RecomputeTest, ExactStepsAndBytes) {
  int runs = 0;
  const array result = there_and_back(4, std::make_shared<const Counted>(&runs));
  EXPECT_EQ(describe_plan({&result, 1}).predicted_peak, outside() + 4 * kMegabyte);
  {
    const MemoryBudgetScope reorders(outside() + 3 * kMegabyte, false);
    EXPECT_EQ(describe_plan({&result, 1}).over_budget, kMegabyte);
  }
  const MemoryBudgetScope budget(outside() + 3 * kMegabyte);
  const PlanReport report = describe_plan({&result, 1});
  EXPECT_EQ(report.over_budget, 0);
  EXPECT_EQ(report.predicted_peak, outside() + 3 * kMegabyte);
  EXPECT_GE(report.repeated_steps, 1u);
  EXPECT_GT(report.extra_time, 0);
  reset_peak_memory();
  eval(result);
  EXPECT_EQ(get_peak_memory(), report.predicted_peak);
  const std::vector<std::string> ops = ops_of(report);
  EXPECT_EQ(runs, 1 + std::count(ops.begin(), ops.end(), "counted again"));
}

// Nodes 0 to count - 1 make values of a megabyte, each of the one before; the rest read them again,
// from the latest to the earliest.
class CopiesTest : public RecomputeTest {
 protected:
  static constexpr int kCount = 8;

  CopiesTest() : lock_(graph_mutex()) {
    static int runs = 0;
    outputs_.push_back(there_and_back(kCount, std::make_shared<const Counted>(&runs)));
    Plan plan;
    plan_graph(outputs_, {OrderPolicy::width, 1, 0, 0}, nodes_, plan);
    graph_ = make_order_graph(plan, outputs_);
    peak_ = plan.peak_bytes();
    order_.resize(nodes_.size());
    std::iota(order_.begin(), order_.end(), 0);
    costs_.runs.assign(nodes_.size(), 1.0);
    costs_.host_copies.assign(nodes_.size(), 2.0); // a second each way
    costs_.copies_run_beside = true;
  }
  uint32_t last() const {
    return static_cast<uint32_t>(nodes_.size()) - 1;
  }
  RecomputedOrder within(int64_t bytes, bool recompute) const {
    const std::array<const Order*, 1> orders{&order_};
    return recompute_within(graph_, orders, costs_, bytes, recompute);
  }
  static size_t copies_in(const Order& order, uint32_t flag) {
    return std::count_if(
        order.begin(), order.end(), [&](uint32_t entry) { return (entry & flag) != 0; });
  }

  std::unique_lock<std::mutex> lock_;
  std::vector<array> outputs_;
  Tape nodes_;
  OrderGraph graph_;
  Order order_;
  RecomputeCosts costs_;
  int64_t peak_ = 0;
};

TEST_F(CopiesTest, TimeOfOrders) {
  const double plain = seconds_of(graph_, order_, costs_);
  const auto is_view = [&](uint32_t node) { return graph_.nodes[node].is_view; };
  const auto views = std::count_if(order_.begin(), order_.end(), is_view);
  EXPECT_EQ(plain, static_cast<double>(order_.size() - views));
  // The first value goes to the host and comes back in front of its last reader.
  const auto is_first = [](const Node* node) { return node->primitive().name() == "counted"sv; };
  const auto node =
      static_cast<uint32_t>(std::find_if(nodes_.begin(), nodes_.end(), is_first) - nodes_.begin());
  ASSERT_LT(node, last());
  const Order late = [&] {
    Order order = order_;
    order.insert(order.begin() + node + 1, node | kToHost);
    order.insert(order.end() - 1, node | kFromHost);
    return order;
  }();
  EXPECT_EQ(seconds_of(graph_, late, costs_), plain + 1); // which the last reader waits
  Order early = late;
  std::swap(early[early.size() - 2], early[early.size() - 3]);
  EXPECT_EQ(seconds_of(graph_, early, costs_), plain);
  RecomputeCosts in_order = costs_;
  in_order.copies_run_beside = false;
  EXPECT_EQ(seconds_of(graph_, late, in_order), plain + 2);
  EXPECT_EQ(seconds_of(graph_, early, in_order), plain + 2);
}

TEST_F(CopiesTest, CopiesBesideOtherWorkTakeLessTime) {
  const RecomputedOrder beside = within(peak_ - 2 * kMegabyte, false);
  costs_.copies_run_beside = false;
  const RecomputedOrder in_order = within(peak_ - 2 * kMegabyte, false);
  EXPECT_LE(beside.peak, peak_ - 2 * kMegabyte);
  EXPECT_LE(in_order.peak, peak_ - 2 * kMegabyte);
  EXPECT_GT(copies_in(beside.nodes, kFromHost), 0u);
  EXPECT_EQ(in_order.extra, 2.0 * static_cast<double>(copies_in(in_order.nodes, kFromHost)));
  EXPECT_LT(beside.extra, in_order.extra);
}

TEST_F(CopiesTest, CopiesStayWithinTheirLimitOnTheHost) {
  costs_.host_copies.assign(nodes_.size(), 0.5);
  const RecomputedOrder all = within(peak_ / 2, true);
  EXPECT_GT(copies_in(all.nodes, kToHost), 1u);
  costs_.host_bytes = kMegabyte;
  const RecomputedOrder one = within(peak_ / 2, true);
  EXPECT_EQ(copies_in(one.nodes, kToHost), 1u);
  EXPECT_LE(one.peak, peak_ / 2);
  costs_.host_bytes = kMegabyte - 1;
  EXPECT_EQ(copies_in(within(peak_ / 2, true).nodes, kToHost), 0u);
}

// What lies within fused steps takes no memory in plans that run steps again.
TEST_F(RecomputeTest, StepsOfSeveralNodesRunAgain) {
  const FusionScope fusion(true);
  const auto make_product = [] { // whose factors nobody holds
    const array x = zeros({512, 512});
    std::vector<array> values{tanh(x)};
    for (int i = 1; i < 8; ++i) {
      values.push_back(tanh(add(exp(matmul(values.back(), x)), values.back())));
    }
    array product = values.back();
    for (int i = 7; i-- > 0;) {
      product = matmul(product, values[i]);
    }
    return product;
  };
  const array product = make_product();
  const int64_t peak = describe_plan({&product, 1}).predicted_peak;
  const MemoryBudgetScope budget(outside() + (peak - outside()) * 7 / 10);
  const PlanReport report = describe_plan({&product, 1});
  EXPECT_EQ(report.over_budget, 0);
  EXPECT_GT(report.repeated_steps, 0u);
  reset_peak_memory();
  eval(product);
  EXPECT_EQ(get_peak_memory(), report.predicted_peak);
}

TEST_F(RecomputeTest, PlanningLeavesTheGraphAsItWas) {
  int runs = 0;
  const array result = there_and_back(12, std::make_shared<const Counted>(&runs));
  const std::string before = graph_text(describe_plan({&result, 1}));
  {
    const MemoryBudgetScope budget(outside() + 6 * kMegabyte);
    const PlanReport report = describe_plan({&result, 1});
    EXPECT_EQ(report.over_budget, 0);
    EXPECT_GT(report.repeated_steps, 0u);
    EXPECT_NE(graph_text(report), before);
  }
  EXPECT_EQ(graph_text(describe_plan({&result, 1})), before);
}

TEST_F(RecomputeTest, WhatRunsOnceIsKept) {
  int runs = 0;
  const array result = there_and_back(12, std::make_shared<const CountedOnce>(&runs));
  const MemoryBudgetScope budget(outside() + 6 * kMegabyte);
  EXPECT_EQ(describe_plan({&result, 1}).over_budget, 0);
  eval(result);
  EXPECT_EQ(runs, 1);
}

TEST_F(RecomputeTest, ValuesThatAreHeldAreNotMadeAgain) {
  int runs = 0;
  const array x = zeros({512, 512});
  const std::vector<OutputSpec> specs{{{512, 512}, float32}};
  const array held =
      record(std::make_shared<const Counted>(&runs), x.stream(), specs, std::array{x})[0];
  const array result = multiply(exp(exp(exp(held))), held);
  const MemoryBudgetScope budget(1);
  eval(result);
  EXPECT_EQ(runs, 1);
}

// The step fails when it runs for the second time; what is left can be evaluated.
TEST_F(RecomputeTest, ErrorsInStepsThatRunAgain) {
  for (int fails_at = 1; fails_at <= 3; ++fails_at) {
    int runs = 0;
    {
      const array result = there_and_back(12, std::make_shared<const Counted>(&runs, fails_at));
      const MemoryBudgetScope budget(outside() + 5 * kMegabyte);
      const size_t again = describe_plan({&result, 1}).repeated_steps;
      EXPECT_GT(again, 0u);
      try {
        eval(result);
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), concat_message("[counted] run ", fails_at).c_str());
        EXPECT_EQ(runs, fails_at);
      }
      const PlanReport rest = describe_plan({&result, 1});
      reset_peak_memory();
      eval(result);
      EXPECT_TRUE(result.is_ready());
      EXPECT_EQ(get_peak_memory(), rest.predicted_peak);
    }
    EXPECT_EQ(active(), 0);
  }
}

TEST_F(RecomputeTest, StrictLimitsAreKept) {
  int runs = 0;
  const array result = there_and_back(12, std::make_shared<const Counted>(&runs));
  const int64_t limit = outside() + 6 * kMegabyte;
  EXPECT_GT(describe_plan({&result, 1}).predicted_peak, limit);
  const int64_t previous = set_memory_limit(limit, true);
  EXPECT_LE(describe_plan({&result, 1}).predicted_peak, limit);
  reset_peak_memory();
  eval(result);
  set_memory_limit(previous);
  EXPECT_LE(get_peak_memory(), limit);
}

TEST_F(RecomputeTest, LeastBudgets) {
  int runs = 0;
  const array result = there_and_back(40, std::make_shared<const Counted>(&runs));
  int64_t least = 0;
  {
    std::lock_guard lock(graph_mutex());
    least = least_budget({&result, 1}, order_options(), false);
  }
  EXPECT_LT(least - outside(), 16 * kMegabyte);
  const MemoryBudgetScope budget(least);
  EXPECT_EQ(describe_plan({&result, 1}).over_budget, 0);
}

// Plans that come again are known.
TEST_F(RecomputeTest, PlansAreKept) {
  int runs = 0;
  std::string first;
  for (int round = 0; round < 3; ++round) {
    const array result = there_and_back(12, std::make_shared<const Counted>(&runs));
    const MemoryBudgetScope budget(outside() + 6 * kMegabyte);
    const std::string text = plan_text(describe_plan({&result, 1}));
    first = round == 0 ? text : first;
    EXPECT_EQ(text, first);
  }
}

// Random values forward, of each other, then a chain back that reads them, or views of them, from
// the latest to the earliest.
class ThereAndBack {
 public:
  ThereAndBack(uint32_t seed, const std::vector<Stream>& streams)
      : random_(seed), streams_(streams) {
    const int count = 2 + below(30);
    values_.push_back(zeros({kSize, kSize}));
    if (below(2)) {
      eval(values_[0]);
    }
    for (int i = 0; i < count; ++i) {
      forward();
    }
    array product = values_.back();
    for (size_t i = values_.size(); i-- > 0;) {
      const array& value = values_[i];
      product = below(3) ? multiply(product, value, stream())
                         : add(matmul(product, transpose(value), stream()), product, stream());
      if (below(12) == 0) {
        outputs.push_back(sum(product));
      }
      if (below(12) == 0) {
        held_.push_back(value);
      }
    }
    outputs.push_back(product);
    values_.clear();
  }

  std::vector<array> outputs;

 private:
  static constexpr int64_t kSize = 16;

  int below(int count) {
    return static_cast<int>(random_() % count);
  }
  Stream stream() {
    return streams_[below(static_cast<int>(streams_.size()))];
  }

  void forward() {
    const array& latest = values_.back();
    const array& other = values_[below(static_cast<int>(values_.size()))];
    switch (below(7)) {
      case 0:
      case 1:
        values_.push_back(exp(latest, stream()));
        break;
      case 2:
        values_.push_back(add(latest, other, stream()));
        break;
      case 3:
        values_.push_back(matmul(latest, transpose(other), stream()));
        break;
      case 4:
        values_.push_back(transpose(softmax(latest, Axes{-1}, false, stream())));
        break;
      case 5:
        values_.push_back(reshape(transpose(latest), {kSize, kSize}, stream()));
        break;
      case 6: {
        const std::vector<OutputSpec> specs(1 + below(3), {{kSize, kSize}, float32});
        const auto primitive = std::make_shared<const order_checks::WithWorkspace>(64 * below(6));
        for (const array& made : record(primitive, stream(), specs, std::array{latest, other})) {
          values_.push_back(made);
        }
        break;
      }
    }
  }

  std::mt19937 random_;
  const std::vector<Stream>& streams_;
  std::vector<array> values_;
  std::vector<array> held_;
};

class RecomputeFuzz : public NullDevice {
 protected:
  const Stream stream_ = default_stream(default_device());
  const std::vector<Stream> one_{stream_};
  const std::vector<Stream> several_{stream_, stream_, stream_, new_stream(stream_.device)};
};

// Every node runs, only those that may run again, and each after what it reads.
void expect_valid(const OrderGraph& graph, const Order& order) {
  std::vector<uint32_t> runs(graph.node_count, 0);
  for (uint32_t node : order) {
    for (uint32_t input : graph.inputs[node]) {
      ASSERT_GT(runs[input], 0u);
    }
    ++runs[node];
  }
  for (uint32_t node = 0; node < graph.node_count; ++node) {
    ASSERT_GE(runs[node], 1u);
    ASSERT_TRUE(runs[node] == 1 || graph.can_repeat[node] || graph.nodes[node].is_view);
  }
}

// Every copy from the host has one to it before. Together they stay within the limit.
void expect_copied(const OrderGraph& graph, const Order& order, int64_t limit) {
  std::set<uint32_t> on_host;
  int64_t bytes = 0;
  for (uint32_t entry : order) {
    const uint32_t node = entry & kNodeOfEntry;
    if (entry & kToHost) {
      bytes += on_host.insert(node).second ? graph.nodes[node].allocated : 0;
    } else if (entry & kFromHost) {
      ASSERT_EQ(on_host.count(node), 1u);
    }
  }
  ASSERT_LE(bytes, limit);
}

// The peak of a plan on the null device, without what its copies on the host hold there.
int64_t peak_without_host_copies(const Plan& plan) {
  std::set<uint32_t> on_host;
  int64_t host_bytes = 0;
  int64_t peak = plan.bytes_before();
  for (const Step& step : plan.steps) {
    for (uint32_t i = 0; i < step.allocations.count; ++i) {
      const uint32_t buffer = plan.allocated[step.allocations.first + i];
      if (step.primitive == to_host_primitive().get() && on_host.insert(buffer).second) {
        host_bytes += plan.buffers[buffer].bytes;
      }
    }
    peak = std::max(peak, step.peak_bytes - host_bytes);
    for (uint32_t i = 0; i < step.frees.count; ++i) {
      const uint32_t buffer = plan.freed[step.frees.first + i];
      host_bytes -= on_host.count(buffer) ? plan.buffers[buffer].bytes : 0;
    }
  }
  return peak;
}

// Copies of about half of the values cost less than their makers, a few of the others more.
RecomputeCosts random_costs(const Tape& nodes, uint32_t seed, int64_t peak) {
  std::mt19937 random(seed);
  RecomputeCosts costs{step_costs(nodes), {}};
  costs.copies_run_beside = random() % 2 > 0;
  costs.host_bytes = random() % 3 > 0 ? INT64_MAX : peak * static_cast<int64_t>(random() % 8) / 8;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const bool can_be = nodes[i]->output_count() == 1 && random() % 4 > 0;
    costs.host_copies.push_back(
        can_be ? costs.runs[i] * (0.2 + 0.4 * (random() % 8))
               : std::numeric_limits<double>::infinity());
  }
  return costs;
}

// Looks for an order with copies on the host within a part of the peak. Returns whether there are
// some.
bool check_counted_with_copies(const std::vector<array>& outputs, int64_t tenths, uint32_t seed) {
  std::lock_guard lock(graph_mutex());
  Tape nodes;
  Plan plan;
  plan_graph(outputs, {OrderPolicy::width, 20, 0, 0}, nodes, plan);
  if (nodes.size() < 2) {
    return false;
  }
  const OrderGraph graph = make_order_graph(plan, outputs);
  Order width_20(nodes.size());
  std::iota(width_20.begin(), width_20.end(), 0);
  const std::array<const Order*, 1> orders{&width_20};
  const int64_t budget = plan.peak_bytes() * tenths / 10;
  const RecomputeCosts costs = random_costs(nodes, seed, plan.peak_bytes());
  const RecomputedOrder found = recompute_within(graph, orders, costs, budget, seed % 3 > 0);
  expect_copied(graph, found.nodes, costs.host_bytes);
  Repeats repeats;
  Tape tape;
  repeats.apply(nodes, found.nodes, tape);
  make_plan(tape, outputs, plan);
  if (graph.is_exact) {
    EXPECT_LE(peak_without_host_copies(plan), found.peak);
  }
  return std::any_of(found.nodes.begin(), found.nodes.end(), [](uint32_t entry) {
    return (entry & kFromHost) != 0;
  });
}

// Looks for an order within a part of the peak. Returns whether nodes run again for it.
bool check_counted(const std::vector<array>& outputs, int64_t tenths) {
  std::lock_guard lock(graph_mutex());
  Tape nodes;
  Plan plan;
  plan_graph(outputs, {OrderPolicy::width, 20, 0, 0}, nodes, plan);
  if (nodes.size() < 2) {
    return false;
  }
  const int64_t peak = plan.peak_bytes();
  const OrderGraph graph = make_order_graph(plan, outputs);
  Order width_1;
  Order width_20(nodes.size());
  order_by_width(graph, 1, width_1);
  std::iota(width_20.begin(), width_20.end(), 0);
  const std::array<const Order*, 2> orders{&width_20, &width_1};
  const int64_t budget = peak * tenths / 10;
  const RecomputedOrder found = recompute_within(graph, orders, {step_costs(nodes), {}}, budget);
  expect_valid(graph, found.nodes);
  Repeats repeats;
  Tape tape;
  repeats.apply(nodes, found.nodes, tape);
  make_plan(tape, outputs, plan);
  if (graph.is_exact) {
    EXPECT_LE(plan.peak_bytes(), found.peak);
  }
  repeats.undo();
  make_plan(nodes, outputs, plan);
  EXPECT_EQ(plan.peak_bytes(), peak);
  return found.nodes.size() > nodes.size() && found.peak <= budget;
}

// Plans and evaluates within a part of the peak.
bool check_evaluated(const std::vector<array>& outputs, int64_t tenths) {
  const int64_t outside = get_active_memory();
  const int64_t peak = describe_plan(outputs, {}, false).predicted_peak;
  const int64_t budget = outside + (peak - outside) * tenths / 10;
  const MemoryBudgetScope scope(budget);
  const PlanReport report = describe_plan(outputs, {}, false);
  EXPECT_LE(report.predicted_peak, peak);
  EXPECT_EQ(report.over_budget, std::max<int64_t>(0, report.predicted_peak - budget));
  reset_peak_memory();
  eval(outputs);
  EXPECT_EQ(get_peak_memory(), report.predicted_peak);
  return report.repeated_steps > 0;
}

// Steps of a plan with fusion: their orders are orders of all nodes, each step's in one piece.
TEST_F(RecomputeFuzz, OrdersOfSteps) {
  const FusionScope fusion(true);
  uint32_t fused = 0;
  for (uint32_t seed = 0; seed < 200 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    const ThereAndBack made(seed, one_);
    std::lock_guard lock(graph_mutex());
    Tape nodes;
    Plan plan;
    plan_graph(made.outputs, {OrderPolicy::width, 20, 0, 0}, nodes, plan);
    const OrderGraph graph = make_order_graph(plan, made.outputs);
    Order width_1;
    Order width_20(nodes.size());
    order_by_width(graph, 1, width_1);
    std::iota(width_20.begin(), width_20.end(), 0);
    make_plan(nodes, made.outputs, plan, true);
    const std::optional<StepGraph> steps =
        make_step_graph(plan, made.outputs, nodes, graph, width_20);
    ASSERT_TRUE(steps);
    ASSERT_EQ(steps->graph.node_count, steps->roots.size());
    fused += steps->roots.size() < nodes.size();
    for (const Order* order : {&width_20, &width_1}) {
      const Order in_steps = steps->in_steps(*order);
      ASSERT_EQ(in_steps.size(), steps->roots.size());
      const Order again = steps->in_nodes(in_steps);
      ASSERT_EQ(again.size(), nodes.size());
      std::vector<uint8_t> done(nodes.size(), 0);
      for (const uint32_t node : again) {
        for (const uint32_t input : graph.inputs[node]) {
          ASSERT_TRUE(done[input]);
        }
        ASSERT_FALSE(done[node]);
        done[node] = 1;
      }
    }
    Order twice = steps->in_steps(width_20);
    twice.push_back(twice[0]);
    twice.push_back(twice[0] | kToHost);
    const Order in_nodes = steps->in_nodes(twice);
    EXPECT_EQ(in_nodes.size(), nodes.size() + steps->members[twice[0]].size() + 1);
    EXPECT_EQ(in_nodes.back(), steps->roots[twice[0]] | kToHost);
  }
  EXPECT_GT(fused, 20u);
}

TEST_F(RecomputeFuzz, PlansHoldWhatIsCounted) {
  uint32_t repeated = 0;
  for (uint32_t seed = first_seed(); seed < first_seed() + rounds() && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    const std::vector<Stream>& streams = seed % 8 ? one_ : several_;
    const int64_t tenths = 3 + std::mt19937(~seed)() % 8;
    check_counted(RandomGraph(seed, streams).outputs, tenths);
    repeated += check_counted(ThereAndBack(seed, streams).outputs, tenths);
  }
  EXPECT_GE(repeated, rounds() / 10);
}

TEST_F(RecomputeFuzz, PlansWithCopiesOnTheHostHoldWhatIsCounted) {
  uint32_t copied = 0;
  for (uint32_t seed = first_seed(); seed < first_seed() + rounds() && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    const int64_t tenths = 3 + std::mt19937(~seed)() % 8;
    check_counted_with_copies(RandomGraph(seed, one_).outputs, tenths, seed);
    copied += check_counted_with_copies(ThereAndBack(seed, one_).outputs, tenths, seed);
  }
  EXPECT_GE(copied, rounds() / 10);
}

TEST_F(RecomputeFuzz, EvaluationsHoldWhatIsPlanned) {
  const OrderPolicyScope policy(OrderPolicy::memory);
  const SmallBytesScope small_bytes(0);
  uint32_t repeated = 0;
  for (uint32_t seed = first_seed(); seed < first_seed() + rounds() && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    const std::vector<Stream>& streams = seed % 8 ? one_ : several_;
    const int64_t tenths = 3 + std::mt19937(~seed)() % 8;
    const FusionScope fusion(seed % 3 == 0);
    check_evaluated(RandomGraph(seed, streams).outputs, tenths);
    repeated += check_evaluated(ThereAndBack(seed, streams).outputs, tenths);
  }
  EXPECT_GE(repeated, rounds() / 10);
  EXPECT_EQ(active(), 0);
}

} // namespace
} // namespace narrows
