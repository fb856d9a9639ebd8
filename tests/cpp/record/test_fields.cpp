#include "narrows/core/kernel_families.h"
#include "narrows/record/fields.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "narrows/narrows.h"
#include "narrows/ops/convolution_operation.h"
#include "narrows/ops/operation.h"
#include "narrows/record/trace.h"
#include "narrows/walk/linearize.h"
#include "stand_in_group.h"

namespace narrows {
namespace {

using Arrays = std::vector<array>;

// A convolution and its gradients, as rules record them.
void add_convolutions(Arrays& arrays) {
  const array x = ones({2, 5, 7, 3});
  const array weight = ones({4, 2, 3, 3});
  ConvolutionSettings settings;
  settings.stride = {1, 2};
  settings.padding_low = {0, 1};
  settings.padding_high = {1, 0};
  const array y = conv_general(x, weight, settings);
  const auto gradient = [&](ConvolutionOp op, const array& a, const array& b, const Shape& size) {
    const ConvolutionFields fields{op, {1, 2}, {0, 1}, {1, 0}, {1, 1}, {1, 1}, 1, size};
    arrays.push_back(record_convolution(fields, a, b, {}));
  };
  arrays.push_back(y);
  gradient(ConvolutionOp::input_gradient, y, weight, {5, 7});
  gradient(ConvolutionOp::weight_gradient, x, y, {2, 3});
}

void add_elementwise(Arrays& arrays) {
  for (size_t i = 0; i < elementwise_table().size(); ++i) {
    const ElementwiseInfo& info = elementwise_table()[i];
    for (const Dtype dtype : {float32, int32, complex64}) {
      try {
        info.operand_dtype(dtype);
      } catch (const ValueError&) {
        continue;
      }
      const Arrays inputs(static_cast<size_t>(info.arity), ones({2, 3}, dtype));
      arrays.push_back(elementwise(static_cast<ElementwiseOp>(i), inputs));
    }
  }
}

void add_indexed(Arrays& arrays) {
  const array a = ones({4, 5});
  const array rows = arange(int64_t{0}, 3, 1, int32);
  const array index = reshape(arange(int64_t{0}, 8, 1, int64), {4, 2});
  const auto add_batched = [&](const Function& function, const Arrays& inputs) {
    const std::vector<std::optional<int>> axes(inputs.size(), 0);
    arrays.push_back(vmap(function, inputs, axes).outputs[0].value);
  };
  arrays.push_back(gather(a, {rows}, {1}, {2, 1}));
  arrays.push_back(gather_axis(a, index, 1));
  add_batched([](const Arrays& x) { return Arrays{gather(x[0], {x[1]}, {0}, {1})}; }, {a, index});
  for (const ScatterOp op :
       {ScatterOp::assign,
        ScatterOp::add,
        ScatterOp::multiply,
        ScatterOp::minimum,
        ScatterOp::maximum}) {
    arrays.push_back(scatter(a, {rows}, ones({3, 2, 1}), {1}, op));
    arrays.push_back(scatter_axis(a, index, ones({4, 2}), -1, op));
  }
}

void add_attention(Arrays& arrays) {
  const array q = ones({1, 4, 3, 2});
  const array k = ones({1, 2, 5, 2});
  const array sinks = ones({4});
  for (const fast::Mask& mask :
       {fast::Mask(), fast::Mask("causal"), fast::Mask(ones({5})), fast::Mask(ones({5}, bool_))}) {
    arrays.push_back(fast::scaled_dot_product_attention(q, k, k, 0.5F, mask));
    const Function function = [&](const Arrays& x) {
      return Arrays{fast::scaled_dot_product_attention(x[0], k, k, 0.25F, mask, sinks)};
    };
    arrays.push_back(vjp(function, {q}, Arrays{q}).second[0]);
  }
  const array v = ones({1, 4, 3, 6});
  const array rates = ones({1, 4, 3});
  const auto [result, state] =
      fast::gated_delta_update(ones({1, 4, 1, 2}), ones({1, 4, 1, 2}), v, rates, rates);
  arrays.insert(arrays.end(), {result, state});
}

void add_rope(Arrays& arrays) {
  const array x = ones({2, 3, 4});
  const array offset = number(1, int64);
  arrays.push_back(fast::rope(x, 4, false, {10.0, std::nullopt}, 1, offset));
  arrays.push_back(fast::rope(x, 4, true, {10.0, std::nullopt}, 1, offset));
  arrays.push_back(fast::rope(x, 2, false, {10.0, std::nullopt}, 1, offset));
  arrays.push_back(fast::rope(x, 4, false, {20.0, std::nullopt}, 1, offset));
  arrays.push_back(fast::rope(x, 4, false, {10.0, std::nullopt}, 2, offset));
  arrays.push_back(fast::rope(x, 4, false, {std::nullopt, ones({2})}, 1, offset));
}

void add_batch_norm(Arrays& arrays) {
  const array x = ones({4, 3});
  for (const double eps : {0.0, 0.5}) {
    const Function function = [&](const Arrays& a) {
      return Arrays{fast::batch_norm(a[0], std::nullopt, std::nullopt, eps).result};
    };
    arrays.push_back(function({x})[0]);
    arrays.push_back(vjp(function, {x}, Arrays{x}).second[0]);
  }
}

void add_pooling(Arrays& arrays) {
  const array x = ones({2, 5, 7, 3});
  const Function function = [](const Arrays& a) {
    return Arrays{max_pool(a[0], {2, 3}, {1, 2}, {0, 1})};
  };
  arrays.push_back(function({x})[0]);
  arrays.push_back(vjp(function, {x}, Arrays{arrays.back()}).second[0]);
}

void add_quantized(Arrays& arrays) {
  const Arrays parts = quantize(ones({2, 64}));
  const array x = ones({3, 64});
  const array pairs = zeros({2}, int32);
  const Arrays others = {
      parts[0],
      dequantize(parts[0], parts[1], parts[2]),
      quantized_matmul(x, parts[0], parts[1], parts[2]),
      gather_qmm(x, parts[0], parts[1], parts[2], pairs, pairs),
      gather_mm(x, ones({4, 64, 2}), pairs, pairs),
      segmented_mm(x, ones({64, 2}), zeros({5, 2}, int32))};
  arrays.insert(arrays.end(), others.begin(), others.end());
}

void add_linear_algebra(Arrays& arrays) {
  const array a = ones({2, 3, 3});
  using Several = std::vector<array> (*)(const array&, StreamOrDevice);
  for (const Several several :
       {linalg::slogdet, linalg::lu_factor, linalg::lu, linalg::qr, linalg::eig}) {
    arrays.push_back(several(a, {})[0]);
  }
  const Arrays others = {
      linalg::cholesky(a, true),
      linalg::solve(a, a),
      linalg::solve_triangular(a, a, true),
      linalg::det(a),
      linalg::svd(a)[0],
      linalg::singular_values(a),
      linalg::eigh(a, true)[0],
      linalg::eigvalsh(a),
      linalg::eigvals(a)};
  arrays.insert(arrays.end(), others.begin(), others.end());
}

void add_collectives(Arrays& arrays) {
  const array a = ones({4, 3});
  const int group = StandInGroup::make(1, 2);
  for (const auto& operation :
       {distributed::all_sum,
        distributed::all_max,
        distributed::all_min,
        distributed::all_gather,
        distributed::sum_scatter}) {
    arrays.push_back(operation(a, group, {}));
  }
  arrays.push_back(distributed::send(a, 0, group));
  arrays.push_back(distributed::recv({2, 3}, int8, 0, group));
  StandInGroup* lacking = nullptr;
  const int of_integers = StandInGroup::make(0, 2, &lacking);
  lacking->lacks_extremes = true;
  arrays.push_back(distributed::all_max(a, of_integers));
}

// Arrays to record all operations with, and parameters of all kinds.
Arrays all_operations() {
  const array a = ones({2, 3, 4});
  Arrays arrays;
  add_elementwise(arrays);
  add_indexed(arrays);
  add_convolutions(arrays);
  add_attention(arrays);
  add_batch_norm(arrays);
  add_pooling(arrays);
  add_rope(arrays);
  add_quantized(arrays);
  add_linear_algebra(arrays);
  add_collectives(arrays);
  for (const auto& scan : {cumsum, cumprod}) {
    arrays.push_back(scan(a, std::nullopt, false, true, std::nullopt, {}));
    arrays.push_back(scan(a, 1, true, false, std::nullopt, {}));
  }
  for (const auto& scan : {cummax, cummin, logcumsumexp}) {
    arrays.push_back(scan(a, std::nullopt, true, true, {}));
    arrays.push_back(scan(a, -1, false, false, {}));
  }
  using Reduction = array (*)(const array&, const OptionalAxes&, bool, StreamOrDevice);
  for (const Reduction reduction : {sum, prod, min, max, all, any}) {
    arrays.push_back(reduction(a, Axes{0, 2}, false, {}));
    arrays.push_back(reduction(a, Axes{1}, true, {}));
  }
  for (const auto& reduction : {argmin, argmax}) {
    arrays.push_back(reduction(a, std::nullopt, false, {}));
    arrays.push_back(reduction(a, 1, true, {}));
  }
  for (const auto& sorting : {sort, argsort}) {
    arrays.push_back(sorting(a, std::nullopt, {}));
    arrays.push_back(sorting(a, 1, {}));
  }
  for (const auto& selection : {partition, argpartition}) {
    arrays.push_back(selection(a, -2, -1, {}));
  }
  arrays.push_back(topk(a, 2));
  arrays.push_back(median(a, Axes{2}));
  for (const auto& transform : {fft::fft, fft::ifft, fft::rfft, fft::irfft}) {
    arrays.push_back(transform(a, std::nullopt, 1, fft::Norm::ortho, {}));
  }
  const array key = random::key(3);
  const Arrays others = {
      arange(0.5, 4, 0.25, float32),
      arange(int64_t{5}, -5, -2, int16),
      ones({5}, float16),
      full({2}, make_scalar(-0.0, float64)),
      broadcast_to(ones({3, 1}), {2, 3, 4}),
      astype(a, int8),
      where(greater(a, ones({4})), a, ones({4})),
      reshape(a, {4, -1}),
      expand_dims(a, {0, 3}),
      squeeze(ones({1, 3, 1}), Axes{0}),
      transpose(a, {2, 0, 1}),
      diagonal(a, -1, 2, 0),
      as_strided(a, {3, 2}, {2, 0}, 1),
      vjp(
          [](const Arrays& x) {
            return Arrays{as_strided(x[0], {2, 2}, {1, 1}, 0)};
          },
          {ones({3})},
          Arrays{ones({2, 2})})
          .second[0],
      contiguous(a, true),
      view(a, int16),
      slice(a, {0, 2, 1}, {2, 0, 3}, {1, -1, 1}),
      slice_update(a, ones({1, 1, 2}), {0, 1, 0}, {1, 2, 4}, {1, 1, 2}),
      split(a, 2, 2)[1],
      split(a, std::vector<int64_t>{1, 2}, 1)[0],
      concatenate({a, a}, 1),
      stack({a, a}, -1),
      pad(a, {{1, 2}, {0, 1}, {3, 0}}, "constant", array(1.0f)),
      softmax(a, Axes{1, 2}),
      logsumexp(a, Axes{2}),
      matmul(a, ones({4, 5})),
      addmm(ones({5}), a, ones({4, 5}), 2, -0.5),
      random::bits({2, 3}, 2, key),
      vmap(
          [](const Arrays& keys) { return Arrays{random::bits({3}, 4, keys[0])}; },
          {random::split(key, 5)},
          {0})
          .outputs[0]
          .value,
      mean(a, Axes{1}), // counts elements where shapes vary
      stop_gradient(a),
      depends({a}, {key})[0]};
  arrays.insert(arrays.end(), others.begin(), others.end());
  return arrays;
}

class Fields : public testing::Test {
 protected:
  Fields() : arrays_(all_operations()), nodes_(traced_nodes(arrays_, scope_.trace())) {
    // Values, and the arguments of functions that were differentiated.
    std::erase_if(nodes_, [](Node* node) {
      return node->status() == Status::ready ||
             std::string_view(node->primitive().name()) == "argument";
    });
  }

