#include "narrows/order/recompute.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <queue>

#include "narrows/order/recompute_state.h"
#include "narrows/order/recompute_tape.h"

namespace narrows {
namespace {

using Gap = RecomputeState::Gap;

// Elementary work for each step, and at least.
constexpr double kEffort = 400;
constexpr double kLeastEffort = 5e4;

// Brings one state within its budget.
class Reducer {
 public:
  explicit Reducer(RecomputeState& state)
      : state_(state), problem_(state.problem()), steps_(state.problem().step_count()) {
  }

  // Drops gaps until nothing passes the budget, or the extra time passes `limit`.
  void reduce(double limit) {
    constexpr size_t kRefreshes = 400;  // of what passes the budget, at most
    constexpr double kUsualExtra = 0.3; // of the time, as a first guess
    const double last_work = most_work();
    const size_t most_between = std::max<size_t>(4, steps_ / kRefreshes);
    size_t since = 0;
    bool filled_again = false;
    find_excess();
    level_ = excess_.back() / (kUsualExtra * problem_.total_cost + 1e-12);
    fill();
    while (!state_.is_within_budget() && state_.work < last_work && state_.extra_cost() <= limit) {
      if (heap_.empty()) {
        if (filled_again) {
          return;
        }
        filled_again = true;
        level_ = 0;
        find_excess();
        fill();
        continue;
      }
      const std::optional<Candidate> best = take_best();
      if (!best || !try_drop(*best)) {
        continue;
      }
      filled_again = false;
      if (++since >= most_between) {
        find_excess();
        since = 0;
      }
    }
  }

  // Of what crosses the highest step, keeps only what everything before that goes through: values
  // beside which no other lives. False if there are few, or if it is too much work.
  bool keep_checkpoints() {
    constexpr uint32_t kFewest = 4;
    const std::vector<int64_t> bytes = state_.bytes_by_step();
    const auto highest =
        static_cast<uint32_t>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
    const std::vector<uint32_t> cuts = cuts_before(highest);
    if (cuts[highest] < kFewest) {
      return false;
    }
    const double last_work = most_work();
    for (uint32_t root = 0; root < problem_.roots.size(); ++root) {
      const uint32_t maker = problem_.roots[root].maker;
      if (state_.work > last_work) {
        return false;
      }
      if (!problem_.can_drop(root) || maker >= highest ||
          cuts[std::max(end_before(root, highest), maker + 1)] > cuts[maker]) {
        continue;
      }
      const size_t at = state_.touch_at(root, highest + 1);
      if (at < state_.touches(root).size()) {
        const Gap gap{root, state_.touches(root)[at].step};
        if (state_.has_gap(gap, false) && state_.touches(root)[at - 1].step < highest) {
          state_.drop(gap);
          state_.settle();
        }
      }
    }
    return true;
  }

  // Keeps dropped gaps again where they fit, those first that save most time.
  void keep_what_fits() {
    constexpr int kMostPasses = 3;
    for (int pass = 0; pass < kMostPasses; ++pass) {
      bool any = false;
      for (const Gap gap : dropped_by_saving()) {
        any |= try_keep(gap);
      }
      if (!any) {
        return;
      }
    }
  }

  // Bytes beyond the budget, summed over all steps.
  double excess() {
    find_excess();
    return excess_.back();
  }

 private:
  struct Candidate {
    double score;
    Gap gap;
    bool operator<(const Candidate& other) const {
      return score < other.score;
    }
  };

  double most_work() const {
    return state_.work + kEffort * steps_ + kLeastEffort;
  }

  void find_excess() {
    const std::vector<int64_t> bytes = state_.bytes_by_step();
    const int64_t budget = state_.rules().budget;
    excess_.assign(1, 0);
    above_.assign(1, 0);
    for (const int64_t at : bytes) {
      excess_.push_back(excess_.back() + static_cast<double>(std::max<int64_t>(0, at - budget)));
      above_.push_back(above_.back() + (at > budget ? 1 : 0));
    }
    state_.work += 3.0 * steps_;
  }

  // What it brings to free bytes at the steps between two.
  double benefit(int64_t from, uint32_t to, int64_t bytes) const {
    if (to <= from + 1) {
      return 0;
    }
    const double steps = above_[to] - above_[static_cast<size_t>(from + 1)];
    return std::min(
        static_cast<double>(bytes) * steps, excess_[to] - excess_[static_cast<size_t>(from + 1)]);
  }

  double benefit_of(Gap gap) const {
    const auto& touches = state_.touches(gap.root);
    const size_t at = state_.touch_at(gap.root, gap.end);
    return benefit(touches[at - 1].step, gap.end, problem_.roots[gap.root].bytes);
  }

  // Bytes and steps for a second; 0 where it brings nothing. What is dearer than the next best is
  // not looked at to its end.
  double score(Gap gap, double next) {
    constexpr double kTooDear = 8;
    if (!problem_.can_drop(gap.root) || !state_.has_gap(gap, false)) {
      return 0;
    }
    double brought = benefit_of(gap);
    if (brought <= 0) {
      return 0;
    }
    const double limit = next > 0 ? kTooDear * brought / next : 1e300;
    const double cost =
        state_.cost_of_dropping(gap, limit, [&](int64_t from, uint32_t to, int64_t bytes) {
          brought -= benefit(from, to, bytes);
        });
    if (brought <= 0) {
      return 0;
    }
    if (std::isinf(cost)) {
      return next > 0 ? next / kTooDear : 0;
    }
    return brought / (cost + 1e-9);
  }

