// Compiled functions: recorded once and planned once, for arguments of the same shapes and dtypes.
#pragma once

#include <memory>
#include <optional>

#include "narrows/transforms/derivative.h"

namespace narrows {

class RecordedGraph;

// What calls of a compiled function are to stay within: see OrderOptions.
struct CallBudget {
  int64_t bytes;
  bool offload = false;
};

// Records the function for arguments of the shapes and dtypes of `like`. Arrays that it captures
// are evaluated, so that calls do not compute them again. Without a budget, calls have that of the
// evaluation that they are part of.
std::shared_ptr<const RecordedGraph> record_graph(
    const Function& function,
    const std::vector<array>& like,
    std::optional<CallBudget> budget = std::nullopt);

// The outputs for these arguments. They are those of one node, which runs a plan. The plan is kept
// with the graph, and made again only for other layouts of the arguments. (Graphs on several
// streams are recorded anew, operation by operation.)
std::vector<array> call(
    const std::shared_ptr<const RecordedGraph>& graph, std::vector<array> arguments);

// The number of operations in the graph.
size_t node_count(const RecordedGraph& graph);

} // namespace narrows
