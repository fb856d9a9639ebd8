#include "narrows/fuse/settings.h"

#include <cstdlib>
#include <functional>
#include <random>

#include "narrows/core/errors.h"
#include "narrows/ops/broadcast.h"
#include "null_device.h"
#include "order/order_checks.h"
#include "order/order_graphs.h"

namespace narrows {
namespace {

uint32_t rounds() {
  const char* text = std::getenv("NARROWS_FUZZ_ROUNDS");
  return text ? static_cast<uint32_t>(std::atoi(text)) : 3000;
}

PlanReport report_of(const std::vector<array>& outputs, bool fuse) {
  const FusionScope scope(fuse);
  return describe_plan(outputs);
}

void expect_no_higher_peak_as_set(const std::vector<array>& outputs) {
  const PlanReport fused = report_of(outputs, true);
  const PlanReport single = report_of(outputs, false);
  EXPECT_LE(fused.predicted_peak, single.predicted_peak) << plan_text(fused) << plan_text(single);
}

// Under every order, fused plans hold no more than plans of single nodes.
void expect_no_higher_peak(const std::vector<array>& outputs) {
  for (const int64_t width : {int64_t{1}, int64_t{20}, kUnlimitedWidth}) {
    const BfsMaxWidthScope scope(width);
    expect_no_higher_peak_as_set(outputs);
  }
  const OrderPolicyScope policy(OrderPolicy::memory);
  const SmallBytesScope every_graph_is_large(0);
  expect_no_higher_peak_as_set(outputs);
}

class FusionTest : public NullDevice {
 protected:
  ~FusionTest() override {
    set_null_concurrency(16);
  }
  static std::vector<std::string> steps_of(const std::vector<array>& outputs) {
    std::vector<std::string> titles;
    for (const PlanReport::Step& step : describe_plan(outputs).steps) {
      titles.push_back(step.op);
    }
    return titles;
  }
  // The counted peak must be the predicted one.
  int64_t evaluated_peak(const std::vector<array>& outputs) {
    reset_peak_memory();
    const PlanReport report = describe_plan(outputs);
    eval(outputs);
    EXPECT_EQ(get_peak_memory(), report.predicted_peak);
    if (!report.steps.empty()) {
      EXPECT_EQ(get_active_memory(), report.steps.back().live_bytes);
    }
    return peak();
  }
  static array ready(const Shape& shape, Dtype dtype = float32) {
    const array a = zeros(shape, dtype);
    eval(a);
    return a;
  }
  using Titles = std::vector<std::string>;
};

TEST_F(FusionTest, CastsNeedNothingButTheirOutputs) {
  for (const int64_t width : {int64_t{1}, int64_t{20}, kUnlimitedWidth}) {
    const BfsMaxWidthScope scope(width);
    std::vector<array> casts;
    for (int i = 0; i < 100; ++i) {
      casts.push_back(astype(zeros({4096, 128}, int64), int8));
    }
    EXPECT_EQ(evaluated_peak(casts), 100 * 4096 * 128) << "width " << width;
  }
}

TEST_F(FusionTest, ChainIsOneStep) {
  const array x = ready({1024});
  const array y = multiply(exp(add(x, x)), x);
  EXPECT_EQ(steps_of({y}), Titles{"fused(add, exp, multiply)"});
  EXPECT_EQ(evaluated_peak({y}), 2 * 4096);
}

TEST_F(FusionTest, SwitchesOff) {
  const array y = exp(exp(ready({8})));
  EXPECT_EQ(steps_of({y}).size(), 1u);
  {
    const FusionScope scope(false);
    EXPECT_EQ(steps_of({y}).size(), 2u);
    const FusionScope inner(true);
    EXPECT_EQ(steps_of({y}).size(), 1u);
  }
  const bool before = set_fusion(false);
  EXPECT_EQ(steps_of({y}).size(), 2u);
  EXPECT_FALSE(set_fusion(before));
}

TEST_F(FusionTest, DyingInputIsOverwritten) {
  array x = ready({1024});
  const Buffer* buffer = x.buffer().get();
  x = exp(exp(x));
  EXPECT_EQ(evaluated_peak({x}), 4096);
  EXPECT_EQ(x.buffer().get(), buffer);
}

TEST_F(FusionTest, ArrayReadThroughTwoLayoutsIsNotOverwritten) {
  array x = ready({32, 32});
  array y = transpose(x);
  array z = exp(add(x, y));
  x = y = array();
  eval(z);
  EXPECT_EQ(peak(), 2 * 4096);
}

// A result for each row, and a dying array of its shape. The result overwrites it only if the array
// is read row by row.
TEST_F(FusionTest, RowsAreNotOverwrittenByWhatOthersRead) {
  for (const int ndim : {2, 3}) {
    const Shape rows(static_cast<size_t>(ndim - 1), 32);
    const Shape all(static_cast<size_t>(ndim), 32);
    const array z = ready(all);
    const array scale = ready(rows);
    const auto by_row = [](const array& a) { return expand_dims(a, {a.ndim()}); };
    const auto total = [&](const array& factor) { return sum(multiply(z, factor), Axes{-1}); };
    struct Case {
      const char* name;
      bool overwrites;
      std::function<array(const array&)> make;
    };
    const Case cases[] = {
        {"along the rows", false, [&](const array& a) { return multiply(scale, total(a)); }},
        {"for each row", true, [&](const array& a) { return multiply(scale, total(by_row(a))); }},
        {"for the results", true, [&](const array& a) { return multiply(a, total(z)); }},
        {"for both", true, [&](const array& a) { return multiply(a, total(by_row(a))); }},
        {"in all ways", false, [&](const array& a) { return multiply(a, total(a)); }},
        {"in two ways", false, [&](const array& a) { return sqrt(total(add(by_row(a), a))); }},
    };
    for (const Case& c : cases) {
      SCOPED_TRACE(c.name);
      array a = ready(rows);
      const Buffer* buffer = a.buffer().get();
      const int64_t before = get_active_memory();
      array y = c.make(a);
      a = array();
      EXPECT_EQ(steps_of({y}).size(), 1u);
      expect_no_higher_peak({y});
      evaluated_peak({y});
      EXPECT_EQ(get_peak_memory() - before, c.overwrites ? 0 : element_count(rows) * 4);
      EXPECT_EQ(y.buffer().get() == buffer, c.overwrites);
    }
  }
}

TEST_F(FusionTest, ResultReadByTwoGroupsIsStoredByTheFirst) {
  const array x = ready({8});
  array shared = exp(x);
  const array a = sin(shared);
  const array b = cos(shared);
  shared = array();
  EXPECT_EQ(steps_of({a, b}), (Titles{"fused(exp, cos)", "sin"}));
  // Within one group it may be read as often as it likes.
  const auto within = [&] {
    const array e = exp(x);
    return add(sin(e), cos(e));
  };
  EXPECT_EQ(steps_of({within()}).size(), 1u);
}

TEST_F(FusionTest, GeneratedValuesNeedNoMemory) {
  const array x = ready({64, 64});
  const array y = add(multiply(x, full({64, 64}, make_scalar(2.0, float32))), ones({64}));
  EXPECT_EQ(evaluated_peak({y}), 2 * 64 * 64 * 4);
  const array z = astype(arange(int64_t{0}, int64_t{1024}, int64_t{1}, int64), int8);
  EXPECT_EQ(steps_of({z}), Titles{"fused(arange, astype)"});
}

TEST_F(FusionTest, BroadcastingIsSeenThrough) {
  const array x = ready({64, 32});
  const array row = ready({32});
  const array y = add(exp(x), expand_dims(broadcast_to(row, {64, 32}), {0}));
  EXPECT_EQ(steps_of({y}), Titles{"fused(broadcast_to, expand_dims, exp, add)"});
}

TEST_F(FusionTest, SmallerResultsAreNotComputedAgainForEachElement) {
  const array x = ready({64, 32});
  const array row = ready({32});
  EXPECT_EQ(steps_of({add(x, exp(row))}), (Titles{"exp", "add"}));
}

TEST_F(FusionTest, ReductionsEndAStep) {
  const array x = ready({64, 32});
  for (const Axes& axes : {Axes{1}, Axes{0, 1}}) {
    for (const bool keepdims : {false, true}) {
      const array norm = [&] { return sqrt(sum(square(x), axes, keepdims)); }();
      EXPECT_EQ(steps_of({norm}), Titles{"fused(square, sum, sqrt)"});
    }
  }
  const array columns = [&] { return sum(square(x), Axes{0}); }();
  EXPECT_EQ(steps_of({columns}), (Titles{"square", "sum"}));
}

TEST_F(FusionTest, NormalizationIsOneStep) {
  const array x = ready({64, 32});
  const array centred = subtract(x, mean(x, Axes{1}, true));
  array y = multiply(centred, rsqrt(add(mean(square(centred), Axes{1}, true), ones({}))));
  // The handle on `centred` is one from outside, so it is stored.
  EXPECT_EQ(steps_of({y}).size(), 1u);
  const auto normalized = [&](bool keepdims) {
    const auto back = [&](const array& a) { return keepdims ? a : expand_dims(a, {1}); };
    const array c = subtract(x, back(mean(x, Axes{1}, keepdims)));
    return multiply(c, rsqrt(add(back(mean(square(c), Axes{1}, keepdims)), ones({}))));
  };
  EXPECT_EQ(steps_of({normalized(true)}).size(), 1u);
  EXPECT_EQ(steps_of({normalized(false)}).size(), 1u);
  const int64_t before = get_active_memory();
  y = normalized(true);
  reset_peak_memory();
  eval(y);
  EXPECT_EQ(get_peak_memory(), before + 64 * 32 * 4);
}

TEST_F(FusionTest, RowsThatDoNotFitIntoACacheAreReadTwice) {
  const array x = ready({2, 1 << 20});
  const array y = divide(x, sum(square(x), Axes{1}, true));
  EXPECT_EQ(steps_of({y}), (Titles{"fused(square, sum)", "divide"}));
}

TEST_F(FusionTest, OnlyTheMemoryThatFusionSavesIsSpent) {
  // Another node between the two steps needs memory: keeping the wide input longer than its narrow
  // descendant would raise the peak.
  const auto outputs = [] {
    array wide = ready({1 << 10}, float64);
    const array narrow = astype(wide, int8);
    wide = array();
    const array late = add(astype(narrow, float32), sum(matmul(ones({64, 64}), ones({64, 64}))));
    return std::vector<array>{late};
  };
  expect_no_higher_peak(outputs());
  evaluated_peak(outputs());
}

TEST_F(FusionTest, FailedStepCanRunAgain) {
  array x = ready({1024});
  array y = astype(multiply(exp(x), array(2.0f)), float64);
  x = array();
  const int64_t limit = set_memory_limit(get_active_memory(), true);
  EXPECT_EQ(steps_of({y}).size(), 1u);
  EXPECT_THROW(eval(y), MemoryError);
  EXPECT_FALSE(y.is_ready());
  EXPECT_THROW(eval(y), MemoryError);
  set_memory_limit(limit);
  eval(y);
  EXPECT_TRUE(y.is_ready());
  y = array();
  EXPECT_EQ(active(), 0);
}

class FusionOfKind : public NullDevice, public testing::WithParamInterface<order_graphs::Kind> {};

TEST_P(FusionOfKind, NeverRaisesThePeak) {
  const std::vector<array> outputs = GetParam().make();
  expect_no_higher_peak(outputs);
  reset_peak_memory();
  const int64_t predicted = describe_plan(outputs).predicted_peak;
  eval(outputs);
  EXPECT_EQ(get_peak_memory(), predicted);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, FusionOfKind, testing::ValuesIn(order_graphs::kKinds), [](const auto& info) {
      return std::string(info.param.name);
    });

// Random graphs over (rows, columns) and shapes that broadcast to it. Most of their nodes can be
// fused.
class FusibleGraph {
 public:
  // Some are square, so that a row of elements has the same shape as a column of values of rows.
  explicit FusibleGraph(uint32_t seed) : random_(seed), columns_(seed % 4 ? 24 : kRows) {
    for (int i = below(4); i >= 0; --i) {
      array a = zeros(shape(), dtype());
      if (below(2)) {
        eval(a);
      }
      arrays_.push_back(below(3) ? a : transpose(a));
    }
    for (int i = 3 + below(40); i > 0; --i) {
      add_node();
    }
    for (int i = below(4); i >= 0; --i) {
      const int count = static_cast<int>(arrays_.size());
      outputs.push_back(arrays_[count - 1 - below(std::min(count, 10))]);
    }
    for (const array& a : arrays_) {
      if (below(12) == 0) {
        held_.push_back(a);
      }
    }
    arrays_.clear();
  }

