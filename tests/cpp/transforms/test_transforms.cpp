#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "narrows/fuse/settings.h"
#include "narrows/narrows.h"
#include "narrows/observe/report.h"
#include "narrows/record/pending.h"
#include "narrows/record/trace.h"
#include "null_device.h"

namespace narrows {
namespace {

using Arrays = std::vector<array>;

Arrays one(const array& a) {
  return {a};
}

TEST(Transforms, vjp_and_jvp) {
  const Function product = [](const Arrays& a) { return one(multiply(a[0], sin(a[1]))); };
  const Arrays at = {array(3.0, float64), array(0.5, float64)};
  const auto [outputs, gradients] = vjp(product, at, one(array(1.0, float64)));
  EXPECT_DOUBLE_EQ(outputs[0].item<double>(), 3 * std::sin(0.5));
  EXPECT_DOUBLE_EQ(gradients[0].item<double>(), std::sin(0.5));
  EXPECT_DOUBLE_EQ(gradients[1].item<double>(), 3 * std::cos(0.5));
  const auto changes = jvp(product, at, {array(1.0, float64), array(2.0, float64)}).second;
  EXPECT_DOUBLE_EQ(changes[0].item<double>(), std::sin(0.5) + 6 * std::cos(0.5));
}

TEST(Transforms, cotangents_may_be_missing) {
  const Function two = [](const Arrays& a) { return Arrays{exp(a[0]), square(a[0])}; };
  const Function only_second = [](const Arrays& outputs) {
    return Arrays{array(), ones({}, outputs[1].dtype())};
  };
  EXPECT_EQ(vjp(two, one(array(3.0f)), only_second).second[0].item<float>(), 6);
}

TEST(Transforms, vmap_batches_along_any_axis) {
  const Function rows = [](const Arrays& a) { return one(sum(multiply(a[0], a[1]))); };
  const array a = reshape(arange(int64_t{0}, 6, 1, float32), {2, 3});
  const BatchedOutputs found = vmap(rows, {a, array(2.0f)}, {1, std::nullopt});
  EXPECT_EQ(found.size, 3);
  const array batch = batch_along(found.outputs[0], found.size, 0);
  EXPECT_EQ(batch.shape(), Shape{3});
  EXPECT_EQ(sum(batch).item<float>(), 30);
  EXPECT_THROW(vmap(rows, {a, a}, {0, 1}), ValueError);
  EXPECT_THROW(vmap(rows, {a, a}, {std::nullopt, std::nullopt}), ValueError);
}

TEST(Transforms, traces_are_numbered_and_nest) {
  EXPECT_EQ(current_trace().number, 0u);
  const array before = exp(array(1.0f));
  const TraceScope outer;
  const array inside = exp(before);
  {
    const TraceScope inner;
    EXPECT_GT(inner.trace().number, outer.trace().number);
    EXPECT_EQ(inner.trace().family, outer.trace().family);
    EXPECT_EQ(current_trace().number, inner.trace().number);
    EXPECT_TRUE(outer.trace().has(*exp(before).node()));
    EXPECT_FALSE(inner.trace().has(*inside.node()));
  }
  EXPECT_EQ(current_trace().number, outer.trace().number);
  EXPECT_FALSE(outer.trace().has(*before.node()));
  EXPECT_TRUE(outer.trace().has(*inside.node()));
  EXPECT_EQ(traced_nodes(one(inside), outer.trace()).size(), 1u);
  array elsewhere;
  std::thread([&] {
    const TraceScope other;
    elsewhere = exp(before);
  }).join();
  EXPECT_FALSE(outer.trace().has(*elsewhere.node()));
}

// An argument that a function leaves somewhere and gets again grows no chain, whether it was
// evaluated or not.
TEST(Transforms, traces_keep_nothing_when_they_have_ended) {
  for (const bool evaluates : {false, true}) {
    array left = array(1.0f);
    const Function function = [&](const Arrays& a) {
      left = evaluates ? add(multiply(left, array(0.5f)), a[0]) : a[0];
      if (evaluates) {
        eval(left);
      }
      return one(sum(multiply(a[0], a[0])));
    };
    const auto call = [&] {
      const Arrays gradients =
          vjp(function, one(evaluates ? array(1.0f) : left), one(array(1.0f))).second;
      eval(gradients);
    };
    call();
    call();
    synchronize();
    const int64_t buffers = get_live_buffers();
    const int64_t pending = get_pending_nodes();
    for (int i = 0; i < 100; ++i) {
      call();
    }
    EXPECT_EQ(get_live_buffers(), buffers);
    EXPECT_EQ(get_pending_nodes(), pending);
    EXPECT_EQ(left.item<float>(), evaluates ? 2.0f : 1.0f);
  }
}

TEST(Transforms, argument_that_is_left_is_the_array_it_was_made_of) {
  const array original = exp(array(1.0f));
  array left = original;
  array inner_left = original;
  const Function inner = [&](const Arrays& a) {
    inner_left = a[0];
    return one(multiply(a[0], a[0]));
  };
  const Function outer = [&](const Arrays& a) {
    left = a[0];
    const array again = vjp(inner, one(a[0]), one(array(1.0f))).second[0]; // 2 a
    // The inner argument still is what the outer derivative is taken with respect to.
    return one(add(again, multiply(inner_left, array(3.0f))));
  };
  for (int i = 0; i < 3; ++i) {
    const Arrays gradients = vjp(outer, one(i % 2 ? left : inner_left), one(array(1.0f))).second;
    EXPECT_EQ(gradients[0].item<float>(), 5.0f);
    EXPECT_TRUE(left.node()->inputs()[0].same_as(original));
  }
}

// Another thread evaluates what a function records, while the function is recorded and while its
// rules are applied.
TEST(Transforms, other_threads_may_evaluate_what_is_traced) {
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> started{0};
    std::vector<std::thread> readers;
    std::vector<float> read(2);
    const Function function = [&](const Arrays& a) {
      array x = a[0];
      for (int i = 0; i < 20; ++i) {
        x = sin(x);
        if (i % 10 == 5) {
          readers.emplace_back([&started, x, to = &read[i / 10]] {
            ++started;
            *to = x.item<float>();
          });
        }
      }
      while (round % 2 && started < 2) {
        std::this_thread::yield();
      }
      return one(x);
    };
    const array gradient = vjp(function, one(array(1.0f)), one(array(1.0f))).second[0];
    for (std::thread& reader : readers) {
      reader.join();
    }
    const array again = vjp(
                            [](const Arrays& a) {
                              array x = a[0];
                              for (int i = 0; i < 20; ++i) {
                                x = sin(x);
                              }
                              return one(x);
                            },
                            one(array(1.0f)),
                            one(array(1.0f)))
                            .second[0];
    EXPECT_EQ(gradient.item<float>(), again.item<float>());
    EXPECT_GT(read[0], 0.0f);
    EXPECT_GT(read[1], 0.0f);
  }
}

// The same for an array that becomes a constant of a compiled function.
TEST(Transforms, other_threads_may_evaluate_what_compiled_functions_leave) {
  for (int round = 0; round < 200; ++round) {
    std::thread reader;
    float read = 0;
    const Function function = [&](const Arrays& a) {
      array constant = array(0.5f);
      for (int i = 0; i < 20; ++i) {
        constant = sin(constant);
      }
      reader = std::thread([&read, constant] { read = constant.item<float>(); });
      return one(add(a[0], constant));
    };
    const auto graph = record_graph(function, one(array(1.0f)));
    const float found = call(graph, one(array(1.0f)))[0].item<float>();
    reader.join();
    EXPECT_EQ(found, 1.0f + read);
  }
}

// Their rules are those of the operations that were recorded.
TEST(Transforms, recorded_graphs_have_derivatives_and_batches) {
  const Function function = [](const Arrays& a) {
    return Arrays{multiply(sin(a[0]), a[1]), add(a[1], full({}, make_scalar(1.0, float32)))};
  };
  const Arrays at = {array(0.5f), array(3.0f)};
  const auto graph = record_graph(function, at);
  const Function recorded = [&](const Arrays& a) { return call(graph, a); };
  const auto expect_same = [](const Arrays& actual, const Arrays& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      EXPECT_EQ(sum(actual[i]).item<float>(), sum(expected[i]).item<float>());
    }
  };
  const Arrays weights = {array(2.0f), array(-1.0f)};
  expect_same(vjp(recorded, at, weights).second, vjp(function, at, weights).second);
  expect_same(jvp(recorded, at, weights).second, jvp(function, at, weights).second);
  const Arrays batch = {arange(int64_t{0}, 4, 1, float32), array(3.0f)};
  const BatchedOutputs found = vmap(recorded, batch, {0, std::nullopt});
  EXPECT_EQ(found.outputs[0].value.shape(), Shape{4});
  expect_same({found.outputs[0].value}, {function(batch)[0]});
}

