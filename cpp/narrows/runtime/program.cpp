#include "narrows/runtime/program.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <sstream>

#include "narrows/core/dispatch.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"

namespace narrows {
namespace {

using Action = Program::Action;
using Source = Program::Source;

constexpr int kArities[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) arity,
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};

// The properties of a value's source, in words, beside its dtype.
struct Literal {
  uint64_t words[4] = {};
  bool operator==(const Literal&) const = default;
};

Literal literal_of(const Program::Value& value) {
  Literal literal;
  if (value.source == Source::constant) {
    std::memcpy(literal.words, value.constant, static_cast<size_t>(size_of(value.dtype)));
  } else if (value.source == Source::sequence) {
    static_assert(sizeof(Sequence) == sizeof(literal.words));
    std::memcpy(literal.words, &value.sequence, sizeof(Sequence));
  }
  return literal;
}

bool same(const Program::Value& a, const Program::Value& b) {
  return a.source == b.source && a.dtype == b.dtype && a.whole == b.whole &&
         literal_of(a) == literal_of(b);
}

bool same(const Program::Instruction& a, const Program::Instruction& b) {
  return a.action == b.action && a.op == b.op && a.input_count == b.input_count &&
         a.whole == b.whole && a.in == b.in && a.out == b.out &&
         std::equal(a.inputs, a.inputs + a.input_count, b.inputs);
}

class Hash {
 public:
  void add(uint64_t word) {
    state_ = std::rotl(state_ ^ word, 29) * 0x9e3779b97f4a7c15;
  }
  size_t result() const {
    return static_cast<size_t>(state_ ^ (state_ >> 32));
  }

 private:
  uint64_t state_ = 0x243f6a8885a308d3;
};

template <typename T>
uint64_t byte_of(T value) {
  return static_cast<uint8_t>(value);
}

std::string constant_text(const Program::Value& value) {
  std::ostringstream text;
  dispatch(value.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T element;
    std::memcpy(&element, value.constant, sizeof(T));
    if constexpr (std::is_same_v<T, complex64_t> || std::is_floating_point_v<T>) {
      text << element;
    } else if constexpr (std::is_integral_v<T>) {
      text << +element;
    } else {
      text << static_cast<float>(element);
    }
  });
  return text.str();
}

std::string operand_text(const Program::Value& value) {
  std::ostringstream text;
  switch (value.source) {
    case Source::memory:
      return "memory";
    case Source::constant:
      return "constant " + constant_text(value);
    case Source::sequence:
      break;
  }
  const Sequence& sequence = value.sequence;
  text << "sequence ";
  if (is_floating(value.dtype)) {
    text << sequence.start << " + " << sequence.step;
  } else {
    text << sequence.int_start << " + " << sequence.int_step;
  }
  text << " i";
  return text.str();
}

std::string action_text(const Program::Instruction& instruction) {
  switch (instruction.action) {
    case Action::elementwise:
      return std::string(operation_name(KernelFamily::elementwise, instruction.op));
    case Action::cast:
      return "cast";
    case Action::select:
      return "select";
    case Action::spread:
      return "spread";
    case Action::reduce:
      return std::string(operation_name(KernelFamily::reduce, instruction.op));
  }
  return "unknown";
}

// Checks a program part by part.
class Validator {
 public:
  explicit Validator(const Program& program) : program_(program) {
  }

