#include "narrows/ops/reduce.h"

#include <algorithm>
#include <array>

#include "metal_kernels/reduce.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/scan.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"
#include "narrows/record/trace.h"
#include "narrows/run/encode.h"
#include "narrows/run/walk_parts.h"

namespace narrows {
namespace {

constexpr const char* kReduceNames[] = {"sum", "prod", "min", "max", "all", "any"};

bool contains(const Axes& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

int64_t reduced_count(const Shape& shape, const Axes& axes) {
  int64_t count = 1;
  for (int axis : axes) {
    count *= shape[axis];
  }
  return count;
}

// The dimensions of an input as a reduction walks them.
struct ReduceWalk {
  Collapsed kept;    // strides of the input, then of the row-contiguous output
  Collapsed reduced; // strides of the input first

  ReduceWalk(const Shape& shape, const Strides& strides, const Axes& axes, bool ordered) {
    Shape kept_shape, reduced_shape;
    Strides kept_strides, reduced_strides;
    for (int i = 0; i < shape.ndim(); ++i) {
      const bool is_reduced = contains(axes, i);
      (is_reduced ? reduced_shape : kept_shape).push_back(shape[i]);
      (is_reduced ? reduced_strides : kept_strides).push_back(strides[i]);
    }
    const Strides kept_order = row_major_strides(kept_shape);
    const Strides reduced_order = row_major_strides(reduced_shape);
    const std::array<const Strides*, 2> kept_walk = {&kept_strides, &kept_order};
    kept = collapse(kept_shape, kept_walk.data(), 2);
    // If the order of the reduced elements does not matter, more of their dimensions can be merged.
    const std::array<const Strides*, 2> reduced_walk = {
        &reduced_strides, ordered ? &reduced_order : &reduced_strides};
    reduced = collapse(reduced_shape, reduced_walk.data(), 2);
  }

  bool fits() const {
    return kept.shape.size() <= NARROWS_MAX_DIMS && reduced.shape.size() <= NARROWS_MAX_DIMS;
  }
};

ReduceParams reduce_params(const Collapsed& reduced) {
  ReduceParams params{};
  params.reduce_size = element_count(reduced.shape);
  params.reduced_ndim = static_cast<int32_t>(reduced.shape.size());
  for (size_t d = 0; d < reduced.shape.size(); ++d) {
    params.reduced_shape[d] = reduced.shape[d];
    params.reduced_strides[d] = reduced.strides[d];
  }
  return params;
}

// Calls take(params, operands) once, or more often if more dimensions are kept than kernels take.
template <typename Take>
void each_call(
    const KernelId& kernel,
    const ReduceWalk& walk,
    const std::array<Operand, 2>& operands,
    const Take& take) {
  ReduceParams params = reduce_params(walk.reduced);
  const Collapsed& kept = walk.kept;
  const std::array item_sizes = {size_of(kernel.in), size_of(kernel.out)};
  each_part(kept, operands, item_sizes, [&](size_t first, const auto& moved) {
    params.kept_ndim = static_cast<int32_t>(kept.shape.size() - first);
    params.out_size = 1;
    for (size_t d = first; d < kept.shape.size(); ++d) {
      params.out_size *= kept.shape[d];
      params.kept_shape[d - first] = kept.shape[d];
      params.kept_strides[d - first] = kept.strides[d];
    }
    take(params, moved);
  });
}

void encode_reduction(
    Encoder& encoder, const KernelId& kernel, const StepView& step, const ReduceWalk& walk) {
  const std::array operands = {step.inputs[0].operand(), step.outputs[0].operand()};
  each_call(kernel, walk, operands, [&](const auto& params, const auto& places) {
    encoder.run({kernel, places, params, step.workspace});
  });
}

// Reads the input as it lies unless it has too many dimensions for the kernels.
void place_reduction(Placement& placement, const KernelId& kernel, const Axes& axes, bool ordered) {
  const auto walk_now = [&] {
    return ReduceWalk(placement.input_shape(0), placement.input_layout(0).strides, axes, ordered);
  };
  ReduceWalk walk = walk_now();
  if (!walk.fits()) {
    placement.pack(0);
    walk = walk_now();
  }
  placement.allocate(0);
  if (element_count(placement.input_shape(0)) > 0) {
    placement.workspace_for(kernel, [&](auto&& take) {
      each_call(kernel, walk, {}, [&](const auto& params, const auto&) { take(params); });
    });
  }
}

// For each element, the product of all others along the axes. It is right for zeros, too.
array products_of_others(const array& a, const Axes& axes, StreamOrDevice s) {
  Axes order;
  Shape rows;
  for (int i = 0; i < a.ndim(); ++i) {
    if (!contains(axes, i)) {
      order.push_back(i);
      rows.push_back(a.shape()[i]);
    }
  }
  rows.push_back(reduced_count(a.shape(), axes));
  Shape moved;
  for (int axis : axes) {
    order.push_back(axis);
  }
  Axes back(order.size());
  for (int i = 0; i < order.ndim(); ++i) {
    moved.push_back(a.shape()[order[i]]);
    back[order[i]] = i;
  }
  const array x = reshape(transpose(a, order, s), rows, s);
  const array before = cumprod(x, -1, false, false, std::nullopt, s);
  const array after = cumprod(x, -1, true, false, std::nullopt, s);
  return transpose(reshape(multiply(before, after, s), moved, s), back, s);
}

Dtype reduced_dtype(ReduceOp op, Dtype dtype);
array record_reduce(
    ReduceOp op, const array& a, Axes axes, bool keepdims, Dtype dtype, StreamOrDevice s);
array number_of_elements(const array& a, const Axes& some_axes, Dtype dtype, StreamOrDevice s);

template <typename Op>
struct ReduceFields {
  Op op_;
  Axes axes_; // ascending

  static constexpr std::tuple fields{field("axes", &ReduceFields::axes_)};
};

class Reduce final : public Record<ReduceFields<ReduceOp>> {
 public:
  using Record::Record;

  const char* name() const override {
    return kReduceNames[static_cast<size_t>(op_)];
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::reduce, static_cast<uint8_t>(op_), in, out};
  }
  void place(Placement& placement) const override {
    const Dtype out = placement.output_dtype(0);
    place_reduction(placement, kernel(placement.input_dtype(0), out), axes_, false);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& input = step.inputs[0];
    const ArrayView& output = step.outputs[0];
    if (output.size() == 0) {
      return;
    }
    if (input.size() == 0) {
      const bool one = op_ == ReduceOp::prod || op_ == ReduceOp::all;
      encode_fill(encoder, make_scalar(int64_t{one}, output.dtype), output);
      return;
    }
    encode_reduction(
        encoder,
        kernel(input.dtype, output.dtype),
        step,
        ReduceWalk(*input.shape, input.layout->strides, axes_, false));
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    if (changes_by_jumps()) {
      return {array()};
    }
    const array& input = op.inputs[0];
    const array g = astype(with_kept_axes(op, cotangents[0]), input.dtype(), op.stream);
    if (op_ == ReduceOp::sum) {
      return {broadcast_to(g, input.shape(), op.stream)};
    }
    return {multiply(g, conjugated(partial_derivatives(op), op.stream), op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    if (changes_by_jumps()) {
      return {array()};
    }
    array change = tangents[0];
    if (op_ != ReduceOp::sum) {
      change = multiply(change, partial_derivatives(op), op.stream);
    }
    // Shares of an extreme are fractions, also for integers.
    const Dtype dtype =
        op_ == ReduceOp::sum ? op.outputs[0].dtype() : reduced_dtype(ReduceOp::sum, change.dtype());
    return {record_reduce(ReduceOp::sum, change, axes_, keeps_axes(op), dtype, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {record_reduce(
        op_, inputs[0], behind_batch(axes_), keeps_axes(op), op.outputs[0].dtype(), op.stream)};
  }
  FusionRule fusion() const override {
    return {.kind = FusionRule::Kind::reduce, .op = static_cast<uint8_t>(op_), .axes = &axes_};
  }

 private:
  bool changes_by_jumps() const {
    return op_ == ReduceOp::all || op_ == ReduceOp::any;
  }
  static bool keeps_axes(const Recorded& op) {
    return op.outputs[0].ndim() == op.inputs[0].ndim();
  }
  array with_kept_axes(const Recorded& op, const array& reduced) const {
    return keeps_axes(op) ? reduced : expand_dims(reduced, axes_, op.stream);
  }
  // The derivative of prod, min and max with respect to each element of the input.
  array partial_derivatives(const Recorded& op) const {
    const array& input = op.inputs[0];
    if (op_ == ReduceOp::prod) {
      return products_of_others(input, axes_, op.stream);
    }
    // Elements that are equal to the extreme share its derivative.
    const array extreme = with_kept_axes(op, op.outputs[0]);
    const array hits = astype(equal(input, extreme, op.stream), input.dtype(), op.stream);
    return divide(hits, sum(hits, axes_, true, op.stream), op.stream);
  }
};

const char* name_of(ArgReduceOp op) {
  return op == ArgReduceOp::argmin ? "argmin" : "argmax";
}

// It reduces one axis, or all of them.
class ArgReduce final : public Record<ReduceFields<ArgReduceOp>> {
 public:
  using Record::Record;

  const char* name() const override {
    return name_of(op_);
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::arg_reduce, static_cast<uint8_t>(op_), in, out};
  }
  void place(Placement& placement) const override {
    place_reduction(placement, kernel(placement.input_dtype(0), uint32), axes_, true);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& input = step.inputs[0];
    if (input.size() == 0) {
      return;
    }
    encode_reduction(
        encoder,
        kernel(input.dtype, uint32),
        step,
        ReduceWalk(*input.shape, input.layout->strides, axes_, true));
  }
  // Positions jump, so there is no derivative.
  std::vector<array> vjp(const Recorded&, std::span<const array>) const override {
    return {array()};
  }
  std::vector<array> jvp(const Recorded&, std::span<const array>) const override {
    return {array()};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    return {record(
        std::make_shared<ArgReduce>(op_, behind_batch(axes_)),
        op.stream,
        with_batch(size, op.outputs[0].shape()),
        uint32,
        inputs)};
  }
};

Dtype reduced_dtype(ReduceOp op, Dtype dtype) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::prod:
      if (dtype == bool_ || (is_integer(dtype) && size_of(dtype) < 4)) {
        return is_unsigned(dtype) ? uint32 : int32;
      }
      return dtype;
    case ReduceOp::min:
    case ReduceOp::max:
      return dtype;
    case ReduceOp::all:
    case ReduceOp::any:
      break;
  }
  return bool_;
}

// The number of last axes that a row-major input can have reduced in one call.
size_t axes_of_one_launch(const Shape& shape, const Axes& axes) {
  size_t count = 0;
  int groups = 0;
  int next = -1; // the first dimension of the latest group
  for (size_t i = axes.size(); i-- > 0; ++count) {
    if (shape[axes[i]] == 1) {
      continue;
    }
    bool merges = next >= 0;
    for (int d = axes[i] + 1; d < next; ++d) {
      merges &= shape[d] == 1;
    }
    groups += merges ? 0 : 1;
    if (groups > NARROWS_MAX_DIMS) {
      break;
    }
    next = axes[i];
  }
  return count;
}

array record_reduce(
    ReduceOp op, const array& a, Axes axes, bool keepdims, Dtype dtype, StreamOrDevice s) {
  const size_t together = axes_of_one_launch(a.shape(), axes);
  if (together < axes.size()) {
    const Axes last(axes.end() - together, axes.end());
    const Axes first(axes.begin(), axes.end() - together);
    const array partial = record_reduce(op, a, last, true, dtype, s);
    const array whole = record_reduce(op, partial, first, true, dtype, s);
    return keepdims ? whole : squeeze(whole, axes, s);
  }
  const Shape shape = reduced_shape(a.shape(), axes, keepdims);
  return record(std::make_shared<Reduce>(op, std::move(axes)), s.stream(), shape, dtype, {&a, 1});
}

array reduce(
    ReduceOp op,
    const array& a,
    const OptionalAxes& optional_axes,
    bool keepdims,
    StreamOrDevice s) {
  const char* name = kReduceNames[static_cast<size_t>(op)];
  Axes axes = reduced_axes(name, optional_axes, a.shape());
  const Dtype dtype = reduced_dtype(op, a.dtype());
  bool changes = shapes_vary() && !axes.empty();
  for (int axis : axes) {
    changes |= a.shape()[axis] != 1;
    if (a.shape()[axis] == 0 && (op == ReduceOp::min || op == ReduceOp::max)) {
      fail<ValueError>(
          "[",
          name,
          "] axis ",
          axis,
          " of an array of shape ",
          to_string(a.shape()),
          " has no elements, expected at least one.");
    }
  }
  if (!changes) {
    const array converted = astype(a, dtype, s);
    return keepdims || axes.empty() ? converted : squeeze(converted, axes, s);
  }
  return record_reduce(op, a, std::move(axes), keepdims, dtype, s);
}

array arg_reduce(
    ArgReduceOp op,
    const array& a,
    const OptionalAxes& optional_axes,
    bool keepdims,
    StreamOrDevice s) {
  const char* name = name_of(op);
  Axes axes = reduced_axes(name, optional_axes, a.shape());
  const int64_t count = reduced_count(a.shape(), axes);
  if (count == 0 || count > (int64_t{1} << 32)) {
    fail<ValueError>(
        "[",
        name,
        "] ",
        count,
        " elements to choose from in an array of shape ",
        to_string(a.shape()),
        ", expected 1 to 2^32.");
  }
  const Shape shape = reduced_shape(a.shape(), axes, keepdims);
  if (count == 1 && !shapes_vary()) {
    return zeros(shape, uint32, s);
  }
  return record(
      std::make_shared<ArgReduce>(op, std::move(axes)), s.stream(), shape, uint32, {&a, 1});
}

struct CountFields {
  Axes axes_; // ascending

  static constexpr std::tuple fields{field("axes", &CountFields::axes_)};
};

// The number of elements along axes of the input, in graphs that are recorded for any shape.
class NumberOfElements final : public Record<CountFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "number_of_elements";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::fill, 0, out, out};
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    const int64_t count = reduced_count(*step.inputs[0].shape, axes_);
    encode_fill(encoder, make_scalar(count, output.dtype), output);
  }
  std::vector<array> vjp(const Recorded&, std::span<const array>) const override {
    return {array()};
  }
  std::vector<array> jvp(const Recorded&, std::span<const array>) const override {
    return {array()};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    const Dtype dtype = op.outputs[0].dtype();
    return {broadcast_to(
        number_of_elements(inputs[0], behind_batch(axes_), dtype, op.stream), {size}, op.stream)};
  }
};

