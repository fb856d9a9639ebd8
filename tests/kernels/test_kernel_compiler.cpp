// Programs that are compiled in the background, and compiled kernels in files.
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "narrows/backend/gpu/kernel_cache.h"
#include "narrows/backend/gpu/program_kernels.h"
#include "program_cases.h"

namespace narrows::testing {
namespace {

// Remembers the texts. A kernel is a pointer to its text.
class FakeCompiler final : public gpu::KernelCompiler {
 public:
  gpu::Dialect dialect() const override {
    return gpu::Dialect::metal;
  }
  bool load() override {
    return can_load;
  }
  const void* compile(const std::string& text, const Program&) override {
    ++compilations;
    if (fails) {
      throw std::runtime_error("no");
    }
    return new std::string(text); // kept for good
  }

  bool can_load = true;
  bool fails = false;
  std::atomic<int> compilations{0};
};

// Never destroyed, as in backends.
gpu::ProgramKernels& kernels_of(FakeCompiler& compiler) {
  return *new gpu::ProgramKernels(compiler);
}

struct Used {
  const void* kernel;
  std::string name; // of the dispatch
};
Used use(gpu::ProgramKernels& kernels, const ProgramCase& program) {
  ProgramMemories places(program.builder, program.space, 0, false);
  const auto buffers = std::make_unique<Buffer[]>(places.memories.size());
  std::vector<Operand> all(places.memories.size());
  for (size_t m = 0; m < all.size(); ++m) {
    places.memories[m].attach(buffers[m]);
    all[m] = {&buffers[m], 0};
  }
  const std::vector<Operand> operands = places.operands(all);
  const std::vector<std::uintptr_t> addresses(operands.size(), 0);
  gpu::Dispatch dispatch;
  dispatch.kernel = "";
  const void* kernel = kernels.dispatch(
      {program.builder.program,
       program.space.shape,
       program.space.row_dims,
       operands,
       places.strides},
      addresses,
      dispatch);
  return {kernel, dispatch.kernel};
}

TEST(ProgramKernels, take_over_after_the_second_use) {
  auto& compiler = *new FakeCompiler;
  gpu::ProgramKernels& kernels = kernels_of(compiler);
  const ProgramCase flat = chain("flat", float32, {4096}, {1}, {1});
  const ProgramCase rows = row_values(true);
  const Used first = use(kernels, flat);
  kernels.wait();
  EXPECT_EQ(first.kernel, nullptr);
  EXPECT_EQ(first.name, "program");
  EXPECT_EQ(compiler.compilations, 0);
  use(kernels, flat);
  kernels.wait();
  EXPECT_EQ(compiler.compilations, 1);
  const Used later = use(kernels, flat);
  ASSERT_NE(later.kernel, nullptr);
  EXPECT_NE(
      static_cast<const std::string*>(later.kernel)->find(gpu::kTextKernel), std::string::npos);
  EXPECT_EQ(use(kernels, rows).kernel, nullptr);
}

TEST(ProgramKernels, interpret_what_cannot_be_compiled) {
  const ProgramCase flat = chain("flat", float32, {4096}, {1}, {1});
  for (const bool can_load : {true, false}) {
    auto& compiler = *new FakeCompiler;
    compiler.can_load = can_load;
    compiler.fails = true;
    gpu::ProgramKernels& kernels = kernels_of(compiler);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(use(kernels, flat).kernel, nullptr);
      kernels.wait();
    }
    EXPECT_EQ(compiler.compilations, can_load ? 1 : 0);
  }
}

TEST(ProgramKernels, do_not_keep_a_child_from_ending) {
  auto& compiler = *new FakeCompiler;
  gpu::ProgramKernels& kernels = kernels_of(compiler);
  const ProgramCase flat = chain("flat", float32, {4096}, {1}, {1});
  use(kernels, flat);
  use(kernels, flat); // starts the thread
  const pid_t child = fork();
  if (child == 0) {
    std::exit(7);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

// As real compilers do, it makes a static object while it compiles, and needs it to the end.
class CompilerWithStatics final : public gpu::KernelCompiler {
 public:
  gpu::Dialect dialect() const override {
    return gpu::Dialect::metal;
  }
  bool load() override {
    return true;
  }
  // All but the first compilation last until the process exits or, if that waits for it, as long as
  // a process might take to destroy the object.
  const void* compile(const std::string& text, const Program&) override {
    static const Needed needed;
    if (++compilations > compilations_before_exit) {
      for (int i = 0; i < 200; ++i) {
        usleep(1000);
        if (is_destroyed) {
          _exit(1);
        }
      }
    }
    return new std::string(text); // kept for good
  }
  void wait_for(int count) const {
    while (compilations < count) {
      usleep(1000);
    }
  }

  const int compilations_before_exit;

  explicit CompilerWithStatics(int before_exit) : compilations_before_exit(before_exit) {
  }

 private:
  struct Needed {
    ~Needed() {
      is_destroyed = true;
    }
  };
  static inline std::atomic<bool> is_destroyed{false};
  std::atomic<int> compilations{0};
};

// Runs in a child of its own. Compiles, and exits in the middle of it.
[[noreturn]] void exit_while_compiling(bool on_main_thread) {
  const ProgramCase flat = chain("flat", float32, {4096}, {1}, {1});
  const ProgramCase rows = row_values(true);
  // Only the main thread is known to come before all that the compiler makes.
  auto& compiler = *new CompilerWithStatics(on_main_thread ? 0 : 1);
  const auto compile = [&] {
    auto& kernels = *new gpu::ProgramKernels(compiler);
    use(kernels, flat);
    use(kernels, flat);
    if (!on_main_thread) {
      kernels.wait();
      use(kernels, rows);
      use(kernels, rows);
    }
  };
  if (on_main_thread) {
    compile();
  } else {
    std::thread(compile).join();
  }
  compiler.wait_for(on_main_thread ? 1 : 2);
  std::exit(0);
}

TEST(ProgramKernelsDeathTest, end_compilations_before_the_compiler_ends) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(exit_while_compiling(true), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(exit_while_compiling(false), ::testing::ExitedWithCode(0), "");
}

class KernelCache : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::temp_directory_path() / concat_message("narrows_cache_", getpid());
    setenv("NARROWS_KERNEL_CACHE", directory_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("NARROWS_KERNEL_CACHE");
    std::filesystem::remove_all(directory_);
  }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> result;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      result.push_back(entry.path());
    }
    return result;
  }

