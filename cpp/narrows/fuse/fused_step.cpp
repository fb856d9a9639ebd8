#include "narrows/fuse/fused_step.h"

#include <algorithm>
#include <cstring>

#include "narrows/fuse/members.h"
#include "narrows/plan/placement.h"

namespace narrows {
namespace {

using Kind = FusionRule::Kind;

// While a program is made, the number of its operands is not known yet. Results are numbered from
// here on.
constexpr uint16_t kFirstResult = 0x8000;

Strides strides_in(const Shape& space, const AxisMap& map, const Strides& strides) {
  Strides result(space.size(), 0);
  for (int d = 0; d < map.ndim; ++d) {
    if (map.to[d] != AxisMap::kNowhere) {
      result[map.to[d]] = strides[d];
    }
  }
  return result;
}

} // namespace

std::string FusedStep::title() const {
  std::string text = "fused(";
  for (size_t i = 0; i < members_.size(); ++i) {
    text += (i ? ", " : "") + std::string(members_[i]);
  }
  return text + ")";
}

void FusedStep::place(Placement& placement) const {
  for (uint32_t output = 0; output < results_.size(); ++output) {
    if (!overwrite(placement, output)) {
      if (order_.empty()) {
        placement.allocate(output);
      } else {
        placement.allocate(output, order_);
      }
    }
  }
}

bool FusedStep::overwrite(Placement& placement, uint32_t output) const {
  const Range& inputs = results_[output].overwritable;
  const uint32_t count = inputs.count == kAll ? placement.input_count() : inputs.count;
  for (uint32_t k = 0; k < count; ++k) {
    const uint32_t i = inputs.count == kAll ? k : overwritable_[inputs.first + k];
    const Layout& layout = placement.input_layout(i);
    const bool in_order = order_.empty() ? layout.row_contiguous : layout.strides == order_;
    if (in_order && placement.donate(output, i)) {
      return true;
    }
  }
  return false;
}

void FusedStep::encode(Encoder& encoder, const StepView& step) const {
  std::vector<Operand> operands;
  std::vector<Strides> strides;
  operands.reserve(sources_.size() + results_.size());
  strides.reserve(sources_.size() + results_.size());
  for (const Source& source : sources_) {
    if (source.input == kNone) {
      operands.push_back({});
      strides.push_back(strides_in(space_, source.map, Strides(source.map.ndim, 1)));
    } else {
      const ArrayView& input = step.inputs[source.input];
      operands.push_back(input.operand());
      strides.push_back(strides_in(space_, source.map, input.layout->strides));
    }
  }
  for (size_t i = 0; i < results_.size(); ++i) {
    const ArrayView& output = step.outputs[i];
    operands.push_back(output.operand());
    strides.push_back(strides_in(space_, results_[i].map, output.layout->strides));
  }
  encoder.run_program({program_, space_, row_dims_, operands, strides});
}

bool FusedStepBuilder::build(const FusionGroup& group, FusedStep& step) {
  group_ = &group;
  inputs_.clear();
  sees_through_ = row_major_ = strided_ = false;
  possible_ = true;
  step_ = &step;
  step_->space_ = group_->space;
  step_->row_dims_ = group_->row_dims < 0 ? group_->space.size() : group_->row_dims;
  step_->program_.operands.reserve(group_->externals.size() + 2);
  step_->sources_.reserve(group_->externals.size() + 2);
  step_->program_.instructions.reserve(group_->instructions());
  step_->members_.reserve(group_->count);
  for (uint32_t m = group_->first; m != kNone && possible_; m = groups_.next_member(m)) {
    add_member(m);
  }
  const bool mixed =
      !step_->order_.empty() && (row_major_ || strided_ || sees_through_ || group_->row_dims >= 0);
  if (!possible_ || mixed) {
    return false;
  }
  for (size_t i = group_->stored.size(); i-- > 0;) {
    step_->program_.outputs.push_back(
        static_cast<uint16_t>(tape_[group_->stored[i].position]->output(0).value));
  }
  step_->program_.outputs.push_back(static_cast<uint16_t>(tape_[group_->root]->output(0).value));
  number_values();
  if (!is_within_limits()) {
    return false;
  }
  step_->results_.reserve(group_->stored.size() + 1);
  for (size_t i = group_->stored.size(); i-- > 0;) {
    add_result(group_->stored[i].position);
  }
  add_result(group_->root);
  return true;
}

// Groups are limited so that few programs exceed the device's limits. They may all the same,
// because an array may be several operands.
bool FusedStepBuilder::is_within_limits() const {
  const Program& program = step_->program_;
  const ProgramLimits& limits = *group_->limits;
  int64_t length = 1;
  for (size_t d = step_->row_dims_; d < step_->space_.size(); ++d) {
    length *= step_->space_[d];
  }
  const bool keeps_rows = limits.row_bytes > 0; // shape_fit.cpp limits rows that are not kept
  return (!keeps_rows ||
          program.whole_bytes() * std::min(length, kLongestRow) <= limits.row_bytes) &&
         program.instructions.size() <= limits.instructions &&
         program.operands.size() <= limits.operands &&
         (program.value_count() <= limits.registers ||
          count_registers(program) <= limits.registers);
}

// A result may lie in the memory of an array whose elements are read in the same places as the
// result is written. An array that is read along other axes, too, is read again later.
void FusedStepBuilder::add_result(uint32_t position) {
  std::vector<uint32_t>& overwritable = step_->overwritable_;
  const AxisMap& map = groups_.map_of(position);
  Range range{static_cast<uint32_t>(overwritable.size()), 0};
  if (tape_[position]->primitive().fusion().kind != Kind::reduce) {
    if (group_->row_dims < 0) {
      range.count = FusedStep::kAll; // arrays of the result's shape lie as it does
    } else {
      for (uint32_t i = 0; i < inputs_.size(); ++i) {
        if (is_aligned(inputs_[i], map)) {
          overwritable.push_back(i);
          ++range.count;
        }
      }
    }
  }
  step_->results_.push_back({map, range});
}

// Whether a value of the plan is read only along these axes.
bool FusedStepBuilder::is_aligned(uint32_t value, const AxisMap& map) const {
  const std::vector<FusedStep::Source>& sources = step_->sources_;
  return std::all_of(sources.begin(), sources.end(), [&](const FusedStep::Source& source) {
    return source.input == kNone || inputs_[source.input] != value || source.map == map;
  });
}

bool FusedStepBuilder::is_member(const array& input) const {
  return input.node()->status() == Status::lazy && groups_.is_fused(input.node()->pending) &&
         &groups_.group_of(input.node()->pending) == group_;
}

bool FusedStepBuilder::is_whole(const AxisMap& map) const {
  return group_->row_dims >= 0 && (map.cover >> group_->row_dims) != 0;
}

void FusedStepBuilder::add_member(uint32_t position) {
  Node& node = *tape_[position];
  const FusionRule rule = node.primitive().fusion();
  step_->members_.push_back(node.primitive().name());
  if (is_generated(rule.kind)) {
    return;
  }
  if (is_seen_through(rule.kind)) {
    sees_through_ = true;
    return;
  }
  note_layouts(node, rule);
  Program::Instruction instruction{};
  instruction.op = rule.op;
  instruction.out = node.output(0).dtype;
  instruction.in = node.inputs()[node.input_count() - 1].dtype();
  instruction.input_count = static_cast<uint8_t>(node.input_count());
  const AxisMap& map = groups_.map_of(position);
  instruction.whole = is_whole(map);
  if (rule.kind == Kind::reduce) {
    instruction.action = Program::Action::reduce;
    instruction.inputs[0] = value_of(
        node.inputs()[0],
        map_of_reduced(group_->space, group_->row_dims, *rule.axes, map, node.inputs()[0].shape()),
        true);
  } else {
    instruction.action = rule.kind == Kind::cast     ? Program::Action::cast
                         : rule.kind == Kind::select ? Program::Action::select
                                                     : Program::Action::elementwise;
    for (uint32_t i = 0; i < node.input_count(); ++i) {
      const array& input = node.inputs()[i];
      instruction.inputs[i] =
          value_of(input, map_of_input(rule, map, input.shape()), instruction.whole);
    }
  }
  node.output(0).value = add_instruction(instruction);
}

// The layouts that single nodes would leave: a result lies as its inputs of the same shape do where
// these agree, else row-major. In a fused step all arrays lie one way.
void FusedStepBuilder::note_layouts(Node& node, const FusionRule& rule) {
  bool full_sized = false;
  for (uint32_t i = 0; i < node.input_count(); ++i) {
    const array& input = node.inputs()[i];
    if (rule.kind != Kind::reduce && input.shape() != node.output(0).shape) {
      continue;
    }
    full_sized = true;
    if (is_member(input)) {
      const Kind kind = input.node()->primitive().fusion().kind;
      row_major_ |= is_generated(kind);
      strided_ |= is_seen_through(kind);
      // The order in which a sum over repeated elements would be added up is not known.
      possible_ &= rule.kind != Kind::reduce || kind != Kind::broadcast;
      continue;
    }
    const Layout& layout = plan_.values[input.output()->value].layout;
    if (layout.row_contiguous) {
      row_major_ = true;
    } else if (rule.kind == Kind::reduce) {
      possible_ = false;
    } else if (!layout.dense) {
      strided_ = true;
    } else if (step_->order_.empty()) {
      step_->order_ = layout.strides;
    } else {
      possible_ &= step_->order_ == layout.strides;
    }
  }
  row_major_ |= !full_sized;
}

// No handle on an array is made here: it would count as a holder of the array.
uint16_t FusedStepBuilder::value_of(const array& given, AxisMap map, bool whole) {
  const array* input = &given;
  while (is_member(*input)) {
    const FusionRule rule = input->node()->primitive().fusion();
    if (!is_seen_through(rule.kind)) {
      break;
    }
    const array& shown = input->node()->inputs()[0];
    map = map_of_input(rule, map, shown.shape());
    input = &shown;
  }
  if (!is_member(*input) || is_generated(input->node()->primitive().fusion().kind)) {
    return operand_of(*input, map, whole);
  }
  const auto value = static_cast<uint16_t>(input->output()->value);
  const bool is_spread = whole && !step_->program_.instructions[value - kFirstResult].whole;
  return is_spread ? spread(value) : value;
}

uint16_t FusedStepBuilder::operand_of(const array& input, const AxisMap& map, bool whole) {
  std::vector<Program::Value>& operands = step_->program_.operands;
  Program::Value operand{};
  operand.dtype = input.dtype();
  operand.whole = whole;
  FusedStep::Source source{kNone, map};
  if (is_literal(*input.output())) {
    operand.source = Program::Source::constant;
    source.map = {};
    std::memcpy(operand.constant, input.data(), static_cast<size_t>(size_of(operand.dtype)));
  } else if (!is_member(input)) {
    operand.source = Program::Source::memory;
    const uint32_t value = input.output()->value;
    for (size_t i = 0; i < operands.size(); ++i) {
      const FusedStep::Source& known = step_->sources_[i];
      if (known.input != kNone && inputs_[known.input] == value && known.map == map &&
          operands[i].whole == whole) {
        return static_cast<uint16_t>(i);
      }
    }
    source.input = static_cast<uint32_t>(inputs_.size());
    inputs_.push_back(value);
  } else {
    const FusionRule rule = input.node()->primitive().fusion();
    if (rule.kind == Kind::constant) {
      operand.source = Program::Source::constant;
      std::memcpy(operand.constant, rule.data, static_cast<size_t>(size_of(operand.dtype)));
      source.map = {};
    } else {
      operand.source = Program::Source::sequence;
      std::memcpy(&operand.sequence, rule.data, sizeof(Sequence));
    }
  }
  operands.push_back(operand);
  step_->sources_.push_back(source);
  return static_cast<uint16_t>(operands.size() - 1);
}

uint16_t FusedStepBuilder::spread(uint16_t value) {
  const std::vector<Program::Instruction>& known = step_->program_.instructions;
  for (size_t i = 0; i < known.size(); ++i) {
    if (known[i].action == Program::Action::spread && known[i].inputs[0] == value) {
      return static_cast<uint16_t>(kFirstResult + i);
    }
  }
  Program::Instruction instruction{};
  instruction.action = Program::Action::spread;
  instruction.input_count = 1;
  instruction.whole = true;
  instruction.in = instruction.out = known[value - kFirstResult].out;
  instruction.inputs[0] = value;
  return add_instruction(instruction);
}

uint16_t FusedStepBuilder::add_instruction(const Program::Instruction& instruction) {
  step_->program_.instructions.push_back(instruction);
  return static_cast<uint16_t>(kFirstResult + step_->program_.instructions.size() - 1);
}

void FusedStepBuilder::number_values() {
  const size_t operands = step_->program_.operands.size();
  for (Program::Instruction& instruction : step_->program_.instructions) {
    for (uint8_t i = 0; i < instruction.input_count; ++i) {
      uint16_t& input = instruction.inputs[i];
      if (input >= kFirstResult) {
        input = static_cast<uint16_t>(input - kFirstResult + operands);
      }
    }
  }
  for (uint16_t& output : step_->program_.outputs) {
    output = static_cast<uint16_t>(output - kFirstResult + operands);
  }
}

} // namespace narrows
