#include "narrows/ops/sort.h"

#include <algorithm>
#include <array>
#include <limits>

#include "metal_kernels/sort.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

constexpr const char* kSortNames[] = {"sort", "argsort", "partition", "argpartition"};

// For partitions: the place of the element to find, and which elements of the partitioned line are
// kept (by default all). Negative places count from the end of the line.
struct SortFields {
  SortOp op_;
  std::optional<int64_t> kth_;
  std::optional<int64_t> first_;
  std::optional<int64_t> count_;

  static constexpr std::tuple fields{
      field("kth", &SortFields::kth_),
      field("first", &SortFields::first_),
      field("count", &SortFields::count_)};
};

SortOp places_op(SortOp op) {
  return op == SortOp::sort ? SortOp::argsort : op == SortOp::partition ? SortOp::argpartition : op;
}

// Sorts along the last axis.
class Sort final : public Record<SortFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return kSortNames[static_cast<size_t>(op_)];
  }
  KernelId kernel(Dtype in, Dtype out) const override {
    return {KernelFamily::sort, static_cast<uint8_t>(op_), in, out};
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    placement.allocate(0);
    if (element_count(placement.output_shape(0)) > 0) {
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
    if (is_of_places()) {
      return {array()};
    }
    const array& g = cotangents[0];
    const array zero = zeros(op.inputs[0].shape(), g.dtype(), op.stream);
    return {put_along_axis(zero, places(op), g, -1, op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    if (is_of_places()) {
      return {array()};
    }
    return {take_along_axis(tangents[0], places(op), -1, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    return again_for_batch(op, inputs, size);
  }

 private:
  bool is_of_places() const {
    return op_ == places_op(op_);
  }
  array places(const Recorded& op) const {
    return record(
        std::make_shared<Sort>(places_op(op_), kth_, first_, count_),
        op.stream,
        op.outputs[0].shape(),
        uint32,
        op.inputs);
  }
  SortParams params_of(const Shape& shape) const {
    SortParams params{};
    params.length = shape.back();
    params.rows = params.length > 0 ? element_count(shape) / params.length : 0;
    const auto from_start = [&](int64_t place) {
      return place < 0 ? place + params.length : place;
    };
    params.kth = from_start(kth_.value_or(0));
    params.first = from_start(first_.value_or(0));
    params.count = count_.value_or(params.length);
    return params;
  }
};

// For an array whose last axis is sorted.
array record_sort(const SortFields& fields, const array& a, StreamOrDevice s) {
  const char* name = kSortNames[static_cast<size_t>(fields.op_)];
  if (a.shape().back() > std::numeric_limits<uint32_t>::max()) {
    fail<ValueError>(
        "[", name, "] lines of ", a.shape().back(), " elements, expected less than 2^32.");
  }
  Shape shape = a.shape();
  shape.back() = fields.count_.value_or(shape.back());
  const bool places = fields.op_ == places_op(fields.op_);
  return record(
      std::make_shared<Sort>(fields.op_, fields.kth_, fields.first_, fields.count_),
      s.stream(),
      shape,
      places ? uint32 : a.dtype(),
      {&a, 1});
}

// The array with the axis as its last one. Without an axis the array is flattened.
struct Lines {
  array lines;
  int axis; // the place that the last axis had
};
Lines lines_along(const char* op, const array& a, std::optional<int> axis, StreamOrDevice s) {
  if (!axis) {
    return {reshape(a, {a.size()}, s), 0};
  }
  const int along = normalize_axis(op, *axis, a.shape());
  return {along == a.ndim() - 1 ? a : moveaxis(a, along, -1, s), along};
}
array put_back(const array& lines, int axis, StreamOrDevice s) {
  return axis == lines.ndim() - 1 ? lines : moveaxis(lines, -1, axis, s);
}

array sorted(SortOp op, const array& a, std::optional<int> axis, StreamOrDevice s) {
  const Lines at = lines_along(kSortNames[static_cast<size_t>(op)], a, axis, s);
  return put_back(record_sort({op, {}, {}, {}}, at.lines, s), at.axis, s);
}

array partitioned(
    SortOp op, const array& a, int64_t kth, std::optional<int> axis, StreamOrDevice s) {
  const char* name = kSortNames[static_cast<size_t>(op)];
  const Lines at = lines_along(name, a, axis, s);
  const int64_t length = at.lines.shape().back();
  if (kth < -length || kth >= length) {
    fail<ValueError>(
        "[",
        name,
        "] kth ",
        kth,
        " of ",
        length,
        " elements, expected one of ",
        -length,
        " to ",
        length - 1,
        ".");
  }
  return put_back(record_sort({op, kth, {}, {}}, at.lines, s), at.axis, s);
}

} // namespace

array sort(const array& a, std::optional<int> axis, StreamOrDevice s) {
  return sorted(SortOp::sort, a, axis, s);
}

array argsort(const array& a, std::optional<int> axis, StreamOrDevice s) {
  return sorted(SortOp::argsort, a, axis, s);
}

array partition(const array& a, int64_t kth, std::optional<int> axis, StreamOrDevice s) {
  return partitioned(SortOp::partition, a, kth, axis, s);
}

array argpartition(const array& a, int64_t kth, std::optional<int> axis, StreamOrDevice s) {
  return partitioned(SortOp::argpartition, a, kth, axis, s);
}

array topk(const array& a, int64_t k, std::optional<int> axis, StreamOrDevice s) {
  const Lines at = lines_along("topk", a, axis, s);
  const int64_t length = at.lines.shape().back();
  if (k < 0 || k > length) {
    fail<ValueError>("[topk] k ", k, " of ", length, " elements, expected 0 to ", length, ".");
  }
  if (k == length) {
    return axis ? a : at.lines;
  }
  // The last k elements of a partition.
  const int64_t first = k == 0 ? -1 : -k;
  return put_back(record_sort({SortOp::partition, first, first, k}, at.lines, s), at.axis, s);
}

array median(const array& a, const OptionalAxes& optional_axes, bool keepdims, StreamOrDevice s) {
  const Axes axes = reduced_axes("median", optional_axes, a.shape());
  // Moves the reduced axes to the end and merges them into one line.
  Axes order;
  Shape shape;
  int64_t length = 1;
  for (int i = 0; i < a.ndim(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) {
      order.push_back(i);
      shape.push_back(a.shape()[i]);
    }
  }
  for (int axis : axes) {
    order.push_back(axis);
    length *= a.shape()[axis];
  }
  if (length == 0) {
    fail<ValueError>(
        "[median] no elements along the axes of an array of shape ",
        to_string(a.shape()),
        ", expected at least one.");
  }
  shape.push_back(length);
  const array x = astype(a, at_least_float(a.dtype()), s);
  const array lines = reshape(transpose(x, order, s), shape, s);
  const auto element = [&](int64_t k) {
    return record_sort({SortOp::partition, k, k, 1}, lines, s);
  };
  array middle = element(length / 2);
  if (length % 2 == 0) {
    const array half = number(0.5, x.dtype());
    middle = add(multiply(element(length / 2 - 1), half, s), multiply(middle, half, s), s);
  }
  const array nan = number(std::numeric_limits<double>::quiet_NaN(), x.dtype());
  middle = where(any(isnan(lines, s), Axes{-1}, true, s), nan, middle, s);
  return reshape(middle, reduced_shape(a.shape(), axes, keepdims), s);
}

namespace {

const RecordRow<SortFields> kSort("sort", [](const OperationCall& call, const SortFields&) {
  return sort(call.inputs[0], -1, call.stream);
});
const RecordRow<SortFields> kArgsort("argsort", [](const OperationCall& call, const SortFields&) {
  return argsort(call.inputs[0], -1, call.stream);
});

array partition_again(const OperationCall& call, SortOp op, const SortFields& f) {
  const array& a = call.inputs[0];
  const Shape& recorded = call.recorded_inputs[0].shape;
  if (a.ndim() == 0 || recorded.ndim() == 0) {
    fail<ValueError>("[", call.name, "] a scalar, expected an array of lines.");
  }
  const int64_t length = a.shape().back();
  const int64_t kth = f.kth_.value_or(length);
  const int64_t first = f.first_.value_or(-length);
  const int64_t count = f.count_.value_or(length);
  const int64_t start = first < 0 ? first + length : first;
  if (kth < -length || kth >= length || start < 0 || start > length || count < 0 ||
      count > length - start) {
    fail<ValueError>(
        "[",
        call.name,
        "] kth ",
        kth,
        " and ",
        count,
        " elements from ",
        first,
        " on of lines of ",
        length,
        " elements, expected less.");
  }
  // A recorded place may be counted from the start. In a line of another length the median is
  // elsewhere.
  if (f.first_ && first >= 0 && length != recorded.back()) {
    fail<ValueError>(
        "[",
        call.name,
        "] lines of ",
        length,
        " elements, but it was recorded of an array of shape ",
        to_string(recorded),
        ".");
  }
  return record_sort({op, f.kth_, f.first_, f.count_}, a, call.stream);
}

const RecordRow<SortFields> kPartition(
    "partition", [](const OperationCall& call, const SortFields& f) {
      return partition_again(call, SortOp::partition, f);
    });
const RecordRow<SortFields> kArgpartition(
    "argpartition", [](const OperationCall& call, const SortFields& f) {
      return partition_again(call, SortOp::argpartition, f);
    });

} // namespace

} // namespace narrows
