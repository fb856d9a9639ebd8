#include "narrows/graph/plan.h"

#include <cstring>
#include <map>
#include <optional>

#include "narrows/graph/copy.h"
#include "narrows/graph/fused_step.h"
#include "narrows/graph/fusion.h"
#include "narrows/graph/placement.h"
#include "narrows/graph/primitive.h"
#include "narrows/graph/trace.h"
#include "narrows/graph/transfer.h"
#include "narrows/runtime/allocator.h"

namespace narrows {

class Planner {
 public:
  explicit Planner(Plan& plan) : plan_(plan), epoch_(next_epoch()) {
  }

  // Fuses no nodes that `barred` names; adds to it those that cannot be, as it turns out.
  void run(
      const Tape& tape,
      std::span<const array> outputs,
      FusionGroups* groups,
      std::vector<uint32_t>& barred);

  void allocate(uint32_t value, Layout layout, Step& step);
  void share(uint32_t value, uint32_t buffer, Layout layout);
  bool can_donate(uint32_t from, uint32_t to, const Step& step);
  uint32_t pack(uint32_t value, const Step& consumer);
  bool dies(uint32_t value, const Step& step) const;
  void run_subplan(const SubPlan& subplan, Step& step);

 private:
  // A copy of an array in a memory that it does not lie in.
  struct Transfer {
    uint32_t uses = 0; // edges from steps that read the copy
    uint32_t copy = kNone;
  };
  // A step that copies, being planned.
  struct Copy {
    Step step;
    uint32_t value = kNone;
    uint32_t buffer = kNone;
  };

  void count_uses(const Tape& tape);
  void add_inputs();
  void add_input_buffer(PlannedValue& value);
  void await(const Node& node);
  void plan_node(Node& node);
  bool plan_group(const Tape& tape, const FusionGroup& group, FusedStepBuilder& builder);
  void take_scalars(const FusionGroups& groups);
  void add_outputs(Node& node, Step& step);
  void set_stream(Step& step, Stream stream);
  void add_waits(Step& step);
  void finish(Step& step);
  Copy start_copy(
      uint32_t original, const Primitive& primitive, const Step& consumer, Layout layout);
  void transfer_inputs(Step& step);
  uint32_t transfer(uint32_t original, uint32_t uses, Step& consumer);
  uint32_t pack_at_home(uint32_t original, Step& consumer);
  void use(uint32_t buffer, int stream);
  void bury_if_dead(uint32_t buffer, Step& step);

