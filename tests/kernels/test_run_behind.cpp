// Graphs on a GPU that runs behind the host, as CUDA does. Work is kept until somebody has to wait,
// and everything that reaches the GPU's memory comes after it. So arrays are ready, and memory is
// used again, as soon as work is encoded.
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <vector>

#include "narrows/backend/emulated/backend.h"
#include "narrows/narrows.h"
#include "narrows/observe/report.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"
#include "narrows/runtime/worker.h"

namespace narrows {
namespace {

constexpr Device kCpu{Device::Type::cpu, 0};
constexpr Device kGpu{Device::Type::gpu, 0};

Backend& inner() {
  return *emulated::separate_emulated_backend();
}

// The work of all streams. It runs in order when it is asked for.
class Queue {
 public:
  void add(std::function<void()> work) {
    std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
  }
  void run() {
    std::lock_guard lock(mutex_);
    while (!work_.empty()) {
      const std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      work();
    }
  }
  size_t waiting() {
    std::lock_guard lock(mutex_);
    return work_.size();
  }

 private:
  std::mutex mutex_;
  std::deque<std::function<void()>> work_;
};

class LateMemory final : public MemorySource {
 public:
  explicit LateMemory(Queue& queue) : queue_(queue) {
  }
  void* allocate(int64_t bytes) override {
    return inner().memory().allocate(bytes);
  }
  void release(void* memory, int64_t bytes) override {
    queue_.run();
    inner().memory().release(memory, bytes);
  }
  bool host_visible() const override {
    return false;
  }
  int64_t capacity() const override {
    return inner().memory().capacity();
  }
  void read(const void* from, void* to, int64_t bytes) override {
    queue_.run();
    inner().memory().read(from, to, bytes);
  }
  // Keeps a copy of the bytes that are to be written.
  void write(const void* from, void* to, int64_t bytes) override {
    const auto* first = static_cast<const std::byte*>(from);
    queue_.add([copy = std::vector<std::byte>(first, first + bytes), to] {
      inner().memory().write(copy.data(), to, static_cast<int64_t>(copy.size()));
    });
  }

 private:
  Queue& queue_;
};

// A buffer at an address of the emulated GPU's memory, whichever array owns it at that time.
Operand place_in(std::deque<Buffer>& buffers, const Operand& operand) {
  if (!operand.buffer) {
    return operand;
  }
  Buffer& buffer = buffers.emplace_back();
  buffer.memory = operand.buffer->memory;
  buffer.bytes = operand.buffer->bytes;
  buffer.source = &inner().memory();
  return {&buffer, operand.offset};
}

class LateEncoder final : public Encoder {
 public:
  explicit LateEncoder(Queue& queue) : queue_(queue) {
  }
  void run(const KernelCall& call) override {
    struct Kept {
      std::deque<Buffer> buffers;
      std::vector<BufferRef> literals;
      std::vector<Operand> operands;
      std::vector<std::byte> params;
    };
    const auto kept = std::make_shared<Kept>();
    KernelCall late = call;
    for (const Operand& operand : call.operands) {
      if (operand.buffer->is_literal) {
        kept->literals.emplace_back(operand.buffer);
        kept->operands.push_back(operand);
      } else {
        kept->operands.push_back(place_in(kept->buffers, operand));
      }
    }
    kept->params.assign(call.params.begin(), call.params.end());
    late.operands = kept->operands;
    late.params = kept->params;
    late.scratch = place_in(kept->buffers, call.scratch);
    queue_.add([kept, late] { inner().encoder(default_stream(kGpu)).run(late); });
  }
  void record(const EventRef& event) override {
    queue_.add([event] { event->set(); });
  }
  void wait(const EventRef& event) override {
    event->wait();
  }
  void finish() override {
    queue_.run();
  }

