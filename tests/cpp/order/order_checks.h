// What every order planned by bytes must satisfy, and graphs to test it with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <unordered_map>
#include <vector>

#include "narrows/backend/null/backend.h"
#include "narrows/observe/report.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/matmul.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/softmax.h"
#include "narrows/ops/strided.h"
#include "narrows/order/search.h"
#include "narrows/plan/placement.h"
#include "narrows/record/primitive.h"
#include "narrows/run/evaluate.h"
#include "narrows/runtime/allocator.h"

namespace narrows::order_checks {

inline void expect_same_nodes_in_valid_order(const Tape& tape, const Tape& reference) {
  Tape sorted = tape;
  Tape expected = reference;
  std::sort(sorted.begin(), sorted.end());
  std::sort(expected.begin(), expected.end());
  ASSERT_EQ(sorted, expected);
  std::unordered_map<const Node*, size_t> place;
  for (size_t i = 0; i < tape.size(); ++i) {
    place[tape[i]] = i;
  }
  for (size_t i = 0; i < tape.size(); ++i) {
    for (uint32_t j = 0; j < tape[i]->input_count(); ++j) {
      const auto input = place.find(tape[i]->inputs()[j].node());
      ASSERT_TRUE(input == place.end() || input->second < i);
    }
  }
}

inline int64_t allocated_in(const Plan& plan) {
  int64_t bytes = 0;
  for (const Step& step : plan.steps) {
    bytes += step.workspace;
  }
  for (uint32_t buffer : plan.allocated) {
    bytes += plan.buffers[buffer].bytes;
  }
  return bytes;
}

// Compares the plan of the memory order with those of widths 1 and 20. Returns its peak.
inline int64_t check_plan(
    const std::vector<array>& outputs, int64_t small_bytes, int64_t budget, int concurrency) {
  const int previous = set_null_concurrency(concurrency);
  std::lock_guard lock(graph_mutex());
  Tape reference;
  Plan plan;
  plan_graph(outputs, {OrderPolicy::width, 1, 0, 0}, reference, plan);
  const int64_t width_1 = plan.peak_bytes();
  plan_graph(outputs, {OrderPolicy::width, 20, 0, 0}, reference, plan);
  const int64_t width_20 = plan.peak_bytes();
  const int64_t least = std::min(width_1, width_20);
  const bool is_small = allocated_in(plan) <= small_bytes;
  Tape tape;
  plan_graph(outputs, {OrderPolicy::memory, 0, budget, small_bytes}, tape, plan);
  expect_same_nodes_in_valid_order(tape, reference);
  EXPECT_LE(plan.peak_bytes(), width_20);
  if (!is_small) {
    EXPECT_LE(
        plan.peak_bytes(), small_bytes > 0 ? std::max(least + least / 34, small_bytes) : least);
  }
  set_null_concurrency(previous);
  return plan.peak_bytes();
}

// The number of rounds that a plan takes if each round starts the next steps, at most
// `concurrency`, in order, as long as no step needs or overwrites what another one of the round
// works on. Views take no time.
inline int waves_of(const Plan& plan, int concurrency) {
  std::vector<int> written(plan.buffers.size(), 0); // by buffer: the latest wave
  std::vector<int> read(plan.buffers.size(), 0);
  int wave = 1;
  int in_wave = 0;
  for (const Step& step : plan.steps) {
    const auto buffer_of = [&](uint32_t value) { return plan.values[value].buffer; };
    if (!step.encodes) {
      continue;
    }
    bool waits = in_wave == concurrency;
    for (uint32_t input : plan.inputs_of(step)) {
      waits |= written[buffer_of(input)] == wave;
    }
    for (uint32_t output : plan.outputs_of(step)) {
      waits |= read[buffer_of(output)] == wave || written[buffer_of(output)] == wave;
    }
    if (waits) {
      ++wave;
      in_wave = 0;
    }
    ++in_wave;
    for (uint32_t input : plan.inputs_of(step)) {
      read[buffer_of(input)] = wave;
    }
    for (uint32_t output : plan.outputs_of(step)) {
      written[buffer_of(output)] = wave;
    }
  }
  return wave;
}

// Evaluates in the memory order. The counted peak must be the planned one.
inline void check_evaluation(const std::vector<array>& outputs) {
  const OrderPolicyScope policy(OrderPolicy::memory);
  const PlanReport report = describe_plan(outputs);
  reset_peak_memory();
  eval(outputs);
  EXPECT_EQ(get_peak_memory(), report.predicted_peak);
}

// An operation with scratch memory and any number of outputs.
class WithWorkspace final : public Primitive {
 public:
  explicit WithWorkspace(int64_t bytes) : bytes_(bytes) {
  }
  const char* name() const override {
    return "with_workspace";
  }
  void place(Placement& placement) const override {
    Primitive::place(placement);
    placement.workspace(bytes_);
  }
  void encode(Encoder&, const StepView&) const override {
  }