  Plan& plan_;
  const uint64_t epoch_;
  int64_t live_ = 0;
  std::vector<Output*> inputs_; // from before the plan
  Backend* backend_ = nullptr;  // of the latest stream
  int stream_ = -1;             // index of the latest stream
  const bool separate_ = has_separate_memories();
  std::map<std::pair<const Output*, const Backend*>, Transfer> transfers_;
};

void Plan::clear() {
  steps.clear();
  values.clear();
  buffers.clear();
  operands.clear();
  allocated.clear();
  freed.clear();
  waited.clear();
  subplans.clear();
  freed_at_end.clear();
  awaited.clear();
  streams.clear();
  fused_count = 0;
  taken.clear();
  input_count = 0;
  kept_from = UINT64_MAX;
  bytes_before = peak_bytes = 0;
}

void make_plan(const Tape& tape, std::span<const array> outputs, Plan& plan, bool fuse) {
  // Taken from the thread, not only used: a plan may be made while another one is.
  static thread_local FusionGroups spare;
  FusionGroups groups = std::move(spare);
  std::vector<uint32_t> barred;
  for (size_t before = 0;; before = barred.size()) {
    Planner(plan).run(tape, outputs, fuse && tape.size() > 1 ? &groups : nullptr, barred);
    if (barred.size() == before) {
      break;
    }
  }
  if (tape.size() <= kLargestSpare) {
    spare = std::move(groups);
  }
}

void Planner::run(
    const Tape& tape,
    std::span<const array> outputs,
    FusionGroups* groups,
    std::vector<uint32_t>& barred) {
  plan_.clear();
  plan_.kept_from = outermost_trace();
  plan_.steps.reserve(tape.size());
  plan_.values.reserve(2 * tape.size());
  count_uses(tape);
  if (groups) {
    groups->find(tape, barred);
  }
  add_inputs();
  for (const array& output : outputs) {
    await(*output.node());
  }
  live_ = plan_.peak_bytes = plan_.bytes_before;
  std::optional<FusedStepBuilder> builder;
  if (groups) {
    take_scalars(*groups);
    builder.emplace(tape, *groups, plan_);
  }
  for (uint32_t i = 0; i < tape.size(); ++i) {
    prefetch_after(tape, i);
    if (!groups || !groups->is_fused(i)) {
      plan_node(*tape[i]);
      continue;
    }
    if (!groups->is_root(i)) {
      continue;
    }
    const FusionGroup& group = groups->group_of(i);
    if (!plan_group(tape, group, *builder)) {
      for (uint32_t m = group.first; m != kNone; m = groups->next_member(m)) {
        barred.push_back(m);
        plan_node(*tape[m]);
      }
    }
  }
  for (uint32_t b = 0; b < plan_.buffers.size(); ++b) {
    PlannedBuffer& buffer = plan_.buffers[b];
    if (buffer.several_streams && buffer.uses == 0 && !buffer.held) {
      buffer.dead = true;
      plan_.freed_at_end.push_back(b);
    }
  }
}

// Counts the edges from the plan's nodes to each output (handles beyond these are held outside)
// and finds the inputs.
void Planner::count_uses(const Tape& tape) {
  auto reset = [&](Output& output) {
    if (output.epoch == epoch_) {
      return false;
    }
    output.epoch = epoch_;
    output.uses = 0;
    output.value = kNone;
    return true;
  };
  for (size_t at = 0; at < tape.size(); ++at) {
    prefetch_after(tape, at);
    Node* node = tape[at];
    for (uint32_t i = 0; i < node->input_count(); ++i) {
      Output& output = *node->inputs()[i].output();
      if (reset(output) && output.node->status() != Status::lazy) {
        inputs_.push_back(&output);
      }
      ++output.uses;
      if (separate_) {
        const Backend& reader = backend_for(node->stream().device);
        if (!is_within_reach(reader, output)) {
          ++transfers_[{&output, &reader}].uses;
        }
      }
    }
    for (uint32_t i = 0; i < node->output_count(); ++i) {
      reset(node->output(i));
    }
  }
}

// An input dies within the plan if only the plan's nodes hold it. A buffer of inputs dies if all
// references to it are such inputs'.
void Planner::add_inputs() {
  for (Output* output : inputs_) {
    await(*output->node);
    PlannedValue value;
    value.output = output;
    value.layout = output->layout;
    value.held = output->node->status() != Status::ready ||
                 output->refs.load(std::memory_order_acquire) > output->uses;
    add_input_buffer(value);
    output->value = static_cast<uint32_t>(plan_.values.size());
    plan_.values.push_back(std::move(value));
  }
  plan_.input_count = plan_.values.size();
  std::vector<uint32_t> own_refs(plan_.buffers.size(), 0);
  for (const PlannedValue& value : plan_.values) {
    own_refs[value.buffer] += value.held ? 0 : 1;
  }
  for (const PlannedValue& value : plan_.values) {
    PlannedBuffer& planned = plan_.buffers[value.buffer];
    if (planned.bytes > 0 || value.held) {
      continue; // a held one may be without a value yet
    }
    const Buffer* buffer = value.output->buffer.get();
    if (buffer->refs.load(std::memory_order_acquire) == own_refs[value.buffer]) {
      planned.held = false;
      planned.bytes = buffer->source ? buffer->bytes : 0;
      plan_.bytes_before += planned.bytes;
    }
  }
}

void Planner::add_input_buffer(PlannedValue& value) {
  const uint32_t next = static_cast<uint32_t>(plan_.buffers.size());
  Buffer* buffer =
      value.output->node->status() == Status::ready ? value.output->buffer.get() : nullptr;
  if (buffer && buffer->epoch == epoch_) {
    value.buffer = buffer->planned;
  } else {
    value.buffer = next;
    PlannedBuffer planned;
    planned.held = true;
    plan_.buffers.push_back(planned);
    if (buffer) {
      buffer->epoch = epoch_;
      buffer->planned = next;
    }
  }
  plan_.buffers[value.buffer].uses += value.output->uses;
}

void Planner::await(const Node& node) {
  const Status status = node.status();
  if (status == Status::lazy || status == Status::ready) {
    return;
  }
  for (const EventRef& event : plan_.awaited) {
    if (event == node.event) {
      return;
    }
  }
  plan_.awaited.push_back(node.event);
}

void Planner::set_stream(Step& step, Stream stream) {
  if (stream_ < 0 || plan_.streams[stream_] != stream) {
    backend_ = &backend_for(stream.device);
    const auto it = std::find(plan_.streams.begin(), plan_.streams.end(), stream);
    stream_ = static_cast<int>(it - plan_.streams.begin());
    if (it == plan_.streams.end()) {
      plan_.streams.push_back(stream);
    }
  }
  step.stream = stream;
  step.backend = backend_;
}

void Planner::plan_node(Node& node) {
  Step step;
  step.node = &node;
  step.primitive = &node.primitive();
  set_stream(step, node.stream());
  const bool keeps = plan_.keeps(node);
  step.inputs = {static_cast<uint32_t>(plan_.operands.size()), node.input_count()};
  for (uint32_t i = 0; i < node.input_count(); ++i) {
    const uint32_t value = node.inputs()[i].output()->value;
    plan_.operands.push_back(value);
    if (keeps) {
      plan_.values[value].held = true;
      plan_.buffers[plan_.values[value].buffer].held = true;
    }
  }
  add_outputs(node, step);
  Placement placement(*this, step, plan_);
  step.primitive->place(placement);
  finish(step);
}

void Planner::add_outputs(Node& node, Step& step) {
  step.outputs = {static_cast<uint32_t>(plan_.operands.size()), node.output_count()};
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    Output& output = node.output(i);
    PlannedValue value;
    value.output = &output;
    value.held = plan_.keeps(node) || output.refs.load(std::memory_order_acquire) > output.uses;
    output.value = static_cast<uint32_t>(plan_.values.size());
    plan_.operands.push_back(output.value);
    plan_.values.push_back(std::move(value));
  }
  if (!transfers_.empty()) {
    transfer_inputs(step);
  }
  step.allocations.first = static_cast<uint32_t>(plan_.allocated.size());
}

