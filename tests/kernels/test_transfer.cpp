// Transfers between the memories of devices that cannot address each other's: planned, counted and
// shared, and reading on the host.
#include <gtest/gtest.h>

#include <thread>

#include "narrows/backend/emulated/backend.h"
#include "narrows/narrows.h"
#include "narrows/observe/report.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

constexpr Device kCpu{Device::Type::cpu, 0};
constexpr Device kGpu{Device::Type::gpu, 0};
constexpr int64_t kBytes = 4096; // of 1024 float32

class Transfers : public ::testing::Test {
 protected:
  Transfers() : previous_(set_backend(Device::Type::gpu, emulated::separate_emulated_backend())) {
    previous_device_ = default_device();
    set_default_device(kCpu);
    synchronize();
    before_ = get_active_memory();
  }
  ~Transfers() override {
    set_default_device(previous_device_);
    clear_cache();
    set_backend(Device::Type::gpu, previous_);
  }
  int64_t active() const {
    return get_active_memory() - before_;
  }
  // Evaluates; the counted peak must be the predicted one.
  int64_t evaluated_peak(const std::vector<array>& outputs) {
    reset_peak_memory();
    const PlanReport report = describe_plan(outputs);
    eval(outputs);
    EXPECT_EQ(get_peak_memory(), report.predicted_peak);
    return get_peak_memory() - before_;
  }

 private:
  Backend* previous_;
  Device previous_device_;
  int64_t before_ = 0;
};

array numbers(const Shape& shape) {
  return reshape(arange(int64_t{0}, element_count(shape), int64_t{1}, float32), shape).eval();
}

bool on_gpu(const array& a) {
  return a.buffer()->source == &backend_for(kGpu).memory();
}

int transfers(const std::vector<array>& outputs) {
  const PlanReport report = describe_plan(outputs);
  return static_cast<int>(std::count_if(
      report.steps.begin(), report.steps.end(), [](const auto& s) { return s.op == "transfer"; }));
}

float total(const array& a) {
  return sum(a, std::nullopt, false, kCpu).item<float>();
}

TEST_F(Transfers, held_array_moves_once) {
  const array a = numbers({1024});
  const array first = exp(multiply(a, array(0.0f), kGpu), kGpu);
  EXPECT_EQ(transfers({first}), 2); // the array and the scalar
  eval(first);
  EXPECT_TRUE(on_gpu(a));
  EXPECT_EQ(active(), 2 * kBytes);
  const array second = add(a, first, kGpu);
  EXPECT_EQ(transfers({second}), 0);
  EXPECT_EQ(total(second), 1024 * 1023 / 2 + 1024);
}

TEST_F(Transfers, one_for_all_readers) {
  const array a = numbers({1024});
  const array b = add(exp(a, kGpu), sin(a, kGpu), kGpu);
  EXPECT_EQ(transfers({b}), 1);
  // The original and its copy, which stays, and two results.
  EXPECT_EQ(evaluated_peak({b}), 4 * kBytes);
  EXPECT_EQ(active(), 2 * kBytes);
}

TEST_F(Transfers, copies_of_what_dies_die) {
  array a = numbers({1024});
  array b = negative(a, kGpu);
  a = array();
  EXPECT_EQ(evaluated_peak({b}), 2 * kBytes); // then the copy is overwritten
  EXPECT_EQ(active(), kBytes);
  EXPECT_TRUE(on_gpu(b));
  EXPECT_EQ(total(b), -1024 * 1023 / 2);
}

TEST_F(Transfers, array_that_is_read_on_both_sides_stays) {
  const array a = numbers({1024});
  const array b = add(exp(a, kGpu), exp(a, kCpu), kCpu);
  EXPECT_EQ(transfers({b}), 2);
  eval(b);
  EXPECT_FALSE(on_gpu(a));
  EXPECT_FALSE(on_gpu(b));
}

TEST_F(Transfers, there_and_back_in_one_plan) {
  const array a = numbers({100});
  const array b = add(negative(negative(a, kGpu), kCpu), a, kCpu);
  EXPECT_EQ(total(b), 9900);
}

TEST_F(Transfers, layouts) {
  const array a = numbers({64, 64});
  const std::vector<array> views = {
      transpose(a),
      slice(a, {3, 0}, {9, 64}, {1, 1}),
      slice(a, {0, 5}, {64, 6}, {1, 1}),
      flip(a),
      broadcast_to(slice(a, {1, 0}, {2, 64}, {1, 1}), {64, 64}),
      slice(a, {0, 1}, {64, 64}, {7, 9})};
  for (const array& view : views) {
    eval(view);
    const array there = multiply(view, array(2.0f), kGpu);
    EXPECT_FLOAT_EQ(total(there), 2 * total(view));
    EXPECT_TRUE(array_equal(view, add(view, array(0.0f), kGpu), false, kCpu).item<bool>());
  }
}

// A column of a matrix is packed where it lies: less is transferred.
TEST_F(Transfers, scattered_elements_are_packed_first) {
  const array a = numbers({1024, 64});
  const array column = slice(a, {0, 5}, {1024, 6}, {1, 1}).eval();
  const array b = negative(column, kGpu);
  const int64_t held = active();
  EXPECT_EQ(evaluated_peak({b}) - held, 2 * kBytes); // packed, transferred and overwritten
}

TEST_F(Transfers, reading_on_the_host) {
  const array a = exp(zeros({3, 4}, float32, kGpu), kGpu);
  const array host = transpose(a, {1, 0}, kGpu).on_host();
  EXPECT_FALSE(on_gpu(host));
  EXPECT_EQ(host.data<float>()[5], 1.0f);
  EXPECT_TRUE(on_gpu(a));
  EXPECT_EQ(sum(a, std::nullopt, false, kGpu).item<float>(), 12);
}

TEST_F(Transfers, empty_arrays) {
  const array a = zeros({0, 3}, float32, kGpu);
  EXPECT_EQ(add(exp(a, kCpu), a, kGpu).on_host().size(), 0);
}

TEST_F(Transfers, asynchronous_inputs) {
  const array a = numbers({1024});
  const array b = negative(a, kCpu);
  const array c = exp(multiply(b, array(0.0f), kGpu), kGpu);
  async_eval({&b, 1});
  async_eval({&c, 1});
  const array d = add(c, b, kCpu);
  async_eval({&d, 1});
  EXPECT_EQ(total(d), 1024 - 1024 * 1023 / 2);
}

// One thread reads an array on the host while others use it, and so move it, on both devices.
TEST_F(Transfers, concurrent_readers) {
  const array a = numbers({1024});
  std::vector<std::thread> threads;
  for (const Device device : {kCpu, kGpu, kCpu, kGpu}) {
    threads.emplace_back([&, device] {
      for (int i = 0; i < 50; ++i) {
        const array b = negative(a, device).eval();
        EXPECT_EQ(b.on_host().data<float>()[1023], -1023);
        EXPECT_EQ(a.on_host().data<float>()[1023], 1023);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_F(Transfers, error_when_there_is_no_memory) {
  const array a = numbers({1024});
  const array b = negative(a, kGpu);
  const int64_t limit = set_memory_limit(get_active_memory() + 64, true);
  clear_cache();
  std::string message;
  try {
    eval(b);
  } catch (const MemoryError& error) {
    message = error.what();
  }
  set_memory_limit(limit);
  EXPECT_NE(message.find("[transfer] cannot allocate 4096 bytes"), std::string::npos) << message;
  EXPECT_EQ(active(), kBytes);
  EXPECT_EQ(total(b), -1024 * 1023 / 2);
}

} // namespace
} // namespace narrows
