#include "narrows/plan/plan.h"

#include <random>

#include "narrows/fuse/settings.h"
#include "narrows/observe/report.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/run/evaluate.h"
#include "null_device.h"

namespace narrows {
namespace {

class PlanTest : public NullDevice {
 protected:
  // Evaluates on the null backend. The counted peak must be the predicted one.
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

 private:
  const FusionScope every_node_is_a_step_{false};
};

std::vector<array> casts() {
  std::vector<array> arrays;
  for (int i = 0; i < 1000; ++i) {
    arrays.push_back(astype(zeros({4096, 128}, int64), int8));
  }
  return arrays;
}

TEST_F(PlanTest, CastPeaksByWidth) {
  constexpr int64_t kWide = 4096 * 128 * 8;
  constexpr int64_t kNarrow = 4096 * 128;
  for (int64_t width : {1, 10, 20, 50, 1000}) {
    BfsMaxWidthScope scope(width);
    // `width` inputs wait until all casts but `width` are done. Then the first of them runs.
    EXPECT_EQ(evaluated_peak(casts()), width * kWide + (1000 - width) * kNarrow + kNarrow)
        << "width " << width;
  }
  BfsMaxWidthScope scope(kUnlimitedWidth);
  EXPECT_EQ(evaluated_peak(casts()), 1000 * kWide + kNarrow);
}

TEST_F(PlanTest, ChainOverwritesItsInput) {
  array x = zeros({1024});
  for (int i = 0; i < 10; ++i) {
    x = exp(x);
  }
  EXPECT_EQ(evaluated_peak({x}), 4096);
}

TEST_F(PlanTest, HeldArraysAreNotOverwritten) {
  const array held = zeros({1024});
  array x = exp(held);
  x = exp(x);
  EXPECT_EQ(evaluated_peak({x}), 2 * 4096);
  EXPECT_TRUE(held.is_ready());
  EXPECT_NE(held.buffer().get(), x.buffer().get());
}

TEST_F(PlanTest, InputThatNobodyElseHoldsIsOverwritten) {
  array x = zeros({1024});
  eval(x);
  const Buffer* buffer = x.buffer().get();
  x = exp(x);
  EXPECT_EQ(evaluated_peak({x}), 4096);
  EXPECT_EQ(x.buffer().get(), buffer);
}

TEST_F(PlanTest, InputsOfAnotherSizeAreFreedAfterTheirLastUse) {
  array x = zeros({1024});
  eval(x);
  array y = astype(x, int8);
  x = array();
  array z = astype(y, float64);
  y = array();
  // 4096 + 1024, then 1024 + 8192.
  EXPECT_EQ(evaluated_peak({z}), 1024 + 8192);
  EXPECT_EQ(active(), 8192);
}

TEST_F(PlanTest, ArrayUsedTwiceByOneStepIsOverwritten) {
  array x = zeros({1024});
  x = add(x, x);
  EXPECT_EQ(evaluated_peak({x}), 4096);
}

TEST_F(PlanTest, BufferSeenThroughTwoLayoutsIsNotOverwritten) {
  const array x = exp(zeros({8, 128}));
  const array y = broadcast_to(expand_dims(x, {0}), {2, 8, 128});
  const array z = add(x, y);
  EXPECT_EQ(evaluated_peak({z}), 4096 + 8192);
}

TEST_F(PlanTest, ViewsCostNothingAndKeepTheirBuffer) {
  array view;
  {
    const array x = zeros({1024});
    view = broadcast_to(expand_dims(x, {0}), {1000, 1024});
  }
  EXPECT_EQ(evaluated_peak({view}), 4096);
  EXPECT_EQ(active(), 4096);
  view = array();
  EXPECT_EQ(active(), 0);
}

TEST_F(PlanTest, NonContiguousInputsKeepTheirAxisOrder) {
  const array x = zeros({3, 5, 7});
  eval(x);
  const array y = exp(transpose(x, {2, 0, 1}));
  eval(y);
  EXPECT_TRUE(y.layout().dense);
  EXPECT_FALSE(y.layout().row_contiguous);
  EXPECT_EQ(y.layout().strides, (Strides{1, 35, 7}));
}

TEST_F(PlanTest, FailedAllocationLeavesTheGraphAsItWas) {
  array a = zeros({1024});
  array b = exp(a);
  const array big = add(expand_dims(b, {1}), zeros({1024, 1024}));
  eval(a);
  const int64_t before = active();
  const int64_t limit = set_memory_limit(get_active_memory() + (1 << 20), true);
  EXPECT_THROW(eval(big), MemoryError);
  EXPECT_FALSE(big.is_ready());
  EXPECT_TRUE(a.is_ready());
  set_memory_limit(limit);
  eval(big);
  EXPECT_TRUE(big.is_ready());
  EXPECT_EQ(active(), before + 4096 + (4 << 20));
}

TEST_F(PlanTest, FailureInAChainKeepsWhatTheRestNeeds) {
  // The chain's values are computed, given to their nodes and freed. The failing step's input must
  // survive.
  array x = exp(exp(zeros({1024})));
  const array y = astype(x, int8);
  x = array();
  const int64_t limit = set_memory_limit(get_active_memory() + 4096, true);
  EXPECT_THROW(eval(y), MemoryError);
  EXPECT_EQ(active(), 4096);
  set_memory_limit(limit);
  EXPECT_EQ(describe_plan({&y, 1}).steps.size(), 1u);
  eval(y);
  EXPECT_EQ(active(), 1024);
}

TEST_F(PlanTest, PredictsRandomGraphsExactly) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<array> all;
    const int nodes = 1 + static_cast<int>(random() % 40);
    for (int i = 0; i < nodes; ++i) {
      const auto any = [&] { return all[random() % all.size()]; };
      switch (all.empty() ? 0 : random() % 7) {
        case 0:
          all.push_back(zeros({static_cast<int64_t>(1 + random() % 3), 64}));
          break;
        case 1:
          all.push_back(add(any(), zeros({1, 1})));
          break;
        case 2:
          all.push_back(exp(any()));
          break;
        case 3:
          all.push_back(transpose(any(), {1, 0}));
          break;
        case 4:
          all.push_back(contiguous(any()));
          break;
        case 5:
          all.push_back(astype(any(), random() % 2 ? float32 : float64));
          break;
        case 6:
          all.push_back(expand_dims(squeeze(expand_dims(any(), {0}), {0}), {0}));
          all.back() = squeeze(all.back(), {0});
          break;
      }
    }
    std::vector<array> outputs;
    for (size_t i = 0; i < 1 + random() % 3; ++i) {
      outputs.push_back(all[random() % all.size()]);
    }
    if (random() % 2) {
      all.resize(random() % all.size());
    }
    BfsMaxWidthScope scope(1 + static_cast<int64_t>(random() % 6));
    evaluated_peak(outputs);
    evaluated_peak(all);
  }
  EXPECT_EQ(active(), 0);
}

TEST_F(PlanTest, ReportNamesArraysInEvaluationOrder) {
  const array a = zeros({2, 3});
  const array b = zeros({3}, float64);
  const array c = add(a, b);
  const PlanReport report = describe_plan({&c, 1}, {{a, "first"}});
  EXPECT_EQ(
      graph_text(report),
      "first (2, 3) float32 = full\n"
      "B (3,) float64 = full\n"
      "C (2, 3) float64 = astype first\n"
      "D (2, 3) float64 = add C, B\n");
  EXPECT_EQ(report.steps.size(), 4u);
  EXPECT_EQ(report.arrays[report.steps[3].outputs[0]].kind, PlanReport::Kind::donated);
}

} // namespace
} // namespace narrows
