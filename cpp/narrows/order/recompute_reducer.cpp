#include "narrows/order/recompute_reducer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace narrows {
namespace {

// Elementary work for each step, and at least.
constexpr double kEffort = 200;
constexpr double kLeastEffort = 5e4;
constexpr double kMostExtra = 8; // times the graph

} // namespace

void Reducer::reduce(double limit, double work) {
  constexpr size_t kRefreshes = 400;  // of what passes the budget, at most
  constexpr double kUsualExtra = 0.3; // of the time, as a first guess
  const double last_work = state_.work + work;
  const size_t most_between = std::max<size_t>(4, steps_ / kRefreshes);
  size_t since = 0;
  bool filled_again = noise_ > 0;
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

bool Reducer::keep_checkpoints(double limit) {
  const uint32_t highest = highest_step();
  const std::vector<uint32_t> cuts = cuts_before(highest);
  const double last_work = state_.work + most_work();
  for (uint32_t root = 0; root < problem_.roots.size() && !cuts.empty(); ++root) {
    if (state_.work > last_work || state_.extra_cost() > limit) {
      return false;
    }
    if (!is_made_before(root, highest) || is_cut(root, highest, cuts)) {
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
  return !cuts.empty();
}

void Reducer::keep_what_fits() {
  constexpr int kMostPasses = 3;
  const double last_work = state_.work + most_work();
  bool any = true;
  for (int pass = 0; pass < kMostPasses && any; ++pass) {
    any = false;
    for (const Gap gap : dropped_by_saving(last_work)) {
      any |= state_.work < last_work && try_keep(gap);
    }
  }
}

void Reducer::move_to_host() {
  for (const Gap gap : state_.dropped_gaps()) {
    const bool can_be = std::isfinite(problem_.host_costs[gap.root]) && state_.has_gap(gap, true) &&
                        state_.has_room_on_host(gap.root) &&
                        !state_.is_from_host(problem_.roots[gap.root].maker, gap.end);
    if (!can_be) {
      continue;
    }
    const double before = state_.extra_cost();
    const size_t start = state_.begin();
    state_.move_to_host(gap);
    state_.settle();
    if (state_.is_within_budget() && state_.extra_cost() < before) {
      state_.commit();
    } else {
      state_.roll_back(start);
    }
  }
}

void Reducer::search(double work) {
  constexpr double kLess = 0.9999;
  constexpr uint32_t kMostAtOnce = 4;
  const double last_work = state_.work + work;
  bool is_met = state_.is_within_budget();
  double passes = is_met ? 0 : excess();
  double best = state_.extra_cost();
  std::mt19937 random(7);
  std::vector<Gap> gaps;
  size_t next = 0;
  bool is_first_round = true;
  while (state_.work < last_work && !(is_met && best <= 0)) {
    if (next >= gaps.size()) {
      is_first_round = gaps.empty();
      gaps = is_first_round && is_met ? dropped_by_saving(last_work) : state_.dropped_gaps();
      state_.work += steps_ + 60.0 * static_cast<double>(gaps.size());
      if (gaps.empty()) {
        break;
      }
      if (!is_first_round || !is_met) {
        std::shuffle(gaps.begin(), gaps.end(), random);
      }
      next = 0;
    }
    const size_t start = state_.begin();
    std::vector<uint32_t> kept;
    const uint32_t count = is_first_round ? 1 : 1 + random() % kMostAtOnce;
    for (uint32_t i = 0; i < count && next < gaps.size(); ++i) {
      const Gap gap = gaps[next++];
      if (state_.has_gap(gap, true)) {
        state_.keep(gap);
        state_.settle();
        kept.push_back(gap.root);
        ++pinned_[gap.root];
      }
    }
    state_.work += 200;
    if (!kept.empty() && !(is_met && state_.extra_cost() >= kLess * best)) {
      ++noise_;
      reduce(
          is_met ? best : kMostExtra * problem_.total_cost,
          std::min(most_work(), last_work - state_.work));
    }
    for (const uint32_t root : kept) {
      --pinned_[root];
    }
    const bool now_met = state_.is_within_budget();
    const double now_passes = now_met || is_met ? 0 : excess();
    const double extra = state_.extra_cost();
    const bool is_better = is_met ? now_met && extra < kLess * best
                                  : now_met || now_passes < kLess * passes ||
                                        (now_passes <= passes && extra < kLess * best);
    if (kept.empty() || !is_better) {
      state_.roll_back(start);
      continue;
    }
    state_.commit();
    if (now_met && !is_met) {
      keep_what_fits();
      gaps.clear();
    }
    is_met = now_met;
    passes = now_passes;
    best = state_.extra_cost();
  }
  noise_ = 0;
  if (is_met) {
    keep_what_fits();
  }
}

double Reducer::excess() {
  find_excess();
  return excess_.back();
}

double Reducer::most_work() const {
  return kEffort * steps_ + kLeastEffort;
}

void Reducer::find_excess() {
  const std::vector<int64_t>& bytes = state_.bytes_by_step();
  const int64_t budget = state_.rules().budget;
  excess_.resize(steps_ + 1, 0);
  above_.resize(steps_ + 1, 0);
  for (uint32_t step = 0; step < steps_; ++step) {
    const int64_t beyond = bytes[step] - budget;
    excess_[step + 1] = excess_[step] + static_cast<double>(std::max<int64_t>(0, beyond));
    above_[step + 1] = above_[step] + (beyond > 0 ? 1 : 0);
  }
  state_.work += 3.0 * steps_;
}

// What it brings to free bytes at the steps between two.
double Reducer::benefit(int64_t from, uint32_t to, int64_t bytes) const {
  if (to <= from + 1) {
    return 0;
  }
  const double steps = above_[to] - above_[static_cast<size_t>(from + 1)];
  return std::min(
      static_cast<double>(bytes) * steps, excess_[to] - excess_[static_cast<size_t>(from + 1)]);
}

double Reducer::benefit_of(Gap gap) const {
  const auto& touches = state_.touches(gap.root);
  const size_t at = state_.touch_at(gap.root, gap.end);
  return benefit(touches[at - 1].step, gap.end, problem_.roots[gap.root].bytes);
}

// Bytes and steps for a second; 0 where it brings nothing. What is dearer than the next best is
// not looked at to its end.
Reducer::Candidate Reducer::scored(Gap gap, double next) {
  if (!problem_.can_drop(gap.root) || pinned_[gap.root] || !state_.has_gap(gap, false)) {
    return {0, gap, false};
  }
  const double by_repeats = state_.rules().recompute ? score_of_repeats(gap, next) : 0;
  const double on_host = state_.has_room_on_host(gap.root)
                             ? noise(gap) * benefit_of(gap) / (problem_.host_costs[gap.root] + 1e-9)
                             : 0;
  return {std::max(by_repeats, on_host), gap, on_host > by_repeats};
}

double Reducer::score_of_repeats(Gap gap, double next) {
  constexpr double kTooDear = 8;
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
  return noise(gap) * brought / (cost + 1e-9);
}

// The search tries gaps in other orders than that of their scores.
double Reducer::noise(Gap gap) const {
  constexpr double kSpread = 0.8; // of logarithms
  if (noise_ == 0) {
    return 1;
  }
  uint32_t hash = gap.root * 2654435761u ^ gap.end * 2246822519u ^ noise_ * 3266489917u;
  hash = (hash ^ hash >> 15) * 2246822519u;
  hash ^= hash >> 13;
  return std::exp(kSpread * ((hash & 0xffff) / 65536.0 - 0.5));
}

void Reducer::push(Gap gap) {
  const Candidate found = scored(gap, level_ / 2);
  if (found.score > 0) {
    heap_.push(found);
  }
}

void Reducer::fill() {
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
std::optional<Reducer::Candidate> Reducer::take_best() {
  constexpr double kSame = 0.98;
  Candidate best = heap_.top();
  heap_.pop();
  const double next = heap_.empty() ? 0 : heap_.top().score;
  best = scored(best.gap, next);
  if (best.score <= 0) {
    return std::nullopt;
  }
  if (best.score < kSame * next) {
    heap_.push(best);
    return std::nullopt;
  }
  return best;
}

bool Reducer::try_drop(const Candidate& candidate) {
  constexpr double kWorse = 0.5; // of what it brings, at the steps that it touches
  const double brought = benefit_of(candidate.gap);
  const size_t start = state_.begin();
  state_.take_new_gaps();
  state_.drop(candidate.gap, candidate.to_host);
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

uint32_t Reducer::highest_step() const {
  const std::vector<int64_t>& bytes = state_.bytes_by_step();
  return static_cast<uint32_t>(std::max_element(bytes.begin(), bytes.end()) - bytes.begin());
}

// Whether it can be dropped and made again from before the step.
bool Reducer::is_made_before(uint32_t root, uint32_t step) const {
  return problem_.can_drop(root) && problem_.roots[root].maker < step;
}

// Whether there is a cut between the making of the root and its last touch up to the highest step.
bool Reducer::is_cut(uint32_t root, uint32_t highest, const std::vector<uint32_t>& cuts) const {
  const uint32_t maker = problem_.roots[root].maker;
  return cuts[std::max(end_before(root, highest), maker + 1)] > cuts[maker];
}

// For each step the number of cuts before it: steps at which few values live that can be dropped
// and that later steps up to the highest read. Of neighbours the one with fewest bytes is a cut. So
// many are left out that the others take no more than what is left of the budget at the highest
// step. Nothing if there are few cuts.
std::vector<uint32_t> Reducer::cuts_before(uint32_t highest) const {
  constexpr size_t kFewest = 4;
  constexpr int32_t kMostValues = 3; // at a cut
  std::vector<int32_t> count(steps_ + 1, 0);
  std::vector<int64_t> bytes(steps_ + 1, 0);
  for (uint32_t root = 0; root < problem_.roots.size(); ++root) {
    if (is_made_before(root, highest)) {
      const uint32_t maker = problem_.roots[root].maker;
      const uint32_t end = std::max(end_before(root, highest), maker + 1);
      ++count[maker];
      --count[end];
      bytes[maker] += problem_.roots[root].bytes;
      bytes[end] -= problem_.roots[root].bytes;
    }
  }
  for (uint32_t step = 1; step <= steps_; ++step) {
    count[step] += count[step - 1];
    bytes[step] += bytes[step - 1];
  }
  std::vector<uint32_t> cuts;
  for (int32_t values = 1; values <= kMostValues && cuts.size() < kFewest; ++values) {
    cuts.clear();
    for (uint32_t step = 0; step < highest; ++step) {
      const auto is_cut = [&](uint32_t at) { return count[at] > 0 && count[at] <= values; };
      if (!is_cut(step)) {
        continue;
      }
      if (step == 0 || !is_cut(step - 1)) {
        cuts.push_back(step);
      } else if (bytes[step] < bytes[cuts.back()]) {
        cuts.back() = step;
      }
    }
  }
  if (cuts.size() < kFewest) {
    return {};
  }
  double total = 0;
  for (const uint32_t cut : cuts) {
    total += static_cast<double>(bytes[cut]);
  }
  const double left = static_cast<double>(state_.rules().budget - state_.undroppable(highest));
  const double stride = std::max(1.0, std::ceil(total / std::max(left, 1.0)));
  std::vector<uint32_t> before(steps_ + 1, 0);
  for (double at = stride - 1; at < static_cast<double>(cuts.size()); at += stride) {
    before[cuts[static_cast<size_t>(at)] + 1] = 1;
  }
  std::partial_sum(before.begin(), before.end(), before.begin());
  return before;
}

// The last touch of a root at a step or before it.
uint32_t Reducer::end_before(uint32_t root, uint32_t step) const {
  const size_t at = state_.touch_at(root, step + 1);
  return at > 0 ? state_.touches(root)[at - 1].step : 0;
}

std::vector<Reducer::Gap> Reducer::dropped_by_saving(double last_work) {
  struct Saving {
    double weight;
    Gap gap;
  };
  std::vector<Saving> savings;
  for (const Gap gap : state_.dropped_gaps()) {
    if (state_.work > last_work) {
      break;
    }
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

bool Reducer::try_keep(Gap gap) {
  if (!state_.has_gap(gap, true) || !state_.could_keep(gap)) {
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

} // namespace narrows
