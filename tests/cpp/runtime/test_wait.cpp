#include "narrows/runtime/wait.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "narrows/narrows.h"
#include "narrows/run/encode.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/worker.h"

namespace narrows {
namespace {

const Device kCpu{Device::Type::cpu, 0};

std::atomic<bool> interrupts_all{false};
std::atomic<bool> interrupts_this_only{false};
std::thread::id interrupted;

// While it lives, waits of the calling thread (of all threads) are interrupted.
class Interrupts {
 public:
  explicit Interrupts(bool of_all_threads = false) {
    interrupted = std::this_thread::get_id();
    (of_all_threads ? interrupts_all : interrupts_this_only) = true;
    set_interrupt_check([] {
      if (interrupts_all || (interrupts_this_only && std::this_thread::get_id() == interrupted)) {
        throw Interrupted("as asked");
      }
    });
  }
  ~Interrupts() {
    interrupts_all = interrupts_this_only = false;
    set_interrupt_check(nullptr);
  }
};

// A limit, strict or not, with room for this many more bytes.
class Limit {
 public:
  explicit Limit(int64_t bytes, bool strict)
      : previous_(set_memory_limit(get_active_memory() + bytes, strict)) {
  }
  ~Limit() {
    set_memory_limit(previous_);
  }

 private:
  int64_t previous_;
};

// Work that another thread ends.
class Gate {
 public:
  void open() {
    open_ = true;
    open_.notify_all();
  }
  void pass() const {
    open_.wait(false);
  }

 private:
  std::atomic<bool> open_{false};
};

// Returns its input after `before` has returned.
class Calls final : public Primitive {
 public:
  explicit Calls(std::function<void()> before) : before_(std::move(before)) {
  }
  const char* name() const override {
    return "calls";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    before_();
    encode_copy(encoder, step.inputs[0], step.outputs[0]);
  }

 private:
  std::function<void()> before_;
};

array calls(const array& a, std::function<void()> before, StreamOrDevice s = {}) {
  return record(
      std::make_shared<Calls>(std::move(before)), s.stream(), a.shape(), a.dtype(), {&a, 1});
}

void wait_until_waiting(Stream stream) {
  while (!worker_for(stream).is_waiting()) {
    std::this_thread::yield();
  }
}

template <typename F>
void in_child(F&& test) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        alarm(60);
        test();
        _exit(0);
      },
      testing::ExitedWithCode(0),
      "");
}

// This thread's evaluation needs memory while a worker waits for what the evaluation computes.
void allocate_while_awaited(bool strict) {
  const Stream other = new_stream(kCpu);
  array awaited;
  array first = calls(zeros({1 << 16}), [&] {
    const array dependent = add(awaited, array(1.0f), other);
    async_eval({&dependent, 1});
    wait_until_waiting(other);
  });
  awaited = exp(first);
  first = array();
  const FusionScope every_node_is_a_step(false);
  const Limit limit(int64_t{300} << 10, strict);
  try {
    eval(awaited);
  } catch (const MemoryError&) {
    if (!strict) {
      _exit(3);
    }
  }
  synchronize();
}

TEST(WaitDeathTest, MemoryIsNotWaitedForWhereAWorkerWaitsForThisThread) {
  in_child([] { allocate_while_awaited(false); });
}

// One worker waits for another worker, for which a third thread waits. None of them may wait for
// this thread.
TEST(WaitDeathTest, StreamsOfOneRunThatAwaitTheSameThread) {
  in_child([] {
    const Stream s1 = new_stream(kCpu);
    const Stream s2 = new_stream(kCpu);
    BufferRef more;
    array awaited = calls(zeros({1 << 16}), [&] {
      const array a = add(awaited, array(1.0f), s1);
      const array b = add(add(awaited, array(2.0f), s2), a, s2);
      async_eval({&b, 1});
      wait_until_waiting(s1);
      wait_until_waiting(s2);
      const Limit limit(0, false);
      more = allocate(backend_for(kCpu).memory(), 1 << 20, "more");
    });
    eval(awaited);
    synchronize();
  });
}

