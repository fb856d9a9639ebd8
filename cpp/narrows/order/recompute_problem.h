// RecomputeProblem: a sequential order as the planning of recomputation sees it. Views are gone:
// who reads a view reads its root, and views are put where they are needed when a tape is written.
#pragma once

#include <limits>

#include "narrows/order/sequential.h"

namespace narrows {

// Of the graph's nodes, in seconds.
struct RecomputeCosts {
  std::vector<double> runs;
  // Of copies of what the node makes to the host and back. Infinity where there can be none; empty:
  // for no node.
  std::vector<double> host_copies;
  bool copies_run_beside = false; // other work; else in order with it
  int64_t host_bytes = INT64_MAX; // that copies may take on the host
};

struct RecomputeProblem {
  struct Step {
    uint32_t node;     // of the graph
    bool can_repeat;   // it may run more than once
    int64_t allocated; // when nothing is donated
    int64_t transient; // workspace and packed copies
    double cost;       // seconds, estimated
  };
  struct Root {
    int64_t bytes;
    uint32_t maker; // the step that makes it; kNone: it is there from the start
  };

  std::vector<Step> steps;         // in the order
  std::vector<Root> roots;         // those that die within the plan
  Rows reads;                      // of a step: roots, each once
  std::vector<uint8_t> can_donate; // by item of `reads`: whether the step may overwrite the root
  Rows makes;                      // of a step: roots
  std::vector<uint32_t> root_of;   // by root of the graph; kNone for those that die behind the plan
  // By root: seconds that a copy of it to the host and back costs; infinity where there can be
  // none. Where copies run beside other work, it is a part of the time that they take.
  std::vector<double> host_costs;
  std::vector<double> copy_seconds; // by root: of one copy
  std::vector<int64_t> kept; // by step: what is there all along and what steps before left for good
  double total_cost = 0;
  int64_t host_bytes = INT64_MAX; // that all copies on the host may take together

  uint32_t step_count() const {
    return static_cast<uint32_t>(steps.size());
  }
  bool can_drop(uint32_t root) const {
    return roots[root].maker != kNone && steps[roots[root].maker].can_repeat;
  }
  // Whether a copy on the host takes less time than the root's maker alone.
  bool is_cheaper_on_host(uint32_t root) const {
    return host_costs[root] < steps[roots[root].maker].cost;
  }
};

// Whether the node only shows what another one made: it costs nothing and is no step of a problem.
bool is_plain_view(const OrderGraph& graph, uint32_t node);

// `exposed`: the part of the time of copies that they are taken to cost.
RecomputeProblem make_problem(
    const OrderGraph& graph, const Order& order, const RecomputeCosts& costs, double exposed = 1);

} // namespace narrows
