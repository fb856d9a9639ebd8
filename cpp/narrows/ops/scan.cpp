#include "narrows/ops/scan.h"

#include <array>
#include <limits>

#include "metal_kernels/scan.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

constexpr const char* kScanNames[] = {"cumsum", "cumprod", "cummin", "cummax", "logcumsumexp"};

array scan(
    ScanOp op,
    const array& a,
    std::optional<int> axis,
    bool reverse,
    bool inclusive,
    Dtype dtype,
    StreamOrDevice s);

struct ScanFields {
  ScanOp op_;
  std::optional<int> axis_; // none: all elements, in row-major order
  bool reverse_;
  bool inclusive_;

  static constexpr std::tuple fields{
      field("axis", &ScanFields::axis_),
      field("reverse", &ScanFields::reverse_),
      field("inclusive", &ScanFields::inclusive_)};
};

class Scan final : public Record<ScanFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return kScanNames[static_cast<size_t>(op_)];
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::scan, static_cast<uint8_t>(op_), in, out};
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    if (!placement.donate(0, 0)) {
      placement.allocate(0);
    }
    if (element_count(placement.input_shape(0)) > 0) {
      placement.workspace_for(
          kernel(placement.input_dtype(0), placement.output_dtype(0)),
          [&](auto&& take) { take(params_of(placement.input_shape(0))); });
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& input = step.inputs[0];
    const ArrayView& output = step.outputs[0];
    encode_single(encoder, kernel(input.dtype, output.dtype), step, params_of(*input.shape));
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& input = op.inputs[0];
    if (op_ == ScanOp::min || op_ == ScanOp::max) {
      return {};
    }
    const array x = flat(input, op.stream);
    return {reshape(pulled_back(op, x, cotangents[0]), input.shape(), op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const array x = flat(op.inputs[0], op.stream);
    const array t = flat(tangents[0], op.stream);
    const array& y = op.outputs[0];
    switch (op_) {
      case ScanOp::sum:
        return {along(ScanOp::sum, astype(t, y.dtype(), op.stream), reverse_, op.stream)};
      case ScanOp::prod: {
        const ProductRule rule = product_rule(x, op.stream);
        const array a =
            along(ScanOp::sum, multiply(t, rule.reciprocal, op.stream), reverse_, op.stream);
        const array b =
            along(ScanOp::sum, multiply(t, rule.is_first_zero, op.stream), reverse_, op.stream);
        const array change =
            add(multiply(y, a, op.stream), multiply(rule.without_zero, b, op.stream), op.stream);
        return {is_inexact(y.dtype()) ? change : rint(change, op.stream)};
      }
      case ScanOp::logaddexp: {
        const array shift = finite(y, op.stream);
        return {weighted(t, x, shift, reverse_, op.stream)};
      }
      default:
        return {};
    }
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    const int axis = axis_ ? *axis_ + 1 : 1;
    const array entries =
        axis_ ? inputs[0] : reshape(inputs[0], {size, op.outputs[0].size()}, op.stream);
    return {scan(op_, entries, axis, reverse_, inclusive_, op.outputs[0].dtype(), op.stream)};
  }

 private:
  ScanParams params_of(const Shape& shape) const {
    ScanParams params{};
    params.outer = params.inner = 1;
    params.length = axis_ ? shape[*axis_] : element_count(shape);
    for (int i = 0; axis_ && i < shape.ndim(); ++i) {
      params.outer *= i < *axis_ ? shape[i] : 1;
      params.inner *= i > *axis_ ? shape[i] : 1;
    }
    params.reverse = reverse_;
    params.inclusive = inclusive_;
    return params;
  }
  // How each element changes cumulative products: proportionally to the product divided by the
  // element. For the first zero it is the product without that zero.
  struct ProductRule {
    array reciprocal;    // 1 / element, or 0 for zeros
    array is_first_zero; // one or zero
    array without_zero;
  };
  ProductRule product_rule(const array& x, Stream s) const {
    const array zero = number(0, x.dtype());
    const array one = number(1, x.dtype());
    const array is_zero = equal(x, zero, s);
    const array before =
        scan(ScanOp::sum, astype(is_zero, int32, s), axis_ ? *axis_ : 0, reverse_, false, int32, s);
    const array first = logical_and(is_zero, equal(before, number(0, int32), s), s);
    return {
        where(is_zero, zero, reciprocal(where(is_zero, one, x, s), s), s),
        astype(first, x.dtype(), s),
        along(ScanOp::prod, where(first, one, x, s), reverse_, s)};
  }

  // a / x, or 0 where x is 0. For integers, a is a multiple of x.
  static array divided(const array& a, const array& x, const ProductRule& rule, Stream s) {
    return is_integer(x.dtype()) ? floor_divide(a, x, s) : multiply(a, rule.reciprocal, s);
  }

  array pulled_back(const Recorded& op, const array& x, const array& g) const {
    const Stream s = op.stream;
    if (op_ == ScanOp::sum) {
      return along(ScanOp::sum, g, !reverse_, s);
    }
    if (op_ == ScanOp::logaddexp) {
      return weighted(g, negative(finite(op.outputs[0], s), s), negative(x, s), !reverse_, s);
    }
    const ProductRule rule = product_rule(conjugated(x, s), s);
    const array y = conjugated(op.outputs[0], s);
    const array a = along(ScanOp::sum, multiply(g, y, s), !reverse_, s);
    const array b = along(ScanOp::sum, multiply(g, rule.without_zero, s), !reverse_, s);
    return add(divided(a, x, rule, s), multiply(b, rule.is_first_zero, s), s);
  }

  // For each i the sum of g[j] * exp(x[j] - shift[i]) over the j of the scan, computed in
  // logarithms so that nothing overflows.
  array weighted(const array& g, const array& x, const array& shift, bool reverse, Stream s) const {
    const array zero = number(0, g.dtype());
    const array one = number(1, g.dtype());
    const array empty = number(-std::numeric_limits<double>::infinity(), g.dtype());
    const auto part = [&](const array& weight) {
      const array counts = greater(weight, zero, s);
      const array weight_log = log(where(counts, weight, one, s), s);
      const array logs = add(where(counts, weight_log, empty, s), x, s);
      return exp(subtract(along(ScanOp::logaddexp, logs, reverse, s), shift, s), s);
    };
    return subtract(part(g), part(negative(g, s)), s);
  }

  // Replaces the logarithm of an empty sum by zero.
  static array finite(const array& y, Stream s) {
    return where(isneginf(y, s), number(0, y.dtype()), y, s);
  }

  // The scan with this one's settings over what flat() returns.
  array along(ScanOp op, const array& a, bool reverse, Stream s) const {
    return scan(op, a, axis_ ? *axis_ : 0, reverse, inclusive_, a.dtype(), s);
  }
  array flat(const array& a, Stream s) const {
    return axis_ ? a : reshape(a, {a.size()}, s);
  }
};

array scan(
    ScanOp op,
    const array& a,
    std::optional<int> axis,
    bool reverse,
    bool inclusive,
    Dtype dtype,
    StreamOrDevice s) {
  if (axis) {
    axis = normalize_axis(kScanNames[static_cast<size_t>(op)], *axis, a.shape());
  }
  return record(
      std::make_shared<Scan>(op, axis, reverse, inclusive),
      s.stream(),
      axis ? a.shape() : Shape{a.size()},
      dtype,
      {&a, 1});
}

} // namespace