  std::filesystem::path directory_;
};

TEST_F(KernelCache, gives_back_what_was_written) {
  const std::string content("code\0code", 9);
  EXPECT_FALSE(gpu::read_cached_kernel("key"));
  gpu::write_cached_kernel("key", content);
  EXPECT_EQ(gpu::read_cached_kernel("key"), content);
  EXPECT_FALSE(gpu::read_cached_kernel("other key"));
  EXPECT_EQ(files().size(), 1u); // nothing is left beside it
}

TEST_F(KernelCache, ignores_damaged_files) {
  gpu::write_cached_kernel("key", "some code");
  const std::filesystem::path path = files().at(0);
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(path));
  for (std::streamoff at = 0; at < size; ++at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    char byte = 0;
    file.seekg(at).get(byte);
    file.seekp(at).put(static_cast<char>(byte ^ 1));
    file.close();
    EXPECT_FALSE(gpu::read_cached_kernel("key")) << at;
    file.open(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at).put(byte);
  }
  EXPECT_EQ(gpu::read_cached_kernel("key"), "some code");
  for (std::streamoff left = 0; left < size; left += 7) {
    std::filesystem::resize_file(path, static_cast<uintmax_t>(left));
    EXPECT_FALSE(gpu::read_cached_kernel("key")) << left;
    gpu::write_cached_kernel("key", "some code");
  }
}

TEST_F(KernelCache, is_left_out_where_it_cannot_be_written) {
  setenv("NARROWS_KERNEL_CACHE", "", 1);
  gpu::write_cached_kernel("key", "code");
  EXPECT_FALSE(gpu::read_cached_kernel("key"));
  setenv("NARROWS_KERNEL_CACHE", "/dev/null/kernels", 1);
  gpu::write_cached_kernel("key", "code");
  EXPECT_FALSE(gpu::read_cached_kernel("key"));
}

} // namespace
} // namespace narrows::testing
