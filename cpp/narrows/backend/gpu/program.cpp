#include "narrows/backend/gpu/program.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "metal_kernels/program.h"
#include "narrows/backend/gpu/program_layout.h"
#include "narrows/backend/gpu/program_schedule.h"

namespace narrows::gpu {
namespace {

using Action = Program::Action;
using Source = Program::Source;

constexpr uint8_t kNoRegister = UINT8_MAX;

static_assert(NARROWS_PROGRAM_OPERANDS <= kMostOperands);

// Lists the steps of a program. A register of elements is used again behind the last instruction
// that reads its value.
class Interpretation {
 public:
  Interpretation(const Program& program, const ProgramSchedule& schedule, ProgramParams& params)
      : program_(program),
        schedule_(schedule),
        params_(params),
        registers_(program.value_count(), kNoRegister) {
    for (uint8_t r = NARROWS_PROGRAM_ELEMENT_REGISTERS; r-- > 0;) {
      free_.push_back(r);
    }
  }

  void run() {
    params_.is_split = schedule_.is_split;
    params_.passes = static_cast<int32_t>(schedule_.passes);
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      if (program_.instructions[i].action != Action::spread) {
        add_instruction(i);
      }
    }
    for (size_t i = 0; i < program_.outputs.size(); ++i) {
      add_store(i);
    }
  }

 private:
  ProgramStep& add(ProgramAction action, size_t op, Dtype type, Dtype to) {
    if (params_.steps == NARROWS_PROGRAM_STEPS) {
      fail<std::runtime_error>("[fused] the program has too many steps for this device.");
    }
    ProgramStep& step = params_.list[params_.steps++];
    step = {};
    step.action = action;
    step.op = static_cast<uint8_t>(op);
    step.type = static_cast<uint8_t>(type);
    step.to = static_cast<uint8_t>(to);
    return step;
  }

  uint8_t take_register(bool of_row) {
    if (of_row) {
      return static_cast<uint8_t>(NARROWS_PROGRAM_ELEMENT_REGISTERS + rows_++);
    }
    if (free_.empty()) {
      fail<std::runtime_error>("[fused] the program has too many values for this device.");
    }
    const uint8_t result = free_.back();
    free_.pop_back();
    return result;
  }

  void make(ProgramStep& step, size_t v) {
    const ProgramSchedule::Value& value = schedule_.values[v];
    const bool is_reduced = step.action == ProgramAction::reduce;
    step.passes = value.passes;
    step.of_row = value.of_row && !is_reduced;
    step.out = registers_[v] = take_register(value.of_row);
  }

  uint8_t register_of(uint16_t read) {
    const uint16_t v = schedule_.values[read].source;
    if (registers_[v] == kNoRegister) {
      add_operand(v);
    }
    return registers_[v];
  }

  void add_operand(size_t v) {
    const Program::Value& operand = program_.operands[v];
    const ProgramAction action = operand.source == Source::memory     ? ProgramAction::load
                                 : operand.source == Source::constant ? ProgramAction::number
                                                                      : ProgramAction::sequence;
    if (operand.source == Source::constant) {
      params_.numbers[v] = bits_of_constant(operand);
    } else if (operand.source == Source::sequence) {
      params_.sequences[v] = params_of(operand.sequence);
    }
    make(add(action, v, operand.dtype, operand.dtype), v);
  }

  void add_instruction(size_t i) {
    const Program::Instruction& instruction = program_.instructions[i];
    uint8_t in[Program::kMostInputs] = {};
    for (uint8_t k = 0; k < instruction.input_count; ++k) {
      in[k] = register_of(instruction.inputs[k]);
    }
    // 16-bit floats are computed by the code for float32.
    const Dtype type = is_half(instruction.in) ? float32 : instruction.in;
    ProgramStep& step = add(action_of(instruction.action), instruction.op, type, instruction.out);
    std::copy(in, in + Program::kMostInputs, step.in);
    make(step, program_.operands.size() + i);
    release_inputs(i);
  }

  void release_inputs(size_t i) {
    const Program::Instruction& instruction = program_.instructions[i];
    for (uint8_t k = 0; k < instruction.input_count; ++k) {
      const uint16_t v = schedule_.values[instruction.inputs[k]].source;
      const ProgramSchedule::Value& value = schedule_.values[v];
      const bool seen = std::any_of(instruction.inputs, instruction.inputs + k, [&](uint16_t read) {
        return schedule_.values[read].source == v;
      });
      if (!seen && !value.of_row && value.last_read == i) {
        free_.push_back(registers_[v]);
      }
    }
  }

