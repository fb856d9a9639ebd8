#include "narrows/transforms/compile.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "narrows/fuse/settings.h"
#include "narrows/ops/collective_order.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/stop_gradient.h"
#include "narrows/order/settings.h"
#include "narrows/plan/placement.h"
#include "narrows/record/primitive.h"
#include "narrows/record/trace.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/tf32.h"
#include "narrows/walk/linearize.h"

namespace narrows {
namespace {

constexpr size_t kMostPlans = 8; // of a graph

// The layouts that a plan was made for.
struct PlanKey {
  struct Argument {
    Strides strides;
    int64_t offset;
    int64_t dying; // bytes of its buffer if that dies in the call, else 0
    friend bool operator==(const Argument&, const Argument&) = default;
  };
  std::vector<Argument> arguments;
  OrderOptions order;
  bool fuses;
  bool tf32;

  bool matches(const PlanKey& other) const {
    return arguments == other.arguments && order == other.order && fuses == other.fuses &&
           tf32 == other.tf32;
  }
};

// Planning a recorded graph overwrites the planner's marks on the arrays that it captured, which
// the outer plan has marked, too. This object restores them.
class KeptMarks {
 public:
  explicit KeptMarks(const std::vector<array>& captured) {
    for (const array& a : captured) {
      Output& output = *a.output();
      Buffer* buffer = output.buffer.get();
      marks_.push_back(
          {&output, output.epoch, output.uses, output.value, buffer->epoch, buffer->planned});
    }
  }
  ~KeptMarks() {
    for (const Mark& mark : marks_) {
      mark.output->epoch = mark.epoch;
      mark.output->uses = mark.uses;
      mark.output->value = mark.value;
      mark.output->buffer->epoch = mark.buffer_epoch;
      mark.output->buffer->planned = mark.planned;
    }
  }
  KeptMarks(const KeptMarks&) = delete;
  KeptMarks& operator=(const KeptMarks&) = delete;

 private:
  struct Mark {
    Output* output;
    uint64_t epoch;
    uint32_t uses;
    uint32_t value;
    uint64_t buffer_epoch;
    uint32_t planned;
  };
  std::vector<Mark> marks_;
};

} // namespace

class RecordedGraph {
 public:
  RecordedGraph(
      const Function& function, const std::vector<array>& like, std::optional<CallBudget> budget)
      : budget_(budget) {
    std::vector<array> constants;
    {
      const TraceFamily
          family; // other evaluations of arrays that the function left behind must keep the graph
      std::optional<TraceScope> scope(std::in_place);
      trace_ = scope->trace();
      for (const array& a : like) {
        arguments_.push_back(placeholder(a.shape(), a.dtype()));
      }
      {
        const TokenScope tokens(TokenScope::Start::placeholder);
        outputs_ = function(arguments_);
        for (const TokenScope::Used& used : tokens.used()) {
          groups_.push_back(used.group);
          arguments_.push_back(used.first);
          outputs_.push_back(used.last);
        }
      }
      constants = find_constants();
      make_outputs_distinct(constants);
      scope.reset();
    }
    eval(constants);
    nodes_ = find_nodes();
    for (Node* node : nodes_) {
      node->forget_pending();
    }
    captured_ = captured();
    one_stream_ = on_one_stream();
    bring_home();
    for (const array& argument : arguments_) {
      stand_ins_.push_back(std::make_unique<Buffer>());
      stand_ins_.back()->refs = 1;
      argument.output()->buffer = BufferRef(stand_ins_.back().get());
    }
  }
  ~RecordedGraph() {
    for (array& argument : arguments_) {
      argument.output()->buffer.reset(); // another reference remains: the stand-in's own
    }
  }
  RecordedGraph(const RecordedGraph&) = delete;
  RecordedGraph& operator=(const RecordedGraph&) = delete;

  const std::vector<array>& arguments() const {
    return arguments_;
  }
  const std::vector<array>& outputs() const {
    return outputs_;
  }
  const std::vector<Node*>& nodes() const {
    return nodes_;
  }
  bool has_one_stream() const {
    return one_stream_;
  }
  // Groups of processes in which the function has operations. Its last arguments and outputs are
  // their tokens (ops/collective_order.h).
  const std::vector<int>& groups() const {
    return groups_;
  }

  std::shared_ptr<const SubPlan> plan_for(const Placement& placement) const;

