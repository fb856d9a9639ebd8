// Runs a launch on the CPU and on the GPU under test and compares what they leave in memory.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/typed_buffer.h"
#include "gpu_under_test.h"
#include "metal_kernels/arange.h"
#include "metal_kernels/elementwise.h"
#include "metal_kernels/fill.h"
#include "metal_kernels/matmul.h"
#include "metal_kernels/random_bits.h"
#include "metal_kernels/reduce.h"
#include "metal_kernels/scan.h"
#include "metal_kernels/softmax.h"
#include "narrows/backend/cpu/backend.h"
#include "narrows/backend/cpu/kernels.h"
#include "narrows/core/errors.h"
#include "narrows/core/kernel_families.h"
#include "narrows/runtime/allocator.h"

namespace narrows::testing {

// A place in memory with elements, followed by bytes that must not be written.
class Memory {
 public:
  Memory(Dtype dtype, int64_t size)
      : dtype_(dtype), size_(size), bytes_(size * size_of(dtype)), blocks_(block_count()) {
    fill_bytes(0xa5);
  }

  Dtype dtype() const {
    return dtype_;
  }
  int64_t size() const {
    return size_;
  }
  char* data() {
    return reinterpret_cast<char*>(blocks_.data());
  }
  const char* data() const {
    return reinterpret_cast<const char*>(blocks_.data());
  }
  void fill_bytes(int value) {
    std::memset(data(), value, blocks_.size() * sizeof(Block));
  }
  void copy_from(const TypedBuffer& values) {
    std::memcpy(data(), values.data(), bytes_);
  }
  TypedBuffer values() const {
    TypedBuffer values(dtype_, size_);
    std::memcpy(values.data(), data(), bytes_);
    return values;
  }
  bool is_guard_intact() const {
    const char* end = data() + blocks_.size() * sizeof(Block);
    return std::all_of(data() + bytes_, end, [](char c) { return c == static_cast<char>(0xa5); });
  }
  // with the guard
  int64_t whole_bytes() const {
    return static_cast<int64_t>(blocks_.size() * sizeof(Block));
  }
  void attach(Buffer& buffer) {
    buffer.memory = data();
    buffer.bytes = buffer.capacity = bytes_;
  }

 private:
  struct alignas(256) Block {
    char bytes[256];
  };
  size_t block_count() const {
    return static_cast<size_t>(bytes_ / 256 + 2);
  }

  Dtype dtype_;
  int64_t size_;
  int64_t bytes_;
  std::vector<Block> blocks_;
};

inline Memory memory_of(const TypedBuffer& values) {
  Memory memory(values.dtype(), values.size());
  memory.copy_from(values);
  return memory;
}

struct Tolerance {
  double relative;
  double absolute;
  bool phases = false; // imaginary parts are angles, which may differ by whole turns
};

inline Tolerance default_tolerance(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return {2e-3, 1e-4};
    case Dtype::bfloat16:
      return {1.6e-2, 1e-4};
    case Dtype::float32:
      return {1e-5, 1e-6};
    case Dtype::float64:
      return {1e-12, 1e-13};
    case Dtype::complex64:
      return {1e-4, 2e-5};
    default:
      return {0, 0};
  }
}

inline bool is_close(Number a, Number b, Tolerance tolerance) {
  if (same(a, b)) {
    return true;
  }
  if (tolerance.phases) {
    constexpr double kTurn = 6.283185307179586;
    b.imag(b.imag() + kTurn * std::round((a.imag() - b.imag()) / kTurn));
  }
  const double scale = std::max(std::abs(a), std::abs(b));
  return std::isfinite(scale) && std::abs(a - b) <= tolerance.absolute + tolerance.relative * scale;
}

// The first difference, or an empty string.
inline std::string difference(const Memory& expected, const Memory& actual, Tolerance tolerance) {
  if (!actual.is_guard_intact()) {
    return "wrote behind the output";
  }
  const TypedBuffer a = expected.values();
  const TypedBuffer b = actual.values();
  const int64_t item = size_of(expected.dtype());
  for (int64_t i = 0; i < expected.size(); ++i) {
    const bool equal = std::memcmp(a.data() + i * item, b.data() + i * item, item) == 0;
    if (!equal && (!is_inexact(a.dtype()) || !is_close(a.get(i), b.get(i), tolerance))) {
      std::ostringstream stream;
      stream << "element " << i << ": " << a.get(i) << " on the CPU, " << b.get(i) << " on the GPU";
      return stream.str();
    }
  }
  return {};
}

// False if the GPU has no such kernel. Only GPUs without float64 may lack kernels, those of
// float64.
inline bool gpu_has(const KernelId& kernel) {
  const bool is_float64 = kernel.in == float64 || kernel.out == float64;
  const bool has = tested_backend().supports(kernel);
  EXPECT_TRUE(has || (is_float64 && !gpu_has_float64())) << name_of(kernel);
  return has;
}

using Encode = std::function<void(Encoder&, std::span<const Operand>)>;