 private:
  Queue& queue_;
};

class LateBackend final : public Backend {
 public:
  MemorySource& memory() override {
    return memory_;
  }
  bool addresses(const MemorySource* source) const override {
    return source == &memory_;
  }
  Encoder& encoder(Stream) override {
    return encoder_;
  }
  bool supports(const KernelId& kernel) const override {
    return inner().supports(kernel);
  }
  Scratch scratch(KernelFamily family) const override {
    return inner().scratch(family);
  }
  DeviceInfo info() const override {
    return inner().info();
  }
  Queue& queue() {
    return queue_;
  }

 private:
  Queue queue_;
  LateMemory memory_{queue_};
  LateEncoder encoder_{queue_};
};

// Never destroyed: its blocks are in the allocator's cache.
LateBackend& late_backend() {
  static auto* backend = new LateBackend;
  return *backend;
}

class RunBehind : public ::testing::Test {
 protected:
  RunBehind() : previous_(set_backend(Device::Type::gpu, &late_backend())) {
  }
  ~RunBehind() override {
    synchronize();
    clear_cache();
    set_backend(Device::Type::gpu, previous_);
  }

 private:
  Backend* previous_;
};

array numbers(int64_t size) {
  return arange(int64_t{0}, size, int64_t{1}, float32, kCpu).eval();
}

// The end of a random graph, most of which is on the device. Both devices compute the same bits.
array random_graph(unsigned seed, Device device) {
  std::mt19937 random(seed);
  std::vector<array> all = {numbers(1024), numbers(1024)};
  for (int i = 0; i < 40; ++i) {
    const array a = all[random() % all.size()];
    const array b = all[all.size() - 1 - random() % 2];
    const Device here = random() % 8 ? device : kCpu;
    switch (random() % 4) {
      case 0:
        all.push_back(divide(subtract(a, b, here), array(2.0f), here));
        break;
      case 1:
        all.push_back(minimum(a, max(b, std::nullopt, false, here), here));
        break;
      case 2:
        all.push_back(flip(a, here));
        break;
      default:
        all.push_back(maximum(a, negative(b, here), here));
        break;
    }
  }
  return all.back();
}

TEST_F(RunBehind, arrays_are_ready_before_the_work_has_run) {
  const array a = negative(numbers(1024), kGpu);
  const array b = exp(multiply(a, array(0.0f), kGpu), kGpu);
  async_eval({&b, 1});
  worker_for(b.stream()).wait_idle();
  EXPECT_EQ(b.node()->status(), Status::ready);
  EXPECT_GE(late_backend().queue().waiting(), 3u); // kernels, and what was transferred before
  EXPECT_EQ(b.on_host().data<float>()[7], 1.0f);
  EXPECT_EQ(late_backend().queue().waiting(), 0u);
}

TEST_F(RunBehind, memory_is_used_again_as_soon_as_work_is_encoded) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    const array expected = random_graph(seed, kCpu);
    const array actual = random_graph(seed, kGpu);
    reset_peak_memory(late_backend().memory());
    const PlanReport report = describe_plan({&actual, 1});
    eval(actual);
    for (const PlanReport::Memory& memory : report.memories) {
      if (memory.device == kGpu) {
        EXPECT_EQ(get_peak_memory(late_backend().memory()), memory.predicted_peak) << seed;
      }
    }
    EXPECT_TRUE(array_equal(expected, actual.on_host(), false, kCpu).item<bool>()) << seed;
  }
}

TEST_F(RunBehind, asynchronous_evaluations_run_ahead) {
  std::vector<array> actual;
  for (unsigned seed = 100; seed < 120; ++seed) {
    actual.push_back(random_graph(seed, kGpu));
    async_eval({&actual.back(), 1});
  }
  for (unsigned seed = 100; seed < 120; ++seed) {
    const array expected = random_graph(seed, kCpu);
    const array found = actual[seed - 100].on_host();
    EXPECT_TRUE(array_equal(expected, found, false, kCpu).item<bool>()) << seed;
  }
}

} // namespace
} // namespace narrows
