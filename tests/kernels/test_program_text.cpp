// The texts of programs' own kernels, compiled by the host's compiler, against the CPU.
#include <dlfcn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "host_compiler.h"
#include "narrows/backend/emulated/backend.h"
#include "narrows/backend/gpu/kernel_headers.h"
#include "narrows/backend/gpu/program.h"
#include "narrows/backend/gpu/program_schedule.h"
#include "narrows/backend/gpu/program_text.h"
#include "program_cases.h"

namespace narrows::testing {
namespace {

// A program with all that decides about its text.
struct TextCase {
  const ProgramCase* program;
  bool is_aligned;
};

struct Prepared {
  ProgramMemories places;
  std::vector<Operand> operands;
  ProgramCall call;
  gpu::ProgramSpace space;
  gpu::ProgramLayout layout;

  Prepared(const TextCase& test, size_t last)
      : places(test.program->builder, test.program->space, last, false),
        operands(places.strides.size()),
        call{
            test.program->builder.program,
            test.program->space.shape,
            test.program->space.row_dims,
            operands,
            places.strides},
        space(call, gpu::is_elementwise(call.program)),
        layout(
            call,
            gpu::is_elementwise(call.program),
            space,
            std::vector<std::uintptr_t>(operands.size(), test.is_aligned ? 0 : 1)) {
  }
};

std::string without_includes(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) {
    result += line.rfind("#include", 0) == 0 ? "" : line + "\n";
  }
  return result;
}

std::string text_in_namespace(const TextCase& test, size_t i) {
  const Prepared prepared(test, 0);
  const std::string text =
      gpu::text_of(prepared.call.program, prepared.layout, gpu::Dialect::metal);
  return concat_message("namespace text_", i, " {\n", without_includes(text), "}\n");
}

// One source of all texts, each in a namespace of its own, with functions that describe the
// kernels.
std::string source_of(const std::vector<TextCase>& cases) {
  std::string source = concat_message(
      "#include \"common.h\"\n#include \"arange_element.h\"\n#include \"sum_result.h\"\n",
      kDescribe);
  for (size_t i = 0; i < cases.size(); ++i) {
    source += text_in_namespace(cases[i], i);
    source += description_of(
        concat_message("text_", i, "::", gpu::kTextKernel), concat_message("describe_", i));
  }
  return source;
}

void run(
    const metal_emu::KernelInfo& kernel,
    gpu::Dispatch& dispatch,
    const ProgramMemories& places,
    std::vector<Memory>& memories) {
  std::vector<emulated::Binding> bindings;
  for (size_t i = 0; i < dispatch.place_count; ++i) {
    const size_t k = dispatch.places[i].operand;
    Memory& memory = memories[static_cast<size_t>(places.numbers[k])];
    bindings.push_back({memory.data(), memory.whole_bytes()});
  }
  bindings.push_back({dispatch.params.data(), static_cast<int64_t>(dispatch.params_size)});
  emulated::run({&kernel, bindings, dispatch.groups, dispatch.threads});
}

std::vector<Memory> interpret(Prepared& prepared) {
  // Operands in memory have a buffer.
  static Buffer some;
  for (size_t k = 0; k < prepared.operands.size(); ++k) {
    prepared.operands[k].buffer = prepared.places.numbers[k] < 0 ? nullptr : &some;
  }
  gpu::Dispatch dispatch;
  gpu::interpret(prepared.call, dispatch);
  std::vector<Memory> memories = prepared.places.memories;
  run(*emulated::find_kernel(dispatch.kernel), dispatch, prepared.places, memories);
  return memories;
}

void check_text(const metal_emu::KernelInfo& kernel, const TextCase& test) {
  const ProgramCase& program = *test.program;
  const size_t outputs = program.builder.program.outputs.size();
  for (size_t last = 0; last < outputs; ++last) {
    SCOPED_TRACE(
        concat_message(program.name, test.is_aligned ? "" : " unaligned", " output ", last));
    Prepared prepared(test, last);
    std::vector<Memory> expected = prepared.places.memories;
    const auto buffers = std::make_unique<Buffer[]>(expected.size());
    std::vector<Operand> places(expected.size());
    for (size_t m = 0; m < expected.size(); ++m) {
      expected[m].attach(buffers[m]);
      places[m] = {&buffers[m], 0};
    }
    const std::vector<Operand> all = prepared.places.operands(places);
    cpu::cpu_backend()->encoder({}).run_program(
        {program.builder.program,
         program.space.shape,
         program.space.row_dims,
         all,
         prepared.places.strides});
    std::vector<Memory> actual = prepared.places.memories;
    gpu::Dispatch dispatch;
    gpu::dispatch_text(prepared.call, prepared.space, prepared.layout, dispatch);
    run(kernel, dispatch, prepared.places, actual);
    EXPECT_EQ(difference(expected.back(), actual.back(), program.tolerance), "");
    // The same bits as from the kernel that interprets programs.
    const std::vector<Memory> interpreted = interpret(prepared);
    EXPECT_EQ(difference(interpreted.back(), actual.back(), {0, 0}), "");
  }
}

TEST(ProgramText, computes_what_the_cpu_computes) {
  const std::vector<ProgramCase> programs = program_cases(gpu::kProgramLimits);
  std::vector<TextCase> cases;
  for (const ProgramCase& program : programs) {
    cases.push_back({&program, true});
    if (program.builder.program.operands[0].dtype == float32) {
      cases.push_back({&program, false});
    }
  }
  std::string error;
  void* library = compile_library(source_of(cases), error);
  ASSERT_NE(library, nullptr) << error;
  for (size_t i = 0; i < cases.size(); ++i) {
    check_text(describe(library, concat_message("describe_", i)), cases[i]);
  }
  dlclose(library);
}

// Each text as Metal gets it, with its headers; all others behind the first one's headers.
TEST(ProgramText, is_metal_shading_language) {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / concat_message("narrows_msl_", getpid());
  std::filesystem::create_directory(directory);
  const std::vector<ProgramCase> programs = program_cases(gpu::kProgramLimits);
  std::vector<TextCase> cases;
  for (const ProgramCase& program : programs) {
    cases.push_back({&program, true});
  }
  const Prepared one(cases[0], 0);
  const std::string text = gpu::text_of(one.call.program, one.layout, gpu::Dialect::metal);
  std::string all = gpu::with_headers(text, {gpu::kKernelHeaders, gpu::kKernelHeaderCount});
  EXPECT_EQ(all.find("#include \"common.h\""), std::string::npos);
  for (size_t i = 1; i < cases.size(); ++i) {
    all += text_in_namespace(cases[i], i);
  }
  std::ofstream(directory / "texts.metal") << all;
  const std::string command = concat_message(
      NARROWS_TEST_MSL_CHECK,
      " -I ",
      NARROWS_TEST_KERNELS,
      " ",
      (directory / "texts.metal").string());
  const int status = std::system(command.c_str());
  std::filesystem::remove_all(directory);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
    GTEST_SKIP() << "there is no clang 19";
  }
  EXPECT_EQ(status, 0);
}

TEST(ProgramText, says_what_it_depends_on) {
  const ProgramCase flat = chain("flat", float32, {4096}, {1}, {1});
  const ProgramCase other = chain("flat", float32, {4096}, {1}, {0});
  const auto key = [](const ProgramCase& program, bool is_aligned) {
    const Prepared prepared({&program, is_aligned}, 0);
    std::string bytes;
    gpu::append_key(prepared.call.program, prepared.layout, bytes);
    return bytes;
  };
  EXPECT_NE(key(flat, true), key(flat, false));
  EXPECT_NE(key(flat, true), key(other, true));
  // Neither sizes nor constants are part of the text.
  ProgramCase longer = chain("flat", float32, {8192}, {1}, {1});
  const float number = 3;
  std::memcpy(longer.builder.program.operands[2].constant, &number, sizeof(number));
  EXPECT_EQ(key(flat, true), key(longer, true));
}

} // namespace
} // namespace narrows::testing
