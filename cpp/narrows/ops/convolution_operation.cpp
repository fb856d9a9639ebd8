#include "narrows/ops/convolution_operation.h"

#include <algorithm>
#include <array>

#include "metal_kernels/convolution.h"
#include "narrows/ops/convolution_batch.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/rules.h"
#include "narrows/plan/placement.h"
#include "narrows/record/work.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

constexpr const char* kNames[] = {
    "convolution", "convolution_input_gradient", "convolution_weight_gradient"};

class Convolution final : public Record<ConvolutionFields>, public TellsFlops {
 public:
  using Record::Record;

  // Each element of y is a product with one filter, whichever of the three is the result.
  double flops(std::span<const Shape* const> inputs, const Shape& output) const override {
    const Shape& w = op_ == ConvolutionOp::weight_gradient ? output : *inputs[1];
    const Shape& y = op_ == ConvolutionOp::forward          ? output
                     : op_ == ConvolutionOp::input_gradient ? *inputs[0]
                                                            : *inputs[1];
    const auto filters = static_cast<double>(std::max<int64_t>(1, w[0]));
    return 2.0 * static_cast<double>(element_count(y)) * static_cast<double>(element_count(w)) /
           filters;
  }

  const char* name() const override {
    return kNames[static_cast<size_t>(op_)];
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::convolution, static_cast<uint8_t>(op_), out, out};
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    placement.pack(1);
    placement.allocate(0);
    const Shape& out = placement.output_shape(0);
    if (has_work(placement.input_shape(0), placement.input_shape(1), out)) {
      const Dtype dtype = placement.output_dtype(0);
      placement.workspace_for(kernel(dtype, dtype), [&](auto&& take) {
        take(params_of(placement.input_shape(0), placement.input_shape(1), out));
      });
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& a = step.inputs[0];
    const ArrayView& b = step.inputs[1];
    const ArrayView& output = step.outputs[0];
    if (output.size() == 0) {
      return;
    }
    if (!has_work(*a.shape, *b.shape, *output.shape)) {
      encode_fill(encoder, make_scalar(int64_t{0}, output.dtype), output);
      return;
    }
    encoder.run(
        {kernel(output.dtype, output.dtype),
         std::array{a.operand(), b.operand(), output.operand()},
         params_of(*a.shape, *b.shape, *output.shape),
         step.workspace});
  }

  // With x, w and y any three arrays, sum(y * forward(x, w)) is the same number as
  // sum(x * input_gradient(y, w)) and sum(w * weight_gradient(x, y)). So each of the three is a
  // derivative of each other.
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& a = op.inputs[0];
    const array& b = op.inputs[1];
    const array& g = cotangents[0];
    array of_a, of_b;
    switch (op_) {
      case ConvolutionOp::forward: // of x and w
        of_a = op.wants(0) ? other(ConvolutionOp::input_gradient, g, b, a, op.stream) : array();
        of_b = op.wants(1) ? other(ConvolutionOp::weight_gradient, a, g, b, op.stream) : array();
        break;
      case ConvolutionOp::input_gradient: // of y and w
        of_a = op.wants(0) ? other(ConvolutionOp::forward, g, b, a, op.stream) : array();
        of_b = op.wants(1) ? other(ConvolutionOp::weight_gradient, g, a, b, op.stream) : array();
        break;
      case ConvolutionOp::weight_gradient: // of x and y
        of_a = op.wants(0) ? other(ConvolutionOp::input_gradient, b, g, a, op.stream) : array();
        of_b = op.wants(1) ? other(ConvolutionOp::forward, a, g, b, op.stream) : array();
        break;
    }
    return {std::move(of_a), std::move(of_b)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    array sum;
    for (size_t i = 0; i < 2; ++i) {
      if (tangents[i]) {
        std::array<array, 2> inputs = {op.inputs[0], op.inputs[1]};
        inputs[i] = astype(tangents[i], op.inputs[i].dtype(), op.stream);
        const array part = op.again(inputs)[0];
        sum = sum ? add(sum, part, op.stream) : part;
      }
    }
    return {sum};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    if (size == 0) {
      return {zeros(with_batch(size, op.outputs[0].shape()), op.outputs[0].dtype(), op.stream)};
    }
    const ConvolutionBatch batch(op_, groups_, size, batched[0], batched[1]);
    ConvolutionFields fields = *this;
    fields.groups_ = batch.groups();
    const array result = record_convolution(
        fields,
        batch.folded(inputs[0], 0, op.stream),
        batch.folded(inputs[1], 1, op.stream),
        op.stream);
    return {batch.unfolded(result, op.stream)};
  }

