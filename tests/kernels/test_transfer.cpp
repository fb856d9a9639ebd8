// Transfers between memories of devices that cannot address each other's. They are planned, counted
// in both memories and shared. Also reading on the host.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <random>
#include <thread>

#include "narrows/backend/emulated/backend.h"
#include "narrows/narrows.h"
#include "narrows/observe/report.h"
#include "narrows/order/settings.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

constexpr Device kCpu{Device::Type::cpu, 0};
constexpr Device kGpu{Device::Type::gpu, 0};
constexpr int64_t kBytes = 4096; // of 1024 float32

// Of either memory.
struct Bytes {
  int64_t host = 0;
  int64_t gpu = 0;

  bool operator==(const Bytes&) const = default;
  Bytes operator-(const Bytes& other) const {
    return {host - other.host, gpu - other.gpu};
  }
};
std::ostream& operator<<(std::ostream& out, const Bytes& bytes) {
  return out << bytes.host << " on the host, " << bytes.gpu << " on the GPU";
}

MemorySource& memory_of(Device device) {
  return backend_for(device).memory();
}

Bytes active_now() {
  return {get_active_memory(memory_of(kCpu)), get_active_memory(memory_of(kGpu))};
}

class Transfers : public ::testing::Test {
 protected:
  Transfers() : previous_(set_backend(Device::Type::gpu, emulated::separate_emulated_backend())) {
    previous_device_ = default_device();
    set_default_device(kCpu);
    synchronize();
    before_ = active_now();
  }
  ~Transfers() override {
    set_default_device(previous_device_);
    clear_cache();
    set_backend(Device::Type::gpu, previous_);
  }
  Bytes active() const {
    return active_now() - before_;
  }
  // Evaluates. The counted peaks must be the predicted ones.
  Bytes evaluated_peak(const std::vector<array>& outputs) {
    reset_peak_memory(memory_of(kCpu));
    reset_peak_memory(memory_of(kGpu));
    const PlanReport report = describe_plan(outputs);
    eval(outputs);
    EXPECT_EQ(report.memories.size(), 2u);
    for (const PlanReport::Memory& memory : report.memories) {
      EXPECT_EQ(get_peak_memory(memory_of(memory.device)), memory.predicted_peak)
          << to_string(memory.device);
    }
    EXPECT_EQ(report.memories[0].predicted_peak, report.predicted_peak);
    const Bytes peaks{get_peak_memory(memory_of(kCpu)), get_peak_memory(memory_of(kGpu))};
    return peaks - before_;
  }

 private:
  Backend* previous_;
  Device previous_device_;
  Bytes before_;
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
  EXPECT_EQ(transfers({first}), 1); // the number itself is an operand
  eval(first);
  EXPECT_TRUE(on_gpu(a));
  EXPECT_EQ(active(), (Bytes{0, 2 * kBytes}));
  const array second = add(a, first, kGpu);
  EXPECT_EQ(transfers({second}), 0);
  EXPECT_EQ(total(second), 1024 * 1023 / 2 + 1024);
}

TEST_F(Transfers, one_for_all_readers) {
  const array a = numbers({1024});
  const array b = add(exp(a, kGpu), sin(a, kGpu), kGpu);
  EXPECT_EQ(transfers({b}), 1);
  // The original, which is free once it is copied; the copy, which stays; and two results.
  EXPECT_EQ(evaluated_peak({b}), (Bytes{kBytes, 3 * kBytes}));
  EXPECT_EQ(active(), (Bytes{0, 2 * kBytes}));
}

