#include "narrows/order/search.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <optional>

#include "narrows/order/cache.h"
#include "narrows/order/costs.h"
#include "narrows/order/known_order.h"
#include "narrows/order/recompute.h"
#include "narrows/order/recompute_tape.h"
#include "narrows/order/step_graph.h"
#include "narrows/order/waves.h"
#include "narrows/plan/tape_memory.h"
#include "narrows/record/record_order.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/host_copies.h"
#include "narrows/runtime/strict_limit.h"

namespace narrows {
namespace {

constexpr int64_t kReferenceWidth = 20;

// Width 1 is planned, for comparison, only for graphs up to this size. For larger ones it is
// counted in the graph.
constexpr uint32_t kPlannedTwice = 1u << 15;
constexpr int64_t kSlackDivisor = 34;
constexpr int64_t kSaturatedBytes = int64_t{32} << 20;

constexpr auto is_leaf = [](const Node* node) { return node->status() != Status::lazy; };

int64_t allocated_in(const Plan& plan) {
  int64_t bytes = 0;
  for (uint32_t buffer : plan.allocated) {
    bytes += plan.main_bytes(buffer);
  }
  for (const Step& step : plan.steps) {
    bytes += step.memory == plan.main ? std::max<int64_t>(0, step.workspace) : 0;
  }
  return bytes;
}

// Whether the outputs of all nodes together have at most so many bytes.
bool bytes_are_within(const Tape& tape, int64_t bytes) {
  int64_t sum = 0;
  for (size_t at = 0; at < tape.size() && sum <= bytes; ++at) {
    for (uint32_t i = 0; i < tape[at]->output_count(); ++i) {
      const Output& output = tape[at]->output(i);
      sum += rounded_bytes(element_count(output.shape) * size_of(output.dtype));
    }
  }
  return sum <= bytes;
}

class MemoryPlanner {
 public:
  // Starts from the plan of width 20.
  MemoryPlanner(
      std::span<const array> outputs,
      const OrderOptions& options,
      int64_t budget,
      bool fuse,
      Tape& tape,
      Plan& plan)
      : outputs_(outputs),
        tape_(tape),
        plan_(plan),
        nodes_(tape),
        question_{
            make_order_graph(plan, outputs, budget != INT64_MAX),
            options,
            budget,
            concurrency_of(plan),
            fuse,
            options.offload ? host_copy_limit() : INT64_MAX},
        width_20_peak_(plan.peak_bytes()) {
  }

  Repeats run() {
    if (plan_known(order_cache().find(question_))) {
      return std::move(repeats_);
    }
    repeats_.undo();
    find_base();
    chosen_.clear(); // what was planned for comparison
    if (!plan_waves()) {
      plan_without_waves();
    }
    if (question_.fuse && !fused_) {
      make_plan(tape_, outputs_, plan_, true);
    }
    const bool can_free = question_.options.recompute || question_.options.offload;
    if (can_free && plan_.peak_bytes() > question_.budget) {
      recompute();
    }
    order_cache().keep(
        std::move(question_), {chosen_, plan_.peak_bytes(), repeats_.extra, repeats_.total});
    return std::move(repeats_);
  }

  // That of the plan.
  Order take_order() {
    return std::move(chosen_);
  }

 private:
  // Whether there is an answer and its order takes no more than it says. If it takes more, the
  // graphs differ in layouts.
  bool plan_known(const OrderAnswer* found) {
    if (!found) {
      return false;
    }
    const OrderAnswer known = *found; // planning compiled functions may change the cache
    plan_order(known.nodes, question_.fuse);
    repeats_.extra = known.extra;
    repeats_.total = known.total;
    return plan_.peak_bytes() <= known.peak_bytes;
  }

