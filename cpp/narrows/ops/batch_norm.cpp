#include "narrows/ops/batch_norm.h"

#include <array>
#include <utility>
#include <vector>

#include "metal_kernels/batch_norm.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/plan/placement.h"
#include "narrows/record/fields.h"

namespace narrows {
namespace {

constexpr const char* kName = "batch_norm";

struct BatchNormFields {
  double eps_;

  static constexpr std::tuple fields{field("eps", &BatchNormFields::eps_)};
};

// All axes but the last.
Axes row_axes(const array& x) {
  Axes axes;
  for (int d = 0; d + 1 < x.ndim(); ++d) {
    axes.push_back(d);
  }
  return axes;
}

array mean_of_rows(const array& a, Stream s) {
  return mean(a, row_axes(a), false, s);
}

// `times` divided by the number of rows.
array row_share(const array& x, double times) {
  return number(
      times * static_cast<double>(x.shape(-1)) / static_cast<double>(x.size()), x.dtype());
}

array inverse_deviation(const array& variance, double eps, Stream s) {
  return rsqrt(add(variance, number(eps, variance.dtype()), s), s);
}

// What the normalization and its gradient share: a kernel of packed inputs. The first result may
// overwrite one of the first inputs, which have its shape.
class BatchNormStep : public Primitive {
 public:
  void place(Placement& placement) const override {
    const uint32_t rows = rows_inputs();
    for (uint32_t i = 0; i < placement.input_count(); ++i) {
      placement.pack(i);
    }
    bool donated = false;
    for (uint32_t i = 0; i < rows && !donated; ++i) {
      donated = placement.donate(0, i);
    }
    if (!donated) {
      placement.allocate(0);
    }
    placement.allocate(1);
    placement.allocate(2);
    placement.workspace_for(
        kernel(float32, float32), [&](auto&& take) { take(params_of(placement.output_shape(0))); });
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    std::array<Operand, 8> operands;
    size_t count = 0;
    for (const auto& views : {step.inputs, step.outputs}) {
      for (const ArrayView& view : views) {
        operands[count++] = view.operand();
      }
    }
    encoder.run(
        {kernel(float32, float32),
         std::span(operands).first(count),
         params_of(*step.outputs[0].shape),
         step.workspace});
  }

 protected:
  virtual uint32_t rows_inputs() const = 0;
  virtual double eps() const = 0;

 private:
  BatchNormParams params_of(const Shape& x) const {
    return {element_count(x) / x.back(), x.back(), static_cast<float>(eps())};
  }
};

// Inputs: the cotangent of the result, x, weight, mean and variance. Outputs: the cotangents of x,
// weight and bias.
class BatchNormGradient final : public Record<BatchNormFields, BatchNormStep> {
 public:
  using Record::Record;

  const char* name() const override {
    return "batch_norm_gradient";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::batch_norm_gradient, 0, in, out};
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    const array& g = inputs[0];
    const array& x = inputs[1];
    const array inverse = inverse_deviation(inputs[4], eps_, s);
    const array normalized = multiply(subtract(x, inputs[3], s), inverse, s);
    const array product = multiply(g, normalized, s);
    const array along =
        add(mean_of_rows(g, s), multiply(normalized, mean_of_rows(product, s), s), s);
    return {
        multiply(subtract(g, along, s), multiply(inputs[2], inverse, s), s),
        sum(product, row_axes(x), false, s),
        sum(g, row_axes(x), false, s)};
  }

 private:
  uint32_t rows_inputs() const override {
    return 2;
  }
  double eps() const override {
    return eps_;
  }
};

std::vector<array> record_gradient(
    std::span<const array> inputs, const BatchNormFields& fields, Stream s);

// Inputs: x, weight and bias. Outputs: the result, mean and variance.
class BatchNorm final : public Record<BatchNormFields, BatchNormStep> {
 public:
  using Record::Record;

  const char* name() const override {
    return "batch_norm";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::batch_norm, 0, in, out};
  }
  std::vector<array> decompose(std::span<const array> inputs, Stream s) const override {
    const array average = mean_of_rows(inputs[0], s);
    const array distance = subtract(inputs[0], average, s);
    const array variance = mean_of_rows(square(distance, s), s);
    const array scale = multiply(inputs[1], inverse_deviation(variance, eps_, s), s);
    return {add(multiply(distance, scale, s), inputs[2], s), average, variance};
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Stream s = op.stream;
    const array& x = op.inputs[0];
    const array& average = op.outputs[1];
    std::vector<array> result(3);
    if (cotangents[0]) {
      const std::array inputs{cotangents[0], x, op.inputs[1], average, op.outputs[2]};
      result = record_gradient(inputs, *this, s);
    }
    const auto add_to_x = [&](const array& more) {
      result[0] = result[0] ? add(result[0], more, s) : more;
    };
    if (cotangents[1]) {
      const array share = multiply(cotangents[1], row_share(x, 1), s);
      add_to_x(broadcast_to(share, x.shape(), s));
    }
    if (cotangents[2]) {
      const array share = multiply(cotangents[2], row_share(x, 2), s);
      add_to_x(multiply(subtract(x, average, s), share, s));
    }
    return result;
  }