TEST(Transforms, operations_without_a_rule_say_so) {
  const Function function = [](const Arrays& a) { return one(cummax(a[0])); };
  const Arrays at = {ones({3})};
  EXPECT_THROW(vjp(function, at, at), ValueError);
  EXPECT_THROW(jvp(function, at, at), ValueError);
}

TEST(Transforms, placeholders_have_no_value) {
  EXPECT_THROW(exp(placeholder({2}, float32)).eval(), ValueError);
}

class CompiledBytes : public NullDevice {
 protected:
  const FusionScope every_node_is_a_step_{false};
};

// exp and sin overwrite; the product needs both factors and its own buffer.
Arrays steps(const Arrays& a) {
  const array b = exp(add(a[0], array(1.0f)));
  return {matmul(b, sin(b))};
}

TEST_F(CompiledBytes, planned_peak_is_the_counted_one) {
  constexpr int64_t kBytes = 64 * 64 * 4;
  array a = zeros({64, 64});
  a.eval();
  const auto graph = record_graph(steps, one(a));
  EXPECT_EQ(node_count(*graph), 6u); // with placeholder and constant
  for (const bool dies : {false, true}) {
    Arrays result = call(graph, one(a));
    if (dies) {
      a = array();
    }
    reset_peak_memory();
    const int64_t before = get_active_memory();
    const PlanReport report = describe_plan(result);
    EXPECT_EQ(report.steps.size(), 1u);
    eval(result);
    EXPECT_EQ(get_peak_memory(), report.predicted_peak);
    EXPECT_EQ(get_peak_memory() - before, (dies ? 2 : 3) * kBytes);
    EXPECT_EQ(get_active_memory() - before, dies ? 0 : kBytes);
  }
}

TEST_F(CompiledBytes, one_plan_for_each_layout) {
  const array a = zeros({64, 64});
  const auto graph = record_graph(steps, one(a));
  for (int i = 0; i < 3; ++i) {
    for (const array& seen : {a, transpose(a), flip(a)}) {
      const Arrays result = call(graph, one(seen));
      const PlanReport report = describe_plan(result);
      reset_peak_memory();
      eval(result);
      EXPECT_EQ(get_peak_memory(), report.predicted_peak);
    }
  }
}

TEST_F(CompiledBytes, errors_inside_leave_what_others_hold) {
  const array a = zeros({64, 64});
  a.eval();
  const auto graph = record_graph(steps, one(a));
  const Arrays result = call(graph, one(a));
  const int64_t before = get_active_memory();
  clear_cache();
  const int64_t limit = set_memory_limit(before + 64 * 64 * 4, true);
  EXPECT_THROW(eval(result), MemoryError);
  EXPECT_EQ(get_active_memory(), before);
  set_memory_limit(limit);
  eval(result);
  EXPECT_TRUE(result[0].is_ready());
}

} // namespace
} // namespace narrows
