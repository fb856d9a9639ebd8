#include "narrows/plan/plan.h"

#include <optional>

#include "narrows/fuse/members.h"
#include "narrows/plan/host_copy.h"
#include "narrows/plan/placement.h"
#include "narrows/plan/planner.h"
#include "narrows/plan/run_event.h"
#include "narrows/plan/tape_memory.h"
#include "narrows/plan/transfer.h"
#include "narrows/record/primitive.h"
#include "narrows/record/trace.h"
#include "narrows/runtime/allocator.h"

namespace narrows {

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
  fused.clear();
  input_count = 0;
  families.clear();
  memories = {};
  main = 0;
}

void make_plan(const Tape& tape, std::span<const array> outputs, Plan& plan, bool fuse) {
  // Taken out of the thread's storage, because another plan may be made meanwhile.
  static thread_local FusionGroups spare;
  FusionGroups groups = std::move(spare);
  // Nodes of groups that layouts do not allow: found while planning, and then it begins anew.
  static thread_local TapeMemory<std::vector<uint32_t>> barred_before;
  fuse &= tape.size() > 1;
  const std::vector<uint32_t>* known = fuse ? barred_before.find(tape) : nullptr;
  std::vector<uint32_t> barred = known ? *known : std::vector<uint32_t>();
  const size_t first = barred.size();
  for (size_t before = first;; before = barred.size()) {
    Planner(plan).run(tape, outputs, fuse ? &groups : nullptr, barred);
    if (barred.size() == before) {
      break;
    }
  }
  if (barred.size() > first) {
    barred_before.keep(tape, std::move(barred));
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
  plan_.families.find();
  plan_.steps.reserve(tape.size());
  plan_.values.reserve(2 * tape.size());
  if (separate_) {
    choose_main_memory(tape);
  }
  count_uses(tape);
  if (groups) {
    groups->find(tape, barred);
  }
  add_inputs();
  for (const array& output : outputs) {
    await(*output.node(), plan_.awaited);
  }
  for (uint8_t memory = 0; memory < live_.size(); ++memory) {
    live_[memory] = plan_.memories[memory].bytes_before;
    note_peak(memory, 0);
  }
  std::optional<FusedStepBuilder> builder;
  if (groups) {
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

void Planner::choose_main_memory(const Tape& tape) {
  std::array<int64_t, 2> bytes{};
  for (Node* node : tape) {
    for (uint32_t i = 0; i < node->output_count(); ++i) {
      const Output& output = node->output(i);
      bytes[static_cast<size_t>(node->stream().device.type)] +=
          element_count(output.shape) * size_of(output.dtype);
    }
  }
  for (const Device::Type type : {Device::Type::cpu, Device::Type::gpu}) {
    plan_.memories[static_cast<size_t>(type)].source = &backend_for({type, 0}).memory();
  }
  const auto by_default = static_cast<uint8_t>(default_device().type);
  plan_.main = bytes[0] == bytes[1] ? by_default : bytes[1] > bytes[0];
}

uint8_t Planner::memory_of(const MemorySource* source) const {
  return separate_ && source == plan_.memories[1].source;
}

void Planner::note_peak(uint8_t memory, int64_t beyond_live) {
  int64_t& peak = plan_.memories[memory].peak_bytes;
  peak = std::max(peak, live_[memory] + beyond_live);
}

// Counts the edges from the plan's nodes to each output (further handles are held outside), and
// finds the inputs.
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

// An input dies within the plan if it has memory and only the plan's nodes hold it. Its buffer dies
// if all references to the buffer come from such inputs, or if an evaluation that is computing the
// input leaves the buffer to it.
void Planner::add_inputs() {
  for (Output* output : inputs_) {
    await(*output->node, plan_.awaited);
    PlannedValue value;
    value.output = output;
    value.layout = output->layout;
    value.awaited = handles_on(*output) == output->uses && bytes_awaited(*output) > 0;
    value.held =
        !value.awaited && (output->node->status() != Status::ready || is_literal(*output) ||
                           output->refs.load(std::memory_order_acquire) > output->uses);
    if (value.awaited) {
      add_awaited_buffer(value);
    } else {
      add_input_buffer(value);
    }
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
      continue; // held outputs may have no value yet
    }
    const Buffer* buffer = value.output->buffer.get();
    if (buffer->refs.load(std::memory_order_acquire) == own_refs[value.buffer]) {
      planned.held = false;
      planned.bytes = buffer->source ? buffer->bytes : 0;
      plan_.memories[planned.memory].bytes_before += planned.bytes;
    }
  }
}

void Planner::add_awaited_buffer(PlannedValue& value) {
  const Node& node = *value.output->node;
  if (node.status() == Status::ready) {
    await(node.event, plan_.awaited); // its buffer belongs to the evaluation until that has ended
  }
  value.buffer = static_cast<uint32_t>(plan_.buffers.size());
  PlannedBuffer planned;
  planned.uses = value.output->uses;
  planned.memory = memory_of(&backend_for(node.stream().device).memory());
  planned.bytes = bytes_awaited(*value.output);
  plan_.memories[planned.memory].bytes_before += planned.bytes;
  plan_.buffers.push_back(planned);
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
    planned.memory = buffer ? memory_of(buffer->source) : 0;
    plan_.buffers.push_back(planned);
    if (buffer) {
      buffer->epoch = epoch_;
      buffer->planned = next;
    }
  }
  plan_.buffers[value.buffer].uses += value.output->uses;
}

void Planner::set_stream(Step& step, Stream stream) {
  if (stream_ < 0 || plan_.streams[stream_] != stream) {
    backend_ = &backend_for(stream.device);
    const auto it = std::find(plan_.streams.begin(), plan_.streams.end(), stream);
    stream_ = static_cast<int>(it - plan_.streams.begin());
    if (it == plan_.streams.end()) {
      plan_.streams.push_back(stream);
    }
    PlannedMemory& memory = plan_.memories[separate_ ? static_cast<size_t>(stream.device.type) : 0];
    memory.source = &backend_->memory();
    memory_ = static_cast<uint8_t>(&memory - plan_.memories.data());
  }
  step.stream = stream;
  step.backend = backend_;
  step.memory = memory_;
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
  if (is_host_copy(*step.primitive)) {
    place_host_copy(step);
  } else {
    Placement placement(*this, step, plan_);
    step.primitive->place(placement);
  }
  finish(step);
}

void Planner::add_outputs(Node& node, Step& step) {
  step.outputs = {static_cast<uint32_t>(plan_.operands.size()), node.output_count()};
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    add_output(node, i);
  }
  ready_to_place(step);
}

