#include "narrows/core/kernel_families.h"
#include "narrows/runtime/program.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <set>

namespace narrows {
namespace {

using Action = Program::Action;
using Source = Program::Source;

constexpr uint8_t kExp = static_cast<uint8_t>(ElementwiseOp::exp);
constexpr uint8_t kAdd = static_cast<uint8_t>(ElementwiseOp::add);
constexpr uint8_t kGreater = static_cast<uint8_t>(ElementwiseOp::greater);
constexpr uint8_t kSum = static_cast<uint8_t>(ReduceOp::sum);

Program::Value operand(Source source, Dtype dtype, bool whole) {
  Program::Value value{};
  value.source = source;
  value.dtype = dtype;
  value.whole = whole;
  return value;
}

Program::Value constant(float number, bool whole) {
  Program::Value value = operand(Source::constant, Dtype::float32, whole);
  std::memcpy(value.constant, &number, sizeof(number));
  return value;
}

Program::Value sequence(int64_t start, int64_t step) {
  Program::Value value = operand(Source::sequence, Dtype::int32, true);
  value.sequence = {0, 0, start, step};
  return value;
}

Program::Instruction instruction(
    Action action,
    uint8_t op,
    Dtype in,
    Dtype out,
    bool whole,
    std::initializer_list<uint16_t> inputs) {
  Program::Instruction result{};
  result.action = action;
  result.op = op;
  result.in = in;
  result.out = out;
  result.whole = whole;
  for (const uint16_t input : inputs) {
    result.inputs[result.input_count++] = input;
  }
  return result;
}

// Rows less their sums, where they are above 2, and the sums.
Program example() {
  constexpr Dtype f = Dtype::float32;
  Program program;
  program.operands = {operand(Source::memory, f, true), constant(2, true), sequence(3, -1)};
  program.instructions = {
      instruction(Action::reduce, kSum, f, f, false, {0}),                       // 3
      instruction(Action::spread, 0, f, f, true, {3}),                           // 4
      instruction(Action::elementwise, kAdd, f, f, true, {0, 4}),                // 5
      instruction(Action::elementwise, kGreater, f, Dtype::bool_, true, {5, 1}), // 6
      instruction(Action::cast, 0, Dtype::int32, f, true, {2}),                  // 7
      instruction(Action::select, 0, f, f, true, {6, 5, 7}),                     // 8
  };
  program.outputs = {3, 8};
  return program;
}

TEST(Program, Prints) {
  EXPECT_EQ(
      to_string(example()),
      "%0 = memory float32 whole\n"
      "%1 = constant 2 float32 whole\n"
      "%2 = sequence 3 + -1 i int32 whole\n"
      "%3 = sum %0 float32\n"
      "%4 = spread %3 float32 whole\n"
      "%5 = add %0, %4 float32 whole\n"
      "%6 = greater %5, %1 bool whole\n"
      "%7 = cast %2 float32 whole\n"
      "%8 = select %6, %5, %7 float32 whole\n"
      "store %3, %8\n");
}

TEST(Program, CountsRegisters) {
  // All operands, the sums, these for all elements, and what is added.
  EXPECT_EQ(count_registers(example()), 6u);
  Program chain;
  chain.operands = {operand(Source::memory, Dtype::float32, false)};
  for (uint16_t i = 0; i < 10; ++i) {
    chain.instructions.push_back(
        instruction(Action::elementwise, kExp, Dtype::float32, Dtype::float32, false, {i}));
  }
  chain.outputs = {10};
  EXPECT_EQ(count_registers(chain), 2u);
  chain.outputs = {5, 10};
  EXPECT_EQ(count_registers(chain), 3u);
}

using Change = std::function<void(Program&)>;

TEST(Program, IsWhatItsPartsAre) {
  const Change changes[] = {
      [](Program&) {},
      [](Program& p) { p.operands[0].dtype = Dtype::float16; },
      [](Program& p) { p.operands[0].whole = false; },
      [](Program& p) { p.operands[0] = constant(2, true); },
      [](Program& p) { p.operands[1] = constant(3, true); },
      [](Program& p) { p.operands[1] = constant(-2, true); },
      [](Program& p) { p.operands[2] = sequence(3, 1); },
      [](Program& p) { p.operands[2] = sequence(4, -1); },
      [](Program& p) { p.operands.pop_back(); },
      [](Program& p) { p.instructions[0].op = 1; },
      [](Program& p) { p.instructions[0].out = Dtype::float64; },
      [](Program& p) { p.instructions[2].inputs[1] = 1; },
      [](Program& p) { std::swap(p.instructions[2].inputs[0], p.instructions[2].inputs[1]); },
      [](Program& p) { p.instructions[4].in = Dtype::int64; },
      [](Program& p) { p.instructions[5].action = Action::elementwise; },
      [](Program& p) { p.instructions[5].whole = false; },
      [](Program& p) { p.instructions.pop_back(); },
      [](Program& p) { p.outputs = {8}; },
      [](Program& p) {
        p.outputs = {4, 8};
      },
  };
  std::set<size_t> hashes;
  std::vector<Program> programs;
  for (const Change& change : changes) {
    Program program = example();
    change(program);
    for (const Program& other : programs) {
      EXPECT_FALSE(program == other);
    }
    const Program copy = program;
    EXPECT_TRUE(copy == program);
    EXPECT_EQ(hash_of(copy), hash_of(program));
    hashes.insert(hash_of(program));
    programs.push_back(program);
  }
  EXPECT_EQ(hashes.size(), programs.size());
}

TEST(Program, IgnoresWhatNobodyReads) {
  Program a = example();
  Program b = example();
  // Beside a constant's bytes, and behind an instruction's inputs.
  std::memset(a.operands[1].constant + sizeof(float), 0xff, 4);
  std::memset(&a.operands[0].sequence, 0xff, sizeof(Sequence));
  a.instructions[0].inputs[2] = 77;
  EXPECT_TRUE(a == b);
  EXPECT_EQ(hash_of(a), hash_of(b));
}

TEST(Program, FaultsAreFound) {
  EXPECT_EQ(find_fault(example()), "");
  struct Case {
    const char* fault;
    Change change;
  };
  const Case cases[] = {
      {"instruction %5 reads a value that is not made yet.",
       [](Program& p) { p.instructions[2].inputs[1] = 5; }},
      {"instruction %3 reads a value that is not made yet.",
       [](Program& p) { p.instructions[0].inputs[0] = 900; }},
      {"instruction %5 has a number of inputs that its action does not take.",
       [](Program& p) { p.instructions[2].input_count = 1; }},
      {"instruction %5 has a number of inputs that its action does not take.",
       [](Program& p) { p.instructions[2].input_count = 200; }},
      {"instruction %5 has a number of inputs that its action does not take.",
       [](Program& p) { p.instructions[2].op = 255; }},
      {"instruction %3 has a number of inputs that its action does not take.",
       [](Program& p) { p.instructions[0].op = 255; }},
      {"instruction %3 has a number of inputs that its action does not take.",
       [](Program& p) { p.instructions[0].action = static_cast<Action>(99); }},
      {"instruction %5 has dtypes that its inputs, or its action, do not have.",
       [](Program& p) { p.instructions[2].in = Dtype::int32; }},
      {"instruction %5 has dtypes that its inputs, or its action, do not have.",
       [](Program& p) { p.instructions[2].out = Dtype::int32; }},
      {"instruction %6 has dtypes that its inputs, or its action, do not have.",
       [](Program& p) { p.instructions[3].out = Dtype::float32; }},
      {"instruction %8 has dtypes that its inputs, or its action, do not have.",
       [](Program& p) { p.instructions[5].inputs[0] = 5; }},
      {"instruction %5 mixes values of rows with values of their elements.",
       [](Program& p) { p.instructions[2].inputs[1] = 3; }},
      {"instruction %4 mixes values of rows with values of their elements.",
       [](Program& p) { p.instructions[1].whole = false; }},
      {"instruction %3 mixes values of rows with values of their elements.",
       [](Program& p) { p.operands[0].whole = false; }},
      {"the last instruction's result is not stored last.", [](Program& p) { p.outputs = {}; }},
      {"the last instruction's result is not stored last.", [](Program& p) { p.outputs = {3}; }},
      {"output 0 is no result of a later instruction.",
       [](Program& p) {
         p.outputs = {2, 8};
       }},
      {"output 1 is no result of a later instruction.",
       [](Program& p) {
         p.outputs = {8, 8};
       }},
      {"it has no instructions.", [](Program& p) { p.instructions.clear(); }},
  };
  for (const Case& c : cases) {
    Program program = example();
    c.change(program);
    EXPECT_EQ(find_fault(program), c.fault);
  }
}

} // namespace
} // namespace narrows
