// Program: a computation over the elements of one space, as data. A fused step gives it to an
// encoder instead of several kernel calls.
#pragma once

#include <string>
#include <vector>

#include "narrows/core/kernel_id.h"

namespace narrows {

// start, start + step, ...; computed in integers for integer dtypes.
struct Sequence {
  double start;
  double step;
  int64_t int_start;
  int64_t int_step;
};

// Values are numbered: the operands come first, then the result of each instruction.
//
// The space has rows, and each row has elements. A value has one number for each element (`whole`)
// or one for each row. A space whose rows have one element needs no whole values.
struct Program {
  static constexpr int kMostInputs = 3;

  enum class Source : uint8_t { memory, constant, sequence };

  struct Value {
    Source source;
    Dtype dtype;
    bool whole;
    union {
      alignas(8) std::byte constant[8];
      Sequence sequence;
    };
  };

  enum class Action : uint8_t {
    elementwise, // op: ElementwiseOp
    cast,
    select, // condition, a, b
    spread, // repeats a row's value for all elements of the row
    reduce, // op: ReduceOp; all elements of each row
  };

  struct Instruction {
    Action action;
    uint8_t op;
    uint8_t input_count;
    bool whole; // its result
    Dtype in;   // of the inputs; of select, of the inputs after the condition
    Dtype out;
    uint16_t inputs[kMostInputs];
  };

  std::vector<Value> operands;
  std::vector<Instruction> instructions;
  // The values that are stored: results of instructions, in the order of the instructions. The last
  // instruction's result is the last output. An output may lie in the memory of an operand that has
  // its element for each element in the same place. So whoever runs the program must read an
  // element of the operand before it writes that element.
  std::vector<uint16_t> outputs;

  // The bytes of all whole values for one element of a row. 16-bit floats count with the float32
  // copies that are made of them.
  int64_t whole_bytes() const {
    int64_t bytes = 0;
    for (size_t i = 0; i < value_count(); ++i) {
      const Dtype dtype = dtype_of(i);
      bytes +=
          !is_whole(i) ? 0 : size_of(dtype) + (is_half(dtype) ? 2 * size_of(Dtype::float32) : 0);
    }
    return bytes;
  }

  size_t value_count() const {
    return operands.size() + instructions.size();
  }
  Dtype dtype_of(size_t value) const {
    return value < operands.size() ? operands[value].dtype
                                   : instructions[value - operands.size()].out;
  }
  bool is_whole(size_t value) const {
    return value < operands.size() ? operands[value].whole
                                   : instructions[value - operands.size()].whole;
  }

  bool operator==(const Program& other) const;
};

// Equal programs have equal hashes.
size_t hash_of(const Program& program);

// One line for each operand, instruction and output:
//   %0 = memory float32
//   %1 = exp %0 float32
//   store %1
std::string to_string(const Program& program);

// The fault of a program, or "" if it has none. Faults are: a value that is read before it is made,
// an operand or an output out of range, a dtype or a kind of value that an instruction does not
// take.
std::string find_fault(const Program& program);

// How many values, operands and results, have to be kept at once while a program runs.
size_t count_registers(const Program& program);

// The limits of the programs that a device runs.
struct ProgramLimits {
  uint32_t instructions = 0; // 0: it runs none
  uint32_t operands = 0;
  uint32_t outputs = 0;
  uint32_t registers = 0; // see count_registers()
  int64_t row_bytes = 0;  // whole_bytes() of a row, or of as much of a longer one as is kept
};

// The longest rows that a program can keep in fast memory. If reductions run over longer rows, the
// program has no whole values that are computed from values of rows.
inline constexpr int64_t kLongestRow = 16384;

} // namespace narrows
