// Backends that lack kernels: operations are recorded as the operations that they are made of, or
// run on the CPU.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "narrows/backend/cpu/backend.h"
#if NARROWS_EMULATED_GPU
#include "narrows/backend/emulated/backend.h"
#endif
#include "narrows/backend/null/backend.h"
#include "narrows/core/kernel_families.h"
#include "narrows/narrows.h"
#include "narrows/observe/report.h"
#include "narrows/transforms/compile.h"

namespace narrows {
namespace {

using Arrays = std::vector<array>;
constexpr Device kGpu{Device::Type::gpu, 0};
constexpr Device kCpu{Device::Type::cpu, 0};

// Wraps a backend and hides some of its families, or a dtype.
class Lacking : public Backend {
 public:
  explicit Lacking(Backend& whole) : whole_(whole) {
  }
  std::set<KernelFamily> families;
  std::set<Dtype> dtypes;

  MemorySource& memory() override {
    return whole_.memory();
  }
  bool addresses(const MemorySource* source) const override {
    return whole_.addresses(source);
  }
  Encoder& encoder(Stream stream) override {
    return whole_.encoder(stream);
  }
  bool supports(const KernelId& kernel) const override {
    const bool moves = kernel.family == KernelFamily::cast && kernel.in == kernel.out;
    return moves || (!families.count(kernel.family) && !dtypes.count(kernel.in) &&
                     !dtypes.count(kernel.out) && whole_.supports(kernel));
  }
  Scratch scratch(KernelFamily family) const override {
    return whole_.scratch(family);
  }
  DeviceInfo info() const override {
    return {};
  }

 private:
  Backend& whole_;
};

// Makes it the device gpu while it lives.
class AsGpu {
 public:
  explicit AsGpu(Backend& backend) : previous_(set_backend(Device::Type::gpu, &backend)) {
  }
  ~AsGpu() {
    clear_cache();
    set_backend(Device::Type::gpu, previous_);
  }

 private:
  Backend* previous_;
};

// A result for each family, with values that every backend computes exactly or nearly so.
using Make = Arrays (*)(StreamOrDevice s);
Arrays each_family(StreamOrDevice s) {
  const array a = reshape(arange(int64_t{0}, 24, 1, float32, s), {2, 3, 4}, s);
  const array b = multiply(a, full({}, make_scalar(0.25, float32), s), s);
  return {
      add(exp(negative(b, s), s), a, s),
      where(greater(a, b, s), a, b, s),
      astype(a, int32, s),
      concatenate({a, b}, 1, s),
      pad(a, {{1, 0}, {0, 2}, {1, 1}}, "constant", array(2.0f), s),
      slice_update(a, b, {0, 0, 0}, {2, 3, 4}, {1, 1, 1}, s),
      sum(a, Axes{1}, false, s),
      argmax(a, 2, false, s),
      cumsum(a, 1, false, true, std::nullopt, s),
      softmax(b, Axes{2}, false, s),
      logsumexp(b, Axes{2}, false, s),
      matmul(a, transpose(b, {0, 2, 1}, s), s),
      addmm(ones({3, 3}, float32, s), a, transpose(b, {0, 2, 1}, s), 2, 0.5, s),
      astype(random::bits({5}, 4, random::key(7), s), float32, s)};
}

void expect_near(const Arrays& actual, const Arrays& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i].shape(), expected[i].shape()) << what << ", " << i;
    ASSERT_EQ(actual[i].dtype(), expected[i].dtype()) << what << ", " << i;
    const array x = astype(actual[i], float64, kCpu);
    const array y = astype(expected[i], float64, kCpu);
    const array distance = max(abs(subtract(x, y, kCpu), kCpu), std::nullopt, false, kCpu);
    const array size = max(abs(y, kCpu), std::nullopt, false, kCpu);
    EXPECT_LE(distance.item<double>(), 1e-5 * size.item<double>()) << what << ", " << i;
  }
}

#if NARROWS_EMULATED_GPU
class Fallback : public testing::TestWithParam<bool> {
 protected:
  static Backend& whole() {
    return GetParam() ? *emulated::separate_emulated_backend() : *emulated::emulated_backend();
  }
  Lacking gpu_{whole()};
  const AsGpu as_gpu_{gpu_};
};

TEST_P(Fallback, every_operation_works_without_any_family) {
  const Arrays expected = each_family(kCpu);
  for (int i = 0; i < family_count(); ++i) {
    const auto family = static_cast<KernelFamily>(i);
    gpu_.families = {family};
    expect_near(each_family(kGpu), expected, std::string(name_of(family)));
  }
}

TEST_P(Fallback, every_operation_works_without_a_dtype) {
  const Arrays expected = each_family(kCpu);
  for (const Dtype dtype : {float32, int32, uint32, bool_}) {
    gpu_.dtypes = {dtype};
    expect_near(each_family(kGpu), expected, std::string(name_of(dtype)));
  }
}

