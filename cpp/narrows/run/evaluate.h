// Evaluation: plan the graph behind arrays, then run the plan.
#pragma once

#include <span>

#include "narrows/order/repeats.h"
#include "narrows/plan/plan.h"
#include "narrows/record/array.h"

namespace narrows {

// Computes the arrays and returns when they have their values. Work of the CPU runs on the calling
// thread. After an error, arrays that were not computed are as before and can be evaluated again.
void eval(std::span<const array> outputs);
inline void eval(const array& output) {
  eval({&output, 1});
}

// Submits the work to the streams' threads and returns. An error is raised by every later eval() of
// an array that failed, or that depends on one that failed.
void async_eval(std::span<const array> outputs);

// Makes the plan that eval() would run at this moment. Under graph_mutex(). The plan refers to the
// nodes and is valid only until the mutex is released, and while the result lives, which holds
// nodes that run again.
Repeats plan_outputs(std::span<const array> outputs, Tape& tape, Plan& plan);

// The same, but a plan that was made for a graph like this one is used again (kept_plans.h).
Repeats plan_evaluation(std::span<const array> outputs, Tape& tape, Plan& plan);

} // namespace narrows
