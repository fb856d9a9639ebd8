// Fused programs.
#include "narrows/backend/gpu/program.h"
#include "program_cases.h"

namespace narrows::testing {
namespace {

using Action = Program::Action;

struct Row {
  ElementwiseOp op;
  int arity;
};
constexpr Row kRows[] = {
#define ELEMENTWISE(name, arity, functor, operands, result, kernels, summary, da, db) \
  {ElementwiseOp::name, arity},
#include "metal_kernels/elementwise.def"
#undef ELEMENTWISE
};

// Runs the program on both devices and compares all its outputs.
void check(
    const std::string& what,
    Builder builder,
    const Space& space,
    Tolerance tolerance,
    bool special = true) {
  Program& program = builder.program;
  if (program.outputs.empty()) {
    program.outputs.push_back(static_cast<uint16_t>(program.value_count() - 1));
  }
  ASSERT_EQ(find_fault(program), "") << what;
  for (size_t last = 0; last < program.outputs.size(); ++last) {
    ProgramMemories places(builder, space, last, special);
    expect_same_on_both(
        concat_message(what, " output ", last),
        places.memories,
        std::vector<int64_t>(places.memories.size(), 0),
        [&](Encoder& encoder, std::span<const Operand> buffers) {
          const std::vector<Operand> all = places.operands(buffers);
          encoder.run_program({program, space.shape, space.row_dims, all, places.strides});
        },
        tolerance);
  }
}

bool gpu_computes(Dtype dtype) {
  return dtype != float64 || gpu_has_float64();
}

class ProgramKernels : public KernelTest {};

TEST_P(ProgramKernels, operations) {
  int programs = 0;
  const Space space{{4, 53}, 2};
  for (const Row& row : kRows) {
    for (const Dtype in : kAllDtypes) {
      const Dtype out = result_dtype(row.op, in);
      const KernelId kernel{KernelFamily::elementwise, static_cast<uint8_t>(row.op), in, out};
      if (!cpu::has_kernel(kernel) || !gpu_computes(in)) {
        continue;
      }
      Builder b;
      const uint16_t x = b.memory(in, false, {53, 1});
      if (row.arity == 1) {
        b.compute(row.op, {x});
      } else {
        b.compute(row.op, {x, b.memory(in, false, {1, 4})});
      }
      check(name_of(kernel), b, space, default_tolerance(out));
      ++programs;
    }
  }
  EXPECT_GT(programs, 400);
}

TEST_P(ProgramKernels, casts_and_choices) {
  const Space space{{211}, 1};
  for (const Dtype in : kAllDtypes) {
    for (const Dtype out : kAllDtypes) {
      if (!gpu_computes(in) || !gpu_computes(out)) {
        continue;
      }
      Builder b;
      // Operands come before results.
      const uint16_t x = b.memory(in, false, {1});
      const uint16_t choice = b.memory(bool_, false, {1});
      const uint16_t one = b.constant(out, 1, false, 1);
      b.make(Action::select, 0, out, false, {choice, b.cast(x, out), one});
      check(concat_message("cast ", name_of(in), " ", name_of(out)), b, space, {0, 0});
    }
  }
}

TEST_P(ProgramKernels, sequences) {
  const Space space{{40, 30}, 2};
  for (const Dtype dtype : kAllDtypes) {
    if (dtype == bool_ || !gpu_computes(dtype)) {
      continue;
    }
    Builder b;
    const uint16_t i = b.sequence(dtype, false, {1, 0});
    b.compute(ElementwiseOp::subtract, {i, b.sequence(dtype, false, {0, 3})});
    check(concat_message("sequence ", name_of(dtype)), b, space, {1e-7, 1e-6});
  }
}

TEST_P(ProgramKernels, reductions) {
  for (const Dtype dtype : kAllDtypes) {
    if (!gpu_computes(dtype)) {
      continue;
    }
    for (const ReduceOp op :
         {ReduceOp::sum,
          ReduceOp::prod,
          ReduceOp::min,
          ReduceOp::max,
          ReduceOp::all,
          ReduceOp::any}) {
      Dtype out = dtype;
      if (op == ReduceOp::all || op == ReduceOp::any) {
        out = bool_;
      } else if ((op == ReduceOp::sum || op == ReduceOp::prod) && !is_inexact(dtype)) {
        out = size_of(dtype) >= 4 ? dtype : is_unsigned(dtype) ? uint32 : int32;
      }
      for (const int64_t length : {1, 5, 130, 2100}) {
        const Space space{{3, length}, 1};
        Builder b;
        // Small numbers, so that products stay finite.
        const uint16_t x = b.memory(dtype, true, {1, 3});
        b.reduce(op, x, out);
        const bool adds = op == ReduceOp::sum || op == ReduceOp::prod;
        if (op == ReduceOp::prod && length > 5 && is_inexact(dtype)) {
          continue; // overflows, early or late
        }
        check(
            concat_message("reduce ", static_cast<int>(op), " ", name_of(dtype), " ", length),
            b,
            space,
            adds ? Tolerance{is_half(dtype) ? 2e-2 : 1e-4, is_half(dtype) ? 1e-1 : 1e-3}
                 : Tolerance{0, 0},
            false);
      }
    }
  }
}

TEST_P(ProgramKernels, programs) {
  for (const ProgramCase& program : program_cases(gpu::kProgramLimits)) {
    check(program.name, program.builder, program.space, program.tolerance, false);
  }
}

NARROWS_IN_ALL_ORDERS(ProgramKernels)

} // namespace
} // namespace narrows::testing
