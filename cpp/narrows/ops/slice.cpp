#include "narrows/ops/slice.h"

#include <algorithm>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

// A box of an array, every so many elements; `shape` is the result's.
struct Box {
  Shape starts;
  Strides steps;
  Shape shape;

  Layout of(const Layout& layout) const {
    Strides strides(shape.size());
    int64_t offset = layout.offset;
    for (size_t i = 0; i < shape.size(); ++i) {
      strides[i] = layout.strides[i] * steps[i];
      offset += layout.strides[i] * starts[i];
    }
    return Layout::strided(shape, std::move(strides), offset);
  }
  // Whether it is an array of this shape itself, in its order.
  bool is_all_of(const Shape& whole) const {
    return shape == whole &&
           std::all_of(steps.begin(), steps.end(), [](int64_t n) { return n == 1; });
  }
};

std::ostream& operator<<(std::ostream& stream, const Box& box) {
  return stream << "starts=" << to_string(box.starts) << ", strides=" << to_string(box.steps);
}

class Slice final : public View {
 public:
  explicit Slice(Box box) : box_(std::move(box)) {
  }

  const char* name() const override {
    return "slice";
  }
  void place(Placement& placement) const override {
    placement.view(0, 0, box_.of(placement.input_layout(0)));
  }
  void describe(std::ostream& stream) const override {
    stream << box_;
  }

 private:
  Box box_;
};

class SliceUpdate final : public Primitive {
 public:
  explicit SliceUpdate(Box box) : box_(std::move(box)) {
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
    const Layout layout = box_.of(*output.layout);
    encode_copy(encoder, step.inputs[1], {output.buffer, &box_.shape, &layout, output.dtype});
  }
  void describe(std::ostream& stream) const override {
    stream << box_;
  }

 private:
  Box box_;
};

class Split final : public View {
 public:
  Split(size_t axis, std::vector<int64_t> starts) : axis_(axis), starts_(std::move(starts)) {
  }

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
  void describe(std::ostream& stream) const override {
    stream << "axis=" << axis_;
  }

 private:
  size_t axis_;
  std::vector<int64_t> starts_; // of the parts
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
    const array& a,
    std::vector<int64_t> starts,
    const std::vector<int64_t>& sizes,
    size_t axis,
    StreamOrDevice s) {
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
    // Every element is replaced. Slicing the update the same way puts it in order: steps are 1,
    // or -1 from the last element.
    return slice(astype(values, a.dtype(), s), starts, stops, strides, s);
  }
  const array inputs[] = {a, values};
  return record(
      std::make_shared<SliceUpdate>(std::move(box)), s.stream(), a.shape(), a.dtype(), inputs);
}

std::vector<array> split(const array& a, int64_t sections, int axis, StreamOrDevice s) {
  const size_t at = static_cast<size_t>(normalize_axis("split", axis, a.shape()));
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
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < sections; ++i) {
    starts.push_back(i * (n / sections));
  }
  const std::vector<int64_t> sizes(starts.size(), n / sections);
  return split_at(a, std::move(starts), sizes, at, s);
}

std::vector<array> split(
    const array& a, const std::vector<int64_t>& indices, int axis, StreamOrDevice s) {
  const size_t at = static_cast<size_t>(normalize_axis("split", axis, a.shape()));
  const int64_t n = a.shape()[at];
  std::vector<int64_t> starts = {0};
  std::vector<int64_t> sizes;
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

} // namespace narrows
