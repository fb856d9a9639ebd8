#include "narrows/ops/scatter.h"

#include <algorithm>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/gather.h"
#include "narrows/ops/indexed.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/plan/placement.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

// By ScatterOp.
constexpr const char* kNames[] = {
    "scatter", "scatter_add", "scatter_multiply", "scatter_minimum", "scatter_maximum"};
constexpr const char* kAxisNames[] = {
    "scatter_axis",
    "scatter_axis_add",
    "scatter_axis_multiply",
    "scatter_axis_minimum",
    "scatter_axis_maximum"};

// What both primitives have in common. Their inputs are the array, the updates, then the indices.
class Scattering : public Primitive {
 public:
  KernelId kernel(Dtype in, Dtype out) const override {
    return indexed_kernel(KernelFamily::scatter, static_cast<uint8_t>(mode()), out, in);
  }
  void place(Placement& placement) const override {
    if (!placement.overwrite(0, 0)) {
      placement.allocate(0);
    }
    if (element_count(placement.input_shape(1)) > 0) {
      IndexedViews views{
          &placement.input_shape(0),
          &placement.input_layout(0).strides,
          &placement.input_layout(1).strides,
          &placement.input_shape(2),
          {}};
      for (uint32_t i = 2; i < placement.input_count(); ++i) {
        views.index_strides.push_back(&placement.input_layout(i).strides);
      }
      place_scratch(
          placement, kernel(placement.input_dtype(2), placement.input_dtype(0)), walk(views));
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    const ArrayView& updates = step.inputs[1];
    if (output.buffer != step.inputs[0].buffer) {
      encode_copy(encoder, step.inputs[0], output);
    }
    if (updates.size() == 0) {
      return;
    }
    const auto indices = step.inputs.subspan(2);
    IndexedViews views{
        output.shape, &output.layout->strides, &updates.layout->strides, indices[0].shape, {}};
    for (const ArrayView& index : indices) {
      views.index_strides.push_back(&index.layout->strides);
    }
    encode_walk(
        encoder,
        kernel(indices[0].dtype, output.dtype),
        walk(views),
        output,
        updates,
        indices,
        step.workspace);
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<array> result(op.inputs.size());
    const array& g = cotangents[0];
    const Stream s = op.stream;
    switch (mode()) {
      case ScatterOp::add:
        result[0] = g;
        result[1] = read(op, g);
        break;
      case ScatterOp::assign: {
        const array zero = broadcast_to(number(0, g.dtype()), op.inputs[1].shape(), s);
        result[0] = write(op, ScatterOp::assign, g, zero);
        if (op.wants(1)) {
          const array read_back = read(op, g);
          result[1] = has_one_position(op) ? read_back : where(is_last(op), read_back, zero, s);
        }
        break;
      }
      case ScatterOp::multiply: {
        const Factors factors = factors_of(op, true);
        result[0] = multiply(g, factors.all, s);
        const array at = multiply(g, conjugated(op.inputs[0], s), s);
        result[1] = multiply(read(op, at), factors.others, s);
        break;
      }
      default: {
        const Shares shares = shares_of(op);
        const array share = divided(g, shares.count, s);
        result[0] = multiply(share, shares.of_array, s);
        result[1] = multiply(read(op, share), shares.of_updates, s);
      }
    }
    return result;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    const Stream s = op.stream;
    const std::vector<array> t = filled(tangents.first(2), op.inputs.first(2), s);
    switch (mode()) {
      case ScatterOp::add:
      case ScatterOp::assign:
        return {write(op, mode(), t[0], t[1])};
      case ScatterOp::multiply: {
        const Factors factors = factors_of(op, false);
        const array change = write(
            op, ScatterOp::add, zeros_like(op.inputs[0], s), multiply(t[1], factors.others, s));
        return {add(multiply(t[0], factors.all, s), multiply(op.inputs[0], change, s), s)};
      }
      default: {
        const Shares shares = shares_of(op);
        const array sum = write(
            op,
            ScatterOp::add,
            multiply(t[0], shares.of_array, s),
            multiply(t[1], shares.of_updates, s));
        return {divided(sum, shares.count, s)};
      }
    }
  }

 private:
  virtual ScatterOp mode() const = 0;
  virtual IndexedWalk walk(const IndexedViews& views) const = 0;
  // The gather and the scatter at the same indices.
  virtual array read(const Recorded& op, const array& a) const = 0;
  virtual array write(
      const Recorded& op, ScatterOp mode, const array& a, const array& updates) const = 0;

  // Whether no two updates can change the same element.
  virtual bool has_one_position(const Recorded& op) const = 0;

  // Whether each update is the one of those for its element that stays.
  array is_last(const Recorded& op) const {
    const Stream s = op.stream;
    const array& updates = op.inputs[1];
    const Dtype dtype = updates.size() > INT32_MAX ? int64 : int32;
    const array ids =
        reshape(arange(int64_t{0}, updates.size(), int64_t{1}, dtype, s), updates.shape(), s);
    const array none = full(op.inputs[0].shape(), make_scalar(int64_t{-1}, dtype), s);
    return equal(read(op, write(op, ScatterOp::assign, none, ids)), ids, s);
  }

  // How a product changes with its factors: for each element, the product of all its updates; for
  // each update, the product of all others. It is right for zeros, too.
  struct Factors {
    array all;
    array others;
  };
  Factors factors_of(const Recorded& op, bool conjugate) const {
    const Stream s = op.stream;
    const array& a = op.inputs[0];
    const array updates = conjugate ? conjugated(op.inputs[1], s) : op.inputs[1];
    const Dtype dtype = a.dtype();
    const array one = number(1, dtype);
    const array is_zero = equal(updates, number(0, dtype), s);
    const array none = full(a.shape(), make_scalar(int64_t{1}, dtype), s);
    const array without = write(op, ScatterOp::multiply, none, where(is_zero, one, updates, s));
    const array zeros_there =
        write(op, ScatterOp::add, zeros(a.shape(), int32, s), astype(is_zero, int32, s));
    const array has_none = equal(zeros_there, number(0, int32), s);
    const array product = read(op, without);
    const array zero_count = read(op, zeros_there);
    const array of_zero =
        multiply(product, astype(equal(zero_count, number(1, int32), s), dtype, s), s);
    const array of_other = multiply(
        divided(product, where(is_zero, one, updates, s), s),
        astype(equal(zero_count, number(0, int32), s), dtype, s),
        s);
    return {multiply(without, astype(has_none, dtype, s), s), where(is_zero, of_zero, of_other, s)};
  }

  // Which elements of the array and which updates are equal to the extreme, as one or zero, and how
  // many of them each element has.
  struct Shares {
    array of_array;
    array of_updates;
    array count;
  };
  Shares shares_of(const Recorded& op) const {
    const Stream s = op.stream;
    const array& result = op.outputs[0];
    const Dtype dtype = result.dtype();
    const array of_array = astype(equal(op.inputs[0], result, s), dtype, s);
    const array of_updates = astype(equal(op.inputs[1], read(op, result), s), dtype, s);
    const array count = write(op, ScatterOp::add, of_array, of_updates);
    return {of_array, of_updates, maximum(count, number(1, dtype), s)};
  }

  // Divides in the dtype of `a`; integers are rounded towards zero.
  static array divided(const array& a, const array& b, StreamOrDevice s) {
    return astype(divide(a, b, s), a.dtype(), s);
  }
};

struct ScatterFields : Slices {
  ScatterOp op;
};

class Scatter final : public Record<ScatterFields, Scattering> {
 public:
  using Record::Record;