  // Chooses the sequential order to start from.
  void find_base() {
    width_20_.resize(graph_.node_count);
    std::iota(width_20_.begin(), width_20_.end(), 0); // nodes are numbered in the order of width 20
    Order by_need;
    order_by_width(graph_, 1, width_1_);
    order_by_need(graph_, by_need);
    width_20_counted_ = graph_.is_exact ? width_20_peak_ : peak_of(graph_, width_20_);
    width_1_peak_ = peak_of(graph_, width_1_);

    struct Candidate {
      const Order* order;
      int64_t peak;
      int place; // the first of equal ones is taken
    };
    std::array candidates{
        Candidate{&width_20_, width_20_counted_, 0},
        Candidate{&width_1_, width_1_peak_, 1},
        Candidate{&by_need, peak_of(graph_, by_need), 2}};
    // The likeliest comes first. The others are given up as soon as they turn out worse.
    std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
      return a.peak < b.peak;
    });
    int place = 0;
    base_.peak = INT64_MAX - 1;
    for (const Candidate& candidate : candidates) {
      const int64_t limit = base_.peak + (candidate.place < place ? 1 : 0);
      if (run_eagerly(graph_, *candidate.order, candidate.peak, candidate_, limit)) {
        std::swap(base_, candidate_);
        place = candidate.place;
      }
    }
    if (!graph_.is_exact && graph_.node_count <= kPlannedTwice) {
      plan_order(width_1_, false);
      width_1_peak_ = plan_.peak_bytes();
    }
  }

  // plan_waves() and plan_base() return whether the plan holds what was counted. A plan differs
  // from the count where it has packed copies, or where layouts depend on who is overwritten.
  bool plan_waves() {
    if (question_.concurrency == 1) {
      return false;
    }
    const int64_t within = std::max(question_.budget, base_.peak);
    const int64_t budget = std::min({with_slack(base_.peak), width_20_counted_, within});
    Order order;
    order_in_waves(
        graph_,
        base_,
        {std::max(budget, base_.peak),
         static_cast<uint32_t>(question_.concurrency),
         kSaturatedBytes},
        order);
    return plan_within(order, std::min({width_20_peak_, with_slack(width_1_peak_), within}));
  }

  // Plans the base, else the better of the widths. A budget can rule out waves that hold less than
  // these turn out to hold: then the waves are taken all the same.
  void plan_without_waves() {
    const Order waves = std::exchange(chosen_, {});
    const int64_t peak = plan_.peak_bytes();
    if (!plan_base()) {
      plan_reference();
    }
    if (!waves.empty() && peak < plan_.peak_bytes()) {
      plan_order(waves, fused_);
    }
  }

  // The peak that parallelism may raise this one to: less than 3 % above it, or `small_bytes`,
  // which are small in any case.
  int64_t with_slack(int64_t peak) const {
    return question_.options.small_bytes > 0
               ? std::max(peak + peak / kSlackDivisor, question_.options.small_bytes)
               : peak;
  }

  bool plan_base() {
    return plan_within(base_.nodes, std::min(width_20_peak_, width_1_peak_));
  }

  // Where the count is exact, the plan can be made with fusion at once.
  bool plan_within(const Order& order, int64_t peak) {
    fused_ = question_.fuse && graph_.is_exact;
    plan_order(order, fused_);
    return plan_.peak_bytes() <= peak;
  }

  void plan_reference() {
    fused_ = question_.fuse;
    plan_order(width_1_peak_ < width_20_peak_ ? width_1_ : width_20_, question_.fuse);
  }

  void plan_order(const Order& order, bool fuse) {
    chosen_ = order;
    repeats_.undo();
    repeats_.extra = repeats_.total = 0;
    if (order.size() > nodes_.size()) {
      repeats_.apply(nodes_, order, tape_);
    } else {
      tape_.resize(order.size());
      for (size_t i = 0; i < order.size(); ++i) {
        tape_[i] = nodes_[order[i]];
      }
    }
    make_plan(tape_, outputs_, plan_, fuse);
  }

  // Plans what runs nodes again to keep the budget; where that does not lower the peak, the order
  // as it was. If that does not suffice or takes much time, steps of several nodes are looked at as
  // a whole, too, because what lies within them takes no memory.
  void recompute() {
    constexpr double kDear = 0.15; // of the time
    RecomputeCosts costs{step_costs(nodes_, is_within_step()), {}};
    for (uint32_t node = 0; node < graph_.node_count; ++node) {
      costs.runs[node] = graph_.nodes[node].is_view ? 0 : costs.runs[node];
    }
    if (question_.options.offload) {
      add_host_copies(nodes_, costs);
    }
    const OrderAnswer before{chosen_, plan_.peak_bytes()};
    const std::vector<std::optional<Strides>> layouts_before = layouts();
    CountedOrder eager;
    run_eagerly(graph_, width_1_, peak_of(graph_, width_1_), eager);
    const Order recorded = recorded_order();
    std::vector<const Order*> orders{&before.nodes, &base_.nodes, &eager.nodes, &width_20_};
    if (!recorded.empty()) {
      orders.push_back(&recorded);
    }
    OrderAnswer best = before;
    std::optional<StepGraph> steps;
    if (question_.fuse) {
      steps = make_step_graph(plan_, outputs_, nodes_, graph_, chosen_);
    }
    recompute_in(nullptr, orders, costs, layouts_before, best);
    if (steps && (best.peak_bytes > question_.budget || best.extra > kDear * best.total)) {
      recompute_in(&*steps, orders, costs, layouts_before, best);
    }
    if (!(chosen_ == best.nodes)) {
      plan_order(best.nodes, question_.fuse);
    }
    repeats_.extra = best.extra;
    repeats_.total = best.total;
    take_tighter();
  }

