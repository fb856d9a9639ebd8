// FusedStep: the primitive of a step that stands for a group of nodes, and how it is made of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "narrows/fuse/groups.h"
#include "narrows/plan/plan.h"

namespace narrows {

// Holds nothing of the nodes, so it can run again for other arrays of the same shapes and layouts.
class FusedStep final : public Primitive {
 public:
  const char* name() const override {
    return "fused";
  }
  // "fused(add, exp)": the operations in the order in which they are computed.
  std::string title() const;
  const std::vector<const char*>& members() const {
    return members_;
  }
  void place(Placement& placement) const override;
  void encode(Encoder& encoder, const StepView& step) const override;

 private:
  friend class FusedStepBuilder;
  static constexpr uint32_t kAll = kNone;
  bool overwrite(Placement& placement, uint32_t output) const;
  // What an operand of the program is.
  struct Source {
    uint32_t input; // of the step; kNone: nowhere in memory
    AxisMap map;
  };

  Program program_;
  Shape space_;
  size_t row_dims_ = 0;
  std::vector<Source> sources_;
  Strides order_; // the order of the axes of all arrays in memory; empty: row-major
  // In the order of the program's outputs.
  struct Result {
    AxisMap map;
    Range overwritable; // of overwritable_, or kAll: the inputs that it may overwrite
  };
  std::vector<Result> results_;
  std::vector<uint32_t> overwritable_;
  std::vector<const char*> members_;
};

class FusedStepBuilder {
 public:
  FusedStepBuilder(const Tape& tape, const FusionGroups& groups, const Plan& plan)
      : tape_(tape), groups_(groups), plan_(plan) {
  }

  // Makes a step, empty so far, of the group. False if the inputs lie so that single nodes would
  // compute in another order or leave another layout, or if the values of a row are too many.
  bool build(const FusionGroup& group, FusedStep& step);

  // The members below describe the latest group.

  // The step's inputs: values of the plan.
  const std::vector<uint32_t>& inputs() const {
    return inputs_;
  }

 private:
  void add_member(uint32_t position);
  uint16_t value_of(const array& input, AxisMap map, bool whole);
  uint16_t operand_of(const array& input, const AxisMap& map, bool whole);
  uint16_t spread(uint16_t value);
  uint16_t add_instruction(const Program::Instruction& instruction);
  void note_layouts(Node& node, const FusionRule& rule);
  void add_result(uint32_t position);
  bool is_aligned(uint32_t value, const AxisMap& map) const;
  bool is_whole(const AxisMap& map) const;
  bool is_member(const array& input) const;
  void number_values();
  bool is_within_limits() const;

  const Tape& tape_;
  const FusionGroups& groups_;
  const Plan& plan_;
  const FusionGroup* group_ = nullptr;
  FusedStep* step_ = nullptr;
  std::vector<uint32_t> inputs_;
  bool sees_through_;
  bool row_major_; // some arrays or results are row-major
  bool strided_;   // some arrays are neither row-major nor dense
  bool possible_;
};

} // namespace narrows
