// StepGraph: the steps of a plan with fusion as the nodes of a graph. What lies within a fused step
// takes no memory there, and such a step runs again as a whole.
#pragma once

#include <optional>

#include "narrows/order/recompute_problem.h"
#include "narrows/walk/linearize.h"

namespace narrows {

struct StepGraph {
  OrderGraph graph;            // of steps
  Rows members;                // of a step: nodes, in the order in which they run
  std::vector<uint32_t> roots; // by step: the last of them
  std::vector<uint32_t> steps; // by node

  // An order of nodes, as one of steps.
  Order in_steps(const Order& nodes) const;
  // An order of steps, which may run again or be copied to the host and back, as one of nodes.
  Order in_nodes(const Order& steps) const;
  RecomputeCosts in_steps(const RecomputeCosts& nodes) const;
  // A step may run again if all its nodes may, views aside.
  void forbid_repeats(const OrderGraph& nodes);
};

// Of a plan that was made of the nodes in this order; `graph` is that of the nodes. Nothing if
// something within a step is read elsewhere.
std::optional<StepGraph> make_step_graph(
    const Plan& plan,
    std::span<const array> outputs,
    const Tape& nodes,
    const OrderGraph& graph,
    const Order& order);

} // namespace narrows
