// Checks the stack pointer while code runs. It must stay in the thread's stack, because the kernel
// writes the frames of signals in front of it.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "narrows/runtime/parallel.h"

namespace narrows::cpu {

inline constexpr int kSignal = SIGUSR2;
inline constexpr int kSignalsForEach = 60;

inline std::atomic<int> inside{0};
inline std::atomic<int> outside{0};

// Handlers run on an alternate stack, so that a fault is reported instead of damaging memory.
struct Stack {
  const char* begin = nullptr;
  const char* end = nullptr;
  char alternate[64 * 1024];
  std::optional<stack_t> before; // restored in the end

  void use_alternate() {
    stack_t ours{};
    ours.ss_sp = alternate;
    ours.ss_size = sizeof(alternate);
    sigaltstack(&ours, &before.emplace());
  }
  void restore() {
    if (before) {
      sigaltstack(&*before, nullptr);
      before.reset();
    }
  }
  // The pool may end a thread early.
  ~Stack() {
    restore();
  }
};
inline thread_local Stack stack;
inline void look_at_stack_pointer(int, siginfo_t*, void* context) {
  const auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  const auto* pointer = reinterpret_cast<const char*>(machine.gregs[REG_RSP]);
#else
  const auto* pointer = reinterpret_cast<const char*>(machine.sp);
#endif
  const bool is_inside = pointer >= stack.begin && pointer < stack.end;
  (is_inside ? inside : outside).fetch_add(1, std::memory_order_relaxed);
}

// While it lives, sends signals to all computing threads, in turn.
class Signals {
 public:
  Signals() {
    struct sigaction action {};
    action.sa_sigaction = look_at_stack_pointer;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigaction(kSignal, &action, &before_);
    std::mutex mutex;
    parallel_for(thread_count(), 1, [&](int64_t, int64_t) {
      learn_stack();
      const std::lock_guard lock(mutex);
      targets_.push_back(static_cast<pid_t>(syscall(SYS_gettid)));
    });
    sender_ = std::thread([this] {
      for (size_t i = 0; !ends_; ++i) {
        // A thread that the pool has ended meanwhile is not found.
        syscall(SYS_tgkill, getpid(), targets_[i % targets_.size()], kSignal);
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  }

  ~Signals() {
    ends_ = true;
    sender_.join();
    parallel_for(thread_count(), 1, [](int64_t, int64_t) { stack.restore(); });
    sigaction(kSignal, &before_, nullptr);
  }

 private:
  static void learn_stack() {
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    void* address = nullptr;
    size_t size = 0;
    pthread_attr_getstack(&attributes, &address, &size);
    pthread_attr_destroy(&attributes);
    stack.begin = static_cast<const char*>(address);
    stack.end = stack.begin + size;
    stack.use_alternate();
  }

  std::vector<pid_t> targets_;
  std::atomic<bool> ends_{false};
  struct sigaction before_ {};
  std::thread sender_;
};

} // namespace narrows::cpu
