// Fused steps on Metal: interpreted at first, then by kernels that Metal compiled in the
// background.
#include "metal_fixture.h"
#include "narrows/fuse/settings.h"

namespace narrows::testing {
namespace {

class MetalFusion : public MetalTest {
 protected:
  MetalFusion() : fuses_(true) {
  }
  void TearDown() override {
    metal::wait_for_compilations();
    MetalTest::TearDown();
  }

 private:
  FusionScope fuses_;
};

// Programs that no other test has: `number` is the number of additions.
array elements(const array& x, int number, StreamOrDevice s) {
  array y = multiply(x, array(0.5f), s);
  for (int i = 0; i < number; ++i) {
    y = add(abs(y, s), x, s);
  }
  return y;
}

array rows(const array& x, int number, StreamOrDevice s) {
  const array centred = subtract(x, max(x, Axes{-1}, true, s), s);
  return multiply(elements(centred, number, s), array(2.0f), s);
}

using Function = array (*)(const array&, int, StreamOrDevice);

// Evaluates it and counts dispatches: of all kernels, and of those that were compiled.
fake_metal::Counts run(Function function, const Shape& shape, int number) {
  const array x = evaluated(numbers(shape));
  const array expected = evaluated(function(x, number, Device{Device::Type::cpu, 0}));
  fake_metal::reset_counts();
  const array actual = evaluated(function(x, number, kGpu));
  const fake_metal::Counts counts = fake_metal::counts();
  for (int64_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(actual.data<float>()[i], expected.data<float>()[i]) << i;
  }
  return counts;
}

TEST_F(MetalFusion, kernels_take_over_after_the_second_use) {
  const fake_metal::Compiler compiler;
  for (const auto& [function, shape] :
       {std::pair<Function, Shape>{elements, {1003}}, std::pair<Function, Shape>{rows, {7, 130}}}) {
    for (const int use : {1, 2, 3}) {
      const fake_metal::Counts counts = run(function, shape, 3);
      EXPECT_EQ(counts.dispatches, 1) << use; // one fused step
      EXPECT_EQ(counts.dispatches_of_compiled_kernels, use == 3 ? 1 : 0) << use;
      metal::wait_for_compilations();
    }
  }
}

TEST_F(MetalFusion, one_kernel_serves_other_sizes_and_numbers) {
  const fake_metal::Compiler compiler;
  for (const int64_t size : {int64_t{1024}, int64_t{1024}, int64_t{2048}}) {
    const fake_metal::Counts counts = run(elements, {size}, 4);
    EXPECT_EQ(counts.dispatches_of_compiled_kernels, size == 2048 ? 1 : 0);
    metal::wait_for_compilations();
  }
}

TEST_F(MetalFusion, what_cannot_be_compiled_is_interpreted) {
  for (int use = 0; use < 4; ++use) { // without a compiler: an error
    EXPECT_EQ(run(elements, {500}, 5).dispatches_of_compiled_kernels, 0);
    metal::wait_for_compilations();
  }
}

TEST_F(MetalFusion, kernels_with_too_few_threads_are_interpreted) {
  const fake_metal::Compiler compiler(128);
  for (int use = 0; use < 3; ++use) {
    EXPECT_EQ(run(elements, {500}, 6).dispatches_of_compiled_kernels, 0);
    metal::wait_for_compilations();
  }
}

TEST_F(MetalFusion, errors_of_the_device_name_compiled_kernels) {
  const fake_metal::Compiler compiler;
  for (int use = 0; use < 2; ++use) {
    run(elements, {400}, 7);
    metal::wait_for_compilations();
  }
  const array x = evaluated(numbers({400}));
  fake_metal::fail_next("fused");
  try {
    eval(elements(x, 7, kGpu));
    FAIL() << "no error";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("kernels fused"), std::string::npos) << error.what();
  }
  EXPECT_EQ(run(elements, {400}, 7).dispatches_of_compiled_kernels, 1);
}

} // namespace
} // namespace narrows::testing