// Scalars whose values fused steps take in die before the first step.
void Planner::take_scalars(const FusionGroups& groups) {
  for (const FusionGroup& group : groups.groups()) {
    for (const FusionGroup::External& external : group.externals) {
      if (group.count > 1 && group.takes_in(external)) {
        PlannedBuffer& buffer = plan_.buffers[plan_.values[external.output->value].buffer];
        buffer.dead = true;
        live_ -= buffer.bytes;
      }
    }
  }
}

// One step for all nodes of the group, at the place of its root. False if the layouts of its
// inputs do not allow that, or one of them has to be transferred.
bool Planner::plan_group(const Tape& tape, const FusionGroup& group, FusedStepBuilder& builder) {
  for (const FusionGroup::External& external : group.externals) {
    if (transfers_.count({external.output, &backend_for(tape[group.root]->stream().device)}) > 0) {
      return false;
    }
  }
  if (plan_.fused_count == plan_.fused.size()) {
    plan_.fused.push_back(std::make_shared<FusedStep>());
  }
  FusedStep* fused = plan_.fused[plan_.fused_count].get();
  if (!builder.build(group, *fused)) {
    return false;
  }
  ++plan_.fused_count;
  for (const FusedStepBuilder::Taken& scalar : builder.taken()) {
    TakenScalar taken{scalar.output, static_cast<uint32_t>(plan_.steps.size()), {}};
    std::memcpy(taken.bytes, scalar.bytes, sizeof(taken.bytes));
    plan_.taken.push_back(taken);
  }
  // Each operand is one use, whatever the number of edges to it was.
  for (const FusionGroup::External& external : group.externals) {
    plan_.buffers[plan_.values[external.output->value].buffer].uses -= external.edges;
  }
  Node& root = *tape[group.root];
  Step step;
  step.node = &root;
  step.primitive = step.fused = fused;
  set_stream(step, root.stream());
  const std::vector<uint32_t>& inputs = builder.inputs();
  step.inputs = {
      static_cast<uint32_t>(plan_.operands.size()), static_cast<uint32_t>(inputs.size())};
  for (uint32_t value : inputs) {
    plan_.operands.push_back(value);
    ++plan_.buffers[plan_.values[value].buffer].uses;
  }
  add_outputs(root, step);
  Placement placement(*this, step, plan_);
  fused->place(placement);
  finish(step);
  return true;
}