  const char* name() const override {
    return kNames[static_cast<size_t>(op)];
  }
  std::vector<array> vmap(
      const Recorded& recorded,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const Stream s = recorded.stream;
    const std::vector<array> all = as_batches(inputs, batched, size, s);
    Slices slices = *this;
    ++slices.batch;
    return {scatter_slices(all[0], {all.begin() + 2, all.end()}, all[1], slices, op, s)};
  }

 private:
  ScatterOp mode() const override {
    return op;
  }
  IndexedWalk walk(const IndexedViews& views) const override {
    return IndexedWalk(KernelFamily::scatter, views, *this);
  }
  array read(const Recorded& recorded, const array& a) const override {
    return gather_slices(
        a, {recorded.inputs.begin() + 2, recorded.inputs.end()}, *this, recorded.stream);
  }
  array write(const Recorded& recorded, ScatterOp mode, const array& a, const array& updates)
      const override {
    const std::vector<array> indices(recorded.inputs.begin() + 2, recorded.inputs.end());
    return scatter_slices(a, indices, updates, *this, mode, recorded.stream);
  }
  bool has_one_position(const Recorded& recorded) const override {
    const Shape& shape = recorded.inputs[2].shape();
    return std::all_of(shape.begin() + batch, shape.end(), [](int64_t n) { return n == 1; });
  }
};

struct ScatterAxisFields : IndexedAxis {
  ScatterOp op;
};

class ScatterAxis final : public Record<ScatterAxisFields, Scattering> {
 public:
  using Record::Record;

