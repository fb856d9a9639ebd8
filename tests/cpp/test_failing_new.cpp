#include "failing_new.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <stdexcept>
#include <vector>

#include "narrows/narrows.h"
#include "narrows/record/pending.h"
#include "narrows/runtime/parallel.h"
#include "narrows/transforms/compile.h"

namespace {

thread_local int64_t until_failure = 0; // 0: none fails
thread_local bool failed = false;

void* allocate_or_fail(size_t bytes) {
  if (until_failure > 0 && --until_failure == 0) {
    failed = true;
    throw std::bad_alloc();
  }
  if (void* memory = std::malloc(bytes ? bytes : 1)) {
    return memory;
  }
  throw std::bad_alloc();
}

} // namespace

// The operators of the whole program: shared libraries use the executable's.
void* operator new(size_t bytes) {
  return allocate_or_fail(bytes);
}
void* operator new[](size_t bytes) {
  return allocate_or_fail(bytes);
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return std::malloc(bytes ? bytes : 1);
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return std::malloc(bytes ? bytes : 1);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}

namespace narrows {

FailingNew::FailingNew(int64_t nth) {
  until_failure = nth;
  failed = false;
}

FailingNew::~FailingNew() {
  until_failure = 0;
}

bool FailingNew::has_failed() const {
  return failed;
}

namespace {

const Device kCpu{Device::Type::cpu, 0};

TEST(FailingNewTest, ReachesTheLibrary) {
  const array a = zeros({4});
  bool has_failed = false;
  bool has_raised = false;
  {
    const FailingNew fails(1);
    try {
      exp(a);
    } catch (const std::bad_alloc&) {
      has_raised = true;
    }
    has_failed = fails.has_failed();
  }
  if (!has_failed) {
    GTEST_SKIP() << "The compiler has linked an operator new of its own into the library.";
  }
  EXPECT_TRUE(has_raised);
}

// Whatever fails, the graph can be evaluated afterwards, and no node stays scheduled.
template <typename Make, typename Evaluate>
void expect_work_is_given_back(Make&& make, Evaluate&& evaluate) {
  const int64_t pending = get_pending_nodes();
  fail_each_new([&](int64_t nth) {
    const std::vector<array> outputs = make();
    bool has_failed;
    {
      const FailingNew fails(nth);
      try {
        evaluate(outputs);
      } catch (const std::bad_alloc&) {
      }
      has_failed = fails.has_failed();
    }
    for (const array& output : outputs) {
      EXPECT_EQ(output.item<float>(), 4.0f) << "allocation " << nth;
    }
    EXPECT_EQ(get_pending_nodes(), pending) << "allocation " << nth;
    return has_failed && !testing::Test::HasFailure();
  });
  synchronize();
}

std::vector<array> on_two_streams() {
  static const Stream s1 = new_stream(kCpu);
  static const Stream s2 = new_stream(kCpu);
  const array a = add(ones({}, float32, s1), array(1.0f), s1);
  const array b = multiply(a, array(2.0f), s2);
  return {b, add(a, a, s1)};
}

TEST(FailingNewTest, AsynchronousWorkIsPostedToAllStreamsOrNone) {
  expect_work_is_given_back(
      on_two_streams, [](const std::vector<array>& outputs) { async_eval(outputs); });
}

TEST(FailingNewTest, FirstJobOfAStream) {
  expect_work_is_given_back(
      [] {
        const Stream s = new_stream(kCpu);
        return std::vector<array>{add(ones({}, float32, s), array(3.0f), s)};
      },
      [](const std::vector<array>& outputs) { async_eval(outputs); });
}

TEST(FailingNewTest, EvaluationGivesBackWhatItDidNotReach) {
  expect_work_is_given_back(
      on_two_streams, [](const std::vector<array>& outputs) { eval(outputs); });
}

TEST(FailingNewTest, NothingFailsWhereGraphsAndMemoryAreLetGo) {
  fail_each_new([](int64_t nth) {
    auto outputs = std::make_unique<std::vector<array>>(on_two_streams());
    eval(outputs->front());
    const FailingNew fails(nth);
    outputs.reset();
    EXPECT_FALSE(fails.has_failed());
    return fails.has_failed();
  });
}

// The inner plan of a call is made at the first call.
TEST(FailingNewTest, CompiledGraphsCanBePlannedAgain) {
  const array held(1.0f);
  expect_work_is_given_back(
      [&] {
        const auto square_plus_one = [](const std::vector<array>& a) {
          return std::vector<array>{add(multiply(a[0], a[0]), exp(zeros({})))};
        };
        const auto graph = record_graph(square_plus_one, {held});
        return std::vector<array>{add(call(graph, {held})[0], call(graph, {held})[0])};
      },
      [](const std::vector<array>& outputs) { eval(outputs); });
}

} // namespace
} // namespace narrows
