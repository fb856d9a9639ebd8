// The stack pointer stays in the thread's stack during products: there the kernel writes the frames
// of signals.
#include <gtest/gtest.h>

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

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
#include <string>
#include <thread>
#include <vector>

#include "narrows/backend/cpu/gemm.h"
#include "narrows/core/dtype.h"
#include "narrows/runtime/parallel.h"

namespace narrows::cpu {
namespace {

constexpr int kSignal = SIGUSR2;
constexpr int kSignalsForEach = 60;

std::atomic<int> inside{0};
std::atomic<int> outside{0};

// Handlers run on an alternate stack, so that a fault is reported instead of damaging memory.
struct Stack {
  const char* begin = nullptr;
  const char* end = nullptr;
  char alternate[64 * 1024];
  std::optional<stack_t> before; // who gave the thread another stack gets to see it again

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
thread_local Stack stack;

void look_at_stack_pointer(int, siginfo_t*, void* context) {
  const auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  const auto* pointer = reinterpret_cast<const char*>(machine.gregs[REG_RSP]);
#else
  const auto* pointer = reinterpret_cast<const char*>(machine.sp);
#endif
  const bool is_inside = pointer >= stack.begin && pointer < stack.end;
  (is_inside ? inside : outside).fetch_add(1, std::memory_order_relaxed);
}

// Sends signals to all threads that compute, in turn, while it lives.
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
        // A thread that the pool has let go of meanwhile is not found.
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

struct Size {
  int64_t m, n, k;
  int64_t batch = 1;
};

void check(Dtype dtype, const Size& size, bool transpose_a, bool transpose_b) {
  SCOPED_TRACE(
      ::testing::Message() << name_of(dtype) << " " << size.m << "x" << size.n << "x" << size.k
                           << " batch " << size.batch << " " << transpose_a << transpose_b);
  const GemmShape shape{
      size.m,
      size.n,
      size.k,
      transpose_a,
      transpose_b,
      transpose_a ? size.m : size.k,
      transpose_b ? size.k : size.n,
      size.n};
  const int64_t a_size = size.m * size.k, b_size = size.k * size.n, c_size = size.m * size.n;
  std::vector<int64_t> a_offsets, b_offsets, c_offsets;
  for (int64_t i = 0; i < size.batch; ++i) {
    a_offsets.push_back(i * a_size);
    b_offsets.push_back(i * b_size);
    c_offsets.push_back(i * c_size);
  }
  // Any bytes will do that are finite numbers in each dtype.
  const auto bytes_of = [&](int64_t count) {
    return std::vector<std::byte>(
        static_cast<size_t>(size.batch * count * size_of(dtype)), std::byte{0x3c});
  };
  const auto a = bytes_of(a_size), b = bytes_of(b_size);
  auto expected = bytes_of(c_size), c = bytes_of(c_size);
  std::vector<std::byte> scratch(
      static_cast<size_t>(gemm_batched_workspace(dtype, shape, size.batch)) + 64);
  void* workspace = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64);
  const auto multiply = [&](std::vector<std::byte>& out) {
    gemm_batched(
        dtype,
        shape,
        1,
        a.data(),
        a_offsets.data(),
        b.data(),
        b_offsets.data(),
        0,
        out.data(),
        c_offsets.data(),
        size.batch,
        workspace);
  };
  multiply(expected);
  inside = 0;
  outside = 0;
  while (inside + outside < kSignalsForEach) {
    multiply(c);
    ASSERT_EQ(c, expected);
  }
  EXPECT_EQ(outside, 0);
}

TEST(GemmSignals, StackPointerStaysInTheStack) {
  const Signals signals;
  for (const Dtype dtype :
       {Dtype::float16, Dtype::bfloat16, Dtype::float32, Dtype::float64, Dtype::complex64}) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        for (const Size& size : std::initializer_list<Size>{
                 {16, 16, 16},
                 {100, 110, 120},
                 {128, 128, 128, 6},
                 {512, 512, 512},
                 {300, 8, 700},
                 {8, 300, 700},
                 {1, 900, 800},
                 {900, 1, 800},
                 {30, 20, 20000}}) {
          check(dtype, size, transpose_a, transpose_b);
        }
      }
    }
  }
}

} // namespace
} // namespace narrows::cpu

#endif
