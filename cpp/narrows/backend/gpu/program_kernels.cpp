#include "narrows/backend/gpu/program_kernels.h"

#ifdef __APPLE__
#include <pthread.h>
#else
#include <sys/syscall.h>
#endif
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

bool is_main_thread() {
#ifdef __APPLE__
  return pthread_main_np() != 0;
#else
  return syscall(SYS_gettid) == getpid();
#endif
}

// All that exist. Never destroyed.
struct Known {
  std::mutex mutex;
  std::vector<ProgramKernels*> all;
};
Known& known() {
  static auto* instance = new Known;
  return *instance;
}

} // namespace

// Compilers destroy their own static objects when the process exits. They make some of them while
// they compile, so handlers of atexit() that were registered before run too late to stop the
// threads. The main thread's own objects die before all handlers. A handler that is registered
// after a compilation serves where the main thread never comes here.
class ProgramKernels::StopAtExit {
 public:
  ~StopAtExit() {
    if (is_main_thread()) {
      stop_all();
    }
  }
  static void watch_this_thread() {
    static thread_local StopAtExit watch;
    static_cast<void>(&watch);
  }
  static void register_handler() {
    std::atexit(stop_all);
  }

 private:
  static void stop_all() {
    std::lock_guard lock(known().mutex);
    for (ProgramKernels* each : known().all) {
      each->stop();
    }
  }
};

ProgramKernels::ProgramKernels(KernelCompiler& compiler) : compiler_(compiler), process_(getpid()) {
  StopAtExit::watch_this_thread();
  std::lock_guard lock(known().mutex);
  known().all.push_back(this);
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
  StopAtExit::watch_this_thread();
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

void ProgramKernels::start() {
  if (!threads_.empty()) {
    return;
  }
  StopAtExit::register_handler();
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
    if (compiled_++ == 0) {
      StopAtExit::register_handler();
    }
    lock.lock();
    entries_[job.key].kernel = kernel;
    --busy_;
    changed_.notify_all();
  }
}

} // namespace narrows::gpu
