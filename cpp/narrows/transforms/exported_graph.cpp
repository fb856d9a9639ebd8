#include "narrows/transforms/exported_graph.h"

#include <unordered_map>

#include "narrows/ops/collective_order.h"
#include "narrows/ops/operation.h"
#include "narrows/record/primitive.h"
#include "narrows/record/trace.h"
#include "narrows/run/evaluate.h"

namespace narrows {
namespace {

bool matches(const OutputSpec& spec, const array& a, bool shapeless) {
  return spec.dtype == a.dtype() &&
         (shapeless ? spec.shape.size() == a.shape().size() : spec.shape == a.shape());
}

// Translates recorded nodes.
class GraphWriter {
 public:
  GraphWriter(ExportedGraph& graph, std::span<const array> arguments) : graph_(graph) {
    for (const array& argument : arguments) {
      graph_.arguments.push_back(spec_of(argument));
      values_[argument.output()] = next_++;
    }
  }

  void add(std::span<Node* const> nodes) {
    for (Node* node : nodes) {
      // Arguments are given. Nodes without a primitive are constants.
      if (node->primitive_ref() && !values_.count(&node->output(0))) {
        add(*node);
      }
    }
  }

  uint32_t value_of(const array& a) {
    const auto [at, is_new] = values_.try_emplace(a.output(), 0);
    if (is_new) {
      at->second = ExportedGraph::kConstant | static_cast<uint32_t>(graph_.constants.size());
      graph_.constants.push_back(a);
    }
    return at->second;
  }

 private:
  void add(Node& node) {
    const std::span<const array> inputs(node.inputs(), node.input_count());
    const Primitive& primitive = node.primitive();
    const Operation* operation = find_operation(primitive.name());
    if (!operation) {
      add_parts(node, inputs);
      return;
    }
    ExportedGraph::Node added{primitive.name(), operation, primitive.attributes(), {}, {}};
    for (const array& input : inputs) {
      added.inputs.push_back(value_of(input));
    }
    for (uint32_t i = 0; i < node.output_count(); ++i) {
      added.outputs.push_back({node.output(i).shape, node.output(i).dtype});
      values_[&node.output(i)] = next_++;
    }
    graph_.nodes.push_back(std::move(added));
  }

  // Records the operations that an operation is made of, if files have no name for it.
  void add_parts(Node& node, std::span<const array> inputs) {
    const TraceScope scope;
    std::vector<array> parts = node.primitive().decompose(inputs, node.asked_stream());
    if (parts.empty()) {
      fail<ValueError>(
          "[export_function] the operation ", node.primitive().name(), " cannot be exported.");
    }
    const std::vector<Node*> nodes = traced_nodes(parts, scope.trace());
    for (Node* part : nodes) {
      part->forget_pending();
    }
    add(nodes);
    for (uint32_t i = 0; i < node.output_count(); ++i) {
      values_[&node.output(i)] = value_of(parts[i]);
    }
    kept_.insert(kept_.end(), parts.begin(), parts.end());
  }

  ExportedGraph& graph_;
  std::unordered_map<const Output*, uint32_t> values_;
  std::vector<array> kept_; // holds them, because values refer to them
  uint32_t next_ = 0;
};

[[noreturn]] void fail_result(const ExportedGraph::Node& node, const OutputSpec& spec) {
  fail<ValueError>(
      "[",
      node.name,
      "] the result is not of shape ",
      to_string(spec.shape),
      " and dtype ",
      name_of(spec.dtype),
      ", as it was when the function was exported.");
}

} // namespace

bool ExportedGraph::takes(const std::vector<array>& args, const Keywords& kwargs) const {
  if (args.size() != positional() || kwargs.size() != keywords.size()) {
    return false;
  }
  size_t i = 0;
  for (const array& a : args) {
    if (!matches(arguments[i++], a, shapeless)) {
      return false;
    }
  }
  auto keyword = keywords.begin();
  for (const auto& [name, a] : kwargs) {
    if (name != *keyword++ || !matches(arguments[i++], a, shapeless)) {
      return false;
    }
  }
  return true;
}

std::vector<array> ExportedGraph::in_order(
    const std::vector<array>& args, const Keywords& kwargs) const {
  std::vector<array> all = args;
  for (const auto& [name, a] : kwargs) {
    all.push_back(a);
  }
  return all;
}

ExportedGraph record_for_export(
    const KeywordFunction& function,
    const std::vector<array>& args,
    const Keywords& kwargs,
    bool shapeless) {
  ExportedGraph graph;
  graph.shapeless = shapeless;
  std::vector<array> arguments;
  std::vector<array> outputs;
  Trace trace;
  const TraceFamily family;
  {
    TraceScope scope(shapeless);
    trace = scope.trace();
    for (const array& a : args) {
      arguments.push_back(placeholder(a.shape(), a.dtype()));
    }
    Keywords named;
    const std::vector<array> positional = arguments;
    for (const auto& [name, a] : kwargs) {
      arguments.push_back(placeholder(a.shape(), a.dtype()));
      named.emplace(name, arguments.back());
      graph.keywords.push_back(name);
    }
    const TokenScope tokens(TokenScope::Start::none);
    outputs = function(positional, named);
  }
  const std::vector<Node*> nodes = traced_nodes(outputs, trace);
  for (Node* node : nodes) {
    node->forget_pending();
  }
  GraphWriter writer(graph, arguments);
  writer.add(nodes);
  for (const array& output : outputs) {
    graph.outputs.push_back(writer.value_of(output));
  }
  eval(graph.constants);
  return graph;
}

std::vector<array> run(const ExportedGraph& graph, const std::vector<array>& arguments) {
  std::vector<array> values = arguments;
  std::vector<const OutputSpec*> specs;
  std::vector<OutputSpec> constant_specs;
  for (const OutputSpec& argument : graph.arguments) {
    specs.push_back(&argument);
  }
  for (const array& constant : graph.constants) {
    constant_specs.push_back(spec_of(constant));
  }
  const auto value_of = [&](uint32_t value) -> const array& {
    return value & ExportedGraph::kConstant ? graph.constants[value & ~ExportedGraph::kConstant]
                                            : values[value];
  };
  std::vector<array> inputs;
  std::vector<OutputSpec> recorded;
  for (const ExportedGraph::Node& node : graph.nodes) {
    inputs.clear();
    recorded.clear();
    for (const uint32_t input : node.inputs) {
      inputs.push_back(value_of(input));
      recorded.push_back(
          input & ExportedGraph::kConstant ? constant_specs[input & ~ExportedGraph::kConstant]
                                           : *specs[input]);
    }
    const std::vector<array> results = node.operation->call(
        {node.name.c_str(), inputs, node.attributes, recorded, node.outputs, {}});
    if (results.size() != node.outputs.size()) {
      fail<ValueError>(
          "[", node.name, "] ", results.size(), " results, expected ", node.outputs.size(), ".");
    }
    for (size_t i = 0; i < results.size(); ++i) {
      if (!matches(node.outputs[i], results[i], graph.shapeless)) {
        fail_result(node, node.outputs[i]);
      }
      values.push_back(results[i]);
      specs.push_back(&node.outputs[i]);
    }
  }
  std::vector<array> outputs;
  for (const uint32_t output : graph.outputs) {
    outputs.push_back(value_of(output));
  }
  return outputs;
}

} // namespace narrows