  // Looks for orders of steps, or without them of nodes, and keeps the best. A plan may hold more
  // than was counted in the graph: then it is looked for again below that. Where values would lie
  // in another way than in the order as it was, it is looked for again without the repeats that
  // this is due to, at last in no other order.
  void recompute_in(
      StepGraph* steps,
      std::span<const Order* const> orders,
      const RecomputeCosts& costs,
      const std::vector<std::optional<Strides>>& layouts_before,
      OrderAnswer& best) {
    constexpr int kMostRounds = 4;
    OrderGraph graph = graph_;
    std::vector<Order> in_steps;
    std::vector<const Order*> searched(orders.begin(), orders.end());
    for (size_t i = 0; steps && i < orders.size(); ++i) {
      in_steps.push_back(steps->in_steps(*orders[i]));
    }
    for (size_t i = 0; i < in_steps.size(); ++i) {
      searched[i] = &in_steps[i];
    }
    const RecomputeCosts searched_costs = steps ? steps->in_steps(costs) : costs;
    int64_t within = question_.budget;
    bool has_changed = false;
    for (int round = 0; round < kMostRounds; ++round) {
      const size_t tried = has_changed && round > 1 ? 1 : searched.size();
      const RecomputedOrder found = recompute_within(
          steps ? steps->graph : graph,
          std::span(searched).first(tried),
          searched_costs,
          within,
          question_.options.recompute);
      plan_order(
          steps ? without_unread(graph_, steps->in_nodes(found.nodes)) : found.nodes,
          question_.fuse);
      const int64_t peak = plan_.peak_bytes();
      has_changed = !graph_.is_exact && forbid_other_layouts(layouts_before, graph);
      const bool is_better = peak <= question_.budget
                                 ? best.peak_bytes > question_.budget || found.extra < best.extra
                                 : peak < best.peak_bytes;
      if (!has_changed && is_better) {
        best = {chosen_, peak, found.extra, found.total};
      }
      const int64_t beyond = peak - question_.budget;
      if (!has_changed && (beyond <= 0 || found.peak > within)) {
        break;
      }
      within -= std::max<int64_t>(0, beyond);
      if (steps && has_changed) {
        steps->forbid_repeats(graph);
      }
    }
  }

  // What was found for a smaller budget, where that is better.
  void take_tighter() {
    const OrderAnswer* tighter = order_cache().find_tighter(question_);
    // As shares of the time: that answer's seconds may be by other rates than those known now.
    if (!tighter || (plan_.peak_bytes() <= question_.budget &&
                     repeats_.extra * tighter->total <= tighter->extra * repeats_.total)) {
      return;
    }
    const OrderAnswer found{chosen_, plan_.peak_bytes(), repeats_.extra, repeats_.total};
    if (!plan_known(tighter)) {
      plan_known(&found);
    }
  }

  // Programs use values soon after they make them, on the way back, too. Empty if the order in
  // which the nodes were recorded is not known, or if they cannot run in it any more.
  Order recorded_order() const {
    const std::vector<uint32_t> places = record_places(nodes_);
    Order order(places.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(
        order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return places[a] < places[b]; });
    for (const uint32_t node : order) {
      for (const uint32_t input : graph_.inputs[node]) {
        if (places[input] >= places[node]) {
          return {};
        }
      }
    }
    return order;
  }

  // In the latest plan. Inputs are no outputs of nodes of the graph.
  IsWithinStep is_within_step() const {
    return [this](const Output& output) {
      return output.node->status() == Status::lazy && !planned(output);
    };
  }

