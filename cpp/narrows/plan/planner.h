// The one pass over a tape that makes a plan. plan.cpp goes over the steps, placement.cpp has what
// primitives decide, and copies.cpp the steps that copy.
#pragma once

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "narrows/fuse/fused_step.h"
#include "narrows/plan/plan.h"
#include "narrows/plan/subplan.h"

namespace narrows {

class Planner {
 public:
  explicit Planner(Plan& plan) : plan_(plan), epoch_(next_epoch()) {
  }

  // Fuses no nodes at the positions in `barred`. Adds positions of nodes that turn out impossible
  // to fuse.
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
  // A copy of an array in another memory.
  struct Transfer {
    uint32_t uses = 0; // edges from steps that read the copy
    uint32_t copy = kNone;
  };
  // A step that copies, while it is planned.
  struct Copy {
    Step step;
    uint32_t value = kNone;
    uint32_t buffer = kNone;
  };

  void count_uses(const Tape& tape);
  void add_inputs();
  void add_input_buffer(PlannedValue& value);
  void add_awaited_buffer(PlannedValue& value);
  void plan_node(Node& node);
  bool plan_group(const Tape& tape, const FusionGroup& group, FusedStepBuilder& builder);
  void add_outputs(Node& node, Step& step);
  void add_output(Node& node, uint32_t index);
  void add_results(const Tape& tape, const FusionGroup& group, Step& step);
  void ready_to_place(Step& step);
  void choose_main_memory(const Tape& tape);
  uint8_t memory_of(const MemorySource* source) const;
  void note_peak(uint8_t memory, int64_t bytes);
  void set_stream(Step& step, Stream stream);
  void add_waits(Step& step);
  void finish(Step& step);
  void place_host_copy(Step& step);
  Copy start_copy(
      uint32_t original, const Primitive& primitive, const Step& consumer, Layout layout);
  void transfer_inputs(Step& step);
  uint32_t transfer(uint32_t original, uint32_t uses, Step& consumer);
  void free_after_move(uint32_t original);
  uint32_t pack_at_home(uint32_t original, Step& consumer);
  void use(uint32_t buffer, int stream);
  void bury_if_dead(uint32_t buffer, Step& step);

  Plan& plan_;
  const uint64_t epoch_;
  std::array<int64_t, 2> live_{}; // bytes by memory, without those that outlive the plan
  std::vector<Output*> inputs_;   // from before the plan
  Backend* backend_ = nullptr;    // of the latest stream
  int stream_ = -1;               // index of the latest stream
  uint8_t memory_ = 0;            // of the latest stream
  const bool separate_ = has_separate_memories();
  std::map<std::pair<const Output*, const Backend*>, Transfer> transfers_;
};

} // namespace narrows
