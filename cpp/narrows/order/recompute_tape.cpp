#include "narrows/order/recompute_tape.h"

#include <algorithm>

namespace narrows {
namespace {

// Writes the tape of a state.
class TapeWriter {
 public:
  TapeWriter(const OrderGraph& graph, const Order& order, const RecomputeState& state)
      : graph_(graph), order_(order), state_(state), latest_(graph.node_count, 0) {
  }

  Order run() {
    uint32_t step = 0;
    find_host_copies();
    for (uint32_t node : order_) {
      if (is_plain_view(graph_, node)) {
        if (lives_at(node, step)) {
          write(node);
        }
        continue;
      }
      for (uint32_t clone : state_.clones_before(step)) {
        const uint32_t cloned = state_.problem().steps[clone].node;
        if (state_.is_from_host(clone, step)) {
          put(cloned | kFromHost);
        } else {
          write(cloned);
        }
      }
      write(node);
      if (is_on_host_[node]) {
        tape_.push_back(node | kToHost);
      }
      ++step;
    }
    return without_unread(graph_, tape_);
  }

 private:
  void find_host_copies() {
    is_on_host_.assign(graph_.node_count, 0);
    for (uint32_t step = 0; step < state_.problem().step_count(); ++step) {
      for (uint32_t clone : state_.clones_before(step)) {
        if (state_.is_from_host(clone, step)) {
          is_on_host_[state_.problem().steps[clone].node] = 1;
        }
      }
    }
  }

  // Whether what a view shows is there in front of a step. If not it is written for its readers.
  bool lives_at(uint32_t view, uint32_t step) const {
    const RecomputeProblem& problem = state_.problem();
    const uint32_t root = problem.root_of[graph_.reads[view][0]];
    if (root == kNone || !problem.can_drop(root)) {
      return true;
    }
    const auto& touches = state_.touches(root);
    const size_t at = state_.touch_at(root, step);
    return at < touches.size() && !touches[at].dropped;
  }

  // With the views that it reads, where they show earlier runs or none.
  void write(uint32_t node) {
    for (uint32_t input : graph_.inputs[node]) {
      chain_.clear();
      for (uint32_t view = input; is_plain_view(graph_, view);) {
        chain_.push_back(view);
        if (graph_.inputs.empty(view)) {
          break;
        }
        view = graph_.inputs[view][0];
      }
      while (!chain_.empty()) {
        const uint32_t view = chain_.back();
        chain_.pop_back();
        const uint32_t shown = graph_.inputs.empty(view) ? 0 : latest_[graph_.inputs[view][0]];
        if (latest_[view] == 0 || latest_[view] < shown) {
          put(view);
        }
      }
    }
    put(node);
  }

  void put(uint32_t entry) {
    tape_.push_back(entry);
    latest_[entry & kNodeOfEntry] = static_cast<uint32_t>(tape_.size());
  }

  const OrderGraph& graph_;
  const Order& order_;
  const RecomputeState& state_;
  std::vector<uint32_t> latest_; // by node: place of its latest run, from 1
  std::vector<uint32_t> chain_;
  std::vector<uint8_t> is_on_host_; // by node: whether what it makes is copied there
  Order tape_;
};

} // namespace

Order without_unread(const OrderGraph& graph, const Order& tape) {
  std::vector<uint32_t> runs(graph.node_count, 0);
  for (uint32_t entry : tape) {
    runs[entry & kNodeOfEntry] += entry & kToHost ? 0 : 1;
  }
  std::vector<uint8_t> is_read(graph.node_count, 0);
  std::vector<uint8_t> comes_back(graph.node_count, 0);
  Order kept;
  for (size_t i = tape.size(); i-- > 0;) {
    const uint32_t node = tape[i] & kNodeOfEntry;
    if (tape[i] & kToHost) {
      if (comes_back[node]) {
        kept.push_back(tape[i]);
        is_read[node] = 1;
      }
      continue;
    }
    if (runs[node] > 1 && !is_read[node]) {
      --runs[node];
      continue;
    }
    kept.push_back(tape[i]);
    is_read[node] = 0;
    if (tape[i] & kFromHost) {
      comes_back[node] = 1;
      continue;
    }
    for (uint32_t input : graph.inputs[node]) {
      is_read[input] = 1;
    }
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

Order write_tape(const OrderGraph& graph, const Order& order, const RecomputeState& state) {
  return TapeWriter(graph, order, state).run();
}

} // namespace narrows