TEST_P(Fallback, rules_record_for_the_device_that_was_asked) {
  gpu_.families = {KernelFamily::softmax};
  const Function function = [](const Arrays& a) {
    return Arrays{softmax(a[0], Axes{0}, false, kGpu)};
  };
  const array x = arange(int64_t{0}, 4, 1, float32, kGpu);
  const array y = function({x})[0];
  EXPECT_EQ(y.stream(), default_stream(kGpu));
  EXPECT_EQ(y.node()->stream(), default_stream(kCpu));
  const array weights = multiply(x, x, kGpu);
  const array gradient = vjp(function, {x}, Arrays{weights}).second[0];
  EXPECT_EQ(gradient.node()->stream(), default_stream(kGpu));
  const array tangent = jvp(function, {x}, Arrays{weights}).second[0]; // softmax' is symmetric
  expect_near({gradient}, {tangent}, "softmax");
  const array batch = stack({x, weights}, 0, kGpu);
  expect_near(
      {vmap(function, {batch}, {0}).outputs[0].value},
      {stack({y, function({weights})[0]}, 0, kGpu)},
      "batch");
}

TEST_P(Fallback, compiled_functions_run_in_part_on_the_cpu) {
  const StreamScope scope(default_stream(kGpu));
  gpu_.families = {KernelFamily::scan};
  const Function function = [](const Arrays& a) {
    return Arrays{exp(negative(cumsum(multiply(a[0], a[0]), 0)))};
  };
  const array x = arange(int64_t{0}, 4, 1, float32);
  const auto graph = record_graph(function, {x});
  expect_near(call(graph, {x}), function({x}), "compiled");
  expect_near(call(graph, {add(x, x)}), function({add(x, x)}), "compiled again");
}

INSTANTIATE_TEST_SUITE_P(Memories, Fallback, testing::Bool(), [](const auto& info) {
  return info.param ? "separate" : "shared";
});
#endif

// A null backend with memory of its own.
class OwnMemory final : public MemorySource {
 public:
  void* allocate(int64_t) override {
    return &place_;
  }
  void release(void*, int64_t) override {
  }
  bool host_visible() const override {
    return false;
  }
  int64_t capacity() const override {
    return INT64_MAX;
  }
  void read(const void*, void*, int64_t) override {
  }
  void write(const void*, void*, int64_t) override {
  }

 private:
  std::byte place_{};
};

class SeparateNull final : public Lacking {
 public:
  SeparateNull() : Lacking(*null_backend()) {
  }
  MemorySource& memory() override {
    return own_memory();
  }
  bool addresses(const MemorySource* source) const override {
    return source == &own_memory();
  }

 private:
  static MemorySource& own_memory() {
    static auto* memory = new OwnMemory; // buffers may outlive the test
    return *memory;
  }
};

// A null backend whose memory is the CPU's.
class SharedNull final : public Lacking {
 public:
  SharedNull() : Lacking(*null_backend()) {
  }
  MemorySource& memory() override {
    return cpu::cpu_backend()->memory();
  }
};

std::vector<std::string> steps_of(const array& output) {
  std::vector<std::string> steps;
  for (const PlanReport::Step& step : describe_plan({&output, 1}, {}, false).steps) {
    const bool on_cpu = step.stream.device.type == Device::Type::cpu;
    steps.push_back(
        step.op + (step.parameters.empty() ? "" : " " + step.parameters) +
        (on_cpu ? " on the cpu" : ""));
  }
  return steps;
}

using Steps = std::vector<std::string>;

TEST(FallbackPlan, arrays_are_transferred_there_and_back) {
  SeparateNull gpu;
  gpu.families = {KernelFamily::softmax};
  const AsGpu as_gpu(gpu);
  const array x = negative(zeros({8, 16}, float32, kGpu), kGpu);
  const FusionScope single(false);
  // Both that read the softmax on the GPU share one copy of it.
  const array y = softmax(x, Axes{1}, false, kGpu);
  const array z = add(exp(y, kGpu), sin(y, kGpu), kGpu);
  EXPECT_EQ(
      steps_of(z),
      (Steps{
          "full",
          "negative",
          "transfer to=cpu on the cpu",
          "softmax on the cpu",
          "transfer to=gpu",
          "sin",
          "exp",
          "add"}));
}

TEST(FallbackPlan, nothing_is_transferred_where_memory_is_shared) {
  SharedNull gpu;
  gpu.families = {KernelFamily::softmax};
  const AsGpu as_gpu(gpu);
  const FusionScope single(false);
  const array x = negative(zeros({8, 16}, float32, kGpu), kGpu);
  const array y = exp(softmax(x, Axes{1}, false, kGpu), kGpu);
  EXPECT_EQ(steps_of(y), (Steps{"full", "negative", "softmax on the cpu", "exp"}));
}

// A product that is added to is recorded as its parts. Parts that the device has kernels for run
// there.
TEST(FallbackPlan, what_is_made_of_others_is_recorded_as_these) {
  SharedNull gpu;
  gpu.families = {KernelFamily::matmul};
  const AsGpu as_gpu(gpu);
  const FusionScope single(false);
  const array a = zeros({4, 4}, float32, kGpu);
  const array y = addmm(a, a, a, 1, 1, kGpu);
  EXPECT_EQ(steps_of(y), (Steps{"full", "matmul on the cpu", "add"}));
  gpu.families = {};
  EXPECT_EQ(steps_of(addmm(a, a, a, 1, 1, kGpu)), (Steps{"full", "addmm alpha=1, beta=1"}));
}

} // namespace
} // namespace narrows
