#include "narrows/run/step.h"

#include <algorithm>

#include "narrows/plan/host_copy.h"
#include "narrows/plan/subplan.h"
#include "narrows/record/primitive.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/host_copies.h"

namespace narrows {
namespace {

void view_arrays(
    const Plan& plan,
    const std::vector<BufferRef>& buffers,
    std::span<const uint32_t> ids,
    std::vector<ArrayView>& views) {
  views.clear();
  for (uint32_t id : ids) {
    const PlannedValue& value = plan.values[id];
    views.push_back({buffers[value.buffer].get(), &value.shape(), &value.layout, value.dtype()});
  }
}

// Memory that copies to the host are fast to; other memory of the host where there is none left.
BufferRef allocate_on_host(const Step& step, MemorySource& other, int64_t bytes) {
  if (HostCopies* copies = host_copies_of(*step.backend)) {
    try {
      return allocate(copies->host_memory(), bytes, step.primitive->name());
    } catch (const MemoryError&) {
    }
  }
  return allocate(other, bytes, step.primitive->name());
}

// Allocates for the output that lies in this buffer of the plan; for workspace, kNone.
BufferRef allocate_for(const Step& step, const Plan& plan, int64_t bytes, uint32_t buffer) {
  const bool is_elsewhere = buffer != kNone && plan.buffers[buffer].memory != step.memory;
  MemorySource& memory =
      is_elsewhere ? *plan.memories[plan.buffers[buffer].memory].source : step.backend->memory();
  try {
    return is_elsewhere && is_host_copy(*step.primitive)
               ? allocate_on_host(step, memory, bytes)
               : allocate(memory, bytes, step.primitive->name());
  } catch (const MemoryError& error) {
    const std::span<const uint32_t> outputs = plan.outputs_of(step);
    const auto lies_there = [&](uint32_t id) { return plan.values[id].buffer == buffer; };
    const auto found = std::find_if(outputs.begin(), outputs.end(), lies_there);
    const PlannedValue& value = plan.values[found == outputs.end() ? outputs[0] : *found];
    throw MemoryError(concat_message(
        error.what(),
        " The output has shape ",
        to_string(value.shape()),
        " and dtype ",
        name_of(value.dtype()),
        "."));
  }
}

// Whether the plan, up to this step, may have written to a buffer from before it.
bool may_have_changed(const Plan& plan, uint32_t buffer, const Step& last) {
  const auto lies_there = [&](uint32_t id) { return plan.values[id].buffer == buffer; };
  for (const Step* step = plan.steps.data(); step <= &last; ++step) {
    const std::span<const uint32_t> outputs = plan.outputs_of(*step);
    const std::span<const uint32_t> inputs = plan.inputs_of(*step);
    if (std::any_of(outputs.begin(), outputs.end(), [&](uint32_t id) {
          return plan.values[id].donated && lies_there(id);
        })) {
      return true;
    }
    if (step->subplan != kNone && std::any_of(inputs.begin(), inputs.end(), lies_there)) {
      return true;
    }
  }
  return false;
}

// Runs the inner plan of a step. Inputs that end with the step are handed over, so that the inner
// plan can free and overwrite them. After an error it hands back those that it has not touched.
void run_subplan(const Plan& plan, std::vector<BufferRef>& buffers, const Step& step) {
  const SubPlan& sub = *plan.subplans[step.subplan];
  const Plan& inside = sub.plan;
  std::vector<BufferRef> inner(inside.buffers.size());
  const std::span<const uint32_t> inputs = plan.inputs_of(step);
  const auto each_ending_input = [&](auto&& f) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const uint32_t argument = sub.argument_buffers[i];
      if (argument != kNone && inside.buffers[argument].bytes > 0) {
        f(buffers[plan.values[inputs[i]].buffer], argument);
      }
    }
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (sub.argument_buffers[i] != kNone) {
      inner[sub.argument_buffers[i]] = buffers[plan.values[inputs[i]].buffer];
    }
  }
  each_ending_input([](BufferRef& buffer, uint32_t) { buffer.reset(); });
  for (size_t i = 0; i < inside.input_count; ++i) {
    const PlannedValue& captured = inside.values[i];
    if (!inner[captured.buffer]) {
      inner[captured.buffer] = captured.output->buffer;
    }
  }
  const Step* current = inside.steps.data();
  try {
    for (; current != inside.steps.data() + inside.steps.size(); ++current) {
      check_interrupt();
      encode_step(inside, inner, *current);
      free_dead(inside, inner, *current);
    }
  } catch (...) {
    each_ending_input([&](BufferRef& buffer, uint32_t argument) {
      if (inner[argument] && !may_have_changed(inside, argument, *current)) {
        buffer = inner[argument];
      }
    });
    throw;
  }
  const std::span<const uint32_t> outputs = plan.outputs_of(step);
  for (size_t i = 0; i < outputs.size(); ++i) {
    buffers[plan.values[outputs[i]].buffer] = inner[inside.values[sub.output_values[i]].buffer];
  }
}

} // namespace

void encode_step(const Plan& plan, std::vector<BufferRef>& buffers, const Step& step) {
  static thread_local std::vector<ArrayView> inputs;
  static thread_local std::vector<ArrayView> outputs;
  if (step.subplan != kNone) {
    run_subplan(plan, buffers, step);
    return;
  }
  for (uint32_t i = 0; i < step.allocations.count; ++i) {
    const uint32_t buffer = plan.allocated[step.allocations.first + i];
    buffers[buffer] = allocate_for(step, plan, plan.buffers[buffer].bytes, buffer);
  }
  if (step.encodes) {
    BufferRef workspace;
    if (step.workspace > 0) {
      workspace = allocate_for(step, plan, step.workspace, kNone);
    }
    view_arrays(plan, buffers, plan.inputs_of(step), inputs);
    view_arrays(plan, buffers, plan.outputs_of(step), outputs);
    Encoder& encoder = step.backend->encoder(step.stream);
    step.primitive->encode(
        encoder, StepView{inputs, outputs, Operand{workspace.get(), 0}, *step.backend});
  }
}

void free_dead(const Plan& plan, std::vector<BufferRef>& buffers, const Step& step) {
  for (uint32_t i = 0; i < step.frees.count; ++i) {
    buffers[plan.freed[step.frees.first + i]].reset();
  }
}

} // namespace narrows
