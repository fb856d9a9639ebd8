// Pending work: nodes that are recorded and that no evaluation has taken yet. They are counted, and
// on request evaluated as soon as they become too many.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "narrows/record/node.h"

namespace narrows {

struct PendingWork {
  int64_t nodes = 0;
  int64_t bytes = 0; // that their results have, as if each got memory of its own
  // The one that waits longest, if there is any.
  std::string oldest_op;
  std::string oldest_origin; // if it was traced
  int64_t oldest_age = 0;    // nodes recorded since
};

int64_t get_pending_nodes();
PendingWork pending_work();

// Bounds on pending work; 0: none.
struct AutoEval {
  int64_t bytes = 0;
  int64_t nodes = 0;
};

// From now on, the thread whose record() passes a bound evaluates, before record() returns, all
// that it has recorded and that somebody still holds. What is pending elsewhere (of other threads,
// or behind arrays that cannot be evaluated) then does not count until as much comes on top of it.
// Not while an AutoEvalPause lives: the next record() after it sees to that. An error is raised by
// the record() at hand, whose node is dropped; all else is as after an error in eval(). Returns the
// previous bounds. ValueError if a bound is negative.
AutoEval set_auto_eval(AutoEval bounds);

AutoEval get_auto_eval();

// How often a bound was passed and work was evaluated.
int64_t auto_eval_count();

// What evaluates; eval() by default. For bindings that hold locks.
void set_auto_evaluator(void (*evaluate)(std::span<const array> outputs));

// While it lives, no automatic evaluation starts on this thread: in a function that is being
// traced, or where locks are held.
class AutoEvalPause {
 public:
  AutoEvalPause();
  ~AutoEvalPause();
  AutoEvalPause(const AutoEvalPause&) = delete;
  AutoEvalPause& operator=(const AutoEvalPause&) = delete;
};

// The node is complete, and the caller holds its outputs: it is pending from now on.
void note_recorded(Node& node);

} // namespace narrows
