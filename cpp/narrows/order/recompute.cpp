#include "narrows/order/recompute.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "narrows/order/recompute_reducer.h"
#include "narrows/order/recompute_tape.h"
#include "narrows/order/recompute_timeline.h"

namespace narrows {
namespace {

constexpr double kMostExtra = 3; // times the graph

class Search {
 public:
  Search(
      const OrderGraph& graph,
      std::span<const Order* const> orders,
      const RecomputeCosts& costs,
      int64_t budget,
      bool recompute,
      double exposed)
      : graph_(graph), costs_(costs), budget_(budget), recompute_(recompute) {
    for (const Order* order : orders) {
      const auto is_same = [&](const Order* other) { return *other == *order; };
      if (std::none_of(orders_.begin(), orders_.end(), is_same)) {
        orders_.push_back(order);
        problems_.push_back(make_problem(graph, *order, costs, exposed));
      }
    }
  }

  RecomputedOrder run() {
    for (size_t order = 0; order < orders_.size(); ++order) {
      running_.push_back(start_on(order, budget_));
    }
    race();
    if (best_.excess > 0) {
      insist();
    }
    constexpr double kLower = 0.92; // of the budget
    constexpr double kAsMuch = 3;   // of the best one's work
    Attempt lower =
        start_on(best_.order, static_cast<int64_t>(kLower * static_cast<double>(budget_)));
    Reducer(*lower.state).reduce(most_extra(), kAsMuch * best_.state->work);
    finish(std::move(lower));
    constexpr double kSearch = 200; // elementary work for each step
    constexpr double kLeastSearch = 2e5;
    if (best_.state->extra_cost() > 0) {
      Reducer(*best_.state).search(kLeastSearch + kSearch * graph_.node_count);
    }
    Reducer(*best_.state).move_to_host();
    if (costs_.copies_run_beside) {
      start_copies_early(*best_.state);
    }
    return result();
  }

 private:
  struct Attempt {
    size_t order;
    double excess;
    std::unique_ptr<RecomputeState> state;
  };

  Attempt start_on(size_t order, int64_t within) const {
    RecomputeRules rules{within};
    rules.recompute = recompute_;
    Attempt attempt{order, 0, std::make_unique<RecomputeState>(problems_[order], rules)};
    attempt.excess = Reducer(*attempt.state).excess();
    return attempt;
  }

  static bool is_better(const Attempt& a, const Attempt& b) {
    return a.excess < b.excess ||
           (a.excess == b.excess && a.state->extra_cost() < b.state->extra_cost());
  }

  // All orders go on as long as they take no more extra time than a limit, which grows until one
  // of them is within the budget. Those that lag behind, or get no further, are given up. If none
  // is there soon, another way to start shows how much time is worth a look.
  void race() {
    constexpr std::array kLimits{0.03, 0.08, 0.16, 0.32, 0.64, kMostExtra}; // times the graph
    constexpr double kLags = 2.5;      // times the least excess
    constexpr double kNoFurther = 0.9; // of the excess before
    constexpr double kSoon = 0.2;
    constexpr double kNearly = 0.05; // of the excess
    bool has_started = false;        // with checkpoints
    std::stable_sort(running_.begin(), running_.end(), is_better);
    const double at_first = running_.front().excess;
    for (const double limit : kLimits) {
      if (running_.empty() || running_.front().excess == 0) {
        break;
      }
      const bool is_nearly_there = running_.front().excess < kNearly * at_first;
      if (limit > kSoon && recompute_ && !is_nearly_there && !std::exchange(has_started, true)) {
        start_with_checkpoints();
      }
      std::vector<Attempt> going_on;
      for (Attempt& attempt : running_) {
        const double before = attempt.excess;
        Reducer reducer(*attempt.state);
        reducer.reduce(std::min(limit * problems_[attempt.order].total_cost, most_extra()));
        attempt.excess = reducer.excess();
        const bool got_further = attempt.excess <= kNoFurther * before;
        (got_further ? going_on : given_up_).push_back(std::move(attempt));
      }
      std::stable_sort(going_on.begin(), going_on.end(), is_better);
      while (!going_on.empty() && going_on.back().excess > kLags * going_on.front().excess) {
        given_up_.push_back(std::move(going_on.back()));
        going_on.pop_back();
      }
      running_ = std::move(going_on);
    }
    for (Attempt& attempt : running_.empty() ? given_up_ : running_) {
      finish(std::move(attempt));
    }
  }