TEST(Wait, MemoryOfRunningWorkIsWaitedFor) {
  synchronize();
  const Stream stream = new_stream(kCpu);
  Gate reached;
  Gate gate;
  {
    const auto stops = [&] {
      reached.open();
      gate.pass();
    };
    const array held = calls(zeros({1 << 20}, float32, stream), stops, stream);
    async_eval({&held, 1});
  }
  reached.pass();
  const Limit limit(int64_t{1} << 20, true);
  std::thread opens([&] {
    std::this_thread::yield();
    gate.open();
  });
  // It fits only when that work has returned its memory.
  EXPECT_NO_THROW(allocate(backend_for(kCpu).memory(), int64_t{8} << 20, "large"));
  opens.join();
  synchronize();
}

TEST(Wait, AllocationIsInterrupted) {
  synchronize();
  const Stream stream = new_stream(kCpu);
  Gate gate;
  worker_for(stream).post([&] { gate.pass(); });
  {
    const Limit limit(0, true);
    const Interrupts interrupts;
    EXPECT_THROW(allocate(backend_for(kCpu).memory(), 1 << 20, "more"), Interrupted);
  }
  gate.open();
  synchronize();
  EXPECT_NO_THROW(allocate(backend_for(kCpu).memory(), 1 << 20, "more"));
}

TEST(Wait, EventIsInterrupted) {
  Event event;
  {
    const Interrupts interrupts;
    EXPECT_THROW(event.wait(), Interrupted);
  }
  std::thread sets([&] { event.set(); });
  event.wait();
  sets.join();
}

TEST(Wait, SynchronizeIsInterrupted) {
  const Stream stream = new_stream(kCpu);
  Gate gate;
  worker_for(stream).post([&] { gate.pass(); });
  {
    const Interrupts interrupts;
    EXPECT_THROW(synchronize(stream), Interrupted);
    EXPECT_THROW(synchronize(), Interrupted);
    EXPECT_THROW(wait_for_workers(), Interrupted);
  }
  gate.open();
  synchronize(stream);
}

TEST(Wait, WaitForAnotherStreamIsInterrupted) {
  const Stream s1 = new_stream(kCpu);
  const Stream s2 = new_stream(kCpu);
  Gate gate;
  const array a = calls(
      zeros({16}), [&] { gate.pass(); }, s1);
  const array b = exp(a, s2);
  async_eval({&b, 1});
  wait_until_waiting(s2);
  {
    const Interrupts interrupts(true);
    while (worker_for(s2).is_waiting()) {
      std::this_thread::yield();
    }
  }
  gate.open();
  EXPECT_THROW(eval(b), Interrupted);
  EXPECT_THROW(synchronize(), Interrupted);
  EXPECT_EQ(exp(zeros({1})).item<float>(), 1.0f);
}

TEST(Wait, EventAsksWhoDoesNotTell) {
  Event event;
  std::atomic<int> asked{0};
  event.ask([&](Event& self) {
    if (++asked == 3) {
      self.fail(std::make_exception_ptr(std::runtime_error("found out")));
    }
  });
  EXPECT_THROW(event.wait(), std::runtime_error);
  event.set(); // too late
  EXPECT_TRUE(event.failed());
  EXPECT_EQ(asked, 3);
}

TEST(Wait, FirstToFinishAnEventDecides) {
  for (int round = 0; round < 200; ++round) {
    Event event;
    std::thread sets([&] { event.set(); });
    std::thread fails([&] { event.fail(std::make_exception_ptr(std::runtime_error("failed"))); });
    bool raised = false;
    try {
      event.wait();
    } catch (const std::runtime_error&) {
      raised = true;
    }
    EXPECT_EQ(event.failed(), raised);
    sets.join();
    fails.join();
  }
}

std::atomic<int> let_go{0};
std::atomic<int> taken{0};

TEST(Wait, HostLockIsNotKeptWhileWaiting) {
  static constexpr HostLock kLock{
      []() -> void* { return ++let_go, &let_go; }, [](void*) { ++taken; }};
  Event event;
  event.set();
  set_host_lock(&kLock);
  event.wait();
  EXPECT_EQ(let_go, 0); // nothing to wait for
  {
    Event never;
    const Interrupts interrupts;
    EXPECT_THROW(never.wait(), Interrupted);
  }
  set_host_lock(nullptr);
  EXPECT_EQ(let_go, 1);
  EXPECT_EQ(taken, 1);
}

} // namespace
} // namespace narrows
