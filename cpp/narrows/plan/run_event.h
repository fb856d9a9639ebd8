// RunEvent: the event of the nodes of one evaluation, which is set when it has ended.
#pragma once

#include <algorithm>
#include <vector>

#include "narrows/record/node.h"
#include "narrows/runtime/event.h"
#include "narrows/runtime/fork.h"

namespace narrows {

// Evaluations that are planned while an asynchronous one runs cannot look at its arrays' buffers
// yet. The event tells them what they need: which arrays will have a buffer of their own, and how
// large it is. So the next evaluation can overwrite and free these arrays if nobody holds them. All
// under graph_mutex().
class RunEvent : public Event {
 public:
  // The array alone will use its buffer.
  void will_own_buffer(const Output& output, int64_t bytes) {
    owners_.push_back({&output, bytes});
  }
  // From now on until end() the evaluation has one handle on each array that it computes, and its
  // nodes have no edges.
  void start() {
    std::sort(owners_.begin(), owners_.end());
    generation_ = fork_generation();
  }
  void end() {
    generation_ = kNotRunning;
  }
  bool is_running() const {
    return generation_ == fork_generation();
  }

  // 0 for arrays whose buffer others will use as well.
  int64_t bytes_owned_by(const Output& output) const {
    const auto found = std::lower_bound(owners_.begin(), owners_.end(), Owner{&output, 0});
    return found != owners_.end() && found->output == &output ? found->bytes : 0;
  }

 private:
  static constexpr int kNotRunning = -1;
  struct Owner {
    const Output* output;
    int64_t bytes;

    bool operator<(const Owner& other) const {
      return std::less<>()(output, other.output);
    }
  };
  std::vector<Owner> owners_;
  int generation_ = kNotRunning; // of the process that runs it
};

// Adds an event to those that a plan waits for, each once.
inline void await(const EventRef& event, std::vector<EventRef>& awaited) {
  if (std::find(awaited.begin(), awaited.end(), event) == awaited.end()) {
    awaited.push_back(event);
  }
}
// Adds that of a node which another evaluation is computing, or failed to compute.
inline void await(const Node& node, std::vector<EventRef>& awaited) {
  const Status status = node.status();
  if (status != Status::lazy && status != Status::ready) {
    await(node.event, awaited);
  }
}

// The asynchronous evaluation that computes the array and has not ended yet; nullptr if there is
// none. Under graph_mutex().
inline const RunEvent* running_evaluation(const Output& output) {
  // Events of nodes are those of the evaluations that took them.
  const auto* event = static_cast<const RunEvent*>(output.node->event.get());
  return event && event->is_running() ? event : nullptr;
}

// The handles on an array, but for the one that an evaluation has until it ends.
inline uint32_t handles_on(const Output& output) {
  const uint32_t handles = output.refs.load(std::memory_order_acquire);
  return running_evaluation(output) ? handles - 1 : handles;
}

// The bytes of the buffer that will be the array's alone, if an evaluation is computing it; else 0.
inline int64_t bytes_awaited(const Output& output) {
  const RunEvent* event = running_evaluation(output);
  return event ? event->bytes_owned_by(output) : 0;
}

} // namespace narrows
