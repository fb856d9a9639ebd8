// Fused programs for tests: how they are built up, and programs of all kinds.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "harness.h"
#include "narrows/runtime/program.h"

namespace narrows::testing {

// A program that is built up value by value.
struct Builder {
  Program program;
  std::vector<Strides> strides; // of operands

  uint16_t memory(Dtype dtype, bool whole, Strides along) {
    Program::Value value{};
    value.source = Program::Source::memory;
    value.dtype = dtype;
    value.whole = whole;
    return operand(value, std::move(along));
  }
  uint16_t constant(Dtype dtype, double number, bool whole, size_t ndim) {
    Program::Value value{};
    value.source = Program::Source::constant;
    value.dtype = dtype;
    value.whole = whole;
    TypedBuffer buffer(dtype, 1);
    buffer.set(0, number);
    std::memcpy(value.constant, buffer.data(), static_cast<size_t>(size_of(dtype)));
    return operand(value, Strides(ndim, 0));
  }
  uint16_t sequence(Dtype dtype, bool whole, Strides along) {
    Program::Value value{};
    value.source = Program::Source::sequence;
    value.dtype = dtype;
    value.whole = whole;
    value.sequence = {0.25, -1.0 / 3, 5, -7};
    return operand(value, std::move(along));
  }
  uint16_t make(
      Program::Action action,
      uint8_t op,
      Dtype out,
      bool whole,
      std::initializer_list<uint16_t> inputs) {
    Program::Instruction instruction{};
    instruction.action = action;
    instruction.op = op;
    instruction.in = program.dtype_of(*(inputs.end() - 1));
    instruction.out = out;
    instruction.whole = whole;
    for (const uint16_t input : inputs) {
      instruction.inputs[instruction.input_count++] = input;
    }
    program.instructions.push_back(instruction);
    return static_cast<uint16_t>(program.value_count() - 1);
  }
  uint16_t compute(ElementwiseOp op, std::initializer_list<uint16_t> inputs) {
    const uint16_t last = *(inputs.end() - 1);
    return make(
        Program::Action::elementwise,
        static_cast<uint8_t>(op),
        result_dtype(op, program.dtype_of(last)),
        program.is_whole(last),
        inputs);
  }
  uint16_t cast(uint16_t value, Dtype dtype) {
    return make(Program::Action::cast, 0, dtype, program.is_whole(value), {value});
  }
  uint16_t reduce(ReduceOp op, uint16_t value, Dtype dtype) {
    return make(Program::Action::reduce, static_cast<uint8_t>(op), dtype, false, {value});
  }
  uint16_t spread(uint16_t value) {
    return make(Program::Action::spread, 0, program.dtype_of(value), true, {value});
  }

