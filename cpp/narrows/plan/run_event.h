// RunEvent: the event of the nodes of one evaluation, which is set when it has ended.
#pragma once

#include <algorithm>
#include <vector>

#include "narrows/record/node.h"
#include "narrows/runtime/event.h"

namespace narrows {

// Evaluations that are planned before this one has ended cannot look at its arrays' buffers yet.
// The event tells them what they need: which arrays will have a buffer of their own, and how large
// it is. So these can be overwritten and freed by the next evaluation.
class RunEvent : public Event {
 public:
  // Only before others have the event.
  void will_own_buffer(const Output& output, int64_t bytes) {
    owners_.push_back({&output, bytes});
  }
  void sort_owners() {
    std::sort(owners_.begin(), owners_.end(), [](const Owner& a, const Owner& b) {
      return std::less<>()(a.output, b.output);
    });
  }

  // The bytes of the buffer that the array alone will use; 0 if others use it as well, or if that
  // is not known. The array is one of the evaluation's.
  int64_t bytes_owned_by(const Output& output) const {
    const auto found = std::lower_bound(
        owners_.begin(), owners_.end(), &output, [](const Owner& owner, const Output* wanted) {
          return std::less<>()(owner.output, wanted);
        });
    return found != owners_.end() && found->output == &output ? found->bytes : 0;
  }

 private:
  struct Owner {
    const Output* output;
    int64_t bytes;
  };
  std::vector<Owner> owners_;
};

// The bytes of the buffer that an array alone will use which another evaluation is computing; 0 if
// it is not being computed, or as above. Under graph_mutex().
inline int64_t bytes_awaited(const Output& output, Status status) {
  // The event of a node that an evaluation has taken is the evaluation's.
  return status == Status::scheduled
             ? static_cast<const RunEvent&>(*output.node->event).bytes_owned_by(output)
             : 0;
}

} // namespace narrows