array number_of_elements(const array& a, const Axes& some_axes, Dtype dtype, StreamOrDevice s) {
  Axes axes = normalize_axes("number_of_elements", some_axes, a.shape());
  if (!shapes_vary()) {
    return number(reduced_count(a.shape(), axes), dtype);
  }
  return record(
      std::make_shared<NumberOfElements>(std::move(axes)), s.stream(), {}, dtype, {&a, 1});
}

// The sum over `axes` of `a`, divided by the number of elements less `ddof`.
array averaged(const array& total, const array& a, const Axes& axes, int ddof, StreamOrDevice s) {
  const auto constant = [&](double value) { return number(value, total.dtype()); };
  if (!shapes_vary()) {
    const int64_t count = reduced_count(a.shape(), axes);
    const auto divisor = static_cast<double>(std::max<int64_t>(0, count - ddof));
    return divide(total, constant(divisor), s);
  }
  array count = number_of_elements(a, axes, total.dtype(), s);
  if (ddof != 0) {
    count = maximum(subtract(count, constant(ddof), s), constant(0), s);
  }
  return divide(total, count, s);
}

// `a` in a dtype for sums over many elements: 16-bit floats would overflow, and integers would wrap
// around.
array summable(const array& a, StreamOrDevice s) {
  return astype(a, is_half(a.dtype()) ? float32 : at_least_float(a.dtype()), s);
}

} // namespace

