#include "narrows/run/kept_plans.h"

#include <gtest/gtest.h>

#include <functional>

#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/order/search.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows {
namespace {

array ready(const Shape& shape, Dtype dtype = float32) {
  const array made = full(shape, make_scalar(0.5, dtype));
  eval(made);
  return made;
}

// What may differ between two graphs.
struct Variant {
  Shape shape{6, 6};
  Dtype dtype = float32;
  int axis = 0;
  float number = 2.0f;
  bool transposed = false;
  bool holds_product = false;
  bool shares = false;
  bool fuse = true;
  int64_t width = 0;
};

class KeptPlansTest : public testing::Test {
 protected:
  // Asks for a plan of a graph, and keeps the one that is made if there is none. Whether there was
  // one; then it is compared with one that is made for the same graph.
  bool finds(const Variant& variant) {
    const array x = ready(variant.shape, variant.dtype);
    const array y = variant.shares ? x : ready(variant.shape, variant.dtype);
    const array left = variant.transposed ? swapaxes(x, 0, 1) : x;
    array held = matmul(left, y);
    array sum = exp(add(multiply(held, array(variant.number, variant.dtype)), y));
    for (int i = 0; i < 3; ++i) {
      sum = add(exp(sum), subtract(sum, y));
    }
    const array output = narrows::sum(sum, Axes{variant.axis});
    if (!variant.holds_product) {
      held = array(0.0f);
    }
    OrderOptions options = order_options();
    if (variant.width > 0) {
      options.policy = OrderPolicy::width;
      options.width = variant.width;
    }
    std::lock_guard lock(graph_mutex());
    Tape tape;
    Plan plan;
    const std::span<const array> outputs(&output, 1);
    list_nodes(outputs, options, tape);
    const bool found = kept_.find(tape, outputs, options, variant.fuse, plan);
    Plan made;
    plan_listed(outputs, options, tape, made, variant.fuse);
    if (found) {
      expect_equal(plan, made);
    } else {
      kept_.keep(made);
    }
    return found;
  }

  static void expect_equal(const Plan& plan, const Plan& made) {
    ASSERT_EQ(plan.steps.size(), made.steps.size());
    ASSERT_EQ(plan.values.size(), made.values.size());
    EXPECT_EQ(plan.peak_bytes(), made.peak_bytes());
    EXPECT_EQ(plan.bytes_before(), made.bytes_before());
    EXPECT_EQ(plan.operands, made.operands);
    EXPECT_EQ(plan.freed, made.freed);
    for (size_t i = 0; i < made.steps.size(); ++i) {
      EXPECT_EQ(plan.steps[i].node, made.steps[i].node);
      EXPECT_EQ(plan.steps[i].fused != nullptr, made.steps[i].fused != nullptr);
      EXPECT_EQ(plan.steps[i].live_bytes, made.steps[i].live_bytes);
      if (!made.steps[i].fused) {
        EXPECT_EQ(plan.steps[i].primitive, made.steps[i].primitive);
      }
    }
    for (size_t i = 0; i < made.values.size(); ++i) {
      EXPECT_EQ(plan.values[i].output, made.values[i].output);
      EXPECT_EQ(plan.values[i].held, made.values[i].held);
      EXPECT_TRUE(plan.values[i].layout.strides == made.values[i].layout.strides);
    }
  }

  KeptPlans kept_;
};

TEST_F(KeptPlansTest, APlanIsKeptFromTheSecondTimeOn) {
  EXPECT_FALSE(finds({}));
  EXPECT_FALSE(finds({}));
  EXPECT_TRUE(finds({}));
  EXPECT_TRUE(finds({}));
}

TEST_F(KeptPlansTest, WhateverPlanningLooksAtTellsGraphsApart) {
  const std::vector<std::function<void(Variant&)>> changes{
      [](Variant& v) {
        v.shape = {7, 7};
      },
      [](Variant& v) { v.dtype = float16; },
      [](Variant& v) { v.axis = 1; },
      [](Variant& v) { v.number = 3.0f; },
      [](Variant& v) { v.transposed = true; },
      [](Variant& v) { v.holds_product = true; },
      [](Variant& v) { v.shares = true; },
      [](Variant& v) { v.fuse = false; },
      [](Variant& v) { v.width = 5; },
  };
  finds({});
  finds({});
  for (size_t i = 0; i < changes.size(); ++i) {
    Variant changed;
    changes[i](changed);
    if (i == 8) { // more plans than are kept
      changed.fuse = false;
    }
    EXPECT_FALSE(finds(changed)) << i;
    EXPECT_FALSE(finds(changed)) << i;
    EXPECT_TRUE(finds(changed)) << i;
    EXPECT_TRUE(finds({})) << i; // the latest used are kept
  }
}

TEST_F(KeptPlansTest, GraphsOfOneShapeButOtherParametersAreKeptSideBySide) {
  for (int round = 0; round < 4; ++round) {
    for (const int axis : {0, 1}) {
      Variant variant;
      variant.axis = axis;
      const bool found = finds(variant);
      EXPECT_TRUE(found || round < 3) << axis;
    }
  }
}

TEST(KeptPlans, StepsThatComeAgainComputeTheirOwnValues) {
  array weight = ready({32, 32});
  std::vector<double> sums;
  for (int step = 0; step < 6; ++step) {
    const array x = full({32, 32}, make_scalar(0.25 * step, float32));
    eval(x);
    array y = matmul(x, weight);
    for (int i = 0; i < 4; ++i) {
      y = add(multiply(y, array(0.5f)), x);
    }
    weight = add(weight, multiply(y, array(step == 3 ? 0.5f : 0.125f)));
    const array total = sum(y);
    reset_peak_memory();
    Plan plan;
    Tape tape;
    int64_t predicted;
    const std::vector<array> outputs{weight, total};
    {
      std::lock_guard lock(graph_mutex());
      plan_outputs(outputs, tape, plan);
      predicted = get_active_memory() - plan.bytes_before() + plan.peak_bytes();
    }
    eval(outputs);
    EXPECT_EQ(get_peak_memory(), predicted) << step;
    sums.push_back(total.item<float>());
  }
  // The same, one value at a time: all elements of a matrix are equal.
  double w = 0.5;
  for (int step = 0; step < 6; ++step) {
    const double x = 0.25 * step;
    double y = 32 * x * w;
    for (int i = 0; i < 4; ++i) {
      y = 0.5 * y + x;
    }
    w += y * (step == 3 ? 0.5 : 0.125);
    EXPECT_NEAR(sums[static_cast<size_t>(step)] / (1024 * y + 1e-30), step > 0 ? 1.0 : 0.0, 1e-5);
  }
}

} // namespace
} // namespace narrows