  void push(Gap gap) {
    const double found = score(gap, level_ / 2);
    if (found > 0) {
      heap_.push({found, gap});
    }
  }

  void fill() {
    heap_ = {};
    for (uint32_t root = 0; root < problem_.roots.size(); ++root) {
      const auto& touches = state_.touches(root);
      for (size_t i = 1; problem_.can_drop(root) && i < touches.size(); ++i) {
        if (!touches[i].dropped && excess_[touches[i].step] > excess_[touches[i - 1].step + 1]) {
          push({root, touches[i].step});
        }
      }
      state_.work += static_cast<double>(touches.size());
    }
  }

  // Scores are as they were when they were last looked at: the best is looked at again.
  std::optional<Candidate> take_best() {
    constexpr double kSame = 0.98;
    Candidate best = heap_.top();
    heap_.pop();
    const double next = heap_.empty() ? 0 : heap_.top().score;
    best.score = score(best.gap, next);
    if (best.score <= 0) {
      return std::nullopt;
    }
    if (best.score < kSame * next) {
      heap_.push(best);
      return std::nullopt;
    }
    return best;
  }

  bool try_drop(const Candidate& candidate) {
    constexpr double kWorse = 0.5; // of what it brings, at the steps that it touches
    const double brought = benefit_of(candidate.gap);
    const size_t start = state_.begin();
    state_.take_new_gaps();
    state_.drop(candidate.gap);
    const std::vector<uint32_t> changed = state_.changed_steps();
    double before = 0;
    for (uint32_t step : changed) {
      before += excess_[step + 1] - excess_[step];
    }
    const bool good = state_.settle();
    double after = 0;
    for (uint32_t step : changed) {
      after +=
          static_cast<double>(std::max<int64_t>(0, state_.bytes_at(step) - state_.rules().budget));
    }
    if (!good || after - before > kWorse * brought) {
      state_.roll_back(start);
      return false;
    }
    state_.commit();
    level_ = level_ > 0 ? std::min(level_, candidate.score) : candidate.score;
    for (const Gap gap : state_.take_new_gaps()) {
      push(gap);
    }
    return true;
  }

  // For each step the number of steps before it beside whose value none lives that can be dropped.
  std::vector<uint32_t> cuts_before(uint32_t highest) const {
    std::vector<int32_t> alive(steps_ + 1, 0);
    for (uint32_t root = 0; root < problem_.roots.size(); ++root) {
      const uint32_t maker = problem_.roots[root].maker;
      if (problem_.can_drop(root) && maker < highest) {
        ++alive[maker];
        --alive[std::max(end_before(root, highest), maker + 1)];
      }
    }
    std::vector<uint32_t> cuts(steps_ + 1, 0);
    int32_t living = 0;
    for (uint32_t step = 0; step < steps_; ++step) {
      living += alive[step];
      cuts[step + 1] = cuts[step] + (living == 1 && step < highest ? 1 : 0);
    }
    return cuts;
  }

  // The last touch of a root at a step or before it.
  uint32_t end_before(uint32_t root, uint32_t step) const {
    const size_t at = state_.touch_at(root, step + 1);
    return at > 0 ? state_.touches(root)[at - 1].step : 0;
  }

  std::vector<Gap> dropped_by_saving() {
    struct Saving {
      double weight;
      Gap gap;
    };
    std::vector<Saving> savings;
    for (const Gap gap : state_.dropped_gaps()) {
      const double before = state_.extra_cost();
      const size_t start = state_.begin();
      state_.keep(gap);
      const double saved = before - state_.extra_cost();
      state_.roll_back(start);
      const auto bytes = static_cast<double>(problem_.roots[gap.root].bytes);
      savings.push_back({saved / std::sqrt(bytes + 1), gap});
    }
    std::stable_sort(savings.begin(), savings.end(), [](const Saving& a, const Saving& b) {
      return a.weight > b.weight;
    });
    std::vector<Gap> gaps;
    for (const Saving& saving : savings) {
      gaps.push_back(saving.gap);
    }
    return gaps;
  }

  bool try_keep(Gap gap) {
    if (!state_.has_gap(gap, true)) {
      return false;
    }
    const size_t start = state_.begin();
    state_.keep(gap);
    // What the change frees at other steps is counted before what it takes is judged.
    state_.settle();
    if (!state_.is_within_budget()) {
      state_.roll_back(start);
      return false;
    }
    state_.commit();
    return true;
  }

  RecomputeState& state_;
  const RecomputeProblem& problem_;
  const uint32_t steps_;
  std::vector<double> excess_; // by step: of the steps before it
  std::vector<double> above_;  // by step: how many before it pass the budget
  std::priority_queue<Candidate> heap_;
  double level_ = 0; // about the score of what is accepted now
};

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
    for (size_t i = 0; i < orders_.size(); ++i) {
      const auto is_same = [&](const Order* other) { return *other == *orders_[i]; };
      if (std::none_of(orders_.begin(), orders_.begin() + i, is_same)) {
        attempt(i, kFirstStart);
      }
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
    return result();
  }

 private:
  struct Best {
    size_t order = 0;
    double excess = 0;
    std::unique_ptr<RecomputeState> state;
  };

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
