// The encoder of the Metal backend: barriers, command buffers, events, errors and memory.
#include <array>
#include <bit>
#include <cstring>
#include <thread>

#include "metal_fixture.h"
#include "metal_kernels/arange.h"
#include "metal_kernels/elementwise.h"
#include "metal_kernels/fill.h"
#include "metal_kernels/reduce.h"
#include "narrows/core/kernel_families.h"

namespace narrows::testing {
namespace {

constexpr int64_t kFloats = 1000;

Stream stream_number(int index) {
  return {kGpu, 100 + index};
}

class MetalEncoding : public MetalTest {
 protected:
  Encoder& encoder(int stream = 0) {
    return tested_backend().encoder(stream_number(stream));
  }
  BufferRef buffer(int64_t floats = kFloats) {
    return allocate(tested_backend().memory(), floats * 4, "test");
  }
  static void fill(Encoder& encoder, const BufferRef& out, float value) {
    fill(encoder, out, value, out->bytes / 4);
  }
  static void fill(Encoder& encoder, const BufferRef& out, float value, int64_t count) {
    const Operand operand{out.get(), 0};
    const FillParams params{count, std::bit_cast<uint32_t>(value)};
    encoder.run({{KernelFamily::fill, 0, float32, float32}, {&operand, 1}, params});
  }
  // out = a + b
  static void add(Encoder& encoder, const BufferRef& a, const BufferRef& b, const BufferRef& out) {
    ElementwiseParams params{};
    params.size = params.shape[0] = out->bytes / 4;
    params.ndim = 1;
    params.inputs = 2;
    params.strides[0][0] = params.strides[1][0] = params.strides[2][0] = 1;
    const auto op = static_cast<uint8_t>(ElementwiseOp::add);
    encoder.run(
        {{KernelFamily::elementwise, op, float32, float32},
         std::array{Operand{a.get(), 0}, Operand{b.get(), 0}, Operand{out.get(), 0}},
         params});
  }
  static float first(const BufferRef& buffer) {
    return *static_cast<float*>(buffer->memory);
  }
};

// Two dispatches after each other: how they use three buffers, and whether that needs a barrier.
struct Pair {
  const char* name;
  int first[3]; // a, b, out
  int second[3];
  bool conflict;
};
constexpr Pair kPairs[] = {
    {"nothing shared", {0, 1, 2}, {3, 4, 5}, false},
    {"both read", {0, 1, 2}, {0, 1, 3}, false},
    {"read after write", {0, 1, 2}, {2, 1, 3}, true},
    {"write after read", {0, 1, 2}, {3, 4, 0}, true},
    {"write after write", {0, 1, 2}, {3, 4, 2}, true},
    {"in place", {0, 1, 0}, {3, 4, 3}, false},
};

TEST_F(MetalEncoding, barriers_only_where_dispatches_conflict) {
  for (const Pair& pair : kPairs) {
    SCOPED_TRACE(pair.name);
    std::vector<BufferRef> buffers;
    std::vector<float> values;
    for (int i = 0; i < 6; ++i) {
      buffers.push_back(buffer());
      values.push_back(static_cast<float>(1 << i));
      fill(encoder(), buffers.back(), values.back());
    }
    encoder().finish();
    fake_metal::reset_counts();
    for (const auto& use : {pair.first, pair.second}) {
      add(encoder(), buffers[use[0]], buffers[use[1]], buffers[use[2]]);
      values[use[2]] = values[use[0]] + values[use[1]];
    }
    encoder().finish();
    EXPECT_EQ(fake_metal::counts().barriers, pair.conflict ? 1 : 0);
    EXPECT_EQ(fake_metal::counts().command_buffers, 1);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(first(buffers[i]), values[i]) << i;
    }
  }
}

TEST_F(MetalEncoding, one_barrier_orders_all_that_came_before) {
  std::vector<BufferRef> leaves, sums;
  for (int i = 0; i < 8; ++i) {
    leaves.push_back(buffer());
    fill(encoder(), leaves.back(), static_cast<float>(i));
  }
  for (int i = 0; i < 8; i += 2) {
    sums.push_back(buffer());
    add(encoder(), leaves[i], leaves[i + 1], sums.back());
  }
  encoder().finish();
  EXPECT_EQ(fake_metal::counts().dispatches, 12);
  EXPECT_EQ(fake_metal::counts().barriers, 1);
  EXPECT_EQ(first(sums[3]), 13);
}

TEST_F(MetalEncoding, a_reduction_in_two_parts_has_a_barrier_between) {
  constexpr int64_t kSize = 100000;
  const BufferRef in = buffer(kSize);
  const BufferRef out = buffer(1);
  fill(encoder(), in, 1);
  ReduceParams params{};
  params.out_size = 1;
  params.reduce_size = params.reduced_shape[0] = kSize;
  params.reduced_ndim = 1;
  params.reduced_strides[0] = 1;
  const KernelId kernel{
      KernelFamily::reduce, static_cast<uint8_t>(ReduceOp::sum), float32, float32};
  const int64_t bytes =
      tested_backend().scratch(KernelFamily::reduce)(kernel, std::as_bytes(std::span(&params, 1)));
  const BufferRef scratch = allocate(tested_backend().memory(), bytes, "test");
  encoder().run(
      {kernel,
       std::array{Operand{in.get(), 0}, Operand{out.get(), 0}},
       params,
       Operand{scratch.get(), 0}});
  encoder().finish();
  EXPECT_EQ(first(out), kSize);
  EXPECT_EQ(fake_metal::counts().dispatches, 3);
  EXPECT_EQ(fake_metal::counts().barriers, 2);
}

TEST_F(MetalEncoding, command_buffers_are_committed_by_operations_and_by_bytes) {
  const fake_metal::Pause pause;
  const BufferRef small = buffer();
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(fake_metal::counts().command_buffers, 0);
    fill(encoder(), small, 1);
  }
  EXPECT_EQ(fake_metal::counts().command_buffers, 1);
  const BufferRef large = buffer((int64_t{64} << 20) / 4);
  fill(encoder(), large, 1, 16);
  EXPECT_EQ(fake_metal::counts().command_buffers, 2);
}

