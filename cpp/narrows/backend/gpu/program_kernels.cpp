#include "narrows/backend/gpu/program_kernels.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "narrows/backend/gpu/program_schedule.h"

namespace narrows::gpu {
namespace {

// Programs beyond these are interpreted.
constexpr size_t kMostPrograms = 8192;

constexpr unsigned kMostThreads = 4;

void tell(const std::string& what) {
  if (tells_compilations()) {
    std::fprintf(stderr, "[fused] %s\n", what.c_str());
  }
}

} // namespace

ProgramKernels::ProgramKernels(KernelCompiler& compiler) : compiler_(compiler), process_(getpid()) {
}

const void* ProgramKernels::dispatch(
    const ProgramCall& call, std::span<const std::uintptr_t> addresses, Dispatch& dispatch) {
  const bool is_split = is_elementwise(call.program);
  const ProgramSpace space(call, is_split);
  if (has_compiler() && space.rows <= std::numeric_limits<int32_t>::max()) {
    const ProgramLayout layout(call, is_split, space, addresses);
    if (const void* kernel = find(call.program, layout)) {
      dispatch_text(call, space, layout, dispatch);
      return kernel;
    }
  }
  interpret(call, space, dispatch);
  return nullptr;
}

const void* ProgramKernels::find(const Program& program, const ProgramLayout& layout) {
  static thread_local std::string key;
  key.clear();
  append_key(program, layout, key);
  std::lock_guard lock(mutex_);
  if (is_ended_) {
    return nullptr;
  }
  const auto found = entries_.find(key);
  if (found == entries_.end()) {
    if (entries_.size() < kMostPrograms) {
      entries_.emplace(key, Entry{1, nullptr});
    }
    return nullptr;
  }
  Entry& entry = found->second;
  if (++entry.uses == 2) {
    start();
    jobs_.push_back({key, program, layout});
    changed_.notify_all();
  }
  return entry.kernel;
}

bool ProgramKernels::has_compiler() {
  std::call_once(loaded_, [&] {
    try {
      has_compiler_ = !interprets_only() && compiler_.load();
      tell(has_compiler_ ? "programs are compiled" : "there is no compiler");
    } catch (const std::exception& error) {
      tell(error.what());
    }
  });
  return has_compiler_;
}

// Starts the threads. They end before the libraries that they use do: these are loaded first.
void ProgramKernels::start() {
  if (!threads_.empty()) {
    return;
  }
  stop_at_exit(this);
  const unsigned count = std::clamp(std::thread::hardware_concurrency() / 2, 1u, kMostThreads);
  for (unsigned i = 0; i < count; ++i) {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      tell(error.what());
      is_ended_ = threads_.empty();
      return;
    }
  }
}

void ProgramKernels::stop_at_exit(ProgramKernels* kernels) {
  static std::mutex mutex;
  static auto* all = new std::vector<ProgramKernels*>; // never destroyed
  std::lock_guard lock(mutex);
  all->push_back(kernels);
  if (all->size() == 1) {
    std::atexit([] {
      for (ProgramKernels* each : *all) {
        each->stop();
      }
    });
  }
}

// A child after fork() has no such threads, and may find the lock held.
void ProgramKernels::stop() {
  if (getpid() != process_) {
    return;
  }
  {
    std::lock_guard lock(mutex_);
    is_ended_ = true;
    jobs_.clear();
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) {
    thread.join();
  }
  threads_.clear();
}

void ProgramKernels::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return jobs_.empty() && busy_ == 0; });
}

void ProgramKernels::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return is_ended_ || !jobs_.empty(); });
    if (is_ended_) {
      return;
    }
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    ++busy_;
    lock.unlock();
    const void* kernel = nullptr;
    try {
      const std::string text = text_of(job.program, job.layout, compiler_.dialect());
      kernel = compiler_.compile(text, job.program);
      tell("compiled " + to_string(job.program));
    } catch (const std::exception& error) {
      tell(error.what()); // the program is interpreted further on
    }
    lock.lock();
    entries_[job.key].kernel = kernel;
    --busy_;
    changed_.notify_all();
  }
}

} // namespace narrows::gpu
