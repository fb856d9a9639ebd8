// Plan: a tape with every decision made. Steps in order; where each array lies; which buffers are
// new, shared or donated; what dies after each step; the bytes live all along.
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

// An array as the plan sees it: an input from before the plan, a step's output, a row-contiguous
// copy of either for one step, or a copy in the memory of another device.
struct PlannedValue {
  Output* output = nullptr;
  bool held = false;         // somebody outside of the plan keeps it
  bool donated = false;      // its step overwrote an input
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
  int64_t bytes = 0;            // that end with it; 0 for inputs that outlive the plan
  uint32_t uses = 0;            // edges to values in it from steps not placed yet
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
  // The node that it runs; of several, which run as one step, the last. nullptr: it copies its
  // input, row-contiguous or to another memory.
  Node* node = nullptr;
  const Primitive* primitive = nullptr;
  const FusedStep* fused = nullptr; // the primitive, where it stands for several nodes
  Stream stream;
  Backend* backend = nullptr;
  Range inputs;             // of Plan::operands
  Range outputs;            // of Plan::operands
  Range allocations;        // of Plan::allocated
  Range frees;              // of Plan::freed
  Range waits;              // of Plan::waited
  bool encodes = false;     // does work; false when all outputs are views
  bool donates = false;     // overwrites an input where one dies
  bool moves = false;       // the array that it copies lies where the copy does from then on
  uint8_t memory = 0;       // of Plan::memories: where it allocates
  int8_t overwrites = -1;   // number of the only input that it may overwrite; -1: any
  uint32_t subplan = kNone; // of Plan::subplans: what it runs instead of work of its own
  int64_t workspace = 0;    // bytes, rounded
  int64_t live_bytes = 0;   // held in the main memory by the plan's buffers after the step
  int64_t peak_bytes = 0;   // the same while it runs
};

// One step of another stream that a step waits for.
struct StepWait {
  Stream stream;
  uint32_t step;
};

// What a plan does to one memory.
struct PlannedMemory {
  MemorySource* source = nullptr;
  int64_t bytes_before = 0; // in buffers from before the plan that die within it
  int64_t peak_bytes = 0;   // the most that the plan's buffers hold, these among them
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
  std::vector<Stream> streams;        // distinct, in order of first use
  std::vector<std::shared_ptr<FusedStep>> fused; // and, after fused_count, storage of earlier ones
  size_t fused_count = 0;
  size_t input_count = 0; // values from before the plan
  LiveFamilies families;  // of traces: their nodes keep their inputs
  // The CPU's and the GPU's where these cannot address each other's; else the first stands for
  // both.
  std::array<PlannedMemory, 2> memories;
  uint8_t main = 0; // the memory in which the nodes have most bytes: orders are compared there

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
  // Of a buffer: in the main memory.
  int64_t main_bytes(uint32_t buffer) const {
    return buffers[buffer].memory == main ? buffers[buffer].bytes : 0;
  }
  // Whether a node keeps its inputs, and their values, when it has run: a function that is being
  // transformed evaluates it, and its rules will be asked for.
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

// Calls f(node) for each node whose results the step leaves, before those that read them.
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

// The origin of the node that the step runs; of a copy, that of what it copies.
Origin origin_of(const Plan& plan, const Step& step);

// Whether an output can have the buffer and the layout of an input that dies.
bool can_overwrite(const PlannedValue& input, const PlannedValue& output);

// Fills the plan for a tape: decides only, changes nothing but scratch fields. `outputs` are
// the requested arrays, which the plan does not free. Under graph_mutex().
// Where `fuse` is set, groups of nodes are one step each (fusion.h).
void make_plan(const Tape& tape, std::span<const array> outputs, Plan& plan, bool fuse = false);

} // namespace narrows