TEST_F(MetalEncoding, events_are_set_when_the_work_has_run) {
  const auto event = std::make_shared<Event>();
  const BufferRef out = buffer();
  {
    const fake_metal::Pause pause;
    fill(encoder(), out, 3);
    encoder().record(event);
    EXPECT_FALSE(event->done());
  }
  event->wait();
  EXPECT_EQ(first(out), 3);
  // With nothing in flight it is set at once.
  const auto second = std::make_shared<Event>();
  encoder().record(second);
  EXPECT_TRUE(second->done());
}

TEST_F(MetalEncoding, streams_wait_for_events_on_the_device) {
  const BufferRef a = buffer(), b = buffer(), c = buffer();
  const auto made = std::make_shared<Event>();
  fill(encoder(0), b, 2);
  encoder(0).finish();
  {
    const fake_metal::Pause pause; // the host must not wait
    fill(encoder(1), a, 1);
    encoder(1).record(made);
    encoder(0).wait(made);
    add(encoder(0), a, b, c);
  }
  encoder(0).finish();
  EXPECT_EQ(first(c), 3);
  EXPECT_EQ(fake_metal::counts().event_waits, 1);
}

TEST_F(MetalEncoding, events_of_the_host_are_waited_for) {
  const auto event = std::make_shared<Event>();
  std::thread host([&] { event->set(); });
  const BufferRef out = buffer();
  encoder().wait(event);
  fill(encoder(), out, 1);
  encoder().finish();
  host.join();
  EXPECT_EQ(fake_metal::counts().event_waits, 0);
}

TEST_F(MetalEncoding, buffers_live_until_the_work_that_uses_them_has_run) {
  const int64_t before = get_active_memory();
  BufferRef out = buffer();
  {
    const fake_metal::Pause pause;
    const BufferRef a = buffer(), b = buffer();
    fill(encoder(), a, 1);
    fill(encoder(), b, 2);
    add(encoder(), a, b, out);
  }
  EXPECT_EQ(get_active_memory(), before + 3 * rounded_bytes(kFloats * 4));
  encoder().finish();
  EXPECT_EQ(get_active_memory(), before + rounded_bytes(kFloats * 4));
  EXPECT_EQ(first(out), 3);
}

TEST_F(MetalEncoding, an_error_goes_to_the_events_after_it) {
  const BufferRef a = buffer(), b = buffer();
  const auto before = std::make_shared<Event>();
  const auto after = std::make_shared<Event>();
  fill(encoder(), a, 1);
  encoder().record(before);
  before->wait();
  fake_metal::fail_next("add");
  add(encoder(), a, a, b);
  encoder().record(after);
  try {
    after->wait();
    ADD_FAILURE() << "no error";
  } catch (const std::runtime_error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("[metal]"), std::string::npos) << message;
    EXPECT_NE(message.find("asked for"), std::string::npos) << message;
    EXPECT_NE(message.find("elementwise_add_float32"), std::string::npos) << message;
  }
  // The stream goes on.
  add(encoder(), a, a, b);
  encoder().finish();
  EXPECT_EQ(first(b), 2);
}

