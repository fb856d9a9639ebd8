#include "narrows/ops/slice.h"

#include <algorithm>

#include "narrows/ops/accumulate.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/join.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/recorded_as.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

// A box of an array with a step along each axis. `shape` is that of the result.
struct Box {
  Shape starts;
  Strides steps;
  Shape shape;

  static constexpr std::tuple fields{field("starts", &Box::starts), field("strides", &Box::steps)};

  Layout of(const Layout& layout) const {
    Strides strides(shape.size());
    int64_t offset = layout.offset;
    for (size_t i = 0; i < shape.size(); ++i) {
      strides[i] = layout.strides[i] * steps[i];
      offset += layout.strides[i] * starts[i];
    }
    return Layout::strided(shape, std::move(strides), offset);
  }
  // The place behind the last element, in the direction of the steps.
  Shape stops() const {
    Shape result = starts;
    for (size_t i = 0; i < shape.size(); ++i) {
      const int64_t distance = shape[i] == 0 ? 0 : (shape[i] - 1) * steps[i];
      result[i] += shape[i] == 0 ? 0 : distance + (steps[i] > 0 ? 1 : -1);
    }
    return result;
  }
  // The same box of every entry of a batch.
  Box of_batch(int64_t size) const {
    Box result = *this;
    result.starts.insert(0, 0);
    result.steps.insert(0, 1);
    result.shape.insert(0, size);
    return result;
  }
  // Whether the box is all of an array of this shape, in its order.
  bool is_all_of(const Shape& whole) const {
    return shape == whole &&
           std::all_of(steps.begin(), steps.end(), [](int64_t n) { return n == 1; });
  }
};

array read_box(const array& a, const Box& box, StreamOrDevice s) {
  return slice(a, box.starts, box.stops(), box.steps, s);
}
array write_box(const array& a, const array& update, const Box& box, StreamOrDevice s) {
  return slice_update(a, update, box.starts, box.stops(), box.steps, s);
}

// `a` with more added to a box of it.
array add_box(const array& a, const array& more, const Box& box, StreamOrDevice s) {
  return write_box(a, add(read_box(a, box, s), more, s), box, s);
}

class Slice final : public Record<Box, LinearView> {
 public:
  using Record::Record;

