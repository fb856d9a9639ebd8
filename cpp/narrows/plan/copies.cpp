// Steps that copy: for steps that want an input packed, or in the memory of their device.
#include <utility>

#include "narrows/plan/copy.h"
#include "narrows/plan/host_copy.h"
#include "narrows/plan/planner.h"
#include "narrows/plan/transfer.h"

namespace narrows {

// Plans a step that copies an array, up to the buffer of the copy.
Planner::Copy Planner::start_copy(
    uint32_t original, const Primitive& primitive, const Step& consumer, Layout layout) {
  Copy result;
  Step& step = result.step;
  step.primitive = &primitive;
  step.stream = consumer.stream;
  step.backend = consumer.backend;
  step.memory = consumer.memory;
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

// The copy lies as the original does, on the host in the host's memory.
void Planner::place_host_copy(Step& step) {
  constexpr uint8_t kHostMemory = 0;
  const PlannedValue& original = plan_.values[plan_.inputs_of(step)[0]];
  Layout layout = original.layout;
  layout.offset -= extent_of(original.shape(), layout).first;
  const bool to_host = step.primitive == to_host_primitive().get();
  const uint8_t memory = std::exchange(step.memory, to_host ? kHostMemory : step.memory);
  allocate(plan_.outputs_of(step)[0], std::move(layout), step);
  note_peak(step.memory, 0);
  step.memory = memory;
}

// Plans a step that makes a row-contiguous copy, and returns the copy.
uint32_t Planner::pack(uint32_t original, const Step& consumer) {
  Copy copy = start_copy(
      original, copy_primitive(), consumer, Layout::row_major(plan_.values[original].shape()));
  finish(copy.step);
  return copy.value;
}

// Replaces inputs that the step's device cannot address by copies. All steps of the device share
// them.
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
// read. An array from before the plan that is read nowhere else moves: it is transferred only once.
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
  if (copy.step.moves) {
    free_after_move(original);
  }
  PlannedBuffer& buffer = plan_.buffers[copy.buffer];
  buffer.uses = uses;
  buffer.held = copy.step.moves;
  finish(copy.step);
  return copy.value;
}

// The buffer of an array that moves ends here, unless somebody else holds it.
void Planner::free_after_move(uint32_t original) {
  const PlannedValue& value = plan_.values[original];
  const Buffer& buffer = *value.output->buffer.get();
  if (buffer.source && buffer.refs.load(std::memory_order_acquire) == 1) {
    plan_.buffers[value.buffer].held = false;
    plan_.buffers[value.buffer].bytes = buffer.bytes;
  }
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

} // namespace narrows