 private:
  std::vector<array> find_constants() const;
  void make_outputs_distinct(const std::vector<array>& constants);
  std::vector<Node*> find_nodes() const;
  std::vector<array> captured() const;
  bool on_one_stream() const;
  void bring_home() const;
  class PlacedArguments;
  std::shared_ptr<const SubPlan> make_subplan(const PlanKey& key, Backend& backend) const;

  const std::optional<CallBudget> budget_;
  Trace trace_;
  mutable std::vector<array> arguments_;
  std::vector<array> outputs_;
  std::vector<Node*> nodes_; // inputs first
  std::vector<array> captured_;
  std::vector<int> groups_;
  bool one_stream_ = true;
  std::vector<std::unique_ptr<Buffer>>
      stand_ins_; // they stand for the arguments' buffers while the graph is planned

  struct Entry {
    PlanKey key;
    std::shared_ptr<const SubPlan> plan;
    int64_t active; // bytes when it was made, where there was a budget

    bool suits(const PlanKey& wanted, int64_t active_now) const;
  };
  mutable std::deque<Entry> plans_; // the latest used first; under graph_mutex()
};

// The arrays to compute before the first call. They are the same in every call and are also held
// outside of the graph: arrays that the function captured before they had a value, and arrays that
// it left somewhere. Another evaluation could compute them, which would take their part of the
// graph apart.
std::vector<array> RecordedGraph::find_constants() const {
  std::unordered_set<const Output*> variable;
  for (const array& argument : arguments_) {
    variable.insert(argument.output());
  }
  std::unordered_map<const Output*, uint32_t> handles; // of the graph
  for (const array& output : outputs_) {
    ++handles[output.output()];
  }
  std::vector<array> constants;
  for (const array& output : outputs_) {
    if (!trace_.has(*output.node())) {
      constants.push_back(output);
    }
  }
  const std::vector<Node*> nodes = traced_nodes(outputs_, trace_);
  for (Node* node : nodes) {
    bool varies = false;
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      const array& input = node->inputs()[i];
      varies |= variable.count(input.output()) > 0;
      ++handles[input.output()];
      if (!trace_.has(*input.node())) {
        constants.push_back(input);
      }
    }
    for (uint32_t i = 0; varies && i < node->output_count(); ++i) {
      variable.insert(&node->output(i));
    }
  }
  for (Node* node : nodes) {
    for (uint32_t i = 0; i < node->output_count(); ++i) {
      Output& output = node->output(i);
      if (!variable.count(&output) && output.refs > handles[&output]) {
        constants.emplace_back(&output);
      }
    }
  }
  return constants;
}

// Every output becomes a value of its own in the plan: those that are arguments, constants or one
// array twice are looked at through a view.
void RecordedGraph::make_outputs_distinct(const std::vector<array>& constants) {
  std::unordered_set<const Output*> others;
  for (const std::vector<array>& known : {arguments_, constants}) {
    for (const array& a : known) {
      others.insert(a.output());
    }
  }
  for (array& output : outputs_) {
    const bool is_own = trace_.has(*output.node()) && output.node()->status() == Status::lazy;
    if (!others.insert(output.output()).second || !is_own) {
      output = depends({output}, {})[0];
    }
  }
}

// Everything that calls need: arrays that have their value, without what they were computed from.
std::vector<Node*> RecordedGraph::find_nodes() const {
  std::unordered_set<Node*> needed;
  for (const array& output : outputs_) {
    needed.insert(output.node());
  }
  std::vector<Node*> nodes = traced_nodes(outputs_, trace_);
  const auto is_needed = [&](Node* node) {
    if (needed.count(node) == 0) {
      return false;
    }
    for (uint32_t i = 0; node->status() != Status::ready && i < node->input_count(); ++i) {
      needed.insert(node->inputs()[i].node());
    }
    return true;
  };
  std::vector<Node*> found;
  std::copy_if(nodes.rbegin(), nodes.rend(), std::back_inserter(found), is_needed);
  std::reverse(found.begin(), found.end());
  return found;
}

// Inputs of the graph's nodes that have their value.
std::vector<array> RecordedGraph::captured() const {
  std::unordered_set<const Output*> seen;
  std::vector<array> found;
  for (Node* node : nodes_) {
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      const array& input = node->inputs()[i];
      if (input.is_ready() && seen.insert(input.output()).second) {
        found.push_back(input);
      }
    }
  }
  return found;
}

