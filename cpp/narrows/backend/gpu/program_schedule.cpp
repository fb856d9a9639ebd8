#include "narrows/backend/gpu/program_schedule.h"

#include <algorithm>

namespace narrows::gpu {
namespace {

using Action = Program::Action;
using Instruction = Program::Instruction;

} // namespace

bool is_elementwise(const Program& program) {
  const auto& all = program.instructions;
  const bool has_rows = std::any_of(all.begin(), all.end(), [](const Instruction& instruction) {
    return instruction.whole || instruction.action == Action::reduce;
  });
  if (!has_rows) {
    return true;
  }
  return std::none_of(
             all.begin(),
             all.end(),
             [](const Instruction& instruction) { return instruction.action == Action::reduce; }) &&
         std::all_of(program.outputs.begin(), program.outputs.end(), [&](uint16_t output) {
           return program.is_whole(output);
         });
}

ProgramSchedule::ProgramSchedule(const Program& program)
    : is_split(is_elementwise(program)), passes(1), values(program.value_count()) {
  const size_t operands = program.operands.size();
  // The pass that has to end before a value of a row is known, or in which a value of elements can
  // be computed first.
  std::vector<uint32_t> levels(values.size(), 0);
  for (size_t v = 0; v < operands; ++v) {
    const bool is_constant = program.operands[v].source == Program::Source::constant;
    const bool of_row = is_constant || (!is_split && !program.operands[v].whole);
    values[v] = {static_cast<uint16_t>(v), of_row, of_row ? 1u : 0u, 0};
  }
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const Instruction& instruction = program.instructions[i];
    const auto v = static_cast<uint16_t>(operands + i);
    for (uint8_t k = 0; k < instruction.input_count; ++k) {
      const uint16_t input = instruction.inputs[k];
      levels[v] = std::max(levels[v], levels[input]);
      values[values[input].source].last_read = static_cast<uint16_t>(i);
    }
    const bool of_row = !is_split && !instruction.whole;
    values[v] = {v, of_row, 0, static_cast<uint16_t>(i)};
    if (instruction.action == Action::spread) {
      values[v] = values[instruction.inputs[0]];
    } else if (instruction.action == Action::reduce) {
      values[v].passes = 1u << levels[v]++;
      passes = std::max(passes, levels[v]);
    } else if (of_row) {
      values[v].passes = 1u << levels[v];
    }
  }
  for (const uint16_t output : program.outputs) {
    if (is_split || program.is_whole(output)) {
      passes = std::max(passes, levels[output] + 1);
    }
  }
  // Which passes need a value of elements.
  for (const uint16_t output : program.outputs) {
    Value& value = values[values[output].source];
    value.last_read = UINT16_MAX;
    if (!value.of_row) {
      value.passes |= 1u << (passes - 1);
    }
  }
  for (size_t i = program.instructions.size(); i-- > 0;) {
    const Instruction& instruction = program.instructions[i];
    const Value& value = values[operands + i];
    if (instruction.action == Action::spread ||
        (value.of_row && instruction.action != Action::reduce)) {
      continue;
    }
    for (uint8_t k = 0; k < instruction.input_count; ++k) {
      Value& input = values[values[instruction.inputs[k]].source];
      input.passes |= input.of_row ? 0 : value.passes;
    }
  }
}

} // namespace narrows::gpu