// The step goes into the plan once it is placed: copies that it asked for stand before it.
void Planner::finish(Step& step) {
  const uint32_t index = static_cast<uint32_t>(plan_.steps.size());
  add_waits(step);
  step.peak_bytes = live_ + step.workspace;
  plan_.peak_bytes = std::max(plan_.peak_bytes, step.peak_bytes);
  step.frees.first = static_cast<uint32_t>(plan_.freed.size());
  for (uint32_t value : plan_.inputs_of(step)) {
    const uint32_t buffer = plan_.values[value].buffer;
    use(buffer, stream_);
    --plan_.buffers[buffer].uses;
  }
  for (uint32_t value : plan_.outputs_of(step)) {
    plan_.values[value].producer = index;
    use(plan_.values[value].buffer, stream_);
    bury_if_dead(plan_.values[value].buffer, step);
  }
  for (uint32_t value : plan_.inputs_of(step)) {
    bury_if_dead(plan_.values[value].buffer, step);
  }
  step.live_bytes = live_;
  plan_.steps.push_back(step);
}

void Planner::add_waits(Step& step) {
  step.waits.first = static_cast<uint32_t>(plan_.waited.size());
  if (plan_.streams.size() > 1) {
    for (uint32_t value : plan_.inputs_of(step)) {
      const uint32_t producer = plan_.values[value].producer;
      if (producer != kNone && plan_.steps[producer].stream != step.stream) {
        plan_.waited.push_back({plan_.steps[producer].stream, producer});
      }
    }
  }
  step.waits.count = static_cast<uint32_t>(plan_.waited.size()) - step.waits.first;
}

void Planner::use(uint32_t buffer, int stream) {
  PlannedBuffer& planned = plan_.buffers[buffer];
  if (planned.stream < 0) {
    planned.stream = stream;
  } else if (planned.stream != stream) {
    planned.several_streams = true;
  }
}

void Planner::bury_if_dead(uint32_t buffer, Step& step) {
  PlannedBuffer& planned = plan_.buffers[buffer];
  if (planned.uses > 0 || planned.held || planned.dead || planned.several_streams) {
    return;
  }
  planned.dead = true;
  live_ -= planned.bytes;
  plan_.freed.push_back(buffer);
  ++step.frees.count;
}

void Planner::allocate(uint32_t id, Layout layout, Step& step) {
  PlannedValue& value = plan_.values[id];
  PlannedBuffer planned;
  planned.bytes = rounded_bytes(extent_of(value.shape(), layout).count * size_of(value.dtype()));
  const uint32_t buffer = static_cast<uint32_t>(plan_.buffers.size());
  plan_.buffers.push_back(planned);
  plan_.allocated.push_back(buffer);
  ++step.allocations.count;
  step.encodes = true;
  live_ += planned.bytes;
  share(id, buffer, std::move(layout));
}

void Planner::share(uint32_t id, uint32_t buffer, Layout layout) {
  PlannedValue& value = plan_.values[id];
  value.buffer = buffer;
  value.layout = std::move(layout);
  plan_.buffers[buffer].uses += value.output->uses;
  plan_.buffers[buffer].held |= value.held;
}

Origin origin_of(const Plan& plan, const Step& step) {
  const Node* node = step.node;
  return (node ? node : plan.values[plan.outputs_of(step)[0]].output->node)->origin();
}

bool can_overwrite(const PlannedValue& input, const PlannedValue& output) {
  return input.layout.dense && input.layout.offset == 0 &&
         size_of(input.dtype()) == size_of(output.dtype()) && input.shape() == output.shape();
}

// Whether the buffer of an input is used by nothing but this value at this step.
bool Planner::dies(uint32_t value, const Step& step) const {
  const PlannedBuffer& buffer = plan_.buffers[plan_.values[value].buffer];
  const auto inputs = plan_.inputs_of(step);
  const auto edges = std::count(inputs.begin(), inputs.end(), value);
  return !buffer.held && !buffer.several_streams && buffer.uses == edges &&
         (buffer.stream < 0 || buffer.stream == stream_);
}