bool RecordedGraph::on_one_stream() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [&](Node* node) {
    return node->input_count() == 0 || node->stream() == outputs_[0].stream();
  });
}

// Arrays that the graph's device cannot address move to its memory once, instead of in every call.
void RecordedGraph::bring_home() const {
  if (one_stream_ && has_separate_memories()) {
    for (const array& a : captured_) {
      eval(stop_gradient(a, outputs_[0].stream()));
    }
  }
}

// Within a budget a plan depends on what is active besides. One that was made when much more was
// active may compute more again than it has to; one that was made when less was may hold too much,
// unless it exceeded the budget even then.
bool RecordedGraph::Entry::suits(const PlanKey& wanted, int64_t active_now) const {
  constexpr int64_t kMuch = 16; // of the budget
  const int64_t budget = wanted.order.budget;
  if (!key.matches(wanted)) {
    return false;
  }
  const int64_t held = plan->plan.peak_bytes() - plan->plan.bytes_before(); // besides those
  return budget == 0 || active_now == active ||
         (active_now > active - budget / kMuch &&
          (active_now + held <= budget || active + held > budget));
}

std::shared_ptr<const SubPlan> RecordedGraph::plan_for(const Placement& placement) const {
  std::optional<MemoryBudgetScope> scope;
  if (budget_) {
    scope.emplace(budget_->bytes, true, budget_->offload);
  }
  PlanKey key{{}, order_options(), fusion_enabled(), tf32_enabled()};
  for (uint32_t i = 0; i < placement.input_count(); ++i) {
    const Layout& layout = placement.input_layout(i);
    key.arguments.push_back({layout.strides, layout.offset, placement.bytes_of_dying(i)});
  }
  const int64_t active = key.order.budget > 0 ? get_active_memory(placement.backend().memory()) : 0;
  auto found = std::find_if(
      plans_.begin(), plans_.end(), [&](const Entry& entry) { return entry.suits(key, active); });
  if (found == plans_.end()) {
    std::shared_ptr<const SubPlan> made = make_subplan(key, placement.backend());
    if (plans_.size() == kMostPlans) {
      plans_.pop_back();
    }
    plans_.push_front({std::move(key), made, active});
    return made;
  }
  std::rotate(plans_.begin(), found, found + 1);
  return plans_.front().plan;
}

// While it lives, the arguments of a graph have values with the layouts of a key.
class RecordedGraph::PlacedArguments {
 public:
  PlacedArguments(std::vector<array>& arguments, const PlanKey& key, MemorySource& memory)
      : arguments_(arguments) {
    std::vector<Layout> layouts;
    for (size_t i = 0; i < arguments.size(); ++i) {
      outputs_.push_back(arguments[i].output());
      const PlanKey::Argument& as = key.arguments[i];
      layouts.push_back(Layout::strided(outputs_[i]->shape, Strides(as.strides), as.offset));
    }
    for (size_t i = 0; i < arguments.size(); ++i) { // nothing fails from here on
      place(i, std::move(layouts[i]), key.arguments[i].dying, memory);
    }
  }
  ~PlacedArguments() {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      if (!arguments_[i]) {
        arguments_[i] = array(outputs_[i]);
        outputs_[i]->buffer->refs.fetch_add(1);
      }
      outputs_[i]->node->exclude();
    }
  }
  PlacedArguments(const PlacedArguments&) = delete;
  PlacedArguments& operator=(const PlacedArguments&) = delete;

  const std::vector<Output*>& outputs() const {
    return outputs_;
  }

 private:
  void place(size_t i, Layout layout, int64_t dying, MemorySource& memory) {
    Output& output = *outputs_[i];
    output.layout = std::move(layout);
    output.buffer->source = &memory;
    output.buffer->bytes = dying;
    output.node->set_status(Status::ready);
    if (dying > 0 && output.refs > 1) {
      // From here on only the graph holds it, so the planner sees that it may die. If the graph
      // does not use it, nobody holds it.
      output.buffer->refs.fetch_sub(1);
      arguments_[i] = array();
    }
  }

  std::vector<array>& arguments_;
  std::vector<Output*> outputs_;
};

namespace {

// A plan with the nodes that run again in it.
struct KeptPlan : SubPlan {
  std::vector<array> copies;
};

} // namespace