  const char* name() const override {
    return "slice";
  }
  void place(Placement& placement) const override {
    placement.view(0, 0, of(placement.input_layout(0)));
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array zero = zeros_like(op.inputs[0], op.stream);
    return {write_box(zero, cotangents[0], *this, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    return {read_box(inputs[0], of_batch(size), op.stream)};
  }
};

class SliceUpdate final : public Record<Box> {
 public:
  using Record::Record;

  // `sum` with the update added where this one writes it.
  array added_to(const array& sum, const array& update, StreamOrDevice s) const {
    return add_box(sum, update, *this, s);
  }

  const char* name() const override {
    return "slice_update";
  }
  void place(Placement& placement) const override {
    if (!placement.donate(0, 0)) {
      placement.allocate(0);
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    if (output.buffer != step.inputs[0].buffer) {
      encode_copy(encoder, step.inputs[0], output);
    }
    const Layout layout = of(*output.layout);
    encode_copy(encoder, step.inputs[1], {output.buffer, &shape, &layout, output.dtype});
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& g = cotangents[0];
    const Dtype dtype = op.inputs[1].dtype();
    return {
        write_box(g, number(0, g.dtype()), *this, op.stream),
        astype(read_box(g, *this, op.stream), dtype, op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return linear_jvp(op, tangents);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const array target = as_batch(inputs[0], batched[0], size, op.stream);
    return {write_box(target, inputs[1], of_batch(size), op.stream)};
  }
};

struct SplitFields {
  int axis_;
  Shape starts_; // of the parts

  static constexpr std::tuple fields{
      field("axis", &SplitFields::axis_), hidden_field("starts", &SplitFields::starts_)};
};

class Split final : public Record<SplitFields, LinearView> {
 public:
  using Record::Record;

  const char* name() const override {
    return "split";
  }
  void place(Placement& placement) const override {
    const Layout& layout = placement.input_layout(0);
    for (uint32_t i = 0; i < placement.output_count(); ++i) {
      const int64_t start = layout.offset + starts_[i] * layout.strides[axis_];
      placement.view(
          i, 0, Layout::strided(placement.output_shape(i), Strides(layout.strides), start));
    }
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& input = op.inputs[0];
    const std::vector<array> parts = filled(cotangents, op.outputs, op.stream);
    if (is_partition(op.outputs)) {
      return {concatenate(parts, axis_, op.stream)};
    }
    array sum = zeros_like(input, op.stream);
    for (size_t i = 0; i < parts.size(); ++i) {
      Box box{Shape(input.shape().size(), 0), Strides(input.shape().size(), 1), parts[i].shape()};
      box.starts[axis_] = starts_[i];
      sum = add_box(sum, parts[i], box, op.stream);
    }
    return {sum};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    std::vector<OutputSpec> outputs;
    for (const array& output : op.outputs) {
      outputs.push_back({with_batch(size, output.shape()), output.dtype()});
    }
    return record(
        std::make_shared<Split>(axis_ + 1, starts_), op.stream, std::move(outputs), inputs);
  }

 private:
  // Whether each part starts where the previous one ends, and the last one ends with the input.
  bool is_partition(std::span<const array> parts) const {
    int64_t end = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (starts_[i] != end) {
        return false;
      }
      end += parts[i].shape()[axis_];
    }
    return true;
  }
};

// Checks the bounds and counts the elements. Where at most one element remains, its step is 1.
Box make_box(
    const char* op,
    const Shape& shape,
    const Shape& starts,
    const Shape& stops,
    const Strides& strides) {
  if (starts.size() != shape.size() || stops.size() != shape.size() ||
      strides.size() != shape.size()) {
    fail<ValueError>(
        "[",
        op,
        "] ",
        starts.size(),
        " starts, ",
        stops.size(),
        " stops and ",
        strides.size(),
        " strides, expected one for each dimension of an array of shape ",
        to_string(shape),
        ".");
  }
  Box box{starts, strides, shape};
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t n = shape[i];
    if (strides[i] == 0) {
      fail<ValueError>("[", op, "] the stride along axis ", i, " is 0, expected another number.");
    }
    const bool bounded = starts[i] >= -1 && starts[i] <= n && stops[i] >= -1 && stops[i] <= n;
    const int64_t length = bounded ? slice_length(starts[i], stops[i], strides[i]) : 0;
    if (!bounded || (length > 0 && (starts[i] < 0 || starts[i] >= n))) {
      fail<ValueError>(
          "[",
          op,
          "] start ",
          starts[i],
          " and stop ",
          stops[i],
          " along axis ",
          i,
          " are outside of an array of shape ",
          to_string(shape),
          ".");
    }
    box.shape[i] = length;
    box.steps[i] = length > 1 ? strides[i] : 1;
    box.starts[i] = length > 0 ? starts[i] : 0;
  }
  return box;
}

std::vector<array> split_at(
    const array& a, Shape starts, const Shape& sizes, int axis, StreamOrDevice s) {
  std::vector<OutputSpec> outputs;
  outputs.reserve(sizes.size());
  for (int64_t size : sizes) {
    Shape shape = a.shape();
    shape[axis] = size;
    outputs.push_back({std::move(shape), a.dtype()});
  }
  return record(
      std::make_shared<Split>(axis, std::move(starts)), s.stream(), std::move(outputs), {&a, 1});
}

} // namespace

int64_t slice_length(int64_t start, int64_t stop, int64_t stride) {
  const int64_t distance = stride > 0 ? stop - start : start - stop;
  if (distance <= 0) {
    return 0;
  }
  const uint64_t step = stride > 0 ? static_cast<uint64_t>(stride) : -static_cast<uint64_t>(stride);
  return static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / step) + 1;
}

array slice(
    const array& a,
    const Shape& starts,
    const Shape& stops,
    const Strides& strides,
    StreamOrDevice s) {
  Box box = make_box("slice", a.shape(), starts, stops, strides);
  if (box.is_all_of(a.shape())) {
    return a;
  }
  Shape shape = box.shape;
  return record(
      std::make_shared<Slice>(std::move(box)), s.stream(), std::move(shape), a.dtype(), {&a, 1});
}

array slice_update(
    const array& a,
    const array& update,
    const Shape& starts,
    const Shape& stops,
    const Strides& strides,
    StreamOrDevice s) {
  Box box = make_box("slice_update", a.shape(), starts, stops, strides);
  if (broadcast_shapes("slice_update", update.shape(), box.shape) != box.shape) {
    fail<ValueError>(
        "[slice_update] an update of shape ",
        to_string(update.shape()),
        " cannot be broadcast to the slice's shape ",
        to_string(box.shape),
        ".");
  }
  if (element_count(box.shape) == 0) {
    return a;
  }
  const array values = broadcast_to(update, box.shape, s);
  if (box.shape == a.shape()) {
    // Every element is replaced. The update is sliced the same way to put it in order: steps are 1,
    // or -1 from the last element.
    return slice(astype(values, a.dtype(), s), starts, stops, strides, s);
  }
  const array inputs[] = {a, values};
  return record(
      std::make_shared<SliceUpdate>(std::move(box)), s.stream(), a.shape(), a.dtype(), inputs);
}

array with_slice_added(const array& sum, const array& part, StreamOrDevice s) {
  const RecordedAs recorded = recorded_as(part);
  const auto* update = recorded.as<SliceUpdate>();
  if (!update || !is_recorded_as_zeros(recorded.inputs[0])) {
    return {};
  }
  return update->added_to(sum, recorded.inputs[1], s);
}

std::vector<array> split(const array& a, int64_t sections, int axis, StreamOrDevice s) {
  const int at = normalize_axis("split", axis, a.shape());
  const int64_t n = a.shape()[at];
  if (sections <= 0 || n % sections != 0) {
    fail<ValueError>(
        "[split] axis ",
        axis,
        " of an array of shape ",
        to_string(a.shape()),
        " cannot be split into ",
        sections,
        " equal parts.");
  }
  constexpr int64_t kMostParts = int64_t{1} << 24; // what describes more takes gigabytes
  if (sections > kMostParts) {
    fail<ValueError>("[split] ", sections, " parts, expected at most ", kMostParts, ".");
  }
  Shape starts;
  for (int64_t i = 0; i < sections; ++i) {
    starts.push_back(i * (n / sections));
  }
  const Shape sizes(starts.size(), n / sections);
  return split_at(a, std::move(starts), sizes, at, s);
}

std::vector<array> split(
    const array& a, const std::vector<int64_t>& indices, int axis, StreamOrDevice s) {
  const int at = normalize_axis("split", axis, a.shape());
  const int64_t n = a.shape()[at];
  Shape starts = {0};
  Shape sizes;
  for (int64_t index : indices) {
    const int64_t cut = std::clamp(index < 0 ? index + n : index, int64_t{0}, n);
    sizes.push_back(std::max(cut - starts.back(), int64_t{0}));
    starts.push_back(cut);
  }
  sizes.push_back(n - starts.back());
  return split_at(a, std::move(starts), sizes, at, s);
}

array flip(const array& a, StreamOrDevice s) {
  Axes axes;
  for (int i = 0; i < a.ndim(); ++i) {
    axes.push_back(i);
  }
  return flip(a, axes, s);
}

array flip(const array& a, const Axes& axes, StreamOrDevice s) {
  const size_t ndim = a.shape().size();
  Shape starts(ndim, 0);
  Shape stops = a.shape();
  Strides strides(ndim, 1);
  for (int axis : normalize_axes("flip", axes, a.shape())) {
    const size_t i = static_cast<size_t>(axis);
    starts[i] = a.shape()[i] - 1;
    stops[i] = -1;
    strides[i] = -1;
  }
  return slice(a, starts, stops, strides, s);
}

namespace {

// The recorded box. Its numbers are bounded, so that what follows cannot overflow.
Box recorded_box(const OperationCall& call, const Box& fields, const Shape& shape) {
  Box box{fields.starts, fields.steps, shape};
  bool fits = box.starts.size() == shape.size() && box.steps.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    int64_t reach;
    int64_t end;
    fits = box.starts[i] >= 0 && box.steps[i] != INT64_MIN &&
           !__builtin_mul_overflow(shape[i], box.steps[i], &reach) &&
           !__builtin_add_overflow(box.starts[i], reach, &end);
  }
  if (!fits) {
    fail<ValueError>(
        "[",
        call.name,
        "] starts ",
        to_string(box.starts),
        " and strides ",
        to_string(box.steps),
        " for a slice of shape ",
        to_string(shape),
        ".");
  }
  return box;
}

// The recorded numbers do not tell which slice to take of an array of another shape.
void require_recorded_shape(const OperationCall& call) {
  if (call.inputs[0].shape() != call.recorded_inputs[0].shape) {
    fail<ValueError>(
        "[",
        call.name,
        "] was recorded of an array of shape ",
        to_string(call.recorded_inputs[0].shape),
        ", which is not known of one of shape ",
        to_string(call.inputs[0].shape()),
        ".");
  }
}

const RecordRow<Box> kSlice("slice", [](const OperationCall& call, const Box& fields) {
  require_recorded_shape(call);
  return read_box(call.inputs[0], recorded_box(call, fields, call.shape()), call.stream);
});
const RecordRow<Box, 2> kSliceUpdate(
    "slice_update", [](const OperationCall& call, const Box& fields) {
      require_recorded_shape(call);
      const Box box = recorded_box(call, fields, call.recorded_inputs[1].shape);
      return write_box(call.inputs[0], call.inputs[1], box, call.stream);
    });
const RecordRow<SplitFields> kSplit("split", [](const OperationCall& call, const SplitFields& f) {
  require_recorded_shape(call);
  const array& a = call.inputs[0];
  const int axis = normalize_axis("split", f.axis_, a.shape());
  Shape sizes;
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    const Shape& part = call.outputs[i].shape;
    const int64_t size = axis < part.ndim() ? part[axis] : -1;
    if (i >= f.starts_.size() || f.starts_[i] < 0 || size < 0 || f.starts_[i] > a.shape()[axis] ||
        size > a.shape()[axis] - f.starts_[i]) {
      fail<ValueError>("[split] part ", i, " is outside of shape ", to_string(a.shape()), ".");
    }
    sizes.push_back(size);
  }
  return split_at(a, f.starts_, sizes, axis, call.stream);
});

} // namespace

} // namespace narrows
