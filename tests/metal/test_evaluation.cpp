// Graphs on a device that runs behind the host: when arrays are ready, errors, streams and memory.
#include <thread>

#include "metal_fixture.h"
#include "narrows/record/primitive.h"
#include "narrows/run/encode.h"

namespace narrows::testing {
namespace {

class MetalEvaluation : public MetalTest {};

TEST_F(MetalEvaluation, evaluated_arrays_have_their_values) {
  array x = numbers({1000});
  for (int i = 0; i < 200; ++i) {
    x = add(x, array(1.0f), kGpu);
  }
  eval(x);
  EXPECT_TRUE(x.is_ready());
  EXPECT_NEAR(x.data<float>()[1], std::sin(1.0) + 200, 1e-2);
}

TEST_F(MetalEvaluation, arrays_are_ready_when_the_device_has_run) {
  const array x = exp(numbers({100}), kGpu);
  {
    const fake_metal::Pause pause;
    async_eval({&x, 1});
    while (fake_metal::counts().command_buffers == 0) {
      std::this_thread::yield();
    }
    EXPECT_FALSE(x.is_ready());
  }
  eval(x);
  EXPECT_TRUE(x.is_ready());
  EXPECT_NEAR(x.data<float>()[1], std::exp(std::sin(1.0)), 1e-5);
  synchronize();
}

TEST_F(MetalEvaluation, independent_steps_have_no_barrier_between_them) {
  const array a = evaluated(numbers({500}));
  std::vector<array> roots;
  for (int i = 0; i < 6; ++i) {
    roots.push_back(exp(a, kGpu));
  }
  fake_metal::reset_counts();
  eval(roots);
  EXPECT_EQ(fake_metal::counts().dispatches, 6);
  EXPECT_EQ(fake_metal::counts().barriers, 0);
  const array chain = exp(exp(exp(a, kGpu), kGpu), kGpu);
  fake_metal::reset_counts();
  eval(chain);
  EXPECT_EQ(fake_metal::counts().barriers, 2);
}

TEST_F(MetalEvaluation, steps_of_several_streams_wait_for_each_other) {
  const Stream one = new_stream(kGpu);
  const Stream two = new_stream(kGpu);
  for (const bool asynchronous : {false, true}) {
    array x = numbers({300}, one);
    for (int i = 0; i < 10; ++i) {
      const array left = sin(x, one);
      const array right = cos(x, two);
      x = add(left, right, i % 2 ? one : two);
    }
    array expected = numbers({300}, Device{Device::Type::cpu, 0});
    for (int i = 0; i < 10; ++i) {
      const Device cpu{Device::Type::cpu, 0};
      expected = add(sin(expected, cpu), cos(expected, cpu), cpu);
    }
    if (asynchronous) {
      async_eval({&x, 1});
    }
    eval(x);
    eval(expected);
    for (int i = 0; i < 300; ++i) {
      ASSERT_NEAR(x.data<float>()[i], expected.data<float>()[i], 1e-4) << i;
    }
    synchronize();
  }
  EXPECT_GT(fake_metal::counts().event_waits, 10);
}

TEST_F(MetalEvaluation, the_cpu_waits_for_the_device) {
  const Device cpu{Device::Type::cpu, 0};
  for (const bool asynchronous : {false, true}) {
    array x = numbers({300}, cpu);
    for (int i = 0; i < 5; ++i) {
      x = sin(add(x, x, kGpu), cpu);
    }
    array expected = numbers({300}, cpu);
    for (int i = 0; i < 5; ++i) {
      expected = sin(add(expected, expected, cpu), cpu);
    }
    if (asynchronous) {
      async_eval({&x, 1});
    }
    eval(x);
    eval(expected);
    for (int i = 0; i < 300; ++i) {
      ASSERT_NEAR(x.data<float>()[i], expected.data<float>()[i], 1e-4) << i;
    }
    synchronize();
  }
}

TEST_F(MetalEvaluation, an_error_of_the_device_fails_what_was_encoded) {
  for (const bool asynchronous : {false, true}) {
    const array a = evaluated(numbers({100}));
    const array b = exp(a, kGpu);
    const array c = sum(b, std::nullopt, false, kGpu);
    fake_metal::fail_next("exp");
    if (asynchronous) {
      async_eval({&c, 1});
    }
    EXPECT_THROW(eval(c), std::runtime_error);
    EXPECT_THROW(eval(c), std::runtime_error);
    EXPECT_THROW(eval(b), std::runtime_error);
    const array dependent = sin(c, kGpu);
    EXPECT_THROW(eval(dependent), std::runtime_error);
    // Other arrays are not affected.
    EXPECT_TRUE(a.is_ready());
    EXPECT_NEAR(evaluated(exp(a, kGpu)).data<float>()[1], std::exp(std::sin(1.0)), 1e-5);
    try {
      synchronize();
    } catch (const std::runtime_error&) {
    }
  }
}

TEST_F(MetalEvaluation, an_error_on_one_stream_fails_the_evaluation_on_all) {
  const Stream one = new_stream(kGpu);
  const Stream two = new_stream(kGpu);
  for (const bool asynchronous : {false, true}) {
    const array a = evaluated(numbers({100}, one));
    const array b = exp(a, one);
    const array c = add(b, a, two);
    fake_metal::fail_next("exp");
    if (asynchronous) {
      async_eval({&c, 1});
    }
    EXPECT_THROW(eval(c), std::runtime_error);
    EXPECT_THROW(eval(b), std::runtime_error);
    EXPECT_FALSE(c.is_ready());
    EXPECT_FALSE(b.is_ready());
    try {
      synchronize();
    } catch (const std::runtime_error&) {
    }
    eval(sin(a, two));
  }
}

TEST_F(MetalEvaluation, an_error_that_the_cpu_is_told_of_fails_the_device_s_arrays) {
  const Device cpu{Device::Type::cpu, 0};
  for (const bool asynchronous : {false, true}) {
    const array a = evaluated(numbers({100}));
    const array b = exp(a, kGpu);
    const array c = add(b, a, cpu);
    fake_metal::fail_next("exp");
    if (asynchronous) {
      async_eval({&c, 1});
    }
    EXPECT_THROW(eval(c), std::runtime_error);
    EXPECT_THROW(eval(b), std::runtime_error);
    try {
      synchronize();
    } catch (const std::runtime_error&) {
    }
    EXPECT_FALSE(b.is_ready());
  }
}

// Fails on the host when it is encoded, as many times as asked.
class Refuses final : public Primitive {
 public:
  const char* name() const override {
    return "refuses";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    if (times_-- > 0) {
      throw std::runtime_error("[refuses] as asked");
    }
    encode_copy(encoder, step.inputs[0], step.outputs[0]);
  }