// Plans the graph as if its arguments had values with the layouts of the key.
std::shared_ptr<const SubPlan> RecordedGraph::make_subplan(
    const PlanKey& key, Backend& backend) const {
  const KeptMarks marks(captured_);
  const PlacedArguments arguments(arguments_, key, backend.memory());
  auto result = std::make_shared<KeptPlan>();
  Tape tape;
  Repeats repeats = plan_outputs(outputs_, tape, result->plan);
  const Plan& plan = result->plan;
  for (Output* input : arguments.outputs()) {
    const auto used = std::find_if(
        plan.values.begin(),
        plan.values.begin() + static_cast<ptrdiff_t>(plan.input_count),
        [&](const PlannedValue& value) { return value.output == input; });
    const bool found = used != plan.values.begin() + static_cast<ptrdiff_t>(plan.input_count);
    result->argument_buffers.push_back(found ? used->buffer : kNone);
  }
  for (const array& output : outputs_) {
    result->output_values.push_back(output.output()->value);
  }
  result->copies = repeats.undo_and_release();
  return result;
}

namespace {

// Records the graph's operations again.
std::vector<array> replay(const RecordedGraph& graph, std::span<const array> arguments) {
  std::unordered_map<const Output*, array> values;
  for (size_t i = 0; i < arguments.size(); ++i) {
    values[graph.arguments()[i].output()] = arguments[i];
  }
  const auto value_of = [&](const array& a) {
    const auto at = values.find(a.output());
    return at != values.end() ? at->second : a;
  };
  for (Node* node : graph.nodes()) {
    // Arguments are given. Nodes without a primitive have their value.
    if (!node->primitive_ref() || values.count(&node->output(0))) {
      continue;
    }
    std::vector<array> inputs;
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      inputs.push_back(value_of(node->inputs()[i]));
    }
    const std::vector<array> outputs = outputs_of(*node);
    const std::vector<array> again =
        Recorded{node->primitive_ref(), inputs, outputs, node->asked_stream()}.again(inputs);
    for (size_t i = 0; i < outputs.size(); ++i) {
      values[outputs[i].output()] = again[i];
    }
  }
  std::vector<array> results;
  for (const array& output : graph.outputs()) {
    results.push_back(value_of(output));
  }
  return results;
}

// Runs a recorded graph.
class Compiled final : public Primitive {
 public:
  explicit Compiled(std::shared_ptr<const RecordedGraph> graph) : graph_(std::move(graph)) {
  }

  const char* name() const override {
    return "compiled";
  }
  void place(Placement& placement) const override {
    placement.run(graph_->plan_for(placement));
  }
  FusionRule fusion() const override {
    return {.shows_input = true};
  }
  void encode(Encoder&, const StepView&) const override {
  }
  KernelId kernel(Dtype in, Dtype) const override {
    return copy_kernel(in, in); // the inner operations have kernels of their own
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream) const override {
    return replay(*graph_, inputs);
  }
  Attributes attributes() const override {
    return {{"operations", static_cast<int64_t>(graph_->nodes().size())}};
  }

 private:
  std::shared_ptr<const RecordedGraph> graph_;
};

} // namespace

std::shared_ptr<const RecordedGraph> record_graph(
    const Function& function, const std::vector<array>& like, std::optional<CallBudget> budget) {
  return std::make_shared<RecordedGraph>(function, like, budget);
}

namespace {

std::vector<array> call_with_tokens(
    const std::shared_ptr<const RecordedGraph>& graph, const std::vector<array>& arguments) {
  if (graph->outputs().empty()) {
    return {};
  }
  if (!graph->has_one_stream()) {
    return replay(*graph, arguments);
  }
  return record(
      std::make_shared<Compiled>(graph),
      graph->outputs()[0].stream(),
      specs_of(graph->outputs()),
      arguments);
}

} // namespace

std::vector<array> call(
    const std::shared_ptr<const RecordedGraph>& graph, std::vector<array> arguments) {
  for (const int group : graph->groups()) {
    const array token = latest_token(group);
    arguments.push_back(token ? token : zeros(kTokenSpec.shape, kTokenSpec.dtype));
  }
  std::vector<array> results = call_with_tokens(graph, arguments);
  for (size_t i = graph->groups().size(); i > 0; --i) {
    set_latest_token(graph->groups()[i - 1], results.back());
    results.pop_back();
  }
  return results;
}

size_t node_count(const RecordedGraph& graph) {
  return graph.nodes().size();
}

} // namespace narrows
