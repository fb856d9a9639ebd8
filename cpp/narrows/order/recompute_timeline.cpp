#include "narrows/order/recompute_timeline.h"

#include <algorithm>
#include <utility>

namespace narrows {
namespace {

class Timeline {
 public:
  Timeline(const OrderGraph& graph, const Order& tape, const RecomputeCosts& costs)
      : graph_(graph), tape_(tape), costs_(costs), there_(graph.node_count, 0) {
  }

  double run() {
    find_ends();
    std::vector<double> copied(graph_.node_count, 0); // by node: when its value has been copied
    for (uint32_t i = 0; i < tape_.size(); ++i) {
      const uint32_t node = tape_[i] & kNodeOfEntry;
      if (tape_[i] != node) {
        copy(node, (tape_[i] & kFromHost) != 0, copied[node]);
      } else if (!graph_.nodes[node].is_view) {
        for (const uint32_t root : graph_.reads[node]) {
          const uint32_t maker = graph_.makers[root];
          now_ = maker == kNone ? now_ : std::max(now_, there_[maker]);
        }
        now_ += costs_.runs[node];
      }
      for (uint32_t at = ends_.first[i]; at < ends_.first[i + 1]; ++at) {
        now_ = std::max(now_, copied[ends_.items[at]]);
      }
    }
    return std::max(now_, link_);
  }

 private:
  void copy(uint32_t node, bool from_host, double& copied) {
    const double seconds = costs_.host_copies[node] / 2; // one way
    if (!costs_.copies_run_beside) {
      now_ += seconds;
      return;
    }
    link_ = std::max(link_, std::max(now_, there_[node])) + seconds;
    (from_host ? there_[node] : copied) = link_;
  }

  // Where each value that is copied to the host is read for the last time before it comes back.
  void find_ends() {
    std::vector<std::vector<uint32_t>> ends(tape_.size());
    std::vector<uint8_t> is_read(graph_.node_count, 0); // behind the current place
    std::vector<uint8_t> comes_back(graph_.node_count, 0);
    const auto read = [&](uint32_t node, size_t i) {
      if (!std::exchange(is_read[node], uint8_t{1}) && comes_back[node]) {
        ends[i].push_back(node);
      }
    };
    for (size_t i = tape_.size(); i-- > 0;) {
      const uint32_t node = tape_[i] & kNodeOfEntry;
      if (tape_[i] & kToHost) {
        read(node, i);
        continue;
      }
      is_read[node] = 0;
      if (tape_[i] & kFromHost) {
        comes_back[node] = 1;
        continue;
      }
      for (const uint32_t root : graph_.reads[node]) {
        if (graph_.makers[root] != kNone) {
          read(graph_.makers[root], i);
        }
      }
    }
    for (const std::vector<uint32_t>& nodes : ends) {
      ends_.items.insert(ends_.items.end(), nodes.begin(), nodes.end());
      ends_.end_row();
    }
  }

  const OrderGraph& graph_;
  const Order& tape_;
  const RecomputeCosts& costs_;
  Rows ends_;                 // by place: nodes whose copied values are not read behind it
  std::vector<double> there_; // by node: when its value has come from the host
  double now_ = 0;            // of the device
  double link_ = 0;           // when the latest copy ends
};

// Steps, with the clones in front of them, and when they begin.
std::vector<double> starts_of(const RecomputeState& state) {
  const RecomputeProblem& problem = state.problem();
  std::vector<double> starts{0};
  for (uint32_t step = 0; step < problem.step_count(); ++step) {
    double seconds = problem.steps[step].cost;
    for (const uint32_t clone : state.clones_before(step)) {
      seconds += state.is_from_host(clone, step) ? 0 : problem.steps[clone].cost;
    }
    starts.push_back(starts.back() + seconds);
  }
  return starts;
}

} // namespace

double seconds_of(const OrderGraph& graph, const Order& tape, const RecomputeCosts& costs) {
  return Timeline(graph, tape, costs).run();
}

// From the latest to the earliest: copies run one after the other.
void start_copies_early(RecomputeState& state) {
  const RecomputeProblem& problem = state.problem();
  const std::vector<double> starts = starts_of(state);
  const double most_work = state.work + 50.0 * problem.step_count();
  double link_is_free = starts.back();
  const std::vector<RecomputeState::Gap> gaps = state.dropped_gaps();
  for (auto gap = gaps.rbegin(); gap != gaps.rend(); ++gap) {
    const uint32_t root = gap->root;
    if (!state.has_gap(*gap, true) || !state.is_from_host(problem.roots[root].maker, gap->end)) {
      continue;
    }
    const size_t at = state.touch_at(root, gap->end);
    const uint32_t first = state.touches(root)[at - 1].step + 1;
    const double begin = std::min(link_is_free, starts[gap->end]) - problem.copy_seconds[root];
    const int64_t bytes = problem.roots[root].bytes;
    uint32_t step = gap->end;
    while (step > first && starts[step] > begin && state.work < most_work &&
           state.bytes_at(step - 1) + bytes <= state.rules().budget) {
      --step;
      state.work += 2;
    }
    if (step < gap->end) {
      const size_t start = state.begin();
      state.copy_earlier(*gap, step);
      state.settle();
      if (state.is_within_budget()) {
        state.commit();
      } else {
        state.roll_back(start);
        step = gap->end;
      }
    }
    link_is_free = std::min(link_is_free, starts[step]);
  }
}

} // namespace narrows