  const TraceFamily family_;
  const TraceScope scope_{true};
  const Arrays arrays_;
  std::vector<Node*> nodes_;
};

// Calls the operation again with what a file would keep of the node. It must record an equal
// primitive.
TEST_F(Fields, operations_are_called_again_from_their_attributes) {
  std::set<std::string> names;
  for (Node* node : nodes_) {
    const Primitive& primitive = node->primitive();
    const Operation* operation = find_operation(primitive.name());
    ASSERT_TRUE(operation) << primitive.name();
    names.insert(primitive.name());
    const std::span<const array> inputs(node->inputs(), node->input_count());
    const Arrays outputs = outputs_of(*node);
    const std::vector<OutputSpec> given = specs_of(inputs);
    const std::vector<OutputSpec> wanted = specs_of(outputs);
    const Attributes attributes = primitive.attributes();
    const Arrays again =
        operation->call({primitive.name(), inputs, attributes, given, wanted, node->stream()});
    ASSERT_EQ(again.size(), outputs.size()) << primitive.name();
    const Primitive& other = again[0].node()->primitive();
    EXPECT_TRUE(other.equals(primitive)) << primitive.name();
    EXPECT_EQ(other.hash(), primitive.hash()) << primitive.name();
    ASSERT_EQ(other.attributes().size(), attributes.size()) << primitive.name();
    for (size_t i = 0; i < attributes.size(); ++i) {
      EXPECT_EQ(other.attributes()[i].name, attributes[i].name);
      EXPECT_EQ(other.attributes()[i].is_printed, attributes[i].is_printed);
      EXPECT_EQ(other.attributes()[i].value.index(), attributes[i].value.index());
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(again[i].shape(), outputs[i].shape()) << primitive.name();
      EXPECT_EQ(again[i].dtype(), outputs[i].dtype()) << primitive.name();
    }
  }
  for (const std::string& name : operation_names()) {
    EXPECT_TRUE(names.count(name)) << name << " is recorded nowhere here";
  }
}

TEST_F(Fields, primitives_are_equal_if_names_and_parameters_are) {
  for (Node* a : nodes_) {
    for (Node* b : nodes_) {
      const Attributes ours = a->primitive().attributes();
      const Attributes theirs = b->primitive().attributes();
      const bool equal = std::string(a->primitive().name()) == b->primitive().name() &&
                         bytes_of(ours) == bytes_of(theirs);
      ASSERT_EQ(a->primitive().equals(b->primitive()), equal)
          << a->primitive().name() << ", " << b->primitive().name();
    }
  }
}

TEST(FieldsTest, numbers_are_equal_if_their_bits_are) {
  const auto primitive_of = [](double value) {
    return full({2}, make_scalar(value, float32)).node()->primitive_ref();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(primitive_of(nan)->equals(*primitive_of(nan)));
  EXPECT_TRUE(primitive_of(0.0)->equals(*primitive_of(0.0)));
  EXPECT_FALSE(primitive_of(0.0)->equals(*primitive_of(-0.0)));
  const array as_int = full({2}, make_scalar(0.0, int32));
  EXPECT_FALSE(primitive_of(0.0)->equals(as_int.node()->primitive()));
  const auto scaled = [](double alpha) {
    return addmm(ones({2, 2}), ones({2, 2}), ones({2, 2}), alpha, 1).node()->primitive_ref();
  };
  EXPECT_FALSE(scaled(0.0)->equals(*scaled(-0.0)));
  EXPECT_TRUE(scaled(0.5)->equals(*scaled(0.5)));
}

TEST(FieldsTest, parameters_without_a_value_are_left_out) {
  const array a = ones({2, 3});
  const Attributes of_all = cumsum(a).node()->primitive().attributes();
  const Attributes of_axis = cumsum(a, 0).node()->primitive().attributes();
  ASSERT_EQ(of_all.size(), 2u);
  ASSERT_EQ(of_axis.size(), 3u);
  EXPECT_EQ(of_all[0].name, "reverse");
  EXPECT_EQ(of_axis[0].name, "axis");
  EXPECT_EQ(std::get<int64_t>(of_axis[0].value), 0);
}

} // namespace
} // namespace narrows
