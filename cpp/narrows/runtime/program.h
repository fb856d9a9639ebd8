// Program: a computation over the elements of one space, as data: what a fused step gives to an
// encoder in place of several launches.
#pragma once

#include <vector>

#include "narrows/core/kernel_id.h"

namespace narrows {

// start, start + step, ...: integers for integer types.
struct Sequence {
  double start;
  double step;
  int64_t int_start;
  int64_t int_step;
};

// Values are numbered: the operands, then the result of each instruction; the last is the output.
//
// The space has rows, and each row has elements. A value has one element for each of them
// (`whole`), or one for each row. A space whose rows have one element needs no whole values.
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
    spread, // a value of each row for all elements of the row
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

  // Bytes that the whole values take for one element of a row. 16-bit floats count with float32
  // copies of what is read and of what is made.
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
};

// The longest rows that a program may keep in fast memory. A program whose reductions are over
// longer rows has no whole values that are made from those of rows.
inline constexpr int64_t kLongestRow = 16384;
// The most that the whole values of a row, or of so much of a longer one, may take: whole_bytes().
inline constexpr int64_t kMostRowBytes = int64_t{2} << 20;

} // namespace narrows
