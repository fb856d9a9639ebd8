#include "narrows/transforms/derivative.h"

#include <unordered_map>
#include <unordered_set>

#include "narrows/ops/accumulate.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/rules.h"
#include "narrows/record/primitive.h"
#include "narrows/record/trace.h"
#include "narrows/runtime/event.h"
#include "narrows/transforms/argument.h"

namespace narrows {
namespace {

constexpr size_t kNodesBetweenInterruptChecks = 1024;

// A function that was recorded once, at given arguments.
class Recording {
 public:
  Recording(
      const Function& function,
      const std::vector<array>& primals,
      const std::vector<array>& after = {}) {
    TraceScope scope;
    for (const array& primal : primals) {
      arguments_.push_back(traced_.add(primal, after));
    }
    outputs_ = function(arguments_);
    nodes_ = traced_nodes(outputs_, scope.trace());
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  const std::vector<array>& outputs() const {
    return outputs_;
  }

  std::vector<array> pull_back(const std::vector<array>& cotangents) const;
  std::vector<array> push_forward(const std::vector<array>& tangents) const;

 private:
  std::unordered_set<const Output*> depending() const;

  const TraceFamily family_; // lives while the rules are applied, too
  TracedArguments traced_;
  std::vector<array> arguments_;
  std::vector<array> outputs_;
  std::vector<Node*> nodes_; // inputs first
};

// Records the operations that the operation is made of, for a rule that it does not have.
Recording parts_of(const Recorded& op, const char* rule) {
  return Recording(
      [&](const std::vector<array>& inputs) { return op.decomposed(inputs, rule); },
      std::vector<array>(op.inputs.begin(), op.inputs.end()));
}

// Calls `visit` for the nodes that have inputs, in the order of the range.
using Visit = std::function<void(Node& node, std::span<const array> inputs)>;
template <typename Range>
void visit_nodes(const Range& nodes, const Visit& visit) {
  size_t count = 0;
  for (Node* node : nodes) {
    if (++count % kNodesBetweenInterruptChecks == 0) {
      check_interrupt();
    }
    if (node->input_count() > 0) {
      with_origin(node->origin(), [&] {
        visit(*node, std::span<const array>(node->inputs(), node->input_count()));
      });
    }
  }
}

struct Reversed {
  const std::vector<Node*>& nodes;
  auto begin() const {
    return nodes.rbegin();
  }
  auto end() const {
    return nodes.rend();
  }
};

// The outputs of nodes that depend on the arguments.
std::unordered_set<const Output*> Recording::depending() const {
  std::unordered_set<const Output*> found;
  for (const array& argument : arguments_) {
    found.insert(argument.output());
  }
  visit_nodes(nodes_, [&](Node& node, std::span<const array> inputs) {
    for (const array& input : inputs) {
      if (found.count(input.output())) {
        for (const array& output : outputs_of(node)) {
          found.insert(output.output());
        }
        return;
      }
    }
  });
  return found;
}

std::vector<array> Recording::pull_back(const std::vector<array>& cotangents) const {
  const std::unordered_set<const Output*> active = depending();
  std::unordered_map<const Output*, array> found;
  const auto accumulate = [&](const array& of, array cotangent) {
    if (cotangent && active.count(of.output())) {
      // Rules of operations on integers compute in floating point where a derivative is a fraction.
      cotangent = astype(cotangent, of.dtype(), of.stream());
      array& sum = found[of.output()];
      sum = sum ? accumulated(sum, cotangent, of.stream()) : std::move(cotangent);
    }
  };
  for (size_t i = 0; i < outputs_.size(); ++i) {
    accumulate(outputs_[i], cotangents[i]);
  }
  std::vector<bool> wanted;
  visit_nodes(Reversed{nodes_}, [&](Node& node, std::span<const array> inputs) {
    bool any_wanted = false;
    wanted.clear();
    for (const array& input : inputs) {
      wanted.push_back(active.count(input.output()) > 0);
      any_wanted |= wanted.back();
    }
    if (!any_wanted) {
      return;
    }
    const std::vector<array> outputs = outputs_of(node);
    std::vector<array> given(outputs.size());
    bool any_given = false;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const auto at = found.find(outputs[i].output());
      if (at != found.end()) {
        given[i] = std::move(at->second);
        found.erase(at);
        any_given = true;
      }
    }
    if (any_given) {
      const Recorded op{node.primitive_ref(), inputs, outputs, node.asked_stream(), &wanted};
      std::vector<array> results = node.primitive().vjp(op, given);
      if (results.empty()) {
        results = parts_of(op, "derivative (vjp)").pull_back(given);
      }
      for (size_t i = 0; i < inputs.size(); ++i) {
        accumulate(inputs[i], std::move(results[i]));
      }
    }
  });
  std::vector<array> results;
  for (const array& argument : arguments_) {
    const auto at = found.find(argument.output());
    results.push_back(at != found.end() ? at->second : zeros_like(argument, argument.stream()));
  }
  return results;
}

std::vector<array> Recording::push_forward(const std::vector<array>& tangents) const {
  std::unordered_map<const Output*, array> found;
  for (size_t i = 0; i < arguments_.size(); ++i) {
    found[arguments_[i].output()] = tangents[i];
  }
  const auto tangent_of = [&](const array& a) {
    const auto at = found.find(a.output());
    return at != found.end() ? at->second : array();
  };
  visit_nodes(nodes_, [&](Node& node, std::span<const array> inputs) {
    std::vector<array> given;
    bool any_given = false;
    for (const array& input : inputs) {
      given.push_back(tangent_of(input));
      any_given |= static_cast<bool>(given.back());
    }
    if (!any_given) {
      return;
    }
    const std::vector<array> outputs = outputs_of(node);
    const Recorded op{node.primitive_ref(), inputs, outputs, node.asked_stream()};
    std::vector<array> results = node.primitive().jvp(op, given);
    if (results.empty()) {
      results = parts_of(op, "derivative (jvp)").push_forward(given);
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (results[i]) {
        const array& output = outputs[i];
        found[output.output()] = astype(results[i], output.dtype(), output.stream());
      }
    }
  });
  std::vector<array> results;
  for (const array& output : outputs_) {
    const array tangent = tangent_of(output);
    results.push_back(tangent ? tangent : zeros_like(output, output.stream()));
  }
  return results;
}

void require_like(
    const char* op,
    const char* what,
    const char* of,
    const std::vector<array>& given,
    const std::vector<array>& like) {
  if (given.size() != like.size()) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        given.size(),
        " ",
        what,
        " for ",
        like.size(),
        " ",
        of,
        ", expected one each.");
  }
  for (size_t i = 0; i < like.size(); ++i) {
    if (given[i].shape() != like[i].shape()) {
      fail<ValueError>(
          "[",
          op,
          "] ",
          what,
          " of shape ",
          to_string(given[i].shape()),
          " for ",
          of,
          " of shape ",
          to_string(like[i].shape()),
          ", expected the same shape.");
    }
  }
}

