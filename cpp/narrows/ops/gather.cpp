#include "narrows/ops/gather.h"

#include <algorithm>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexed.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/scatter.h"
#include "narrows/plan/placement.h"

namespace narrows {
namespace {

// What both primitives have in common. Their inputs are the array, then the indices.
class Gathering : public Primitive {
 public:
  KernelId kernel(Dtype in, Dtype out) const override {
    return indexed_kernel(KernelFamily::gather, 0, out, in);
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& a = step.inputs[0];
    const ArrayView& output = step.outputs[0];
    if (output.size() == 0) {
      return;
    }
    const auto indices = step.inputs.subspan(1);
    IndexedViews views{a.shape, &a.layout->strides, &output.layout->strides, indices[0].shape, {}};
    for (const ArrayView& index : indices) {
      views.index_strides.push_back(&index.layout->strides);
    }
    encode_walk(encoder, kernel(indices[0].dtype, a.dtype), walk(views), a, output, indices, {});
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    std::vector<array> inputs(op.inputs.begin(), op.inputs.end());
    if (!tangents[0]) {
      return {array()};
    }
    inputs[0] = tangents[0];
    return {record(op.primitive, op.stream, op.outputs[0].shape(), tangents[0].dtype(), inputs)};
  }

 private:
  virtual IndexedWalk walk(const IndexedViews& views) const = 0;
};

class Gather final : public Record<Slices, Gathering> {
 public:
  using Record::Record;

  const char* name() const override {
    return "gather";
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<array> result(op.inputs.size());
    const std::vector<array> indices(op.inputs.begin() + 1, op.inputs.end());
    const array zero = zeros(op.inputs[0].shape(), cotangents[0].dtype(), op.stream);
    result[0] = scatter_slices(zero, indices, cotangents[0], *this, ScatterOp::add, op.stream);
    return result;
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const std::vector<array> all = as_batches(inputs, batched, size, op.stream);
    Slices slices = *this;
    ++slices.batch;
    return {gather_slices(all[0], {all.begin() + 1, all.end()}, slices, op.stream)};
  }

 private:
  IndexedWalk walk(const IndexedViews& views) const override {
    return IndexedWalk(KernelFamily::gather, views, *this);
  }
};

class GatherAxis final : public Record<IndexedAxis, Gathering> {
 public:
  using Record::Record;

  const char* name() const override {
    return "gather_axis";
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& g = cotangents[0];
    const array zero = zeros(op.inputs[0].shape(), g.dtype(), op.stream);
    return {scatter_axis(zero, op.inputs[1], g, axis, ScatterOp::add, clamp, op.stream), array()};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const std::vector<array> all = as_batches(inputs, batched, size, op.stream);
    return {gather_axis(all[0], all[1], axis + 1, clamp, op.stream)};
  }

 private:
  IndexedWalk walk(const IndexedViews& views) const override {
    return IndexedWalk(KernelFamily::gather, views, *this);
  }
};

// The indices in a dtype that kernels read. Numbers that int64 cannot hold are out of range of
// every array.
array as_kernel_index(const char* op, const array& index, StreamOrDevice s) {
  const Dtype dtype = index.dtype();
  if (!is_integer(dtype)) {
    fail<ValueError>("[", op, "] indices of dtype ", name_of(dtype), ", expected integers.");
  }
  if (is_kernel_index(dtype)) {
    return index;
  }
  if (dtype == uint64) {
    return astype(minimum(index, number(INT64_MAX, uint64), s), int64, s);
  }
  return astype(index, int32, s);
}

void check_slices(const char* op, const Shape& shape, size_t indices, const Slices& slices) {
  const size_t ndim = slices.sizes.size();
  if (indices == 0 || indices > NARROWS_MAX_INDICES || indices != slices.axes.size()) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        indices,
        " arrays of indices for ",
        slices.axes.size(),
        " axes, expected as many, and 1 to ",
        NARROWS_MAX_INDICES,
        ".");
  }
  if (slices.batch < 0 || static_cast<size_t>(slices.batch) + ndim != shape.size()) {
    fail<ValueError>(
        "[",
        op,
        "] slices of shape ",
        to_string(slices.sizes),
        " of an array of shape ",
        to_string(shape),
        ", expected as many dimensions.");
  }
  normalize_axes(op, slices.axes, slices.sizes); // refuses axes that are repeated or out of range
  if (std::any_of(slices.axes.begin(), slices.axes.end(), [](int axis) { return axis < 0; })) {
    fail<IndexError>("[", op, "] negative axes, expected such as count from the first.");
  }
}

} // namespace

