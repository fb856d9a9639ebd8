#include "narrows/ops/softmax.h"

#include <algorithm>
#include <array>

#include "metal_kernels/softmax.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

// Rows are the last `row_ndim` dimensions of the input.
void encode_rows(Encoder& encoder, const KernelId& kernel, const StepView& step, int row_ndim) {
  const Shape& shape = *step.inputs[0].shape;
  RowParams params{1, 1};
  const int first = shape.ndim() - row_ndim;
  for (int i = 0; i < shape.ndim(); ++i) {
    (i < first ? params.rows : params.length) *= shape[i];
  }
  encode_single(encoder, kernel, step, params);
}

// The last `count` of `ndim` axes.
Axes last_axes(int ndim, int count) {
  Axes axes;
  for (int i = ndim - count; i < ndim; ++i) {
    axes.push_back(i);
  }
  return axes;
}

struct RowFields {
  int row_ndim_;

  static constexpr std::tuple fields{hidden_field("row_ndim", &RowFields::row_ndim_)};
};

class Softmax final : public Record<RowFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "softmax";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::softmax, 0, in, out};
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    if (!placement.donate(0, 0)) {
      placement.allocate(0);
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const Dtype dtype = step.inputs[0].dtype;
    encode_rows(encoder, kernel(dtype, dtype), step, row_ndim_);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    return {change(op, cotangents[0])};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return {change(op, tangents[0])};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    return again_for_batch(op, inputs, size);
  }

 private:
  // The matrix of derivatives of a row, diag(y) - y y', is symmetric.
  array change(const Recorded& op, const array& g) const {
    const array& y = op.outputs[0];
    const array product = multiply(g, y, op.stream);
    const array total = sum(product, last_axes(y.ndim(), row_ndim_), true, op.stream);
    return subtract(product, multiply(y, total, op.stream), op.stream);
  }
};

class LogSumExp final : public Record<RowFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "logsumexp";
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::logsumexp, 0, in, out};
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    placement.allocate(0);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const Dtype dtype = step.inputs[0].dtype;
    encode_rows(encoder, kernel(dtype, dtype), step, row_ndim_);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const Axes axes = last_axes(op.inputs[0].ndim(), row_ndim_);
    const array weights = softmax(op.inputs[0], axes, false, op.stream);
    const array g = axes.empty() ? cotangents[0] : expand_dims(cotangents[0], axes, op.stream);
    return {multiply(g, weights, op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Axes axes = last_axes(op.inputs[0].ndim(), row_ndim_);
    const array weights = softmax(op.inputs[0], axes, false, op.stream);
    return {sum(multiply(tangents[0], weights, op.stream), axes, false, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    return again_for_batch(op, inputs, size);
  }
};

// All axes: first the others, then those in `rows`, which are ascending.
Axes rows_last(const Axes& rows, int ndim) {
  Axes order;
  for (int i = 0; i < ndim; ++i) {
    if (std::find(rows.begin(), rows.end(), i) == rows.end()) {
      order.push_back(i);
    }
  }
  for (int axis : rows) {
    order.push_back(axis);
  }
  return order;
}

bool is_identity(const Axes& order) {
  return std::is_sorted(order.begin(), order.end());
}

Axes inverse(const Axes& order) {
  Axes result(order.size());
  for (int i = 0; i < order.ndim(); ++i) {
    result[order[i]] = i;
  }
  return result;
}

} // namespace

array softmax(
    const array& a, const OptionalAxes& optional_axes, bool /*precise*/, StreamOrDevice s) {
  const Axes axes = reduced_axes("softmax", optional_axes, a.shape());
  const Axes order = rows_last(axes, a.ndim());
  const bool moves = !is_identity(order);
  array x = astype(a, at_least_float(a.dtype()), s);
  if (moves) {
    x = transpose(x, order, s);
  }
  const array rows =
      record(std::make_shared<Softmax>(axes.ndim()), s.stream(), x.shape(), x.dtype(), {&x, 1});
  return moves ? transpose(rows, inverse(order), s) : rows;
}

array logsumexp(
    const array& a, const OptionalAxes& optional_axes, bool keepdims, StreamOrDevice s) {
  const Axes axes = reduced_axes("logsumexp", optional_axes, a.shape());
  for (int axis : axes) {
    if (a.shape()[axis] == 0) {
      fail<ValueError>(
          "[logsumexp] axis ",
          axis,
          " of an array of shape ",
          to_string(a.shape()),
          " has no elements, expected at least one.");
    }
  }
  const Axes order = rows_last(axes, a.ndim());
  array x = astype(a, at_least_float(a.dtype()), s);
  if (!is_identity(order)) {
    x = transpose(x, order, s);
  }
  const array result = record(
      std::make_shared<LogSumExp>(axes.ndim()),
      s.stream(),
      reduced_shape(a.shape(), axes, false),
      x.dtype(),
      {&x, 1});
  return keepdims && !axes.empty() ? expand_dims(result, axes, s) : result;
}

namespace {

Axes recorded_rows(const OperationCall& call, int count) {
  const int ndim = call.inputs[0].ndim();
  if (count < 0 || count > ndim) {
    fail<ValueError>("[", call.name, "] rows of ", count, " dimensions, expected 0 to ", ndim, ".");
  }
  return last_axes(ndim, count);
}

const RecordRow<RowFields> kSoftmax("softmax", [](const OperationCall& call, const RowFields& f) {
  return softmax(call.inputs[0], recorded_rows(call, f.row_ndim_), false, call.stream);
});
const RecordRow<RowFields> kLogSumExp(
    "logsumexp", [](const OperationCall& call, const RowFields& f) {
      return logsumexp(call.inputs[0], recorded_rows(call, f.row_ndim_), false, call.stream);
    });

} // namespace

} // namespace narrows
