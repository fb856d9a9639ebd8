#include "narrows/run/evaluate.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/order/settings.h"
#include "narrows/run/encode.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

const Device kCpu{Device::Type::cpu, 0};

// Copies its input, after failing as many times as asked.
class FailsAtFirst final : public Primitive {
 public:
  explicit FailsAtFirst(int times) : times_(times) {
  }
  const char* name() const override {
    return "fails_at_first";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    if (times_-- > 0) {
      throw std::runtime_error("[fails_at_first] as asked");
    }
    encode_copy(encoder, step.inputs[0], step.outputs[0]);
  }

 private:
  mutable std::atomic<int> times_;
};

array fails_at_first(const array& a, int times, StreamOrDevice s = {}) {
  return record(std::make_shared<FailsAtFirst>(times), s.stream(), a.shape(), a.dtype(), {&a, 1});
}

TEST(Evaluate, ComputesOnTheCallingThread) {
  const array x = add(array(2.0f), array(3.0f));
  EXPECT_FALSE(x.is_ready());
  eval(x);
  EXPECT_TRUE(x.is_ready());
  EXPECT_EQ(x.item<float>(), 5.0f);
}

TEST(Evaluate, MeasuredPeakIsThePredictedOne) {
  for (int64_t width : {1, 3, 20}) {
    BfsMaxWidthScope scope(width);
    std::vector<array> outputs;
    for (int i = 0; i < 10; ++i) {
      outputs.push_back(astype(exp(zeros({100, 100 + i}, float64)), int16));
    }
    Plan plan;
    Tape tape;
    int64_t predicted;
    {
      std::lock_guard lock(graph_mutex());
      plan_outputs(outputs, tape, plan);
      predicted = get_active_memory() - plan.bytes_before() + plan.peak_bytes();
    }
    reset_peak_memory();
    eval(outputs);
    EXPECT_EQ(get_peak_memory(), predicted);
  }
}

TEST(Evaluate, ErrorLeavesArraysThatCanBeEvaluatedAgain) {
  const array a = exp(array(0.0f));
  const array b = fails_at_first(a, 2);
  const array c = add(b, a);
  EXPECT_THROW(eval(c), std::runtime_error);
  EXPECT_TRUE(a.is_ready()); // computed before the error
  EXPECT_FALSE(b.is_ready());
  EXPECT_THROW(eval(c), std::runtime_error);
  EXPECT_EQ(c.item<float>(), 2.0f);
}

TEST(Evaluate, ErrorKeepsValuesThatOnlyTheGraphHolds) {
  const array c = fails_at_first(exp(exp(array(0.0f))), 1);
  EXPECT_THROW(eval(c), std::runtime_error);
  EXPECT_FLOAT_EQ(c.item<float>(), std::exp(1.0f));
}

TEST(Evaluate, AsynchronousWorkIsWaitedFor) {
  array x = zeros({1 << 20});
  for (int i = 0; i < 20; ++i) {
    x = add(x, array(1.0f));
    async_eval({&x, 1});
  }
  const array y = multiply(x, x); // planned while x may still be computed
  eval(y);
  EXPECT_EQ(y.data<float>()[12345], 400.0f);
  synchronize();
}

// Copies its input when it is told to.
class Gate final : public Primitive {
 public:
  const char* name() const override {
    return "gate";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    while (!is_open) {
      std::this_thread::yield();
    }
    encode_copy(encoder, step.inputs[0], step.outputs[0]);
  }

  mutable std::atomic<bool> is_open{false};
};

// An array that an asynchronous evaluation of something else is computing until the gate opens.
struct Computed {
  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  array value;
  array evaluated;

  Computed() : value(zeros({1 << 16})), evaluated(array(0.0f)) {
    value = record(gate, value.stream(), value.shape(), value.dtype(), {&value, 1});
  }
  void start(const array& tip) {
    evaluated = sum(tip);
    async_eval({&evaluated, 1});
  }
};

Plan plan_of(const array& output) {
  Plan plan;
  Tape tape;
  std::lock_guard lock(graph_mutex());
  plan_outputs({&output, 1}, tape, plan);
  return plan;
}

TEST(Evaluate, ArraysThatAreBeingComputedAreOverwrittenIfNobodyElseHoldsThem) {
  synchronize();
  const int64_t active = get_active_memory();
  Computed computed;
  computed.start(computed.value);
  array next = add(computed.value, array(1.0f));
  EXPECT_FALSE(plan_of(next).values.back().donated); // the value is held
  computed.value = array(0.0f);
  EXPECT_TRUE(plan_of(next).values.back().donated);
  const array both = sum(next);
  async_eval({&both, 1});
  const array last = multiply(next, array(3.0f));
  next = array(0.0f);
  EXPECT_TRUE(plan_of(last).values.back().donated);
  reset_peak_memory();
  computed.gate->is_open = true;
  eval(last);
  EXPECT_EQ(last.data<float>()[100], 3.0f);
  synchronize();
  const int64_t bytes = 4 << 16;
  EXPECT_LE(get_peak_memory() - active, 2 * bytes + (1 << 12)); // the gate's input and output
  EXPECT_LE(get_active_memory() - active, bytes + (1 << 12));
}

TEST(Evaluate, ArraysThatAreBeingComputedAreKeptIfTheirBufferIsShared) {
  Computed computed;
  const array part = expand_dims(computed.value, {0});
  computed.start(add(part, computed.value));
  const array next = add(computed.value, array(1.0f));
  computed.value = array(0.0f);
  EXPECT_FALSE(plan_of(next).values.back().donated);
  computed.gate->is_open = true;
  eval(next);
  EXPECT_EQ(part.data<float>()[7], 0.0f);
  EXPECT_EQ(next.data<float>()[7], 1.0f);
  synchronize();
}

