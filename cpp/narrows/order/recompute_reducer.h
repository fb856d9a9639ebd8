// Reducer: brings a state of recomputation within its budget, and betters it.
#pragma once

#include <optional>
#include <queue>
#include <random>

#include "narrows/order/recompute_state.h"

namespace narrows {

class Reducer {
 public:
  using Gap = RecomputeState::Gap;

  explicit Reducer(RecomputeState& state)
      : state_(state),
        problem_(state.problem()),
        steps_(state.problem().step_count()),
        pinned_(state.problem().roots.size(), 0) {
  }

  // Drops gaps until nothing passes the budget, or the extra time passes `limit`. Does no more
  // elementary work than so much.
  void reduce(double limit, double work);
  void reduce(double limit) {
    reduce(limit, most_work());
  }
  // Of what crosses the highest step, keeps only what everything before that goes through: values
  // beside which few others live, as between layers. False if there are few, if it is too much
  // work, or if the extra time passes `limit`.
  bool keep_checkpoints(double limit);
  // Keeps dropped gaps again where they fit, those first that save most time.
  void keep_what_fits();
  // Values come from the host where that takes less time than the steps that make them again.
  void move_to_host();
  // Looks for states near by that take less time, or pass the budget by less: some dropped gaps are
  // kept again, and others are dropped in their place. Does so much elementary work.
  void search(double work);
  // Bytes beyond the budget, summed over all steps.
  double excess();

 private:
  struct Candidate {
    double score;
    Gap gap;
    bool to_host;
    bool operator<(const Candidate& other) const {
      return score < other.score;
    }
  };

  double most_work() const;
  void find_excess();
  double benefit(int64_t from, uint32_t to, int64_t bytes) const;
  double benefit_of(Gap gap) const;
  Candidate scored(Gap gap, double next);
  double score_of_repeats(Gap gap, double next);
  double noise(Gap gap) const;
  void push(Gap gap);
  void fill();
  std::optional<Candidate> take_best();
  bool try_drop(const Candidate& candidate);
  uint32_t highest_step() const;
  bool is_made_before(uint32_t root, uint32_t step) const;
  bool is_cut(uint32_t root, uint32_t highest, const std::vector<uint32_t>& cuts) const;
  std::vector<uint32_t> cuts_before(uint32_t highest) const;
  uint32_t end_before(uint32_t root, uint32_t step) const;
  std::vector<Gap> dropped_by_saving(double last_work);
  bool try_keep(Gap gap);

  RecomputeState& state_;
  const RecomputeProblem& problem_;
  const uint32_t steps_;
  std::vector<double> excess_; // by step: of the steps before it
  std::vector<double> above_;  // by step: how many before it pass the budget
  std::priority_queue<Candidate> heap_;
  double level_ = 0;            // about the score of what is accepted now
  std::vector<uint8_t> pinned_; // by root: whether the search keeps it
  uint32_t noise_ = 0;          // the seed of what is added to scores; 0: nothing
};

} // namespace narrows
