// ProgramKernels: kernels of single programs, which take the place of the kernel that interprets
// programs once they are compiled.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "narrows/backend/gpu/program.h"
#include "narrows/backend/gpu/program_text.h"

namespace narrows::gpu {

// A compiler of a backend.
class KernelCompiler {
 public:
  virtual ~KernelCompiler() = default;
  virtual Dialect dialect() const = 0;
  // False if there is no compiler. Called once, before everything else.
  virtual bool load() = 0;
  // The kernel of a text that dispatch_text() describes. It is kept for good. Raises if the text
  // cannot be compiled. Called by several threads at once.
  virtual const void* compile(const std::string& text, const Program& program) = 0;
};

// A program is compiled at its second use, on threads of their own. Until its kernel is there, and
// if it cannot be compiled, the program is interpreted.
class ProgramKernels {
 public:
  // Never destroyed.
  explicit ProgramKernels(KernelCompiler& compiler);

  // Whether programs are compiled.
  bool has_compiler();

  // Makes the dispatch of a call, whose operands lie at these addresses. Returns the kernel, or
  // nullptr for the one that interprets programs.
  const void* dispatch(
      const ProgramCall& call, std::span<const std::uintptr_t> addresses, Dispatch& dispatch);

  // Returns when nothing is left to be compiled.
  void wait();

 private:
  struct Entry {
    uint64_t uses = 0;
    const void* kernel = nullptr;
  };
  struct Job {
    std::string key;
    Program program;
    ProgramLayout layout;
  };
  const void* find(const Program& program, const ProgramLayout& layout);
  class StopAtExit;
  void start();
  void stop();
  void work();

  KernelCompiler& compiler_;
  std::once_flag loaded_;
  bool has_compiler_ = false;
  const pid_t process_; // which has the threads
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::string, Entry> entries_;
  std::deque<Job> jobs_;
  size_t busy_ = 0; // threads that compile
  std::atomic<size_t> compiled_{0};
  bool is_ended_ = false; // no more work is taken
  std::vector<std::thread> threads_;
};

} // namespace narrows::gpu
