// Recomputation: orders in which nodes run more than once, so that their values need not be kept.
#pragma once

#include <span>

#include "narrows/order/recompute_problem.h"

namespace narrows {

struct RecomputedOrder {
  // Nodes in execution order, some of them several times; who reads a node's value reads what its
  // latest run before made. Copies to the host and back stand among them (repeats.h).
  Order nodes;
  int64_t peak = 0; // as counted
  double extra = 0; // seconds, estimated, of all runs but one of each node
  double total = 0; // seconds of the graph without them
};

// Looks for the order within the budget that takes least extra time, from each of some sequential
// orders. Where none is found, the one that passes the budget by least. `recompute`: whether nodes
// may run again; else only copies on the host are made, as they are where that takes less time.
// Deterministic; bounded by work that is counted: some microseconds a node.
//
// Values are dropped one after the other: the one first that saves most of the bytes beyond the
// budget, over all steps, for the time of making it again with all that this needs. Then those are
// kept again that still fit, the dearest first. The orders take turns, and those that lag behind
// are given up. Other ways to start are tried (only what stands between layers is kept; less budget
// than there is), and a local search betters the best.
RecomputedOrder recompute_within(
    const OrderGraph& graph,
    std::span<const Order* const> orders,
    const RecomputeCosts& costs,
    int64_t budget,
    bool recompute = true);

} // namespace narrows