Axes reduced_axes(const char* op, const OptionalAxes& axes, const Shape& shape) {
  if (axes) {
    return normalize_axes(op, *axes, shape);
  }
  Axes all;
  for (int i = 0; i < shape.ndim(); ++i) {
    all.push_back(i);
  }
  return all;
}

Shape reduced_shape(const Shape& shape, const Axes& axes, bool keepdims) {
  Shape result;
  for (int i = 0; i < shape.ndim(); ++i) {
    if (!contains(axes, i)) {
      result.push_back(shape[i]);
    } else if (keepdims) {
      result.push_back(1);
    }
  }
  return result;
}

array sum(const array& a, const OptionalAxes& axes, bool keepdims, StreamOrDevice s) {
  return reduce(ReduceOp::sum, a, axes, keepdims, s);
}
array prod(const array& a, const OptionalAxes& axes, bool keepdims, StreamOrDevice s) {
  return reduce(ReduceOp::prod, a, axes, keepdims, s);
}
array min(const array& a, const OptionalAxes& axes, bool keepdims, StreamOrDevice s) {
  return reduce(ReduceOp::min, a, axes, keepdims, s);
}
array max(const array& a, const OptionalAxes& axes, bool keepdims, StreamOrDevice s) {
  return reduce(ReduceOp::max, a, axes, keepdims, s);
}
array all(const array& a, const OptionalAxes& axes, bool keepdims, StreamOrDevice s) {
  return reduce(ReduceOp::all, a, axes, keepdims, s);
}
array any(const array& a, const OptionalAxes& axes, bool keepdims, StreamOrDevice s) {
  return reduce(ReduceOp::any, a, axes, keepdims, s);
}

