#include "narrows/order/recompute_problem.h"

#include <algorithm>

namespace narrows {
namespace {

class ProblemBuilder {
 public:
  ProblemBuilder(
      const OrderGraph& graph, const Order& order, const RecomputeCosts& costs, double exposed)
      : graph_(graph), costs_(costs), exposed_(exposed) {
    problem_.root_of.assign(graph.root_bytes.size(), kNone);
    problem_.steps.reserve(order.size());
    problem_.roots.reserve(graph.root_bytes.size());
    for (uint32_t node : order) {
      if (!is_plain_view(graph, node)) {
        step_of_.resize(std::max<size_t>(step_of_.size(), node + 1), kNone);
        step_of_[node] = problem_.step_count();
        problem_.steps.push_back(
            {node,
             graph.can_repeat[node] != 0,
             graph.nodes[node].allocated,
             graph.nodes[node].transient,
             graph.nodes[node].is_view ? 0 : costs.runs[node]});
        problem_.total_cost += problem_.steps.back().cost;
      }
    }
  }

  RecomputeProblem run() {
    add_roots();
    for (const RecomputeProblem::Step& step : problem_.steps) {
      add_reads(step.node);
    }
    add_host_costs();
    problem_.host_bytes = costs_.host_bytes;
    count_kept();
    return std::move(problem_);
  }

 private:
  void add_roots() {
    std::vector<std::vector<uint32_t>> made(problem_.steps.size());
    for (uint32_t root = 0; root < graph_.root_bytes.size(); ++root) {
      const int64_t bytes = graph_.root_bytes[root];
      if (bytes == 0) {
        continue;
      }
      const uint32_t node = graph_.makers[root];
      const uint32_t maker = node == kNone ? kNone : step_of_[node];
      problem_.root_of[root] = static_cast<uint32_t>(problem_.roots.size());
      problem_.roots.push_back({bytes, maker});
      if (maker != kNone) {
        made[maker].push_back(problem_.root_of[root]);
      }
    }
    for (const std::vector<uint32_t>& roots : made) {
      problem_.makes.items.insert(problem_.makes.items.end(), roots.begin(), roots.end());
      problem_.makes.end_row();
    }
  }

  void add_reads(uint32_t node) {
    std::vector<uint32_t>& items = problem_.reads.items;
    const size_t first = items.size();
    for (uint32_t i = graph_.reads.first[node]; i < graph_.reads.first[node + 1]; ++i) {
      const uint32_t root = problem_.root_of[graph_.reads.items[i]];
      if (root == kNone || std::find(items.begin() + first, items.end(), root) != items.end()) {
        continue;
      }
      items.push_back(root);
      problem_.can_donate.push_back(graph_.can_donate[i]);
    }
    problem_.reads.end_row();
  }

  void add_host_costs() {
    constexpr double kNever = std::numeric_limits<double>::infinity();
    for (uint32_t root = 0; root < problem_.roots.size(); ++root) {
      const uint32_t maker = problem_.roots[root].maker;
      const bool can_be =
          !costs_.host_copies.empty() && maker != kNone && problem_.makes[maker].size() == 1;
      const double both = can_be ? costs_.host_copies[problem_.steps[maker].node] : kNever;
      problem_.copy_seconds.push_back(both / 2);
      problem_.host_costs.push_back(exposed_ * both);
    }
  }

  void count_kept() {
    int64_t kept = graph_.bytes_before;
    for (const RecomputeProblem::Root& root : problem_.roots) {
      kept -= root.maker == kNone ? root.bytes : 0;
    }
    for (uint32_t step = 0; step < problem_.step_count(); ++step) {
      problem_.kept.push_back(kept);
      kept += problem_.steps[step].allocated;
      for (uint32_t root : problem_.makes[step]) {
        kept -= problem_.roots[root].bytes;
      }
    }
  }

  const OrderGraph& graph_;
  const RecomputeCosts& costs_;
  const double exposed_;
  RecomputeProblem problem_;
  std::vector<uint32_t> step_of_; // by node
};

} // namespace

bool is_plain_view(const OrderGraph& graph, uint32_t node) {
  return graph.nodes[node].is_view && graph.reads[node].size() == 1 &&
         graph.inputs[node].size() <= 1;
}

RecomputeProblem make_problem(
    const OrderGraph& graph, const Order& order, const RecomputeCosts& costs, double exposed) {
  return ProblemBuilder(graph, order, costs, exposed).run();
}

} // namespace narrows