  // Where no order got there, each has more time, and keeps nothing that was made again for later.
  void insist() {
    constexpr double kEffort = 400; // elementary work for each step
    for (size_t order = 0; order < orders_.size() && best_.excess > 0; ++order) {
      Attempt attempt = start_on(order, budget_);
      attempt.state->rules().window = 0;
      Reducer(*attempt.state).reduce(most_extra(), kEffort * graph_.node_count);
      finish(std::move(attempt));
    }
  }

  // Drops all that layers need between them, on each order.
  void start_with_checkpoints() {
    std::vector<size_t> orders;
    for (const std::vector<Attempt>* attempts : {&running_, &given_up_}) {
      for (const Attempt& attempt : *attempts) {
        orders.push_back(attempt.order);
      }
    }
    for (const size_t order : orders) {
      Attempt attempt = start_on(order, budget_);
      if (Reducer(*attempt.state).keep_checkpoints(most_extra())) {
        this->attempt(std::move(attempt));
      }
    }
  }

  // What an attempt may take so that it can be the best when values are kept again.
  double most_extra() const {
    constexpr double kKeptAgain = 1.6;
    const double most = kMostExtra * problems_[0].total_cost;
    return best_.state && best_.excess == 0 ? std::min(most, kKeptAgain * best_.state->extra_cost())
                                            : most;
  }

  void attempt(Attempt attempt) {
    Reducer(*attempt.state).reduce(most_extra());
    finish(std::move(attempt));
  }

  void finish(Attempt attempt) {
    attempt.state->rules().budget = budget_;
    Reducer reducer(*attempt.state);
    attempt.excess = reducer.excess();
    if (attempt.excess == 0) {
      reducer.keep_what_fits();
    }
    if (!best_.state || is_better(attempt, best_)) {
      best_ = std::move(attempt);
    }
  }

  RecomputedOrder result() const {
    RecomputedOrder found;
    found.nodes = write_tape(graph_, *orders_[best_.order], *best_.state);
    found.peak = std::max(graph_.bytes_before, best_.state->peak());
    found.total = problems_[best_.order].total_cost;
    // Less than that of all clones: what nobody reads does not run.
    found.extra = std::max(seconds_of(graph_, found.nodes, costs_) - found.total, 0.0);
    return found;
  }

  const OrderGraph& graph_;
  const RecomputeCosts& costs_;
  const int64_t budget_;
  const bool recompute_;
  std::vector<const Order*> orders_; // without repetition
  std::vector<RecomputeProblem> problems_;
  std::vector<Attempt> running_;
  std::vector<Attempt> given_up_;
  Attempt best_{};
};

} // namespace

RecomputedOrder recompute_within(
    const OrderGraph& graph,
    std::span<const Order* const> orders,
    const RecomputeCosts& costs,
    int64_t budget,
    bool recompute) {
  RecomputedOrder best = Search(graph, orders, costs, budget, recompute, 1).run();
  // How much of the copies runs beside other work is known at the end only: two guesses are tried.
  constexpr double kExposed = 0.2;
  if (costs.copies_run_beside && !costs.host_copies.empty()) {
    RecomputedOrder other = Search(graph, orders, costs, budget, recompute, kExposed).run();
    const bool is_better = other.peak <= budget ? best.peak > budget || other.extra < best.extra
                                                : other.peak < best.peak;
    if (is_better) {
      best = std::move(other);
    }
  }
  return best;
}

} // namespace narrows