TEST_F(Transfers, copies_of_what_dies_die) {
  array a = numbers({1024});
  array b = negative(a, kGpu);
  a = array();
  EXPECT_EQ(evaluated_peak({b}), (Bytes{kBytes, kBytes})); // the copy is overwritten
  EXPECT_EQ(active(), (Bytes{0, kBytes}));
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

// A column of a matrix is packed where it lies, so that less is transferred.
TEST_F(Transfers, scattered_elements_are_packed_first) {
  const array a = numbers({1024, 64});
  const array column = slice(a, {0, 5}, {1024, 6}, {1, 1}).eval();
  const array b = negative(column, kGpu);
  const Bytes held = active();
  // Packed, transferred and overwritten.
  EXPECT_EQ(evaluated_peak({b}) - held, (Bytes{kBytes, kBytes}));
}

// An array that moves leaves room for later ones on the host.
TEST_F(Transfers, moved_array_is_free_in_its_old_place) {
  const array a = numbers({1024});
  const array b = exp(a, kGpu);
  const array c =
      exp(add(sum(b, std::nullopt, false, kGpu), zeros({1024}, float32, kCpu), kCpu), kCpu);
  const Bytes peak = evaluated_peak({c});
  EXPECT_EQ(peak.host, kBytes + 64); // the new array, and the sum
  EXPECT_TRUE(on_gpu(a));
}

TEST_F(Transfers, moved_array_whose_buffer_another_holds_stays) {
  const array a = numbers({1024});
  const array view = slice(a, {0}, {512}, {1}).eval();
  evaluated_peak({exp(a, kGpu)});
  EXPECT_TRUE(on_gpu(a));
  EXPECT_FALSE(on_gpu(view));
  EXPECT_EQ(active(), (Bytes{kBytes, kBytes}));
}

// Random graphs over both devices, in every order: the predicted memory is used, on both devices.
TEST_F(Transfers, predicted_peaks_of_random_graphs) {
  for (unsigned seed = 0; seed < 150; ++seed) {
    std::mt19937 random(seed);
    const auto device = [&] { return random() % 3 ? kGpu : kCpu; };
    std::vector<array> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(numbers({32, 32}));
    }
    std::vector<array> held(all.begin(), all.begin() + random() % 3);
    for (int i = 0; i < 25; ++i) {
      const array a = all[random() % all.size()];
      const array b = all[all.size() - 1 - random() % 3];
      switch (random() % 7) {
        case 0:
          all.push_back(transpose(a, device()));
          break;
        case 1:
          all.push_back(negative(a, device()));
          break;
        case 2:
          all.push_back(add(sum(a, Axes{0}, true, device()), b, device()));
          break;
        case 3:
          all.push_back(add(zeros({32, 32}, float32, device()), a, device()));
          break;
        case 4:
          all.push_back(flip(a, device()));
          break;
        default:
          all.push_back(subtract(a, b, device()));
          break;
      }
    }
    const std::vector<array> outputs = {all[all.size() - 1], all[all.size() - 1 - random() % 6]};
    all.clear();
    const SmallBytesScope small(0);
    const OrderPolicyScope policy(seed % 3 ? OrderPolicy::memory : OrderPolicy::width);
    evaluated_peak(outputs);
    if (HasFailure()) {
      FAIL() << "seed " << seed;
    }
  }
}

// A strict limit bounds the memory that it was set for.
TEST_F(Transfers, limits_are_of_one_memory) {
  const auto limit_now = [](Device device, int64_t limit, bool strict) {
    const StreamScope scope(default_stream(device));
    return set_memory_limit(limit, strict);
  };
  clear_cache();
  const int64_t host_limit = limit_now(kCpu, active_now().host, true);
  EXPECT_NO_THROW(ones({1024}, float32, kGpu).eval());
  EXPECT_THROW(eval(exp(zeros({1024}, float32, kCpu), kCpu)), MemoryError);
  limit_now(kCpu, host_limit, false);
  const int64_t gpu_limit = limit_now(kGpu, active_now().gpu, true);
  EXPECT_NO_THROW(exp(zeros({1024}, float32, kCpu), kCpu).eval());
  EXPECT_THROW(eval(exp(zeros({1024}, float32, kGpu), kGpu)), MemoryError);
  limit_now(kGpu, gpu_limit, false);
  EXPECT_NE(host_limit, 0);
}

TEST_F(Transfers, caches_are_of_one_memory) {
  clear_cache();
  ones({1024}, float32, kGpu).eval();
  EXPECT_EQ(get_cache_memory(), 0);
  {
    const StreamScope scope(default_stream(kGpu));
    EXPECT_EQ(get_cache_memory(), kBytes);
    set_cache_limit(set_cache_limit(0));
    EXPECT_EQ(get_cache_memory(), 0);
  }
}

// The budget bounds the memory in which the graph runs, whatever the other memory holds.
TEST_F(Transfers, budget_is_for_the_main_memory) {
  const array beside = numbers({1 << 16});
  std::vector<array> casts;
  for (int i = 0; i < 30; ++i) {
    casts.push_back(astype(zeros({1024}, int64, kGpu), int8, kGpu));
  }
  const SmallBytesScope small(0);
  const int64_t needed = active_now().gpu + 8 * 1024 + 30 * 1024;
  const MemoryBudgetScope budget(needed);
  const PlanReport report = describe_plan(casts);
  EXPECT_EQ(report.memories[0].device, kGpu);
  EXPECT_EQ(report.over_budget, 0);
  EXPECT_EQ(report.active_before, active_now().gpu);
  EXPECT_LE(evaluated_peak(casts).gpu, needed);
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

// One thread reads an array on the host while others use it on both devices, and so move it.
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
  const StreamScope scope(default_stream(kGpu));
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
  EXPECT_EQ(active(), (Bytes{kBytes, 0}));
  EXPECT_EQ(total(b), -1024 * 1023 / 2);
}

} // namespace
} // namespace narrows