 private:
  mutable std::atomic<int> times_{1};
};

TEST_F(MetalEvaluation, an_error_of_the_host_leaves_what_ran_before) {
  const array a = exp(numbers({100}), kGpu);
  const array b =
      record(std::make_shared<Refuses>(), default_stream(kGpu), a.shape(), float32, {&a, 1});
  const array c = sin(b, kGpu);
  EXPECT_THROW(eval(c), std::runtime_error);
  EXPECT_TRUE(a.is_ready());
  EXPECT_FALSE(b.is_ready());
  EXPECT_NEAR(c.eval().data<float>()[1], std::sin(std::exp(std::sin(1.0))), 1e-5);
}

TEST_F(MetalEvaluation, an_error_of_the_host_keeps_values_that_only_the_graph_holds) {
  const array c = [] {
    const array a = exp(numbers({100}), kGpu);
    return sin(
        record(std::make_shared<Refuses>(), default_stream(kGpu), a.shape(), float32, {&a, 1}),
        kGpu);
  }();
  EXPECT_THROW(eval(c), std::runtime_error);
  EXPECT_NEAR(c.eval().data<float>()[1], std::sin(std::exp(std::sin(1.0))), 1e-5);
}

TEST_F(MetalEvaluation, memory_stays_within_the_plan_and_the_run_ahead) {
  constexpr int64_t kRunAhead = int64_t{2} << 20;
  const int64_t previous = metal::set_run_ahead(kRunAhead);
  array x = evaluated(zeros({1 << 16}, float32, kGpu));
  for (int i = 0; i < 60; ++i) {
    x = sin(flip(x, kGpu), kGpu); // nothing can be donated to the flipped
  }
  Plan plan;
  Tape tape;
  int64_t predicted;
  {
    std::lock_guard lock(graph_mutex());
    plan_outputs({&x, 1}, tape, plan);
    predicted = get_active_memory() - plan.bytes_before() + plan.peak_bytes();
  }
  plan.clear();
  reset_peak_memory();
  eval(x);
  metal::set_run_ahead(previous);
  EXPECT_LE(get_peak_memory(), predicted + kRunAhead);
  EXPECT_GE(get_peak_memory(), predicted);
}

TEST_F(MetalEvaluation, dropped_arrays_are_freed) {
  {
    const array x = exp(numbers({1 << 12}), kGpu);
    async_eval({&x, 1});
  }
  synchronize();
  EXPECT_EQ(get_active_memory(), active_at_first());
}

TEST_F(MetalEvaluation, threads_share_a_stream) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        array x = full({256}, array(static_cast<float>(t)), float32, kGpu);
        for (int k = 0; k < 10; ++k) {
          x = add(x, array(1.0f), kGpu);
        }
        right += max(x, std::nullopt, false, kGpu).item<float>() == static_cast<float>(t + 10);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(right, 20);
}

} // namespace
} // namespace narrows::testing