 private:
  int64_t bytes_;
};

// Random graphs of many kinds of operations over (n, 16) float32 arrays: views, nodes with
// several outputs, workspace, overwritten inputs, packed copies, evaluated inputs, several streams.
class RandomGraph {
 public:
  RandomGraph(uint32_t seed, const std::vector<Stream>& streams)
      : random_(seed), streams_(streams) {
    const int before = below(4);
    const int nodes = 3 + below(60);
    for (int i = 0; i < before; ++i) {
      const array a = zeros({rows(), 16});
      eval(a);
      arrays_.push_back(below(2) ? a : transpose(a));
    }
    for (int i = 0; i < nodes; ++i) {
      add_node();
    }
    const int outputs = 1 + below(4);
    for (int i = 0; i < outputs; ++i) {
      this->outputs.push_back(
          arrays_[arrays_.size() - 1 - below(std::min<int>(arrays_.size(), 12))]);
    }
    for (const array& a : arrays_) {
      if (below(25) == 0) {
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
  int64_t rows() {
    return 1 + below(5) * (below(8) == 0 ? 16 : 1);
  }
  const array& any() {
    const int count = static_cast<int>(arrays_.size());
    const int from = below(3) ? std::max(0, count - 8) : 0;
    return arrays_[from + below(count - from)];
  }

  void add_node() {
    const Stream stream = streams_[below(static_cast<int>(streams_.size()))];
    if (arrays_.empty() || below(8) == 0) {
      arrays_.push_back(zeros({rows(), 16}, float32, stream));
      return;
    }
    const array a = any();
    const int64_t rows = a.shape(0);
    const int64_t columns = a.shape(1);
    switch (below(15)) {
      case 0:
      case 1:
        arrays_.push_back(exp(a, stream));
        break;
      case 2:
      case 3:
      case 4: {
        const array b = any();
        arrays_.push_back(a.shape() == b.shape() ? add(a, b, stream) : abs(a, stream));
        break;
      }
      case 5:
        arrays_.push_back(transpose(a, {1, 0}, stream));
        break;
      case 6:
        arrays_.push_back(
            matmul(a, transpose(any().shape(1) == columns ? any_like(a) : a), stream));
        break;
      case 7:
        arrays_.push_back(sum(a, Axes{below(2)}, true, stream));
        break;
      case 8:
        for (const array& part : split(a, rows, 0, stream)) {
          if (below(3) == 0) {
            arrays_.push_back(part);
          }
        }
        break;
      case 9:
        arrays_.push_back(
            slice_update(a, sum(a, Axes{0}, true, stream), {0, 0}, {1, columns}, {1, 1}, stream));
        break;
      case 10:
        arrays_.push_back(softmax(a, Axes{-1}, false, stream));
        break;
      case 11:
        arrays_.push_back(reshape(a, {columns, rows}, stream));
        break;
      case 13:
      case 14:
        add_with_workspace(a, stream);
        break;
      case 12:
        if (rows * columns < 4096) {
          arrays_.push_back(concatenate({a, a, any_like(a)}, 0, stream));
        }
        break;
    }
  }

  void add_with_workspace(const array& a, Stream stream) {
    const std::vector<OutputSpec> specs(1 + below(3), {{rows(), 16}, float32});
    const std::vector<array> inputs{a, any()};
    const auto primitive = std::make_shared<const WithWorkspace>(64 * below(6));
    for (const array& made : record(primitive, stream, specs, inputs)) {
      if (below(3)) {
        arrays_.push_back(made);
      }
    }
  }

  // An array of this shape: an existing one, or `a`.
  array any_like(const array& a) {
    for (int tries = 0; tries < 4; ++tries) {
      const array b = any();
      if (b.shape() == a.shape()) {
        return b;
      }
    }
    return a;
  }

  std::mt19937 random_;
  const std::vector<Stream>& streams_;
  std::vector<array> arrays_;
  std::vector<array> held_;
};

} // namespace narrows::order_checks