 private:
  static bool has_work(const Shape& a, const Shape& b, const Shape& out) {
    return element_count(a) > 0 && element_count(b) > 0 && element_count(out) > 0;
  }

  // Another operation of the same convolution, whose result is shaped like `like`.
  array other(
      ConvolutionOp op, const array& a, const array& b, const array& like, StreamOrDevice s) const {
    ConvolutionFields fields = *this;
    fields.op_ = op;
    fields.size_ = spatial(like.shape());
    return record_convolution(fields, astype(a, like.dtype(), s), astype(b, like.dtype(), s), s);
  }

  ConvolutionParams params_of(const Shape& a, const Shape& b, const Shape& out) const {
    const bool forward = op_ == ConvolutionOp::forward;
    const Shape& x = op_ == ConvolutionOp::input_gradient ? out : a;
    const Shape& w = op_ == ConvolutionOp::weight_gradient ? out : b;
    const Shape& y = forward ? out : op_ == ConvolutionOp::input_gradient ? a : b;
    ConvolutionParams params{};
    params.batch = x[0];
    params.groups = groups_;
    params.x_channels = x[x.size() - 1];
    params.y_channels = w[0];
    params.ndim = static_cast<int64_t>(size_.size());
    const size_t missing = NARROWS_CONVOLUTION_PLACES - size_.size();
    for (size_t d = 0; d < NARROWS_CONVOLUTION_PLACES; ++d) {
      const bool is_there = d >= missing;
      const size_t i = is_there ? d - missing : 0;
      params.x_size[d] = is_there ? x[i + 1] : 1;
      params.y_size[d] = is_there ? y[i + 1] : 1;
      params.w_size[d] = is_there ? w[i + 1] : 1;
      params.stride[d] = is_there ? stride_[i] : 1;
      params.padding[d] = is_there ? padding_low_[i] : 0;
      params.w_dilation[d] = is_there ? dilation_[i] : 1;
      params.x_dilation[d] = is_there ? input_dilation_[i] : 1;
    }
    return params;
  }
};

} // namespace

Shape spatial(const Shape& shape) {
  return Shape(shape.begin() + 1, shape.end() - 1);
}

Shape with_ends(int64_t first, const Shape& middle, int64_t last) {
  Shape result{first};
  for (const int64_t n : middle) {
    result.push_back(n);
  }
  result.push_back(last);
  return result;
}

Shape convolution_shape(const ConvolutionFields& f, const Shape& a, const Shape& b) {
  switch (f.op_) {
    case ConvolutionOp::forward:
      return with_ends(a[0], f.size_, b[0]);
    case ConvolutionOp::input_gradient:
      return with_ends(a[0], f.size_, b[b.size() - 1] * f.groups_);
    default:
      return with_ends(b[b.size() - 1], f.size_, a[a.size() - 1] / f.groups_);
  }
}

array record_convolution(
    const ConvolutionFields& fields, const array& a, const array& b, StreamOrDevice s) {
  const auto primitive = std::make_shared<Convolution>(fields);
  Shape shape = convolution_shape(fields, a.shape(), b.shape());
  checked_size(kNames[static_cast<size_t>(fields.op_)], shape);
  return record(primitive, s.stream(), std::move(shape), a.dtype(), std::array{a, b});
}

} // namespace narrows