// Runs the work on the GPU, in its memory. The content of the operands is copied there, and that of
// the last one, with the guard, is copied back.
inline void run_on_gpu(
    std::vector<Memory>& operands, std::vector<Operand> places, const Encode& encode) {
  Backend& gpu = tested_backend();
  std::vector<BufferRef> buffers;
  for (size_t k = 0; k < operands.size(); ++k) {
    Memory& memory = operands[k];
    buffers.push_back(allocate(gpu.memory(), memory.whole_bytes(), "test"));
    gpu.memory().write(memory.data(), buffers[k]->memory, memory.whole_bytes());
    places[k].buffer = buffers[k].get();
  }
  Encoder& encoder = gpu.encoder({{Device::Type::gpu, 0}, 1});
  encode(encoder, places);
  encoder.finish();
  Memory& output = operands.back();
  gpu.memory().read(buffers.back()->memory, output.data(), output.whole_bytes());
}

// Encodes the same work for the CPU and the GPU; the last memory is the output.
inline void expect_same_on_both(
    const std::string& what,
    std::vector<Memory>& operands,
    const std::vector<int64_t>& offsets,
    const Encode& encode,
    Tolerance tolerance) {
  Memory& output = operands.back();
  const Memory before = output;
  const size_t count = operands.size();
  const auto buffers = std::make_unique<Buffer[]>(count);
  std::vector<Operand> places(count);
  for (size_t k = 0; k < count; ++k) {
    operands[k].attach(buffers[k]);
    places[k] = {&buffers[k], offsets[k] * size_of(operands[k].dtype())};
  }
  encode(cpu::cpu_backend()->encoder({}), places);
  const Memory expected = output;
  std::memcpy(output.data(), before.data(), output.size() * size_of(output.dtype()));
  try {
    run_on_gpu(operands, places, encode);
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": " << error.what();
    return;
  }
  const std::string mistake = difference(expected, output, tolerance);
  if (!mistake.empty()) {
    ADD_FAILURE() << what << ": " << mistake;
  }
}

// Runs a call, with the scratch that its backend asks for.
template <typename Params>
void run_call(
    Encoder& encoder,
    const KernelId& kernel,
    std::span<const Operand> places,
    const Params& params) {
  Backend& host = *cpu::cpu_backend();
  Backend& backend = &encoder == &host.encoder({}) ? host : tested_backend();
  const Backend::Scratch scratch = backend.scratch(kernel.family);
  const int64_t bytes = scratch ? scratch(kernel, std::as_bytes(std::span(&params, 1))) : 0;
  const BufferRef buffer = bytes > 0 ? allocate(backend.memory(), bytes, "test") : BufferRef();
  encoder.run({kernel, places, params, {buffer.get(), 0}});
}

template <typename Params>
void expect_launch_same(
    const KernelId& kernel,
    const std::string& layout,
    std::vector<Memory> operands,
    const std::vector<int64_t>& offsets,
    const Params& params,
    Tolerance tolerance) {
  if (!gpu_has(kernel)) {
    return;
  }
  expect_same_on_both(
      name_of(kernel) + " " + layout,
      operands,
      offsets,
      [&](Encoder& encoder, std::span<const Operand> places) {
        run_call(encoder, kernel, places, params);
      },
      tolerance);
}

// Critical elements: ordinary ones, limits, zeros and, if `special`, infinities and NaN.
inline void fill_varied(TypedBuffer& buffer, unsigned seed, bool special = true) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(-4, 4);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double specials[] = {0, -0.0, 1, -1, 0.5, 2, kInfinity, -kInfinity, std::nan(""), 1e4};
  for (int64_t i = 0; i < buffer.size(); ++i) {
    const Dtype dtype = buffer.dtype();
    if (dtype == bool_) {
      buffer.set(i, static_cast<double>(random() % 2));
    } else if (is_integer(dtype)) {
      const uint64_t bits = random();
      const uint64_t small = bits % 16 == 0 ? 0 : bits >> 60;
      const uint64_t value = bits % 3 == 0 ? bits : is_unsigned(dtype) ? small : small - 8;
      std::memcpy(buffer.data() + i * size_of(dtype), &value, size_of(dtype));
    } else if (is_complex(dtype)) {
      buffer.set(i, Number(uniform(random), uniform(random)));
    } else {
      buffer.set(i, special && i % 5 == 4 ? specials[i / 5 % 10] : uniform(random));
    }
  }
}

// Every kernel runs in all orders of threads that the GPU under test has.
class KernelTest : public ::testing::TestWithParam<emulated::ThreadOrder> {
 protected:
  void SetUp() override {
    emulated::set_thread_order(GetParam(), 7);
  }
  void TearDown() override {
    emulated::set_thread_order(emulated::ThreadOrder::forward);
  }
};

inline std::string order_name(const ::testing::TestParamInfo<emulated::ThreadOrder>& info) {
  const char* names[] = {"forward", "reverse", "random"};
  return names[static_cast<int>(info.param)];
}

#define NARROWS_IN_ALL_ORDERS(Suite) \
  INSTANTIATE_TEST_SUITE_P(Orders, Suite, ::testing::ValuesIn(orders()), order_name);

} // namespace narrows::testing