  static ProgramAction action_of(Action action) {
    switch (action) {
      case Action::cast:
        return ProgramAction::cast;
      case Action::select:
        return ProgramAction::select;
      case Action::reduce:
        return ProgramAction::reduce;
      default:
        return ProgramAction::elementwise;
    }
  }

  void add_store(size_t i) {
    const uint16_t output = program_.outputs[i];
    const Dtype dtype = program_.dtype_of(output);
    const uint8_t from = register_of(output);
    ProgramStep& step = add(ProgramAction::store, NARROWS_PROGRAM_INPUTS + i, dtype, dtype);
    step.in[0] = from;
    const bool of_row = !schedule_.is_split && !program_.is_whole(output);
    step.of_row = of_row;
    step.passes = of_row ? 1u << schedule_.passes : 1u << (schedule_.passes - 1);
  }

  const Program& program_;
  const ProgramSchedule& schedule_;
  ProgramParams& params_;
  std::vector<uint8_t> registers_; // by value
  std::vector<uint8_t> free_;
  uint8_t rows_ = 0; // registers of rows in use
};

std::string_view setting() {
  const char* text = std::getenv("NARROWS_KERNEL_COMPILER");
  return text ? text : "";
}

// Operands of the call stand at their numbers, outputs behind all that programs can have.
size_t slot_of(const Program& program, size_t operand) {
  const size_t operands = program.operands.size();
  return operand < operands ? operand : NARROWS_PROGRAM_INPUTS + operand - operands;
}

void set_space(const ProgramCall& call, const ProgramSpace& space, ProgramParams& params) {
  params.rows = space.rows;
  params.length = space.length;
  params.row_ndim = space.row_ndim;
  params.ndim = space.ndim;
  std::copy_n(space.shape, space.ndim, params.shape);
  for (size_t k = 0; k < call.operands.size(); ++k) {
    std::copy_n(space.strides[k], space.ndim, params.strides[slot_of(call.program, k)]);
  }
}

} // namespace

const ProgramLimits kProgramLimits{
    .instructions = NARROWS_PROGRAM_INSTRUCTIONS,
    .operands = NARROWS_PROGRAM_INPUTS,
    .outputs = NARROWS_PROGRAM_OUTPUTS,
    .registers = NARROWS_PROGRAM_ELEMENT_REGISTERS,
    .row_bytes = 0};

bool interprets_only() {
  return setting() == "0";
}

bool tells_compilations() {
  return setting() == "verbose";
}

const ProgramLimits& program_limits(bool has_compiler) {
  static constexpr ProgramLimits kNone;
  return has_compiler || interprets_only() ? kProgramLimits : kNone;
}

void interpret(const ProgramCall& call, Dispatch& dispatch) {
  interpret(call, ProgramSpace(call, is_elementwise(call.program)), dispatch);
}

void interpret(const ProgramCall& call, const ProgramSpace& space, Dispatch& dispatch) {
  const Program& program = call.program;
  const ProgramSchedule schedule(program);
  ProgramParams params{};
  set_space(call, space, params);
  Interpretation(program, schedule, params).run();

  dispatch.kernel = "program";
  dispatch.is_product = false;
  dispatch.written = NARROWS_PROGRAM_OUTPUTS;
  // Buffers that the program does not have are bound to its last output.
  dispatch.place_count = NARROWS_PROGRAM_OPERANDS;
  const auto last = static_cast<uint32_t>(call.operands.size() - 1);
  dispatch.places.fill({last});
  for (uint32_t k = 0; k < call.operands.size(); ++k) {
    if (call.operands[k].buffer) {
      dispatch.places[slot_of(program, k)] = {k};
    }
  }
  if (schedule.is_split) {
    params.rounds = 1;
    dispatch.set_threads(divided_up(space.length, int64_t{NARROWS_PROGRAM_ELEMENTS}), kThreads);
  } else {
    const RowShares shares(program, space);
    const int64_t elements = divided_up(shares.packs, shares.threads) * shares.pack;
    params.rounds = static_cast<int32_t>(divided_up(elements, int64_t{NARROWS_PROGRAM_ELEMENTS}));
    params.pack_shift = std::countr_zero(static_cast<uint64_t>(shares.pack));
    dispatch.threads = static_cast<uint32_t>(shares.threads);
    dispatch.set_groups(std::min<int64_t>(space.rows, std::numeric_limits<int32_t>::max()));
  }
  dispatch.set_params(params);
}

} // namespace narrows::gpu