  std::vector<array> outputs;

 private:
  int below(int count) {
    return static_cast<int>(random_() % count);
  }
  Dtype dtype() {
    constexpr Dtype kDtypes[] = {float32, float32, float32, float64, int8, float16};
    return kDtypes[below(6)];
  }
  Shape shape() {
    switch (below(8)) {
      case 0:
        return {kRows, 1};
      case 1:
        return {columns_};
      case 2:
        return {};
      default:
        return {kRows, columns_};
    }
  }
  const array& any() {
    const int count = static_cast<int>(arrays_.size());
    const int from = below(3) ? std::max(0, count - 6) : 0;
    return arrays_[from + below(count - from)];
  }
  static bool broadcasts(const array& a, const array& b) {
    for (int i = 1; i <= std::min(a.ndim(), b.ndim()); ++i) {
      if (a.shape(-i) != b.shape(-i) && a.shape(-i) != 1 && b.shape(-i) != 1) {
        return false;
      }
    }
    return true;
  }

  void add_node() {
    const array a = any();
    const array b = any();
    switch (below(14)) {
      case 0:
      case 1:
      case 2:
        arrays_.push_back(broadcasts(a, b) ? add(a, b) : exp(a));
        break;
      case 3:
        arrays_.push_back(multiply(a, array(2.0f)));
        break;
      case 4:
        arrays_.push_back(astype(a, dtype()));
        break;
      case 5:
        arrays_.push_back(exp(a));
        break;
      case 6:
        if (a.ndim() > 0) {
          arrays_.push_back(sum(a, Axes{-1}, true));
        }
        break;
      case 7:
        if (a.ndim() > 0) {
          arrays_.push_back(subtract(a, expand_dims(max(a, Axes{-1}), {-1})));
        }
        break;
      case 8:
        if (broadcasts(a, b)) {
          arrays_.push_back(where(greater(a, b), a, b));
        }
        break;
      case 9:
        arrays_.push_back(zeros(shape(), dtype()));
        break;
      case 10:
        arrays_.push_back(transpose(a));
        break;
      case 11:
        if (a.ndim() == 2) {
          arrays_.push_back(softmax(a, Axes{-1}));
        }
        break;
      case 12:
        arrays_.push_back(below(2) && a.ndim() > 0 ? sum(a, Axes{-1}) : sum(a));
        break;
      case 13:
        if (a.ndim() > 0) {
          arrays_.push_back(concatenate({a, a}, 0));
          arrays_.back() = sum(arrays_.back(), Axes{0}, true);
        }
        break;
    }
  }

