#include "narrows/transforms/vmap.h"

#include <unordered_map>

#include "narrows/ops/collective_order.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/strided.h"
#include "narrows/record/primitive.h"
#include "narrows/record/trace.h"

namespace narrows {
namespace {

// The inputs, with the batch as their first dimension, and its size.
struct Batch {
  std::vector<array> inputs;
  std::vector<bool> batched;
  int64_t size = -1;
};

Batch batch_of(const std::vector<array>& inputs, const std::vector<std::optional<int>>& axes) {
  Batch batch;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const array& input = inputs[i];
    batch.batched.push_back(axes[i].has_value());
    batch.inputs.push_back(input);
    if (!axes[i]) {
      continue;
    }
    if (input.ndim() == 0) {
      fail<ValueError>("[vmap] axis ", *axes[i], " of a scalar, expected at least one dimension.");
    }
    const int axis = normalize_axis("vmap", *axes[i], input.shape());
    const int64_t size = input.shape(axis);
    if (batch.size >= 0 && batch.size != size) {
      fail<ValueError>(
          "[vmap] axes of sizes ", batch.size, " and ", size, ", expected the same size.");
    }
    batch.size = size;
    batch.inputs.back() = moveaxis(input, axis, 0, input.stream());
  }
  if (batch.size < 0) {
    fail<ValueError>("[vmap] no input has an axis, expected at least one.");
  }
  return batch;
}

// Applies the rule of an operation for a batch; if it has none, those of the operations that it is
// made of.
std::vector<array> outputs_for_batch(
    const Recorded& op,
    const std::vector<array>& inputs,
    const std::vector<bool>& batched,
    int64_t size) {
  std::vector<array> outputs = op.primitive->vmap(op, inputs, batched, size);
  if (outputs.empty()) {
    std::vector<std::optional<int>> axes;
    for (const bool is_batched : batched) {
      axes.push_back(is_batched ? std::optional<int>(0) : std::nullopt);
    }
    const Function parts = [&](const std::vector<array>& entry) {
      return op.decomposed(entry, "batched form (vmap)");
    };
    for (const Batched& output : vmap(parts, inputs, axes).outputs) {
      outputs.push_back(as_batch(output.value, output.batched, size, op.stream));
    }
  }
  return outputs;
}

// The function, recorded for one entry.
struct Entry {
  std::vector<array> arguments;
  std::vector<array> outputs;
  std::vector<array> tokens; // placeholders
  std::vector<Node*> nodes;
};

Entry record_entry(const Function& function, const Batch& batch) {
  Entry entry;
  TraceScope scope;
  for (size_t i = 0; i < batch.inputs.size(); ++i) {
    const array& input = batch.inputs[i];
    if (batch.batched[i]) {
      const Shape shape(input.shape().begin() + 1, input.shape().end());
      entry.arguments.push_back(placeholder(shape, input.dtype()));
    } else {
      entry.arguments.push_back(input);
    }
  }
  const TokenScope tokens(TokenScope::Start::placeholder);
  entry.outputs = function(entry.arguments);
  for (const TokenScope::Used& used : tokens.used()) {
    entry.tokens.push_back(used.first);
  }
  entry.nodes = traced_nodes(entry.outputs, scope.trace());
  return entry;
}

} // namespace

BatchedOutputs vmap(
    const Function& function,
    const std::vector<array>& inputs,
    const std::vector<std::optional<int>>& axes) {
  const Batch batch = batch_of(inputs, axes);
  const TraceFamily family;
  const Entry entry = record_entry(function, batch);
  std::unordered_map<const Output*, array>
      batches; // by output: its batch, for all that depends on batched inputs
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (batch.batched[i]) {
      batches[entry.arguments[i].output()] = batch.inputs[i];
    }
  }
  // Operations of several processes depend on a batch in any case, so that their rules record all
  // of them among those that are recorded around this function.
  for (const array& token : entry.tokens) {
    batches[token.output()] = zeros(with_batch(batch.size, token.shape()), token.dtype());
  }
  std::vector<array> operands;
  std::vector<bool> batched;
  for (Node* node : entry.nodes) {
    operands.clear();
    batched.clear();
    bool any = false;
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      const auto at = batches.find(node->inputs()[i].output());
      batched.push_back(at != batches.end());
      operands.push_back(batched.back() ? at->second : node->inputs()[i]);
      any |= batched.back();
    }
    if (!any) {
      continue;
    }
    const std::vector<array> outputs = outputs_of(*node);
    const Recorded op{
        node->primitive_ref(),
        {node->inputs(), node->input_count()},
        outputs,
        node->asked_stream()};
    std::vector<array> results = with_origin(
        node->origin(), [&] { return outputs_for_batch(op, operands, batched, batch.size); });
    for (size_t i = 0; i < outputs.size(); ++i) {
      batches[outputs[i].output()] = std::move(results[i]);
    }
  }
  BatchedOutputs result{{}, batch.size};
  for (const array& output : entry.outputs) {
    const auto at = batches.find(output.output());
    const bool found = at != batches.end();
    result.outputs.push_back({found ? at->second : output, found});
  }
  return result;
}

array batch_along(const Batched& output, int64_t size, std::optional<int> axis) {
  if (!axis) {
    if (output.batched) {
      fail<ValueError>("[vmap] an output has a batch but no axis for it, expected an axis.");
    }
    return output.value;
  }
  const Stream stream = output.value.stream();
  const array batch = as_batch(output.value, output.batched, size, stream);
  return moveaxis(batch, 0, normalize_axis("vmap", *axis, batch.shape()), stream);
}

} // namespace narrows