void Planner::add_output(Node& node, uint32_t index) {
  Output& output = node.output(index);
  PlannedValue value;
  value.output = &output;
  value.held = plan_.keeps(node) || output.refs.load(std::memory_order_acquire) > output.uses;
  output.value = static_cast<uint32_t>(plan_.values.size());
  plan_.operands.push_back(output.value);
  plan_.values.push_back(std::move(value));
}

// The outputs of a group's step: one for each node whose result it stores, the root last.
void Planner::add_results(const Tape& tape, const FusionGroup& group, Step& step) {
  const auto count = static_cast<uint32_t>(group.stored.size() + 1);
  step.outputs = {static_cast<uint32_t>(plan_.operands.size()), count};
  for (size_t i = group.stored.size(); i-- > 0;) {
    add_output(*tape[group.stored[i].position], 0);
  }
  add_output(*tape[group.root], 0);
  ready_to_place(step);
}

// What follows once the step's operands are known.
void Planner::ready_to_place(Step& step) {
  if (!transfers_.empty()) {
    transfer_inputs(step);
  }
  step.allocations.first = static_cast<uint32_t>(plan_.allocated.size());
}

// Makes one step of all nodes of the group, at the place of its root. False if the layouts of the
// inputs do not allow that, or if an input has to be transferred.
bool Planner::plan_group(const Tape& tape, const FusionGroup& group, FusedStepBuilder& builder) {
  for (const FusionGroup::External& external : group.externals) {
    if (transfers_.count({external.output, &backend_for(tape[group.root]->stream().device)}) > 0) {
      return false;
    }
  }
  const auto fused = std::make_shared<FusedStep>();
  if (!builder.build(group, *fused)) {
    return false;
  }
  plan_.fused.push_back(fused);
  // Each operand is used once, whatever the number of edges to it was.
  for (const FusionGroup::External& external : group.externals) {
    plan_.buffers[plan_.values[external.output->value].buffer].uses -= external.edges;
  }
  Node& root = *tape[group.root];
  Step step;
  step.node = &root;
  step.primitive = step.fused = fused.get();
  set_stream(step, root.stream());
  const std::vector<uint32_t>& inputs = builder.inputs();
  step.inputs = {
      static_cast<uint32_t>(plan_.operands.size()), static_cast<uint32_t>(inputs.size())};
  for (uint32_t value : inputs) {
    plan_.operands.push_back(value);
    ++plan_.buffers[plan_.values[value].buffer].uses;
  }
  add_results(tape, group, step);
  Placement placement(*this, step, plan_);
  fused->place(placement);
  for (const FusionGroup::Stored& stored : group.stored) {
    const uint32_t value = tape[stored.position]->output(0).value;
    plan_.buffers[plan_.values[value].buffer].uses -= stored.edges;
  }
  finish(step);
  return true;
}

// A step is added after it is placed, so that the copies that it needs stand before it.
void Planner::finish(Step& step) {
  const uint32_t index = static_cast<uint32_t>(plan_.steps.size());
  add_waits(step);
  note_peak(step.memory, step.workspace);
  step.peak_bytes = live_[plan_.main] + (step.memory == plan_.main ? step.workspace : 0);
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
  step.live_bytes = live_[plan_.main];
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
  live_[planned.memory] -= planned.bytes;
  plan_.freed.push_back(buffer);
  ++step.frees.count;
}

Origin origin_of(const Plan& plan, const Step& step) {
  const Node* node = step.node;
  return (node ? node : plan.values[plan.outputs_of(step)[0]].output->node)->origin();
}

bool can_overwrite(const PlannedValue& input, const PlannedValue& output) {
  return input.layout.dense && input.layout.offset == 0 &&
         size_of(input.dtype()) == size_of(output.dtype()) && input.shape() == output.shape();
}

} // namespace narrows