bool Planner::can_donate(uint32_t from, uint32_t to, const Step& step) {
  const PlannedValue& source = plan_.values[from];
  const PlannedValue& target = plan_.values[to];
  const int64_t bytes = rounded_bytes(element_count(target.shape()) * size_of(target.dtype()));
  return dies(from, step) && plan_.buffers[source.buffer].bytes == bytes && bytes > 0 &&
         can_overwrite(source, target);
}

// Outputs lie where the plan inside leaves them: in buffers of inputs, in captured ones, which
// live on, or in new ones. What it takes beyond that at its peak is the step's workspace.
void Planner::run_subplan(const SubPlan& subplan, Step& step) {
  const int64_t before = live_;
  const std::vector<uint32_t>& arguments = subplan.argument_buffers;
  std::vector<std::pair<uint32_t, uint32_t>> shared; // buffers of the plan inside, and of this one
  for (uint32_t i = 0; i < step.outputs.count; ++i) {
    const PlannedValue& inside = subplan.plan.values[subplan.output_values[i]];
    const uint32_t output = plan_.operands[step.outputs.first + i];
    const auto argument = std::find(arguments.begin(), arguments.end(), inside.buffer);
    const auto known = std::find_if(shared.begin(), shared.end(), [&](const auto& pair) {
      return pair.first == inside.buffer;
    });
    uint32_t buffer = static_cast<uint32_t>(plan_.buffers.size());
    if (argument != arguments.end()) {
      const size_t input = static_cast<size_t>(argument - arguments.begin());
      buffer = plan_.values[plan_.operands[step.inputs.first + input]].buffer;
    } else if (known != shared.end()) {
      buffer = known->second;
    } else {
      PlannedBuffer planned;
      planned.bytes = subplan.plan.buffers[inside.buffer].bytes;
      planned.held = planned.bytes == 0;
      live_ += planned.bytes;
      plan_.buffers.push_back(planned);
      shared.emplace_back(inside.buffer, buffer);
    }
    share(output, buffer, Layout(inside.layout));
  }
  step.encodes = true;
  const int64_t peak = before - subplan.plan.bytes_before + subplan.plan.peak_bytes;
  step.workspace = std::max<int64_t>(0, peak - live_);
}

// Plans a step that copies an array, as far as a buffer for the copy.
Planner::Copy Planner::start_copy(
    uint32_t original, const Primitive& primitive, const Step& consumer, Layout layout) {
  Copy result;
  Step& step = result.step;
  step.primitive = &primitive;
  step.stream = consumer.stream;
  step.backend = consumer.backend;
  step.allocations.first = static_cast<uint32_t>(plan_.allocated.size());
  result.value = static_cast<uint32_t>(plan_.values.size());
  PlannedValue value;
  value.output = plan_.values[original].output;
  plan_.values.push_back(value);
  step.inputs = {static_cast<uint32_t>(plan_.operands.size()), 1};
  plan_.operands.push_back(original);
  step.outputs = {static_cast<uint32_t>(plan_.operands.size()), 1};
  plan_.operands.push_back(result.value);
  allocate(result.value, std::move(layout), step);
  result.buffer = plan_.values[result.value].buffer;
  plan_.buffers[result.buffer].uses = 1; // the consumer
  return result;
}

// Plans a step that makes a row-contiguous copy, and returns the copy.
uint32_t Planner::pack(uint32_t original, const Step& consumer) {
  Copy copy = start_copy(
      original, copy_primitive(), consumer, Layout::row_major(plan_.values[original].shape()));
  finish(copy.step);
  return copy.value;
}

// Inputs that lie where the step's device cannot address them are replaced by copies, of which all
// steps there share one.
void Planner::transfer_inputs(Step& step) {
  for (uint32_t i = 0; i < step.inputs.count; ++i) {
    const uint32_t original = plan_.operands[step.inputs.first + i];
    const bool made_here =
        original >= plan_.input_count &&
        plan_.values[original].output->node->stream().device == step.stream.device;
    if (made_here) {
      continue;
    }
    const auto found = transfers_.find({plan_.values[original].output, step.backend});
    if (found == transfers_.end()) {
      continue;
    }
    if (found->second.copy == kNone) {
      found->second.copy = transfer(original, found->second.uses, step);
    }
    plan_.operands[step.inputs.first + i] = found->second.copy;
  }
}

