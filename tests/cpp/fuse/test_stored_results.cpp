// Steps of several nodes that leave more than one result.
#include <functional>

#include "narrows/core/errors.h"
#include "narrows/fuse/settings.h"
#include "narrows/narrows.h"
#include "null_device.h"

namespace narrows {
namespace {

constexpr int64_t kUnit = 4096; // bytes of 1024 float32

class ProgramLimitsScope {
 public:
  explicit ProgramLimitsScope(const ProgramLimits& limits)
      : before_(set_null_program_limits(limits)) {
  }
  ~ProgramLimitsScope() {
    set_null_program_limits(before_);
  }

 private:
  ProgramLimits before_;
};

class StoredResults : public NullDevice {
 protected:
  using Titles = std::vector<std::string>;

  static Titles steps_of(const std::vector<array>& outputs) {
    Titles titles;
    for (const PlanReport::Step& step : describe_plan(outputs).steps) {
      titles.push_back(step.op);
    }
    return titles;
  }
  static array ready(const Shape& shape, Dtype dtype = float32) {
    const array a = zeros(shape, dtype);
    eval(a);
    return a;
  }
  // The peak of the plan, without buffers that it neither allocates nor frees. The counted peak
  // must be the predicted one, and no higher than without fusion.
  int64_t evaluated_peak(const std::vector<array>& outputs) {
    const int64_t before = get_active_memory();
    int64_t single = 0;
    {
      const FusionScope scope(false);
      single = describe_plan(outputs).predicted_peak;
    }
    const PlanReport report = describe_plan(outputs);
    EXPECT_LE(report.predicted_peak, single) << plan_text(report);
    reset_peak_memory();
    eval(outputs);
    EXPECT_EQ(get_peak_memory(), report.predicted_peak) << plan_text(report);
    EXPECT_EQ(get_active_memory(), report.steps.back().live_bytes);
    return get_peak_memory() - before;
  }
};

TEST_F(StoredResults, HeldByTheProgram) {
  const array x = ready({1024});
  const array held = exp(x);
  const array y = sin(cos(held));
  EXPECT_EQ(steps_of({y}), Titles{"fused(exp, cos, sin)"});
  const PlanReport report = describe_plan({{y}});
  ASSERT_EQ(report.steps[0].outputs.size(), 2u);
  EXPECT_EQ(evaluated_peak({y}), 2 * kUnit);
  EXPECT_TRUE(held.is_ready());
  EXPECT_TRUE(y.is_ready());
}

TEST_F(StoredResults, ReadByALaterStep) {
  const array x = ready({32, 32});
  const array shared = exp(x);
  const std::vector<array> made{matmul(shared, shared), sqrt(shared)};
  EXPECT_EQ(steps_of(made), (Titles{"fused(exp, sqrt)", "matmul"}));
  EXPECT_EQ(evaluated_peak(made), 3 * kUnit);
  EXPECT_TRUE(shared.is_ready());
}

TEST_F(StoredResults, NotIfReadBeforeTheRoot) {
  const array x = ready({32, 32});
  const array shared = exp(x);
  EXPECT_EQ(steps_of({add(shared, matmul(shared, shared))}), (Titles{"exp", "matmul", "add"}));
}

TEST_F(StoredResults, OfEachKindOfValue) {
  const array x = ready({64, 16});
  {
    const array total = sum(square(x), Axes{1}, true);
    EXPECT_EQ(steps_of({divide(x, total)}), Titles{"fused(square, sum, divide)"});
  }
  {
    const array squares = square(x);
    const array total = sum(squares, Axes{1});
    EXPECT_EQ(evaluated_peak({sqrt(total), squares}), kUnit + 2 * 256);
  }
  {
    // All rows are needed for each column.
    const array squares = square(x);
    EXPECT_EQ(steps_of({sum(squares, Axes{0})}), (Titles{"square", "sum"}));
  }
  {
    // Rows that do not fit into a cache.
    const array wide = ready({2, 1 << 20});
    const array squares = square(wide);
    EXPECT_EQ(steps_of({sum(squares, Axes{1})}), Titles{"fused(square, sum)"});
  }
  {
    // Generated values, and views, are no results of a program.
    const array numbers = arange(int64_t{0}, int64_t{1024}, int64_t{1}, float32);
    const array column = expand_dims(x, {2});
    EXPECT_EQ(steps_of({exp(numbers)}).size(), 2u);
    EXPECT_EQ(steps_of({exp(column)}).size(), 2u);
  }
}

TEST_F(StoredResults, TakeTheBuffersOfInputsThatDie) {
  struct Case {
    const char* name;
    size_t steps;
    int64_t peak; // above the active memory before
    std::function<std::vector<array>(array, array)> make;
  };
  const Case cases[] = {
      {"one of two",
       1,
       kUnit,
       [](array x, array) {
         x = exp(x);
         return std::vector<array>{x, negative(x)};
       }},
      {"two for two results",
       1,
       0,
       [](array x, array y) {
         x = multiply(x, y);
         return std::vector<array>{x, negative(x)};
       }},
      {"the input is read after the first result",
       1,
       0,
       [](array x, array y) {
         const array z = multiply(x, y);
         return std::vector<array>{z, add(add(z, x), y)};
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    array x = ready({1024});
    array y = ready({1024});
    const std::vector<array> outputs = c.make(std::move(x), std::move(y));
    x = y = array();
    EXPECT_EQ(steps_of(outputs).size(), c.steps);
    EXPECT_EQ(evaluated_peak(outputs), c.peak);
  }
}

TEST_F(StoredResults, AnOptimizerNeedsNothing) {
  array p = ready({1024}), m = ready({1024}), v = ready({1024});
  const array g = ready({1024});
  const auto scaled = [](const array& a, float s) { return multiply(a, array(s)); };
  m = add(scaled(m, 0.9f), scaled(g, 0.1f));
  v = add(scaled(v, 0.99f), scaled(square(g), 0.01f));
  p = subtract(p, scaled(divide(m, add(sqrt(v), array(1e-8f))), 0.1f));
  EXPECT_EQ(steps_of({p, m, v}).size(), 1u);
  EXPECT_LE(evaluated_peak({p, m, v}), 0);
}

TEST_F(StoredResults, OnlyWhereTheyNeedNoMoreMemory) {
  // Without fusion, the wide input dies before the last result is allocated.
  array wide = ready({1024}, float64);
  const array narrow = astype(wide, int8);
  wide = array();
  const array y = negative(narrow);
  EXPECT_EQ(steps_of({y}), (Titles{"astype", "negative"}));
  evaluated_peak({y});
}

TEST_F(StoredResults, AsManyAsTheDeviceAllows) {
  const array x = ready({1024});
  std::vector<array> held{x};
  for (int i = 0; i < 12; ++i) {
    held.push_back(exp(held.back()));
  }
  for (const auto& [limits, steps] : std::vector<std::pair<ProgramLimits, size_t>>{
           {{64, 24, 8, 88}, 2},
           {{64, 24, 2, 88}, 6},
           {{64, 24, 1, 88}, 12},
           {{4, 24, 8, 88}, 3},
           {{1, 24, 8, 88}, 12},
           {{}, 12},
       }) {
    const ProgramLimitsScope scope(limits);
    const PlanReport report = describe_plan({{held.back()}});
    EXPECT_EQ(report.steps.size(), steps) << plan_text(report);
  }
  // A program that needs too many registers is not made.
  const array last = add(add(x, ready({1024})), ready({1024}));
  const ProgramLimitsScope scope({64, 24, 8, 3});
  EXPECT_EQ(steps_of({last}).size(), 2u);
}

TEST_F(StoredResults, FailedStepCanRunAgain) {
  const array x = ready({1024});
  array held = exp(x);
  array y = astype(multiply(held, array(2.0f)), float64);
  const int64_t limit = set_memory_limit(get_active_memory() + kUnit, true);
  EXPECT_EQ(steps_of({y}).size(), 1u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THROW(eval(y), MemoryError);
    EXPECT_FALSE(y.is_ready());
    EXPECT_FALSE(held.is_ready());
  }
  set_memory_limit(limit);
  async_eval({{y}});
  eval(held);
  eval(y);
  EXPECT_TRUE(y.is_ready());
  held = y = array();
  synchronize();
  EXPECT_EQ(active(), kUnit);
}

TEST_F(StoredResults, AreThereForOtherStreams) {
  const array x = ready({1024});
  const Stream other = new_stream(default_device());
  const array held = exp(x);
  const array y = sin(held);
  const array z = cos(held, other);
  EXPECT_EQ(steps_of({z, y}).size(), 2u);
  async_eval({{z, y}});
  eval({{z, y}});
  EXPECT_TRUE(y.is_ready() && z.is_ready());
}

} // namespace
} // namespace narrows
