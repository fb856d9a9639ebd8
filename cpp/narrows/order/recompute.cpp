#include "narrows/order/recompute.h"

#include <algorithm>
#include <memory>

#include "narrows/order/recompute_reducer.h"
#include "narrows/order/recompute_tape.h"

namespace narrows {
namespace {

// What an attempt begins with.
struct Start {
  bool checkpoints;
  double budget_share;
  uint32_t window; // see RecomputeRules
};
constexpr Start kFirstStart{false, 1, 96};
constexpr Start kCheckpoints{true, 1, 96};
constexpr Start kLower{false, 0.94, 96};
constexpr Start kNoWindow{false, 1, 0};

class Search {
 public:
  Search(
      const OrderGraph& graph,
      std::span<const Order* const> orders,
      const std::vector<double>& costs,
      int64_t budget)
      : graph_(graph), orders_(orders), costs_(costs), budget_(budget) {
    for (const Order* order : orders) {
      problems_.push_back(make_problem(graph, *order, costs));
    }
  }

  RecomputedOrder run() {
    constexpr double kMuchMore = 2; // than the least excess
    const std::vector<Candidate> candidates = candidates_by_excess();
    for (const Candidate& candidate : candidates) {
      if (best_.state && best_.excess == 0 &&
          candidate.excess > kMuchMore * candidates.front().excess) {
        break; // it would hardly be better
      }
      attempt(candidate.order, kFirstStart);
    }
    const size_t on = best_.order;
    attempt(on, kCheckpoints);
    attempt(on, kLower);
    if (best_.excess > 0) {
      attempt(on, kNoWindow);
    }
    for (size_t i = 0; i < orders_.size() && best_.excess > 0; ++i) {
      if (i != on) {
        attempt(i, kCheckpoints);
      }
    }
    constexpr double kSearch = 200; // elementary work for each step
    constexpr double kLeastSearch = 2e5;
    if (best_.excess == 0 && best_.state->extra_cost() > 0) {
      Reducer(*best_.state).search(kLeastSearch + kSearch * graph_.node_count);
    }
    return result();
  }

 private:
  struct Candidate {
    size_t order;
    double excess;
  };
  struct Best {
    size_t order = 0;
    double excess = 0;
    std::unique_ptr<RecomputeState> state;
  };

  // The different orders, those first that pass the budget by least while nothing is dropped.
  std::vector<Candidate> candidates_by_excess() const {
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < orders_.size(); ++i) {
      const auto is_same = [&](const Order* other) { return *other == *orders_[i]; };
      if (std::none_of(orders_.begin(), orders_.begin() + i, is_same)) {
        RecomputeState state(problems_[i], RecomputeRules{budget_});
        candidates.push_back({i, Reducer(state).excess()});
      }
    }
    std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
      return a.excess < b.excess;
    });
    return candidates;
  }

  void attempt(size_t order, const Start& start) {
    constexpr double kMostExtra = 3; // times the graph
    if (best_.state && best_.excess == 0 && best_.state->extra_cost() <= 0) {
      return; // it cannot be better
    }
    const RecomputeProblem& problem = problems_[order];
    const auto within = static_cast<int64_t>(start.budget_share * static_cast<double>(budget_));
    auto state = std::make_unique<RecomputeState>(problem, RecomputeRules{within, start.window});
    Reducer reducer(*state);
    if (!state->is_within_budget()) {
      if (start.checkpoints && !reducer.keep_checkpoints()) {
        return;
      }
      const bool is_met = best_.state && best_.excess == 0;
      reducer.reduce(is_met ? best_.state->extra_cost() : kMostExtra * problem.total_cost);
    }
    state->rules().budget = budget_;
    if (state->is_within_budget()) {
      reducer.keep_what_fits();
    }
    const double excess = state->is_within_budget() ? 0 : reducer.excess();
    if (!best_.state || excess < best_.excess ||
        (excess == best_.excess && state->extra_cost() < best_.state->extra_cost())) {
      best_ = {order, excess, std::move(state)};
    }
  }

  RecomputedOrder result() const {
    RecomputedOrder found;
    found.nodes = write_tape(graph_, *orders_[best_.order], *best_.state);
    found.peak = std::max(graph_.bytes_before, best_.state->peak());
    found.total = problems_[best_.order].total_cost;
    found.extra = -found.total; // less than that of all clones: what nobody reads does not run
    for (const uint32_t node : found.nodes) {
      found.extra += graph_.nodes[node].is_view ? 0 : costs_[node];
    }
    found.extra = std::max(found.extra, 0.0);
    return found;
  }

  const OrderGraph& graph_;
  const std::span<const Order* const> orders_;
  const std::vector<double>& costs_;
  const int64_t budget_;
  std::vector<RecomputeProblem> problems_;
  Best best_;
};

} // namespace

RecomputedOrder recompute_within(
    const OrderGraph& graph,
    std::span<const Order* const> orders,
    const std::vector<double>& costs,
    int64_t budget) {
  return Search(graph, orders, costs, budget).run();
}

} // namespace narrows
