#include "narrows/record/trace.h"

#include <atomic>
#include <utility>

#include "narrows/plan/placement.h"
#include "narrows/record/primitive.h"
#include "narrows/walk/linearize.h"

namespace narrows {
namespace {

constexpr uint64_t kNoTrace = UINT64_MAX;

thread_local uint64_t current = 0;
thread_local uint64_t outermost = kNoTrace;
thread_local bool any_shape = false;

class TracedArgument final : public Primitive {
 public:
  const char* name() const override {
    return "argument";
  }
  void place(Placement& placement) const override {
    placement.view(0, 0, Layout(placement.input_layout(0)));
  }
  FusionRule fusion() const override {
    return {.shows_input = true};
  }
  std::optional<Inlined> inlined(std::span<const array> inputs) const override {
    return Inlined{{}, {}, {inputs[0]}};
  }
  void encode(Encoder&, const StepView&) const override {
  }
  std::vector<array> vjp(const Recorded&, std::span<const array> cotangents) const override {
    return {cotangents[0]};
  }
  std::vector<array> jvp(const Recorded&, std::span<const array> tangents) const override {
    return {tangents[0]};
  }
  std::vector<array> vmap(
      const Recorded&,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {inputs[0]};
  }
};

class Placeholder final : public Primitive {
 public:
  const char* name() const override {
    return "placeholder";
  }
  void place(Placement&) const override {
    fail<ValueError>(
        "[eval] an argument of a function that is being traced (by compile, vmap or export) has no "
        "value there, expected the array not to be evaluated, printed or converted.");
  }
  void encode(Encoder&, const StepView&) const override {
  }
};

} // namespace

uint64_t current_trace() {
  return current;
}

uint64_t outermost_trace() {
  return outermost;
}

bool shapes_vary() {
  return any_shape;
}

TraceScope::TraceScope(bool shapes_vary) : enclosing_(current), enclosing_shapes_vary_(any_shape) {
  any_shape |= shapes_vary;
  static std::atomic<uint64_t> latest{0};
  id_ = ++latest;
  current = id_;
  if (outermost == kNoTrace) {
    outermost = id_;
  }
}

TraceScope::~TraceScope() {
  current = enclosing_;
  any_shape = enclosing_shapes_vary_;
  if (outermost == id_) {
    outermost = kNoTrace;
  }
}

AppliedTrace::AppliedTrace(uint64_t id, const std::vector<Node*>& nodes) : nodes_(nodes), id_(id) {
  if (outermost == kNoTrace) {
    outermost = id;
  }
}

AppliedTrace::~AppliedTrace() {
  if (outermost != id_) {
    return;
  }
  outermost = kNoTrace;
  for (Node* node : nodes_) {
    if (node->status() == Status::ready) {
      node->detach();
    }
  }
}

array traced_argument(const array& a) {
  static const auto primitive = std::make_shared<const TracedArgument>();
  // Where arrays move, those that the host made are on the CPU's stream, but not there for long.
  const Stream stream = has_separate_memories() ? default_stream(default_device()) : a.stream();
  return record(primitive, stream, a.shape(), a.dtype(), {&a, 1});
}

array placeholder(const Shape& shape, Dtype dtype) {
  static const auto primitive = std::make_shared<const Placeholder>();
  array result = record(primitive, default_stream(default_device()), shape, dtype, {});
  result.node()->forget_pending(); // nobody can evaluate it
  return result;
}

std::vector<array> outputs_of(Node& node) {
  std::vector<array> outputs;
  outputs.reserve(node.output_count());
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    outputs.emplace_back(&node, i);
  }
  return outputs;
}

std::vector<Node*> traced_nodes(std::span<const array> outputs, uint64_t id) {
  Tape tape;
  std::lock_guard lock(graph_mutex());
  linearize(
      outputs, [id](Node* node) { return node->trace < id; }, kUnlimitedWidth, tape);
  return tape;
}

} // namespace narrows