array cumsum(
    const array& a,
    std::optional<int> axis,
    bool reverse,
    bool inclusive,
    std::optional<Dtype> dtype,
    StreamOrDevice s) {
  const array x = dtype ? astype(a, *dtype, s) : a;
  const Dtype result = x.dtype() == bool_ && !dtype ? int32 : x.dtype();
  return scan(ScanOp::sum, x, axis, reverse, inclusive, result, s);
}

array cumprod(
    const array& a,
    std::optional<int> axis,
    bool reverse,
    bool inclusive,
    std::optional<Dtype> dtype,
    StreamOrDevice s) {
  const array x = dtype ? astype(a, *dtype, s) : a;
  return scan(ScanOp::prod, x, axis, reverse, inclusive, x.dtype(), s);
}

array cummax(
    const array& a, std::optional<int> axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return scan(ScanOp::max, a, axis, reverse, inclusive, a.dtype(), s);
}

array cummin(
    const array& a, std::optional<int> axis, bool reverse, bool inclusive, StreamOrDevice s) {
  return scan(ScanOp::min, a, axis, reverse, inclusive, a.dtype(), s);
}

array logcumsumexp(
    const array& a, std::optional<int> axis, bool reverse, bool inclusive, StreamOrDevice s) {
  const array x = astype(a, at_least_float(a.dtype()), s);
  return scan(ScanOp::logaddexp, x, axis, reverse, inclusive, x.dtype(), s);
}

namespace {

const RecordRow<ScanFields> kScans[] = {
    {"cumsum",
     [](const OperationCall& call, const ScanFields& f) {
       return cumsum(call.inputs[0], f.axis_, f.reverse_, f.inclusive_, std::nullopt, call.stream);
     }},
    {"cumprod",
     [](const OperationCall& call, const ScanFields& f) {
       return cumprod(call.inputs[0], f.axis_, f.reverse_, f.inclusive_, std::nullopt, call.stream);
     }},
    {"cummin", &cummin},
    {"cummax", &cummax},
    {"logcumsumexp", &logcumsumexp}};

} // namespace

} // namespace narrows
