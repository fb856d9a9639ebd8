#include "narrows/transforms/argument.h"

#include <mutex>
#include <utility>
#include <vector>

#include "narrows/ops/rules.h"
#include "narrows/ops/stop_gradient.h"
#include "narrows/ops/view.h"
#include "narrows/walk/linearize.h"

namespace narrows {

// A view of its first input. It also depends on the others, so that it comes after them.
class TracedArgument final : public View {
 public:
  const char* name() const override {
    return "argument";
  }
  void place(Placement& placement) const override {
    placement.view(0, 0, Layout(placement.input_layout(0)));
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream) const override {
    return {inputs[0]};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<array> result(op.inputs.size());
    result[0] = cotangents[0];
    return result;
  }
  std::vector<array> jvp(const Recorded&, std::span<const array> tangents) const override {
    return {tangents[0]};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const array batch = as_batch(inputs[0], batched[0], size, op.stream);
    if (inputs.size() == 1) {
      return {batch};
    }
    return depends({batch}, {inputs.begin() + 1, inputs.end()});
  }

  bool has_ended() const {
    return ended_;
  }
  void end() const {
    ended_ = true;
  }

 private:
  mutable std::atomic<bool> ended_{false};
};

namespace {

// The array that an argument of an ended trace was made of, if the node still has it.
array made_of(const array& a) {
  std::lock_guard lock(graph_mutex());
  Node& node = *a.node();
  if (node.status() != Status::lazy) {
    return array();
  }
  const auto* argument = dynamic_cast<const TracedArgument*>(&node.primitive());
  return argument && argument->has_ended() ? node.inputs()[0] : array();
}

} // namespace

TracedArguments::TracedArguments() : primitive_(std::make_shared<const TracedArgument>()) {
}

TracedArguments::~TracedArguments() {
  primitive_->end();
}

array TracedArguments::add(const array& a, std::span<const array> after) {
  array original = a;
  while (array inner = made_of(original)) {
    original = std::move(inner);
  }
  std::vector<array> inputs{original};
  inputs.insert(inputs.end(), after.begin(), after.end());
  // Where arrays move between memories, those that the host made are on the CPU's stream only until
  // they move.
  const Stream stream = has_separate_memories() ? default_stream(default_device()) : a.stream();
  return record(primitive_, stream, a.shape(), a.dtype(), inputs);
}

} // namespace narrows
