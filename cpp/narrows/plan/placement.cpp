#include "narrows/plan/placement.h"

#include <algorithm>

#include "narrows/plan/planner.h"
#include "narrows/plan/transfer.h"
#include "narrows/runtime/allocator.h"

namespace narrows {

void Planner::allocate(uint32_t id, Layout layout, Step& step) {
  PlannedValue& value = plan_.values[id];
  PlannedBuffer planned;
  planned.bytes = rounded_bytes(extent_of(value.shape(), layout).count * size_of(value.dtype()));
  const uint32_t buffer = static_cast<uint32_t>(plan_.buffers.size());
  planned.memory = step.memory;
  plan_.buffers.push_back(planned);
  plan_.allocated.push_back(buffer);
  ++step.allocations.count;
  step.encodes = true;
  live_[step.memory] += planned.bytes;
  share(id, buffer, std::move(layout));
}

void Planner::share(uint32_t id, uint32_t buffer, Layout layout) {
  PlannedValue& value = plan_.values[id];
  value.buffer = buffer;
  value.layout = std::move(layout);
  plan_.buffers[buffer].uses += value.output->uses;
  plan_.buffers[buffer].held |= value.held;
}

// Whether nothing but this value uses the buffer of an input, and only in this step.
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

// The outputs lie where the inner plan leaves them: in buffers of inputs, in captured buffers,
// which live on, or in new ones. What the inner plan holds beyond that at its peak is the step's
// workspace. It is negative where inputs end in the inner plan before outputs are allocated, so
// that both never exist at once. Its bytes in another memory than the step's can only be scalars;
// they are counted in the peak of that memory.
void Planner::run_subplan(const SubPlan& subplan, Step& step) {
  const std::array<int64_t, 2> before = live_;
  const std::vector<uint32_t>& arguments = subplan.argument_buffers;
  std::vector<std::pair<uint32_t, uint32_t>> shared; // buffers of the inner plan and of this one
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
      planned.memory = subplan.plan.buffers[inside.buffer].memory;
      planned.held = planned.bytes == 0;
      live_[planned.memory] += planned.bytes;
      plan_.buffers.push_back(planned);
      shared.emplace_back(inside.buffer, buffer);
    }
    share(output, buffer, Layout(inside.layout));
  }
  step.encodes = true;
  for (uint8_t memory = 0; memory < live_.size(); ++memory) {
    const PlannedMemory& inside = subplan.plan.memories[memory];
    const int64_t peak = before[memory] - inside.bytes_before + inside.peak_bytes;
    const int64_t beyond = peak - live_[memory];
    if (memory == step.memory) {
      step.workspace = beyond;
    } else {
      note_peak(memory, beyond);
    }
  }
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

bool Placement::overwrite(uint32_t i, uint32_t source) {
  if (repeats(source)) {
    return false;
  }
  step_.overwrites = static_cast<int8_t>(source);
  return donate(i, source);
}

void Placement::pack(uint32_t i) {
  if (input(i).layout.row_contiguous) {
    return;
  }
  const uint32_t copy = planner_.pack(plan_.operands[step_.inputs.first + i], step_);
  plan_.operands[step_.inputs.first + i] = copy;
  step_.allocations.first = static_cast<uint32_t>(plan_.allocated.size());
}

bool Placement::repeats(uint32_t i) const {
  const auto inputs = plan_.inputs_of(step_);
  return std::count(inputs.begin(), inputs.end(), inputs[i]) > 1;
}

int64_t Placement::bytes_of_dying(uint32_t i) const {
  const uint32_t value = plan_.operands[step_.inputs.first + i];
  return !repeats(i) && planner_.dies(value, step_)
             ? plan_.buffers[plan_.values[value].buffer].bytes
             : 0;
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