std::vector<array> checked_indices(
    const char* op,
    const Shape& shape,
    const std::vector<array>& indices,
    const Slices& slices,
    StreamOrDevice s) {
  check_slices(op, shape, indices.size(), slices);
  std::vector<array> result;
  Shape common;
  for (const array& index : indices) {
    result.push_back(as_kernel_index(op, index, s));
    common = broadcast_shapes(op, common, index.shape());
  }
  const auto batch = static_cast<size_t>(slices.batch);
  if (common.size() < batch || !std::equal(shape.begin(), shape.begin() + batch, common.begin())) {
    fail<ValueError>(
        "[",
        op,
        "] indices of shape ",
        to_string(common),
        " for an array of shape ",
        to_string(shape),
        ", expected the same ",
        batch,
        " first dimensions.");
  }
  const bool is_empty = element_count(common) == 0;
  for (size_t i = 0; i < slices.sizes.size(); ++i) {
    const int64_t n = shape[batch + i];
    if (slices.sizes[i] < 0 || (slices.sizes[i] > n && !is_empty)) {
      fail<ValueError>(
          "[",
          op,
          "] slices of shape ",
          to_string(slices.sizes),
          " are not within an array of shape ",
          to_string(shape),
          ".");
    }
  }
  const Dtype dtype = result[0].dtype();
  const bool alike = std::all_of(
      result.begin(), result.end(), [&](const array& index) { return index.dtype() == dtype; });
  for (array& index : result) {
    index = broadcast_to(alike ? index : astype(index, int64, s), common, s);
  }
  return result;
}

array checked_index(
    const char* op, const Shape& shape, const array& index, int axis, StreamOrDevice s) {
  const array result = as_kernel_index(op, index, s);
  Shape expected = index.shape();
  if (index.ndim() == shape.ndim()) {
    expected[static_cast<size_t>(axis)] = shape[static_cast<size_t>(axis)];
  }
  if (expected != shape) {
    fail<ValueError>(
        "[",
        op,
        "] indices of shape ",
        to_string(index.shape()),
        " for an array of shape ",
        to_string(shape),
        ", expected the same but for axis ",
        axis,
        ".");
  }
  if (shape[static_cast<size_t>(axis)] == 0 && index.size() > 0) {
    fail<ValueError>(
        "[", op, "] ", index.size(), " indices along axis ", axis, ", which has no elements.");
  }
  return result;
}

array gather_slices(
    const array& a, const std::vector<array>& indices, const Slices& slices, StreamOrDevice s) {
  std::vector<array> inputs = checked_indices("gather", a.shape(), indices, slices, s);
  Shape shape = inputs[0].shape();
  for (int64_t size : slices.sizes) {
    shape.push_back(size);
  }
  checked_size("gather", shape);
  inputs.insert(inputs.begin(), a);
  return record(std::make_shared<Gather>(slices), s.stream(), std::move(shape), a.dtype(), inputs);
}

array gather(
    const array& a,
    const std::vector<array>& indices,
    const Axes& axes,
    const Shape& slice_sizes,
    StreamOrDevice s) {
  Axes positive;
  for (int axis : axes) {
    positive.push_back(normalize_axis("gather", axis, a.shape()));
  }
  return gather_slices(a, indices, {positive, slice_sizes, 0, true}, s);
}

array gather_axis(const array& a, const array& indices, int axis, bool clamp, StreamOrDevice s) {
  const int at = normalize_axis("gather_axis", axis, a.shape());
  const array inputs[] = {a, checked_index("gather_axis", a.shape(), indices, at, s)};
  return record(
      std::make_shared<GatherAxis>(at, clamp), s.stream(), indices.shape(), a.dtype(), inputs);
}

array gather_axis(const array& a, const array& indices, int axis, StreamOrDevice s) {
  return gather_axis(a, indices, axis, true, s);
}

namespace {

const RecordRow<Slices, kAnyInputs> kGather(
    "gather", [](const OperationCall& call, const Slices& slices) {
      if (call.inputs.empty()) {
        fail<ValueError>("[gather] no inputs, expected an array and indices.");
      }
      const std::vector<array> indices(call.inputs.begin() + 1, call.inputs.end());
      return gather_slices(call.inputs[0], indices, slices, call.stream);
    });
const RecordRow<IndexedAxis, 2> kGatherAxis("gather_axis", gather_axis);

} // namespace

} // namespace narrows
