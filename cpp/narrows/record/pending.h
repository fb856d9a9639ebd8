// Pending work: nodes that are recorded and not yet taken by an evaluation. They are counted. On
// request they are evaluated when they become too many.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "narrows/record/node.h"

namespace narrows {

struct PendingWork {
  int64_t nodes = 0;
  int64_t bytes = 0; // of their results, as if each had memory of its own
  // The node that has been pending for longest.
  std::string oldest_op;
  std::string oldest_origin; // if origins are kept
  int64_t oldest_age = 0;    // the number of nodes recorded since
};

int64_t get_pending_nodes();
PendingWork pending_work();

// Bounds on pending work; 0: none.
struct AutoEval {
  int64_t bytes = 0;
  int64_t nodes = 0;
};

// Sets the bounds. From now on, when a record() passes a bound, it first evaluates all that its
// thread has recorded and that somebody still holds. Pending nodes that this does not reach (of
// other threads, or behind arrays that cannot be evaluated) are tolerated: the bound then counts
// from them on. While an AutoEvalPause lives nothing is evaluated; the next record() after it does
// that. An error is raised by the record() at hand, whose node is dropped; everything else is as
// after an error in eval(). Returns the previous bounds. ValueError if a bound is negative.
AutoEval set_auto_eval(AutoEval bounds);

AutoEval get_auto_eval();

// How often a bound was passed and nodes were evaluated.
int64_t auto_eval_count();

// The function that evaluates; eval() by default. Bindings that hold locks set another one.
void set_auto_evaluator(void (*evaluate)(std::span<const array> outputs));

// While it lives, no automatic evaluation starts on this thread. For functions that are being
// traced, and for callers that hold locks.
class AutoEvalPause {
 public:
  AutoEvalPause();
  ~AutoEvalPause();
  AutoEvalPause(const AutoEvalPause&) = delete;
  AutoEvalPause& operator=(const AutoEvalPause&) = delete;
};

// Enters a complete node into the table of pending nodes. The caller holds its outputs.
void note_recorded(Node& node);

} // namespace narrows