TEST_F(MetalEncoding, an_error_stays_with_the_thread_whose_work_failed) {
  const BufferRef a = buffer(), b = buffer();
  const auto mine = std::make_shared<Event>();
  fill(encoder(), a, 1);
  encoder().finish();
  fake_metal::fail_next("add");
  add(encoder(), a, a, b);
  tested_backend().wait_idle();
  std::thread other([&] {
    const BufferRef c = buffer();
    fill(encoder(), c, 5);
    encoder().finish();
    EXPECT_EQ(first(c), 5);
  });
  other.join();
  encoder().record(mine);
  EXPECT_THROW(mine->wait(), std::runtime_error);
}

TEST_F(MetalEncoding, an_error_goes_on_to_streams_that_wait) {
  const BufferRef a = buffer(), b = buffer(), c = buffer();
  const auto made = std::make_shared<Event>();
  const auto last = std::make_shared<Event>();
  fill(encoder(1), a, 1);
  encoder(1).finish();
  {
    const fake_metal::Pause pause;
    fake_metal::fail_next("add");
    add(encoder(1), a, a, b);
    encoder(1).record(made);
    encoder(0).wait(made);
    fill(encoder(0), c, 1);
    encoder(0).record(last);
  }
  EXPECT_THROW(last->wait(), std::runtime_error);
  EXPECT_THROW(made->wait(), std::runtime_error);
  encoder(0).finish();
  encoder(1).finish();
}

TEST_F(MetalEncoding, run_ahead_is_bounded_in_bytes) {
  constexpr int64_t kEach = int64_t{1} << 20;
  const int64_t previous = metal::set_run_ahead(4 * kEach);
  const int64_t before = get_active_memory();
  int64_t highest = 0;
  for (int i = 0; i < 40; ++i) {
    const BufferRef out = buffer(kEach / 4);
    fill(encoder(), out, 1, 100);
    highest = std::max(highest, get_active_memory() - before);
  }
  encoder().finish();
  metal::set_run_ahead(previous);
  EXPECT_LE(highest, 5 * kEach);
  EXPECT_LT(fake_metal::counts().command_buffers, 40);
}

TEST_F(MetalEncoding, run_ahead_waits_for_work_in_flight) {
  constexpr int64_t kEach = int64_t{1} << 20;
  const int64_t previous = metal::set_run_ahead(2 * kEach);
  std::atomic<int> encoded{0};
  auto pause = std::make_unique<fake_metal::Pause>();
  std::thread writer([&] {
    for (int i = 0; i < 8; ++i) {
      const BufferRef out = buffer(kEach / 4);
      fill(encoder(), out, 1, 100);
      ++encoded;
    }
  });
  while (fake_metal::counts().command_buffers == 0) {
    std::this_thread::yield();
  }
  // The device stands still: the third one waits for as long as that.
  EXPECT_EQ(encoded, 2);
  pause.reset();
  writer.join();
  EXPECT_EQ(encoded, 8);
  encoder().finish();
  metal::set_run_ahead(previous);
}

TEST_F(MetalEncoding, memory_that_is_not_the_device_s_is_refused) {
  float value = 1;
  const BufferRef foreign = borrow(&value, 4, {});
  EXPECT_FALSE(tested_backend().addresses(nullptr));
  EXPECT_THROW(fill(encoder(), foreign, 2), std::runtime_error);
  encoder().finish();
  EXPECT_EQ(value, 1);
}

TEST_F(MetalEncoding, more_than_the_device_has_is_a_memory_error) {
  MemorySource& memory = tested_backend().memory();
  EXPECT_EQ(memory.capacity(), int64_t{256} << 20);
  EXPECT_THROW(allocate(memory, int64_t{300} << 20, "test"), MemoryError);
  EXPECT_THROW(allocate(memory, int64_t{129} << 20, "test"), MemoryError); // one buffer
}

TEST_F(MetalEncoding, memory_held_by_work_in_flight_comes_back_before_an_error) {
  const int64_t each = int64_t{100} << 20; // of 256
  for (int i = 0; i < 4; ++i) {
    const BufferRef out = allocate(tested_backend().memory(), each, "test");
    fill(encoder(), out, 1, 16);
  }
  encoder().finish();
  clear_cache();
}

TEST_F(MetalEncoding, float64_is_refused_with_its_name) {
  const BufferRef out = buffer();
  ArangeParams params{};
  params.size = 10;
  const KernelId kernel{KernelFamily::arange, 0, float64, float64};
  EXPECT_FALSE(tested_backend().supports(kernel));
  const Operand operand{out.get(), 0};
  EXPECT_THROW(encoder().run({kernel, {&operand, 1}, params}), std::runtime_error);
}

TEST_F(MetalEncoding, the_device_is_described) {
  const DeviceInfo info = tested_backend().info();
  EXPECT_EQ(std::get<std::string>(info.at("device_name")), "Fake GPU");
  EXPECT_EQ(std::get<int64_t>(info.at("max_recommended_working_set_size")), int64_t{256} << 20);
}

} // namespace
} // namespace narrows::testing