  // Nothing for what is inside of a fused step.
  const PlannedValue* planned(const Output& output) const {
    const bool is_known =
        output.value < plan_.values.size() && plan_.values[output.value].output == &output;
    return is_known ? &plan_.values[output.value] : nullptr;
  }

  // How the nodes' outputs lie in the latest plan.
  std::vector<std::optional<Strides>> layouts() const {
    std::vector<std::optional<Strides>> found;
    for (Node* node : nodes_) {
      for (uint32_t i = 0; i < node->output_count(); ++i) {
        const PlannedValue* value = planned(node->output(i));
        found.push_back(value ? std::optional(value->layout.strides) : std::nullopt);
      }
    }
    return found;
  }

  // A result has the same bits only if all that it is made of lies as before, because sums may be
  // made in another order. An array that dies earlier may be overwritten where it was not before,
  // and what overwrites it lies as it did. Whether something lies in another way; then what that is
  // due to may not run again.
  bool forbid_other_layouts(
      const std::vector<std::optional<Strides>>& before, OrderGraph& graph) const {
    bool any = false;
    for (const Repeats::Copy& copy : repeats_.copies()) {
      for (uint32_t i = 0; i < copy.node->output_count(); ++i) {
        const PlannedValue* again = planned(copy.node->output(i));
        const PlannedValue* first = planned(copy.original->output(i));
        if (again && first && !(again->layout.strides == first->layout.strides)) {
          const auto at = std::find(nodes_.begin(), nodes_.end(), copy.original);
          graph.can_repeat[at - nodes_.begin()] = 0;
          any = true;
        }
      }
    }
    const std::vector<std::optional<Strides>> now = layouts();
    std::vector<uint8_t> differs(nodes_.size(), 0);
    size_t output = 0;
    for (size_t node = 0; node < nodes_.size(); ++node) {
      for (uint32_t i = 0; i < nodes_[node]->output_count(); ++i, ++output) {
        differs[node] |=
            before[output] && now[output] && !(*before[output] == *now[output]) ? 1 : 0;
      }
    }
    for (uint32_t node = 0; node < nodes_.size(); ++node) {
      const auto inputs = graph.inputs[node];
      if (!differs[node] || std::any_of(inputs.begin(), inputs.end(), [&](uint32_t input) {
            return differs[input] != 0;
          })) {
        continue;
      }
      any = true;
      for (const uint32_t root : graph.reads[node]) {
        if (graph.makers[root] != kNone) {
          graph.can_repeat[graph.makers[root]] = 0;
        }
      }
    }
    return any;
  }

  const std::span<const array> outputs_;
  bool fused_ = false; // whether the plan has fusion
  Tape& tape_;
  Plan& plan_;

  const Tape nodes_; // of the graph, by number
  OrderQuestion question_;
  const OrderGraph& graph_ = question_.graph;
  Repeats repeats_; // of the latest plan
  CountedOrder base_;
  CountedOrder candidate_;
  Order width_20_;
  Order width_1_;
  Order chosen_;                 // the order of the latest plan
  const int64_t width_20_peak_;  // of the plan
  int64_t width_20_counted_ = 0; // as counted in the graph
  int64_t width_1_peak_ = 0;     // of the plan, or as counted
};

using OrderMemory = TapeMemory<std::shared_ptr<const KnownOrder>>;

// Plans a tape as one like it was planned before. False, with the tape as it was, if there was none
// or if the plan differs from that one's: what is known of a tape is only a good guess.
bool plan_as_before(
    const OrderMemory& memory,
    std::span<const array> outputs,
    const OrderOptions& options,
    Tape& tape,
    Plan& plan,
    bool fuse) {
  const std::shared_ptr<const KnownOrder>* found = memory.find(tape);
  if (!found || !((*found)->options == options) || (*found)->fuse != fuse) {
    return false;
  }
  const std::shared_ptr<const KnownOrder> known = *found; // planning may change the memory
  const Tape by_width = tape;
  if (!reorder(known->nodes, tape)) {
    return false;
  }
  make_plan(tape, outputs, plan, fuse);
  if (known->has_planned(plan) && plan.peak_bytes() <= limit_of(plan, options)) {
    return true;
  }
  tape = by_width;
  return false;
}

