// Plan: a tape with every decision made. It has the steps in order, where each array lies, which
// buffers are new, shared or donated, what dies after each step, and the bytes that are live at
// each step.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "narrows/core/layout.h"
#include "narrows/record/node.h"
#include "narrows/record/trace.h"
#include "narrows/runtime/backend.h"
#include "narrows/walk/linearize.h"

namespace narrows {

class FusedStep;
class Primitive;
struct SubPlan;

inline constexpr uint32_t kNone = UINT32_MAX;

// An array of a plan: an input from before the plan, a step's output, a row-contiguous copy for one
// step, or a copy in the memory of another device.
struct PlannedValue {
  Output* output = nullptr;
  bool held = false;         // somebody outside of the plan holds it
  bool donated = false;      // its step overwrote an input
  bool awaited = false;      // another evaluation is computing it, and leaves it to the plan
  uint32_t producer = kNone; // step; kNone for inputs from before the plan
  uint32_t buffer = kNone;   // index in Plan::buffers
  Layout layout;

  const Shape& shape() const {
    return output->shape;
  }
  Dtype dtype() const {
    return output->dtype;
  }
};

// A buffer that values of the plan lie in.
struct PlannedBuffer {
  int64_t bytes = 0;            // freed when it dies; 0 for inputs that outlive the plan
  uint32_t uses = 0;            // edges to its values from steps that are not placed yet
  uint8_t memory = 0;           // of Plan::memories
  bool held = false;            // outlives the plan
  bool dead = false;            // its end is planned
  bool several_streams = false; // dies when the plan ends
  int stream = -1;              // index of the stream that uses it; -1: none yet
};

// A range of one of the plan's vectors.
struct Range {
  uint32_t first = 0;
  uint32_t count = 0;
};

struct Step {
  // The node that it runs; of a group that runs as one step, the last node. nullptr: the step
  // copies its input, row-contiguous or to another memory.
  Node* node = nullptr;
  const Primitive* primitive = nullptr;
  const FusedStep* fused = nullptr; // the primitive of a step of several nodes
  Stream stream;
  Backend* backend = nullptr;
  Range inputs;             // of Plan::operands
  Range outputs;            // of Plan::operands
  Range allocations;        // of Plan::allocated
  Range frees;              // of Plan::freed
  Range waits;              // of Plan::waited
  bool encodes = false;     // whether it does work; it does not if all outputs are views
  bool donates = false;     // whether it may overwrite an input that dies
  bool moves = false;       // the copied array lies where its copy lies from then on
  uint8_t memory = 0;       // of Plan::memories: the one it allocates in
  int8_t overwrites = -1;   // number of the only input that it may overwrite; -1: any
  uint32_t subplan = kNone; // of Plan::subplans: the plan that it runs; kNone: none
  int64_t workspace = 0;    // bytes, rounded
  int64_t live_bytes = 0;   // bytes of the plan's buffers in the main memory after the step
  int64_t peak_bytes = 0;   // the same while it runs
};

// A step of another stream that a step waits for.
struct StepWait {
  Stream stream;
  uint32_t step;
};

// The bytes of one memory over a plan.
struct PlannedMemory {
  MemorySource* source = nullptr;
  int64_t bytes_before = 0; // in buffers from before the plan that die within it
  int64_t peak_bytes = 0;   // the highest number of bytes in the plan's buffers, with these
};

struct Plan {
  std::vector<Step> steps;
  std::vector<PlannedValue> values; // inputs from before the plan first
  std::vector<PlannedBuffer> buffers;
  std::vector<uint32_t> operands;  // values: inputs, then outputs of each step
  std::vector<uint32_t> allocated; // buffers
  std::vector<uint32_t> freed;     // buffers
  std::vector<StepWait> waited;
  std::vector<std::shared_ptr<const SubPlan>> subplans;
  std::vector<uint32_t> freed_at_end; // buffers that several streams use
  std::vector<EventRef> awaited;      // of arrays that other evaluations are still computing
  std::vector<Stream> streams;        // without repetition, in order of first use
  std::vector<std::shared_ptr<const FusedStep>> fused;
  size_t input_count = 0; // values from before the plan
  LiveFamilies families;  // of traces: their nodes keep their inputs
  // The CPU's memory, and the GPU's where they cannot address each other's. Else the first one
  // stands for both.
  std::array<PlannedMemory, 2> memories;
  uint8_t main = 0; // the memory with most bytes of the nodes; orders are compared there

  void clear();
  const PlannedMemory& main_memory() const {
    return memories[main];
  }
  // In the main memory.
  int64_t bytes_before() const {
    return main_memory().bytes_before;
  }
  int64_t peak_bytes() const {
    return main_memory().peak_bytes;
  }
  // The bytes of a buffer if it lies in the main memory, else 0.
  int64_t main_bytes(uint32_t buffer) const {
    return buffers[buffer].memory == main ? buffers[buffer].bytes : 0;
  }
  // Whether a node keeps its inputs and their values when it has run, because the function that it
  // belongs to is being transformed, and the rules will need them.
  bool keeps(const Node& node) const {
    return families.has(node);
  }
  std::span<const uint32_t> inputs_of(const Step& step) const {
    return {operands.data() + step.inputs.first, step.inputs.count};
  }
  std::span<const uint32_t> outputs_of(const Step& step) const {
    return {operands.data() + step.outputs.first, step.outputs.count};
  }
};

// Calls f(node) for each node whose results the step leaves; inputs come before their readers.
template <typename F>
void for_each_node(const Plan& plan, const Step& step, F&& f) {
  if (step.fused && step.outputs.count > 1) {
    for (const uint32_t id : plan.outputs_of(step)) {
      f(*plan.values[id].output->node);
    }
  } else {
    f(*step.node);
  }
}

// The origin of the step's node; for a copy, the origin of the array.
Origin origin_of(const Plan& plan, const Step& step);

// Whether an output can take the buffer and the layout of an input that dies.
bool can_overwrite(const PlannedValue& input, const PlannedValue& output);

// Fills the plan for a tape. It only decides: it changes nothing but scratch fields. `outputs` are
// the requested arrays, which the plan does not free. With `fuse`, groups of nodes become single
// steps (fuse/groups.h). Under graph_mutex().
void make_plan(const Tape& tape, std::span<const array> outputs, Plan& plan, bool fuse = false);

} // namespace narrows