  const char* name() const override {
    return kAxisNames[static_cast<size_t>(op)];
  }
  std::vector<array> vmap(
      const Recorded& recorded,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const Stream s = recorded.stream;
    const std::vector<array> all = as_batches(inputs, batched, size, s);
    return {scatter_axis(all[0], all[2], all[1], axis + 1, op, clamp, s)};
  }

 private:
  ScatterOp mode() const override {
    return op;
  }
  IndexedWalk walk(const IndexedViews& views) const override {
    return IndexedWalk(KernelFamily::scatter, views, *this);
  }
  array read(const Recorded& recorded, const array& a) const override {
    return gather_axis(a, recorded.inputs[2], axis, clamp, recorded.stream);
  }
  array write(const Recorded& recorded, ScatterOp mode, const array& a, const array& updates)
      const override {
    return scatter_axis(a, recorded.inputs[2], updates, axis, mode, clamp, recorded.stream);
  }
  bool has_one_position(const Recorded& recorded) const override {
    return recorded.inputs[2].shape(axis) == 1;
  }
};

void check_updates(const char* op, const array& updates, const Shape& expected) {
  if (updates.shape() != expected) {
    fail<ValueError>(
        "[",
        op,
        "] updates of shape ",
        to_string(updates.shape()),
        ", expected ",
        to_string(expected),
        ".");
  }
}

} // namespace

array scatter_slices(
    const array& a,
    const std::vector<array>& indices,
    const array& updates,
    const Slices& slices,
    ScatterOp op,
    StreamOrDevice s) {
  std::vector<array> inputs = checked_indices("scatter", a.shape(), indices, slices, s);
  Shape expected = inputs[0].shape();
  for (int64_t size : slices.sizes) {
    expected.push_back(size);
  }
  check_updates("scatter", updates, expected);
  const array first[] = {a, astype(updates, a.dtype(), s)};
  inputs.insert(inputs.begin(), std::begin(first), std::end(first));
  return record(
      std::make_shared<Scatter>(ScatterFields{slices, op}),
      s.stream(),
      a.shape(),
      a.dtype(),
      inputs);
}

array scatter(
    const array& a,
    const std::vector<array>& indices,
    const array& updates,
    const Axes& axes,
    ScatterOp op,
    StreamOrDevice s) {
  if (updates.ndim() < a.ndim()) {
    fail<ValueError>(
        "[scatter] updates of shape ",
        to_string(updates.shape()),
        " for an array of shape ",
        to_string(a.shape()),
        ", expected the shape of the indices, then that of slices of the array.");
  }
  Slices slices{{}, {updates.shape().end() - a.ndim(), updates.shape().end()}};
  for (int axis : axes) {
    slices.axes.push_back(normalize_axis("scatter", axis, a.shape()));
  }
  return scatter_slices(a, indices, updates, slices, op, s);
}

array scatter_axis(
    const array& a,
    const array& indices,
    const array& updates,
    int axis,
    ScatterOp op,
    bool clamp,
    StreamOrDevice s) {
  const int at = normalize_axis("scatter_axis", axis, a.shape());
  const array index = checked_index("scatter_axis", a.shape(), indices, at, s);
  check_updates("scatter_axis", updates, index.shape());
  const array inputs[] = {a, astype(updates, a.dtype(), s), index};
  return record(
      std::make_shared<ScatterAxis>(ScatterAxisFields{{at, clamp}, op}),
      s.stream(),
      a.shape(),
      a.dtype(),
      inputs);
}

array scatter_axis(
    const array& a,
    const array& indices,
    const array& updates,
    int axis,
    ScatterOp op,
    StreamOrDevice s) {
  return scatter_axis(a, indices, updates, axis, op, false, s);
}

namespace {

bool add_scatter_rows() {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    const auto op = static_cast<ScatterOp>(i);
    RecordRow<Slices, kAnyInputs>(kNames[i], [op](const OperationCall& call, const Slices& slices) {
      if (call.inputs.size() < 2) {
        fail<ValueError>("[scatter] ", call.inputs.size(), " inputs, expected 3 at least.");
      }
      const std::vector<array> indices(call.inputs.begin() + 2, call.inputs.end());
      return scatter_slices(call.inputs[0], indices, call.inputs[1], slices, op, call.stream);
    });
    RecordRow<IndexedAxis, 3>(
        kAxisNames[i], [op](const OperationCall& call, const IndexedAxis& along) {
          return scatter_axis(
              call.inputs[0],
              call.inputs[2],
              call.inputs[1],
              along.axis,
              op,
              along.clamp,
              call.stream);
        });
  }
  return true;
}
const bool kScatters = add_scatter_rows();

} // namespace

} // namespace narrows