  std::string run() const {
    if (program_.instructions.empty()) {
      return "it has no instructions.";
    }
    if (program_.value_count() > UINT16_MAX) {
      return concat_message("it has ", program_.value_count(), " values.");
    }
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      const char* fault = fault_of(program_.instructions[i], program_.operands.size() + i);
      if (fault) {
        return concat_message("instruction %", program_.operands.size() + i, " ", fault);
      }
    }
    return fault_of_outputs();
  }

 private:
  // The fault of the instruction whose result has this number; nullptr if there is none.
  const char* fault_of(const Program::Instruction& instruction, size_t number) const {
    const auto inputs = std::span(instruction.inputs, instruction.input_count);
    if (instruction.input_count == 0 || instruction.input_count > Program::kMostInputs ||
        instruction.input_count != input_count_of(instruction)) {
      return "has a number of inputs that its action does not take.";
    }
    if (std::any_of(inputs.begin(), inputs.end(), [&](uint16_t i) { return i >= number; })) {
      return "reads a value that is not made yet.";
    }
    if (!has_its_dtypes(instruction)) {
      return "has dtypes that its inputs, or its action, do not have.";
    }
    const bool spreads = instruction.action == Action::spread;
    const bool reduces = instruction.action == Action::reduce;
    const bool reads_whole = reduces || (instruction.whole && !spreads);
    const auto fits = [&](uint16_t i) { return program_.is_whole(i) == reads_whole; };
    if ((spreads && !instruction.whole) || (reduces && instruction.whole) ||
        !std::all_of(inputs.begin(), inputs.end(), fits)) {
      return "mixes values of rows with values of their elements.";
    }
    return nullptr;
  }

  static int input_count_of(const Program::Instruction& instruction) {
    switch (instruction.action) {
      case Action::elementwise:
        return instruction.op < operation_count(KernelFamily::elementwise)
                   ? kArities[instruction.op]
                   : -1;
      case Action::reduce:
        return instruction.op < operation_count(KernelFamily::reduce) ? 1 : -1;
      case Action::select:
        return 3;
      case Action::cast:
      case Action::spread:
        return 1;
    }
    return -1;
  }

  bool has_its_dtypes(const Program::Instruction& instruction) const {
    const bool selects = instruction.action == Action::select;
    for (uint8_t i = 0; i < instruction.input_count; ++i) {
      const Dtype expected = selects && i == 0 ? Dtype::bool_ : instruction.in;
      if (program_.dtype_of(instruction.inputs[i]) != expected) {
        return false;
      }
    }
    switch (instruction.action) {
      case Action::elementwise:
        return instruction.out ==
               result_dtype(static_cast<ElementwiseOp>(instruction.op), instruction.in);
      case Action::select:
      case Action::spread:
        return instruction.out == instruction.in;
      case Action::cast:
      case Action::reduce: // to what the operation says
        return true;
    }
    return false;
  }

  std::string fault_of_outputs() const {
    const std::vector<uint16_t>& outputs = program_.outputs;
    if (outputs.empty() || outputs.back() + size_t{1} != program_.value_count()) {
      return "the last instruction's result is not stored last.";
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i] < program_.operands.size() || (i > 0 && outputs[i - 1] >= outputs[i])) {
        return concat_message("output ", i, " is no result of a later instruction.");
      }
    }
    return "";
  }

  const Program& program_;
};

} // namespace

bool Program::operator==(const Program& other) const {
  const auto same_parts = [](const auto& a, const auto& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
      return same(x, y);
    });
  };
  return outputs == other.outputs && same_parts(operands, other.operands) &&
         same_parts(instructions, other.instructions);
}

size_t hash_of(const Program& program) {
  Hash hash;
  hash.add(program.operands.size());
  for (const Program::Value& value : program.operands) {
    hash.add(byte_of(value.source) | byte_of(value.dtype) << 8 | byte_of(value.whole) << 16);
    for (const uint64_t word : literal_of(value).words) {
      hash.add(word);
    }
  }
  hash.add(program.instructions.size());
  for (const Program::Instruction& instruction : program.instructions) {
    hash.add(
        byte_of(instruction.action) | byte_of(instruction.op) << 8 |
        byte_of(instruction.input_count) << 16 | byte_of(instruction.whole) << 24 |
        byte_of(instruction.in) << 32 | byte_of(instruction.out) << 40);
    for (uint8_t i = 0; i < instruction.input_count; ++i) {
      hash.add(instruction.inputs[i]);
    }
  }
  for (const uint16_t output : program.outputs) {
    hash.add(output);
  }
  return hash.result();
}

std::string to_string(const Program& program) {
  std::ostringstream text;
  const auto end = [&](size_t value) {
    text << " " << name_of(program.dtype_of(value))
         << (program.is_whole(value) ? " whole\n" : "\n");
  };
  for (size_t i = 0; i < program.operands.size(); ++i) {
    text << "%" << i << " = " << operand_text(program.operands[i]);
    end(i);
  }
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const Program::Instruction& instruction = program.instructions[i];
    const size_t value = program.operands.size() + i;
    text << "%" << value << " = " << action_text(instruction);
    for (uint8_t k = 0; k < instruction.input_count; ++k) {
      text << (k ? ", %" : " %") << instruction.inputs[k];
    }
    end(value);
  }
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    text << (i ? ", %" : "store %") << program.outputs[i];
  }
  text << "\n";
  return text.str();
}

std::string find_fault(const Program& program) {
  return Validator(program).run();
}

size_t count_registers(const Program& program) {
  // By value, the last instruction that reads it. Outputs are kept to the end.
  constexpr size_t kNever = SIZE_MAX;
  std::vector<size_t> last_read(program.value_count(), kNever);
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    for (uint8_t k = 0; k < program.instructions[i].input_count; ++k) {
      last_read[program.instructions[i].inputs[k]] = i;
    }
  }
  for (const uint16_t output : program.outputs) {
    last_read[output] = kNever;
  }
  size_t kept = program.operands.size();
  size_t most = kept;
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    most = std::max(most, ++kept);
    const Program::Instruction& instruction = program.instructions[i];
    for (uint8_t k = 0; k < instruction.input_count; ++k) {
      const uint16_t input = instruction.inputs[k];
      const bool seen =
          std::find(instruction.inputs, instruction.inputs + k, input) != instruction.inputs + k;
      kept -= !seen && last_read[input] == i;
    }
  }
  return most;
}

} // namespace narrows
