// Evaluation: plan the graph behind arrays, then run the plan.
#pragma once

#include <span>

#include "narrows/order/repeats.h"
#include "narrows/plan/plan.h"
#include "narrows/record/array.h"

namespace narrows {

// Computes the arrays and returns when they are there. CPU work runs on the calling thread. On an
// error the arrays that were not reached are as before and can be evaluated again.
void eval(std::span<const array> outputs);
inline void eval(const array& output) {
  eval({&output, 1});
}

// Submits the work to the streams' threads and returns. An error is raised by every later eval()
// of an array that failed, or that depends on one that failed.
void async_eval(std::span<const array> outputs);

// Makes the plan that eval() would run now. Under graph_mutex(); the plan refers to the nodes and
// is good only until it is unlocked, and while the result lives: nodes that run again.
Repeats plan_outputs(std::span<const array> outputs, Tape& tape, Plan& plan);

} // namespace narrows
