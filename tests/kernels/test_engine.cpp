// What the emulated GPU reports of wrong kernels and wrong launches.
#include <gtest/gtest.h>

#include <cmath>

#include "narrows/backend/emulated/engine.h"

namespace narrows::emulated {
namespace {

constexpr uint32_t kThreads = 64;

struct Output {
  alignas(16) std::array<float, kThreads> values;
  Output() {
    values.fill(-1);
  }
  Binding binding() {
    return {values.data(), sizeof(values)};
  }
};

const metal_emu::KernelInfo* kernel_named(const char* name) {
  return &metal_emu::registry().at(name);
}

void run_alone(const char* name, Output& output, uint32_t threads = kThreads) {
  const Binding binding = output.binding();
  run({kernel_named(name), {&binding, 1}, {1, 1, 1}, threads});
}

std::string error_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

void expect_error(const std::string& message, const std::function<void()>& function) {
  const std::string error = error_of(function);
  EXPECT_NE(error.find(message), std::string::npos) << error;
}

class PlantedMistakes : public ::testing::TestWithParam<ThreadOrder> {
 protected:
  void SetUp() override {
    set_thread_order(GetParam(), 3);
  }
  void TearDown() override {
    set_thread_order(ThreadOrder::forward);
  }
  Output output_;
};

TEST_P(PlantedMistakes, barrier_not_reached_by_all) {
  expect_error("was reached by 40 of 64", [&] { run_alone("bad_barrier_not_reached", output_); });
}
TEST_P(PlantedMistakes, different_barriers) {
  expect_error("different barriers", [&] { run_alone("bad_different_barriers", output_); });
}
TEST_P(PlantedMistakes, simdgroup_function_not_reached_by_all) {
  expect_error("not reached by all 32", [&] { run_alone("bad_simd_not_reached", output_); });
}
TEST_P(PlantedMistakes, simdgroup_functions_diverge) {
  expect_error("lanes of one simdgroup", [&] { run_alone("bad_simd_diverges", output_); });
}
TEST_P(PlantedMistakes, partial_simdgroup) {
  expect_error("simd", [&] { run_alone("bad_simd_diverges", output_, 40); });
}
TEST_P(PlantedMistakes, threadgroup_memory) {
  expect_error("passes 32 KB", [&] { run_alone("bad_threadgroup_size", output_); });
}

TEST_P(PlantedMistakes, unbound_buffer) {
  const Binding binding = output_.binding();
  expect_error("buffer(1) is not bound", [&] {
    run({kernel_named("good_fill"), {&binding, 1}, {1, 1, 1}, kThreads});
  });
}
TEST_P(PlantedMistakes, short_buffer) {
  int64_t params[2] = {3, 5};
  const Binding bindings[] = {output_.binding(), {params, 8}};
  expect_error("buffer(1) holds 8 bytes", [&] {
    run({kernel_named("good_fill"), bindings, {1, 1, 1}, kThreads});
  });
}
TEST_P(PlantedMistakes, misaligned_buffer) {
  int64_t params[2] = {3, 5};
  const Binding bindings[] = {
      {reinterpret_cast<char*>(output_.values.data()) + 2, 64}, {params, sizeof(params)}};
  expect_error("multiple of 4 bytes", [&] {
    run({kernel_named("good_fill"), bindings, {1, 1, 1}, kThreads});
  });
}
TEST_P(PlantedMistakes, a_buffer_too_many) {
  int64_t params[2] = {3, 5};
  const Binding bindings[] = {
      output_.binding(), {params, sizeof(params)}, {params, sizeof(params)}};
  expect_error("3 buffers are bound", [&] {
    run({kernel_named("good_fill"), bindings, {1, 1, 1}, kThreads});
  });
}
TEST_P(PlantedMistakes, too_many_threads) {
  expect_error("2048 threads", [&] { run_alone("bad_missing_barrier", output_, 2048); });
}

// The engine goes on working after errors.
TEST_P(PlantedMistakes, right_launch_after_wrong_one) {
  error_of([&] { run_alone("bad_barrier_not_reached", output_); });
  int64_t params[2] = {3, 5};
  const Binding bindings[] = {output_.binding(), {params, sizeof(params)}};
  run({kernel_named("good_fill"), bindings, {1, 1, 1}, kThreads});
  EXPECT_EQ(output_.values[2], 5);
}

INSTANTIATE_TEST_SUITE_P(
    Orders,
    PlantedMistakes,
    ::testing::Values(ThreadOrder::forward, ThreadOrder::reverse, ThreadOrder::random));

TEST(ThreadOrders, show_a_missing_barrier) {
  int wrong_orders = 0;
  for (const ThreadOrder order :
       {ThreadOrder::forward, ThreadOrder::reverse, ThreadOrder::random}) {
    set_thread_order(order, 3);
    Output output;
    run_alone("bad_missing_barrier", output);
    for (uint32_t i = 0; i < kThreads; ++i) {
      // Threadgroup memory that is not yet written is NaN.
      if (std::isnan(output.values[i])) {
        ++wrong_orders;
        break;
      }
    }
  }
  set_thread_order(ThreadOrder::forward);
  EXPECT_EQ(wrong_orders, 2);
}

} // namespace
} // namespace narrows::emulated