 private:
  uint16_t operand(const Program::Value& value, Strides along) {
    program.operands.push_back(value);
    strides.push_back(std::move(along));
    return static_cast<uint16_t>(program.operands.size() - 1);
  }
};

struct Space {
  Shape shape;
  size_t row_dims;
};

inline int64_t extent(const Shape& shape, const Strides& strides) {
  int64_t last = 0;
  for (size_t d = 0; d < shape.size(); ++d) {
    last += (shape[d] - 1) * strides[d];
  }
  return last + 1;
}

// Row-major strides of the space, or of its rows.
inline Strides dense(const Space& space, bool whole) {
  Strides strides(space.shape.size(), 0);
  int64_t run = 1;
  for (size_t d = whole ? space.shape.size() : space.row_dims; d-- > 0;) {
    strides[d] = run;
    run *= space.shape[d];
  }
  return strides;
}

// Softmax of scaled rows with a mask. It stores what rows share, too.
inline Builder row_program(Dtype dtype, const Space& space) {
  Builder b;
  const uint16_t x = b.memory(dtype, true, dense(space, true));
  const uint16_t scale = b.memory(dtype, false, dense(space, false));
  const uint16_t mask = b.memory(bool_, true, {0, 1});
  const uint16_t low = b.constant(dtype, -4, true, 2);
  const uint16_t root = b.compute(ElementwiseOp::abs, {scale});
  const uint16_t scaled = b.compute(ElementwiseOp::multiply, {x, b.spread(root)});
  const uint16_t masked = b.make(Program::Action::select, 0, dtype, true, {mask, scaled, low});
  const uint16_t largest = b.reduce(ReduceOp::max, masked, dtype);
  const uint16_t powers = b.compute(
      ElementwiseOp::exp, {b.compute(ElementwiseOp::subtract, {masked, b.spread(largest)})});
  const uint16_t total = b.reduce(ReduceOp::sum, powers, dtype);
  const uint16_t inverse = b.compute(ElementwiseOp::reciprocal, {total});
  const uint16_t result = b.compute(ElementwiseOp::multiply, {powers, b.spread(inverse)});
  b.program.outputs = {largest, inverse, result};
  return b;
}

struct ProgramCase {
  std::string name;
  Builder builder;
  Space space;
  Tolerance tolerance;
};

// A chain over operands of these strides.
inline ProgramCase chain(
    const std::string& name, Dtype dtype, const Shape& shape, const Strides& a, const Strides& b) {
  ProgramCase result{name + " " + std::string(name_of(dtype)), {}, {shape, shape.size()}, {}};
  Builder& p = result.builder;
  const uint16_t x = p.memory(dtype, false, a);
  const uint16_t y = p.memory(dtype, false, b);
  const uint16_t half = p.constant(dtype, 0.5, false, shape.size());
  Strides along(shape.size(), 0);
  along.back() = 2;
  const uint16_t i = p.cast(p.sequence(int32, false, along), dtype);
  const uint16_t sum =
      p.compute(ElementwiseOp::add, {p.compute(ElementwiseOp::multiply, {x, y}), i});
  const uint16_t scaled = p.compute(ElementwiseOp::multiply, {sum, half});
  const uint16_t larger = p.compute(ElementwiseOp::greater, {scaled, y});
  p.make(Program::Action::select, 0, dtype, false, {larger, scaled, x});
  p.program.outputs = {scaled, larger, static_cast<uint16_t>(larger + 1)};
  result.tolerance = default_tolerance(dtype);
  return result;
}

// A value of rows that their elements read, without reductions.
inline ProgramCase row_values(bool is_stored) {
  ProgramCase result{"values of rows", {}, {{9, 2, 65}, 2}, {1e-6, 1e-6}};
  Builder& p = result.builder;
  const uint16_t x = p.memory(float32, true, {1, 9, 18});
  const uint16_t y = p.compute(ElementwiseOp::exp, {p.memory(float32, false, {2, 1, 0})});
  const uint16_t z = p.compute(ElementwiseOp::add, {x, p.spread(y)});
  p.program.outputs = is_stored ? std::vector<uint16_t>{y, z} : std::vector<uint16_t>{z};
  return result;
}

// As many operands, outputs and values at once as a device has.
inline ProgramCase widest(const ProgramLimits& limits) {
  ProgramCase result{"limits", {}, {{3, 401}, 2}, {1e-6, 1e-6}};
  Builder& p = result.builder;
  std::vector<uint16_t> values;
  for (uint32_t k = 0; k < limits.operands; ++k) {
    values.push_back(p.memory(float32, false, k % 2 ? Strides{401, 1} : Strides{1, 3}));
  }
  while (p.program.instructions.size() < limits.instructions) {
    const size_t count = values.size();
    const ElementwiseOp op = count % 2 ? ElementwiseOp::add : ElementwiseOp::maximum;
    values.push_back(p.compute(op, {values[count - 1], values[count - limits.operands]}));
  }
  p.program.outputs.assign(values.end() - limits.outputs, values.end());
  return result;
}

inline std::vector<ProgramCase> program_cases(const ProgramLimits& limits) {
  std::vector<ProgramCase> cases;
  for (const Dtype dtype : {float16, bfloat16, float32, int32}) {
    cases.push_back(chain("flat", dtype, {4096}, {1}, {1}));
    cases.push_back(chain("odd", dtype, {1003}, {1}, {0}));
    cases.push_back(chain("broadcast", dtype, {5, 64}, {64, 1}, {0, 1}));
    cases.push_back(chain("column", dtype, {5, 64}, {1, 5}, {1, 0}));
    cases.push_back(chain("transposed", dtype, {3, 7, 11}, {77, 1, 7}, {1, 33, 3}));
    cases.push_back(chain("one element", dtype, {1, 1}, {1, 1}, {0, 0}));
  }
  for (const Dtype dtype : {float16, bfloat16, float32}) {
    const double tolerance = is_half(dtype) ? 2e-2 : 1e-5;
    for (const Shape& shape :
         {Shape{5, 7},
          Shape{2, 768},
          Shape{2, 700},
          Shape{1, 9000},
          Shape{1, 16384},
          Shape{300, 2}}) {
      const Space space{shape, 1};
      cases.push_back(
          {concat_message("rows ", name_of(dtype), " ", shape[0], " ", shape[1]),
           row_program(dtype, space),
           space,
           {tolerance, tolerance / 10}});
    }
  }
  cases.push_back(row_values(false));
  cases.push_back(row_values(true));
  cases.push_back(widest(limits));
  return cases;
}

// The memories of a case: operands in memory, then outputs, of which `last` comes last.
struct ProgramMemories {
  std::vector<Memory> memories;
  std::vector<int64_t> numbers; // of the memory, by operand of the call; -1: none
  std::vector<Strides> strides; // by operand of the call

  ProgramMemories(const Builder& builder, const Space& space, size_t last, bool special)
      : strides(builder.strides) {
    const Program& program = builder.program;
    const size_t operands = program.operands.size();
    const bool has_rows = space.row_dims < space.shape.size();
    for (const uint16_t output : program.outputs) {
      strides.push_back(dense(space, !has_rows || program.is_whole(output)));
    }
    numbers.assign(strides.size(), -1);
    for (size_t k = 0; k < operands; ++k) {
      const Program::Value& operand = program.operands[k];
      if (operand.source == Program::Source::memory) {
        add(space, k, operand.dtype);
        TypedBuffer values(operand.dtype, memories.back().size());
        fill_varied(values, static_cast<unsigned>(k + 1), special);
        memories.back().copy_from(values);
      }
    }
    for (size_t i = 0; i < program.outputs.size(); ++i) {
      const size_t output = (last + 1 + i) % program.outputs.size();
      add(space, operands + output, program.dtype_of(program.outputs[output]));
    }
  }
  std::vector<Operand> operands(std::span<const Operand> places) const {
    std::vector<Operand> all(numbers.size());
    for (size_t k = 0; k < all.size(); ++k) {
      all[k] = numbers[k] < 0 ? Operand() : places[static_cast<size_t>(numbers[k])];
    }
    return all;
  }

 private:
  void add(const Space& space, size_t k, Dtype dtype) {
    numbers[k] = static_cast<int64_t>(memories.size());
    memories.emplace_back(dtype, extent(space.shape, strides[k]));
  }
};

} // namespace narrows::testing