  static constexpr int64_t kRows = 16;
  std::mt19937 random_;
  const int64_t columns_;
  std::vector<array> arrays_;
  std::vector<array> held_;
};

class FusionFuzz : public NullDevice {};

template <typename Graph>
void check_graph(Graph& graph, uint32_t seed) {
  expect_no_higher_peak(graph.outputs);
  const BfsMaxWidthScope width(1 + seed % 23);
  const PlanReport report = describe_plan(graph.outputs);
  reset_peak_memory();
  eval(graph.outputs);
  EXPECT_EQ(get_peak_memory(), report.predicted_peak) << plan_text(report);
}

TEST_F(FusionFuzz, NeverRaisesThePeakAndPredictsIt) {
  const Stream stream = default_stream(default_device());
  const std::vector<Stream> streams{stream, stream, stream, new_stream(stream.device)};
  const uint32_t count = rounds();
  for (uint32_t seed = 0; seed < count && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    if (seed % 3) {
      FusibleGraph graph(seed);
      check_graph(graph, seed);
    } else {
      order_checks::RandomGraph graph(seed, seed % 2 ? std::vector<Stream>{stream} : streams);
      check_graph(graph, seed);
    }
  }
  EXPECT_EQ(active(), 0);
}

} // namespace
} // namespace narrows