// plan_listed() of the policy "memory".
Repeats plan_for_memory(
    std::span<const array> outputs,
    const OrderOptions& options,
    Tape& tape,
    Plan& plan,
    bool fuse) {
  if (tape.size() <= 1) {
    make_plan(tape, outputs, plan);
    return {};
  }
  static thread_local OrderMemory ordered_before;
  if (options.budget == 0 && plan_as_before(ordered_before, outputs, options, tape, plan, fuse)) {
    return {};
  }
  // Small graphs keep the order of width 20, so they are planned with fusion at once; so are graphs
  // that were small before.
  static thread_local TapeMemory<OrderOptions> small_before;
  const OrderOptions* known = small_before.find(tape);
  const bool likely_small =
      bytes_are_within(tape, options.small_bytes) || (known && *known == options);
  make_plan(tape, outputs, plan, fuse && likely_small);
  MemorySource& memory = *plan.main_memory().source;
  const int64_t outside = get_active_memory(memory) - plan.bytes_before();
  const int64_t budget = options.budget > 0 ? options.budget - outside : INT64_MAX;
  const int64_t limit = limit_of(plan, options); // counts only where the plan would pass it
  const bool small =
      allocated_in(plan) <= options.small_bytes && plan.peak_bytes() <= std::min(budget, limit);
  if (small) {
    if (fuse && !likely_small) {
      small_before.keep(tape, options);
      make_plan(tape, outputs, plan, true);
    }
    return {};
  }
  const Tape by_width = tape;
  Order order;
  const auto plan_within = [&](int64_t bytes, bool is_unfused) {
    if (!is_unfused) {
      tape = by_width;
      make_plan(tape, outputs, plan);
    }
    MemoryPlanner planner(outputs, options, bytes, fuse, tape, plan);
    Repeats repeats = planner.run();
    order = planner.take_order();
    return repeats;
  };
  Repeats repeats = plan_within(budget, !(fuse && likely_small));
  if (plan.peak_bytes() > limit) {
    repeats = plan_within(limit, false);
  } else if (options.budget == 0) {
    ordered_before.keep(
        by_width, std::make_shared<KnownOrder>(options, fuse, std::move(order), plan));
  }
  return repeats;
}

} // namespace

int64_t limit_of(const Plan& plan, const OrderOptions& options) {
  if (options.budget == 0 && options.recompute) {
    MemorySource& memory = *plan.main_memory().source;
    if (const std::optional<int64_t> strict = strict_limit(memory)) {
      return *strict - (get_active_memory(memory) - plan.bytes_before());
    }
  }
  return INT64_MAX;
}

void list_nodes(std::span<const array> outputs, const OrderOptions& options, Tape& tape) {
  const bool by_width = options.policy == OrderPolicy::width;
  linearize(outputs, is_leaf, by_width ? options.width : kReferenceWidth, tape);
}

Repeats plan_listed(
    std::span<const array> outputs,
    const OrderOptions& options,
    Tape& tape,
    Plan& plan,
    bool fuse) {
  if (options.policy == OrderPolicy::width) {
    make_plan(tape, outputs, plan, fuse);
    return {};
  }
  return plan_for_memory(outputs, options, tape, plan, fuse);
}

Repeats plan_graph(
    std::span<const array> outputs,
    const OrderOptions& options,
    Tape& tape,
    Plan& plan,
    bool fuse) {
  list_nodes(outputs, options, tape);
  return plan_listed(outputs, options, tape, plan, fuse);
}

int64_t least_budget(std::span<const array> outputs, const OrderOptions& options, bool fuse) {
  constexpr int kMostPlans = 24;
  constexpr int64_t kPrecision = 256; // of the budget
  Tape tape;
  Plan plan;
  OrderOptions tried = options;
  tried.policy = OrderPolicy::memory; // a width keeps no budget
  // Active memory at the peak.
  const auto peak_under = [&](int64_t budget) {
    tried.budget = budget;
    const Repeats repeats = plan_graph(outputs, tried, tape, plan, fuse);
    return plan.main_memory().source ? get_active_memory(*plan.main_memory().source) -
                                           plan.bytes_before() + plan.peak_bytes()
                                     : int64_t{0};
  };
  int64_t kept = peak_under(0);
  int64_t failed = 0;
  for (int i = 0; i < kMostPlans && kept - failed > kept / kPrecision + 1; ++i) {
    const int64_t budget = failed + (kept - failed) / 2;
    const int64_t peak = peak_under(budget);
    if (peak <= budget) {
      kept = budget; // the question that was answered: one for the peak may find another plan
    } else {
      failed = budget;
    }
  }
  return kept;
}

} // namespace narrows