std::pair<array, array> minmax(
    const array& a, const OptionalAxes& axes, bool keepdims, StreamOrDevice s) {
  return {min(a, axes, keepdims, s), max(a, axes, keepdims, s)};
}

array count_nonzero(const array& a, const OptionalAxes& axes, bool keepdims, StreamOrDevice s) {
  return sum(astype(a, bool_, s), axes, keepdims, s);
}

array argmin(const array& a, std::optional<int> axis, bool keepdims, StreamOrDevice s) {
  const OptionalAxes axes = axis ? OptionalAxes(Axes{*axis}) : std::nullopt;
  return arg_reduce(ArgReduceOp::argmin, a, axes, keepdims, s);
}
array argmax(const array& a, std::optional<int> axis, bool keepdims, StreamOrDevice s) {
  const OptionalAxes axes = axis ? OptionalAxes(Axes{*axis}) : std::nullopt;
  return arg_reduce(ArgReduceOp::argmax, a, axes, keepdims, s);
}

array mean(const array& a, const OptionalAxes& optional_axes, bool keepdims, StreamOrDevice s) {
  const Axes axes = reduced_axes("mean", optional_axes, a.shape());
  const array total = sum(summable(a, s), axes, keepdims, s);
  return astype(averaged(total, a, axes, 0, s), at_least_float(a.dtype()), s);
}