// Plans a transfer to the memory of the consumer's device and returns the copy, which `uses` edges
// read. An array from before the plan that is read nowhere else moves: it is transferred once.
uint32_t Planner::transfer(uint32_t original, uint32_t uses, Step& consumer) {
  const bool is_input = original < plan_.input_count;
  const bool read_here_too = plan_.values[original].output->uses > uses;
  plan_.buffers[plan_.values[original].buffer].uses -= uses - 1;
  uint32_t from = original;
  if (!is_compact(plan_.values[original])) {
    from = pack_at_home(original, consumer);
  }
  const Extent extent = extent_of(plan_.values[from].shape(), plan_.values[from].layout);
  Layout layout = plan_.values[from].layout;
  layout.offset -= extent.first;
  Copy copy = start_copy(
      from, transfer_primitive(consumer.stream.device.type), consumer, std::move(layout));
  const PlannedValue& value = plan_.values[original];
  copy.step.moves = is_input && value.held && value.output->node->status() == Status::ready &&
                    !read_here_too && from == original && extent.first == 0;
  PlannedBuffer& buffer = plan_.buffers[copy.buffer];
  buffer.uses = uses;
  buffer.held = copy.step.moves;
  finish(copy.step);
  return copy.value;
}

// Packs an array on a device that can address it.
uint32_t Planner::pack_at_home(uint32_t original, Step& consumer) {
  const PlannedValue& value = plan_.values[original];
  Stream stream =
      value.producer == kNone ? value.output->node->stream() : plan_.steps[value.producer].stream;
  if (!is_within_reach(backend_for(stream.device), *value.output)) {
    const bool on_cpu = stream.device.type == Device::Type::cpu;
    stream = default_stream({on_cpu ? Device::Type::gpu : Device::Type::cpu, 0});
  }
  const Stream back = consumer.stream;
  Step there;
  set_stream(there, stream);
  const uint32_t packed = pack(original, there);
  set_stream(consumer, back);
  return packed;
}

void Placement::allocate(uint32_t i) {
  planner_.allocate(
      plan_.operands[step_.outputs.first + i], Layout::row_major(output_shape(i)), step_);
}

void Placement::allocate(uint32_t i, const Strides& strides) {
  planner_.allocate(
      plan_.operands[step_.outputs.first + i], Layout::strided(output_shape(i), strides, 0), step_);
}

void Placement::view(uint32_t i, uint32_t source, Layout layout) {
  planner_.share(plan_.operands[step_.outputs.first + i], input(source).buffer, std::move(layout));
}

bool Placement::donate(uint32_t i, uint32_t source) {
  const uint32_t from = plan_.operands[step_.inputs.first + source];
  const uint32_t to = plan_.operands[step_.outputs.first + i];
  step_.donates = true;
  if (!planner_.can_donate(from, to, step_)) {
    return false;
  }
  step_.encodes = true;
  plan_.values[to].donated = true;
  planner_.share(to, input(source).buffer, Layout(input(source).layout));
  return true;
}

void Placement::pack(uint32_t i) {
  if (input(i).layout.row_contiguous) {
    return;
  }
  const uint32_t copy = planner_.pack(plan_.operands[step_.inputs.first + i], step_);
  plan_.operands[step_.inputs.first + i] = copy;
  step_.allocations.first = static_cast<uint32_t>(plan_.allocated.size());
}

int64_t Placement::bytes_of_dying(uint32_t i) const {
  const uint32_t value = plan_.operands[step_.inputs.first + i];
  const auto inputs = plan_.inputs_of(step_);
  const bool once = std::count(inputs.begin(), inputs.end(), value) == 1;
  return once && planner_.dies(value, step_) ? plan_.buffers[plan_.values[value].buffer].bytes : 0;
}

void Placement::run(std::shared_ptr<const SubPlan> subplan) {
  step_.subplan = static_cast<uint32_t>(plan_.subplans.size());
  planner_.run_subplan(*subplan, step_);
  plan_.subplans.push_back(std::move(subplan));
}

void Placement::workspace(int64_t bytes) {
  step_.workspace += rounded_bytes(bytes);
}

} // namespace narrows