 private:
  uint32_t rows_inputs() const override {
    return 1;
  }
  double eps() const override {
    return eps_;
  }
};

// Whether the kernels have this: others are computed as the operations that they are made of.
bool has_kernel(const array& x) {
  return x.dtype() == float32 && x.size() > 0;
}

void check_input(const array& x) {
  if (x.ndim() < 2) {
    fail<ValueError>(
        "[",
        kName,
        "] an input of shape ",
        to_string(x.shape()),
        ", expected (..., channels) of two dimensions at least.");
  }
  if (is_complex(x.dtype())) {
    fail<ValueError>(
        "[", kName, "] an input of dtype ", name_of(x.dtype()), ", expected real numbers.");
  }
}

void check_vector(const char* name, const array& vector, const array& x) {
  if (vector.shape() != Shape{x.shape(-1)} || !is_floating(vector.dtype())) {
    fail<ValueError>(
        "[",
        kName,
        "] ",
        name,
        " of shape ",
        to_string(vector.shape()),
        " and dtype ",
        name_of(vector.dtype()),
        " for an input of shape ",
        to_string(x.shape()),
        ", expected floats of shape (",
        x.shape(-1),
        ",).");
  }
}

// Inputs from files may have other dtypes than those that are recorded.
void check_recorded(std::span<const array> inputs, const array& x) {
  check_input(x);
  for (const array& a : inputs) {
    if (a.dtype() != x.dtype() || !is_floating(a.dtype())) {
      fail<ValueError>(
          "[",
          kName,
          "] an input of dtype ",
          name_of(a.dtype()),
          ", expected floats of one dtype.");
    }
  }
}

// Both have a result of the shape of `x` and two vectors of its channels.
template <typename Step>
std::vector<array> record_step(
    const BatchNormFields& fields, const array& x, std::span<const array> inputs, Stream s) {
  const auto primitive = std::make_shared<Step>(fields);
  if (!has_kernel(x)) {
    return primitive->decompose(inputs, s);
  }
  const Shape channels{x.shape(-1)};
  return record(
      primitive, s, {{x.shape(), float32}, {channels, float32}, {channels, float32}}, inputs);
}

std::vector<array> record_gradient(
    std::span<const array> inputs, const BatchNormFields& fields, Stream s) {
  const array& x = inputs[1];
  check_recorded(inputs, x);
  if (inputs[0].shape() != x.shape()) {
    fail<ValueError>(
        "[",
        kName,
        "] a cotangent of shape ",
        to_string(inputs[0].shape()),
        ", expected ",
        to_string(x.shape()),
        ".");
  }
  check_vector("weight", inputs[2], x);
  check_vector("mean", inputs[3], x);
  check_vector("variance", inputs[4], x);
  return record_step<BatchNormGradient>(fields, x, inputs, s);
}

std::vector<array> record_batch_norm(
    std::span<const array> inputs, const BatchNormFields& fields, Stream s) {
  const array& x = inputs[0];
  check_recorded(inputs, x);
  check_vector("weight", inputs[1], x);
  check_vector("bias", inputs[2], x);
  return record_step<BatchNorm>(fields, x, inputs, s);
}

// The vector in the dtype that is computed in, or one of equal numbers.
array vector_or(
    const std::optional<array>& vector, double otherwise, const array& x, Dtype dtype, Stream s) {
  return vector ? astype(*vector, dtype, s)
                : broadcast_to(number(otherwise, dtype), {x.shape(-1)}, s);
}

} // namespace

fast::BatchNormed fast::batch_norm(
    const array& x,
    const std::optional<array>& weight,
    const std::optional<array>& bias,
    double eps,
    StreamOrDevice optional_stream) {
  const Stream s = optional_stream.stream();
  check_input(x);
  Dtype dtype = is_floating(x.dtype()) ? x.dtype() : float32;
  for (const auto& [name, vector] : {std::pair("weight", &weight), std::pair("bias", &bias)}) {
    if (*vector) {
      check_vector(name, **vector, x);
      dtype = promote(dtype, (*vector)->dtype());
    }
  }
  const Dtype precise = dtype == float64 ? float64 : float32;
  const std::array inputs{
      astype(x, precise, s),
      vector_or(weight, 1, x, precise, s),
      vector_or(bias, 0, x, precise, s)};
  const std::vector<array> outputs = record_batch_norm(inputs, {eps}, s);
  return {astype(outputs[0], dtype, s), outputs[1], outputs[2]};
}

namespace {

const RecordRow<BatchNormFields, 3> kBatchNorm(
    "batch_norm", [](const OperationCall& call, const BatchNormFields& fields) {
      return record_batch_norm(call.inputs, fields, call.stream.stream());
    });
const RecordRow<BatchNormFields, 5> kBatchNormGradient(
    "batch_norm_gradient", [](const OperationCall& call, const BatchNormFields& fields) {
      return record_gradient(call.inputs, fields, call.stream.stream());
    });

} // namespace

} // namespace narrows