TEST(Evaluate, AnErrorOfWhatIsBeingComputedReachesWhoeverWouldOverwriteIt) {
  array failing = fails_at_first(zeros({64}), 1);
  const array evaluated = sum(failing);
  async_eval({&evaluated, 1});
  const array next = add(failing, array(1.0f));
  failing = array(0.0f);
  EXPECT_THROW(eval(next), std::runtime_error);
  EXPECT_THROW(synchronize(), std::runtime_error);
}

TEST(Evaluate, ArraysDroppedWhileComputedAreFreed) {
  synchronize();
  const int64_t active = get_active_memory();
  {
    array x = exp(zeros({1 << 20}));
    async_eval({&x, 1});
  }
  synchronize();
  EXPECT_EQ(get_active_memory(), active);
}

TEST(Evaluate, AsynchronousErrorIsRaisedAtEveryWait) {
  const array a = fails_at_first(zeros({4}), 1);
  const array b = exp(a);
  async_eval({&b, 1});
  const array dependent = exp(b);
  EXPECT_THROW(eval(b), std::runtime_error);
  EXPECT_THROW(eval(b), std::runtime_error);
  EXPECT_THROW(eval(a), std::runtime_error);
  EXPECT_THROW(eval(dependent), std::runtime_error);
  EXPECT_THROW(synchronize(), std::runtime_error);
  synchronize(); // the error was raised already
  EXPECT_EQ(exp(zeros({4})).eval().data<float>()[0], 1.0f);
}

TEST(Evaluate, OneGraphOnSeveralStreams) {
  const Stream s1 = new_stream(kCpu);
  const Stream s2 = new_stream(kCpu);
  for (int round = 0; round < 50; ++round) {
    std::vector<array> outputs;
    array x = full({1000}, make_scalar(1.0, float32), s1);
    array y = full({1000}, make_scalar(2.0, float32), s2);
    for (int i = 0; i < 8; ++i) {
      const array sum = add(x, y, i % 2 ? s1 : s2);
      x = multiply(sum, array(0.5f), s1);
      y = add(x, array(1.0f), s2);
      outputs.push_back(sum);
    }
    const bool asynchronous = round % 2;
    if (asynchronous) {
      async_eval(outputs);
    }
    eval(outputs);
    // sum = x + y, x' = sum / 2, y' = x' + 1: sum grows by 1 from 3.
    float expected = 3.0f;
    for (const array& sum : outputs) {
      EXPECT_EQ(sum.data<float>()[999], expected);
      expected += 1.0f;
    }
  }
  synchronize();
}

TEST(Evaluate, ThreadsSubmitToTheSameStreams) {
  const Stream s1 = new_stream(kCpu);
  const Stream s2 = new_stream(kCpu);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      array x = full({64}, make_scalar(0.0, float32), s1);
      for (int i = 0; i < 200; ++i) {
        x = add(x, array(1.0f), (i + t) % 2 ? s1 : s2);
        x = add(x, array(1.0f), (i + t) % 2 ? s2 : s1);
        async_eval({&x, 1});
      }
      eval(x);
      wrong += x.data<float>()[63] != 400.0f;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  synchronize();
}

TEST(Evaluate, ErrorOnOneStreamReachesTheOthers) {
  const Stream s1 = new_stream(kCpu);
  const Stream s2 = new_stream(kCpu);
  const array a = fails_at_first(zeros({4}), 1, s1);
  const array b = exp(a, s2);
  async_eval({&b, 1});
  EXPECT_THROW(eval(b), std::runtime_error);
  EXPECT_THROW(synchronize(), std::runtime_error);
}

TEST(Evaluate, ThreadsShareOneGraph) {
  for (int round = 0; round < 100; ++round) {
    const array shared = exp(zeros({256}));
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        const array mine = add(shared, array(static_cast<float>(t)));
        eval(mine);
        wrong += mine.data<float>()[255] != 1.0f + static_cast<float>(t);
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    EXPECT_EQ(wrong, 0);
  }
}

TEST(Evaluate, InterruptStopsBetweenSteps) {
  set_interrupt_check([] { throw Interrupted("stop"); });
  const array x = zeros({1 << 18});
  array y = x;
  for (int i = 0; i < 20000; ++i) {
    y = add(exp(x), y);
  }
  EXPECT_THROW(eval(y), Interrupted);
  set_interrupt_check(nullptr);
  EXPECT_FALSE(y.is_ready());
  const array z = exp(x);
  eval(z);
  EXPECT_EQ(z.data<float>()[0], 1.0f);
}

TEST(Evaluate, ChildAfterForkEvaluates) {
  const array before = add(zeros({1 << 16}), array(1.0f));
  eval(before); // starts the pool's threads
  array pending = zeros({1 << 22});
  for (int i = 0; i < 50; ++i) {
    pending = exp(negative(pending));
  }
  async_eval({&pending, 1});
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    try {
      const array after = add(before, zeros({1 << 16}));
      eval(after);
      bool raised = pending.is_ready();
      try {
        eval(pending);
      } catch (const std::runtime_error&) {
        raised = true;
      }
      const array later = exp(array(0.0f));
      async_eval({&later, 1});
      const bool right = after.data<float>()[5] == 1.0f && later.item<float>() == 1.0f;
      _exit(right && raised ? 0 : 1);
    } catch (const MemoryError&) {
      _exit(2);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << (WEXITSTATUS(status) == 2 ? "the child cannot allocate" : "");
  eval(pending);
}

} // namespace
} // namespace narrows
