#include "narrows/order/step_graph.h"

#include <utility>

namespace narrows {
namespace {

// By node: the step that makes its output. What lies within a step is part of the step of those who
// read it. Empty if these are several.
std::vector<uint32_t> steps_of(
    const Plan& plan, const Tape& nodes, const OrderGraph& graph, std::vector<uint32_t>& roots) {
  std::vector<uint32_t> steps(nodes.size(), kNone);
  for (uint32_t i = 0; i < nodes.size(); ++i) {
    nodes[i]->pending = i;
  }
  for (const Step& step : plan.steps) {
    if (!step.node) {
      continue; // a copy
    }
    const auto number = static_cast<uint32_t>(roots.size());
    roots.push_back(step.node->pending);
    for (const uint32_t value : plan.outputs_of(step)) {
      steps[plan.values[value].output->node->pending] = number;
    }
    steps[roots.back()] = number;
  }
  for (size_t node = nodes.size(); node-- > 0;) {
    if (steps[node] != kNone) {
      continue;
    }
    for (const uint32_t reader : graph.successors[static_cast<uint32_t>(node)]) {
      if (steps[node] != kNone && steps[node] != steps[reader]) {
        return {};
      }
      steps[node] = steps[reader];
    }
    if (steps[node] == kNone) {
      return {};
    }
  }
  return steps;
}

} // namespace

std::optional<StepGraph> make_step_graph(
    const Plan& plan,
    std::span<const array> outputs,
    const Tape& nodes,
    const OrderGraph& graph,
    const Order& order) {
  StepGraph made;
  made.steps = steps_of(plan, nodes, graph, made.roots);
  if (made.steps.empty()) {
    return std::nullopt;
  }
  made.graph = make_order_graph(plan, outputs);
  std::vector<std::vector<uint32_t>> members(made.roots.size());
  for (const uint32_t node : order) {
    members[made.steps[node]].push_back(node);
  }
  for (const std::vector<uint32_t>& step : members) {
    made.members.items.insert(made.members.items.end(), step.begin(), step.end());
    made.members.end_row();
  }
  made.forbid_repeats(graph);
  return made;
}

// Steps stand where their roots do, or earlier, where others need what they make.
Order StepGraph::in_steps(const Order& nodes) const {
  Order order;
  order.reserve(graph.node_count);
  std::vector<uint32_t> next_input(graph.node_count, 0);
  std::vector<uint8_t> is_done(graph.node_count, 0);
  std::vector<uint32_t> open;
  for (const uint32_t node : nodes) {
    if (roots[steps[node]] == node) {
      open.push_back(steps[node]);
    }
    while (!open.empty()) {
      const uint32_t step = open.back();
      const std::span<const uint32_t> inputs = graph.inputs[step];
      uint32_t& next = next_input[step];
      while (next < inputs.size() && is_done[inputs[next]]) {
        ++next;
      }
      if (next < inputs.size()) {
        open.push_back(inputs[next]);
        continue;
      }
      open.pop_back();
      if (!std::exchange(is_done[step], uint8_t{1})) {
        order.push_back(step);
      }
    }
  }
  return order;
}

Order StepGraph::in_nodes(const Order& entries) const {
  Order order;
  for (const uint32_t entry : entries) {
    const uint32_t step = entry & kNodeOfEntry;
    if (entry != step) {
      order.push_back(roots[step] | (entry & ~kNodeOfEntry));
      continue;
    }
    const std::span<const uint32_t> nodes = members[step];
    order.insert(order.end(), nodes.begin(), nodes.end());
  }
  return order;
}

RecomputeCosts StepGraph::in_steps(const RecomputeCosts& nodes) const {
  RecomputeCosts costs = nodes;
  costs.runs.assign(graph.node_count, 0);
  for (uint32_t node = 0; node < steps.size(); ++node) {
    costs.runs[steps[node]] += nodes.runs[node];
  }
  if (!nodes.host_copies.empty()) {
    costs.host_copies.clear();
    for (const uint32_t root : roots) {
      costs.host_copies.push_back(nodes.host_copies[root]);
    }
  }
  return costs;
}

void StepGraph::forbid_repeats(const OrderGraph& nodes) {
  for (uint32_t node = 0; node < steps.size(); ++node) {
    if (!nodes.can_repeat[node] && !nodes.nodes[node].is_view) {
      graph.can_repeat[steps[node]] = 0;
    }
  }
}

} // namespace narrows
