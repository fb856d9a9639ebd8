#include "narrows/backend/gpu/program_kernels.h"

#include <unistd.h>

#include <cstdlib>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "narrows/backend/gpu/program_schedule.h"

namespace narrows::gpu {
namespace {

// Programs beyond these are interpreted.
constexpr size_t kMostPrograms = 8192;

bool is_switched_on() {
  const char* text = std::getenv("NARROWS_KERNEL_COMPILER");
  return !text || std::string_view(text) != "0";
}

} // namespace

ProgramKernels::ProgramKernels(KernelCompiler& compiler)
    : compiler_(compiler), is_on_(is_switched_on()), process_(getpid()) {
}

const void* ProgramKernels::dispatch(
    const ProgramCall& call, std::span<const std::uintptr_t> addresses, Dispatch& dispatch) {
  const bool is_split = is_elementwise(call.program);
  const ProgramSpace space(call, is_split);
  if (is_on_ && space.rows <= std::numeric_limits<int32_t>::max()) {
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
  if (++entry.uses == 2 && start()) {
    jobs_.push_back({key, program, layout});
    changed_.notify_all();
  }
  return entry.kernel;
}

// Starts the thread. It ends before the libraries that it uses do: they are loaded first.
bool ProgramKernels::start() {
  if (thread_.joinable()) {
    return true;
  }
  try {
    if (compiler_.load()) {
      stop_at_exit(this);
      thread_ = std::thread([this] { work(); });
      return true;
    }
  } catch (const std::exception&) {
    // There is no compiler that can be used.
  }
  is_ended_ = true;
  return false;
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

// A child after fork() has no such thread, and may find the lock held.
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
  if (thread_.joinable()) {
    thread_.join();
  }
}

void ProgramKernels::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return jobs_.empty() && !is_busy_; });
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
    is_busy_ = true;
    lock.unlock();
    const void* kernel = nullptr;
    try {
      const std::string text = text_of(job.program, job.layout, compiler_.dialect());
      kernel = compiler_.compile(text, job.program);
    } catch (const std::exception&) {
      // The program is interpreted further on.
    }
    lock.lock();
    entries_[job.key].kernel = kernel;
    is_busy_ = false;
    changed_.notify_all();
  }
}

} // namespace narrows::gpu