// The derivatives, converted to the dtypes of their arrays.
std::vector<array> converted(
    const std::vector<array>& derivatives, const std::vector<array>& like) {
  std::vector<array> result;
  for (size_t i = 0; i < like.size(); ++i) {
    result.push_back(
        derivatives[i] ? astype(derivatives[i], like[i].dtype(), like[i].stream()) : array());
  }
  return result;
}

} // namespace

namespace {

std::pair<std::vector<array>, std::vector<array>> vjp_after(
    const Function& function,
    const std::vector<array>& primals,
    const Function& cotangents,
    const std::vector<array>& after) {
  const Recording recording(function, primals, after);
  return {recording.outputs(), recording.pull_back(cotangents(recording.outputs()))};
}

} // namespace

std::pair<std::vector<array>, std::vector<array>> vjp(
    const Function& function, const std::vector<array>& primals, const Function& cotangents) {
  return vjp_after(function, primals, cotangents, {});
}

std::pair<std::vector<array>, std::vector<array>> vjp(
    const Function& function,
    const std::vector<array>& primals,
    const std::vector<array>& cotangents,
    const std::vector<array>& after) {
  const Function as_outputs = [&](const std::vector<array>& outputs) {
    require_like("vjp", "cotangents", "outputs", cotangents, outputs);
    return converted(cotangents, outputs);
  };
  return vjp_after(function, primals, as_outputs, after);
}

std::pair<std::vector<array>, std::vector<array>> jvp(
    const Function& function,
    const std::vector<array>& primals,
    const std::vector<array>& tangents) {
  require_like("jvp", "tangents", "primals", tangents, primals);
  const Recording recording(function, primals);
  return {recording.outputs(), recording.push_forward(converted(tangents, primals))};
}

} // namespace narrows