array var(
    const array& a, const OptionalAxes& optional_axes, bool keepdims, int ddof, StreamOrDevice s) {
  const Axes axes = reduced_axes("var", optional_axes, a.shape());
  // Two passes, the mean first: a difference of two large sums would cancel.
  const array x = summable(a, s);
  array distance = subtract(x, mean(x, axes, true, s), s);
  if (is_complex(x.dtype())) {
    distance = abs(distance, s);
  }
  const array total = sum(square(std::move(distance), s), axes, keepdims, s);
  const Dtype dtype = is_complex(a.dtype()) ? float32 : at_least_float(a.dtype());
  return astype(averaged(total, a, axes, ddof, s), dtype, s);
}

array std(const array& a, const OptionalAxes& axes, bool keepdims, int ddof, StreamOrDevice s) {
  return sqrt(var(a, axes, keepdims, ddof, s), s);
}

namespace {

bool add_reduction_rows() {
  for (uint8_t i = 0; i < std::size(kReduceNames); ++i) {
    using Fields = ReduceFields<ReduceOp>;
    const auto op = static_cast<ReduceOp>(i);
    RecordRow<Fields>(kReduceNames[i], [op](const OperationCall& call, const Fields& f) {
      return reduce(op, call.inputs[0], f.axes_, call.keeps_axes(), call.stream);
    });
  }
  for (const ArgReduceOp op : {ArgReduceOp::argmin, ArgReduceOp::argmax}) {
    using Fields = ReduceFields<ArgReduceOp>;
    RecordRow<Fields>(name_of(op), [op](const OperationCall& call, const Fields& f) {
      return arg_reduce(op, call.inputs[0], f.axes_, call.keeps_axes(), call.stream);
    });
  }
  return true;
}
const bool kReductions = add_reduction_rows();
const RecordRow<CountFields> kNumberOfElements(
    "number_of_elements", [](const OperationCall& call, const CountFields& f) {
      return number_of_elements(call.inputs[0], f.axes_, call.dtype(), call.stream);
    });

} // namespace

} // namespace narrows
