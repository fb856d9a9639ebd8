#include "narrows/ops/pad.h"

#include <algorithm>
#include <tuple>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/indexing.h"
#include "narrows/ops/join.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/reduce.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

struct PadFields {
  Shape before_; // elements before the array along each axis

  static constexpr std::tuple fields{field("before", &PadFields::before_)};
};

// Writes every element of the output once: the array, and the value around it.
class Pad final : public Record<PadFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "pad";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& input = step.inputs[0];
    const ArrayView& output = step.outputs[0];
    const size_t ndim = before_.size();
    Shape shape = *output.shape; // of the part that is not yet written
    Layout layout = *output.layout;
    Layout value = *step.inputs[1].layout;
    value.strides = Strides(ndim, 0);

    // Writes `count` elements along `axis` at the beginning of a part that starts at `offset`.
    auto write_value = [&](size_t axis, int64_t count, int64_t offset) {
      Shape border = shape;
      border[axis] = count;
      Layout target = layout;
      target.offset = offset;
      ArrayView from = step.inputs[1];
      from.shape = &border;
      from.layout = &value;
      encode_copy(encoder, from, {output.buffer, &border, &target, output.dtype});
    };
    for (size_t axis = 0; axis < ndim; ++axis) {
      const int64_t stride = layout.strides[axis];
      const int64_t before = before_[axis];
      const int64_t kept = (*input.shape)[axis];
      const int64_t after = shape[axis] - before - kept;
      write_value(axis, before, layout.offset);
      write_value(axis, after, layout.offset + (before + kept) * stride);
      layout.offset += before * stride;
      shape[axis] = kept;
    }
    encode_copy(encoder, input, {output.buffer, input.shape, &layout, output.dtype});
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& g = cotangents[0];
    const array inside = unpadded(g, op.inputs[0].shape(), op.stream);
    std::vector<array> result = {inside, array()};
    if (op.wants(1)) {
      const array border = subtract(
          sum(g, std::nullopt, false, op.stream),
          sum(inside, std::nullopt, false, op.stream),
          op.stream);
      const array& value = op.inputs[1];
      result[1] = reshape(astype(border, value.dtype(), op.stream), value.shape(), op.stream);
    }
    return result;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return linear_jvp(op, tangents);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const array entries = as_batch(inputs[0], batched[0], size, op.stream);
    const Dtype dtype = op.outputs[0].dtype();
    const array value = batched[1] ? number(0, dtype) : inputs[1];
    Shape before = before_;
    before.insert(0, 0);
    const auto padded = [&](const array& a, const array& with, const Shape& offsets) {
      Shape shape = op.outputs[0].shape();
      if (a.ndim() > shape.ndim()) {
        shape = with_batch(size, shape);
      }
      const array parts[] = {a, with};
      return record(std::make_shared<Pad>(offsets), op.stream, shape, a.dtype(), parts);
    };
    const array result = padded(entries, value, before);
    if (!batched[1]) {
      return {result};
    }
    const array is_inside =
        padded(ones(op.inputs[0].shape(), bool_, op.stream), number(0, bool_), before_);
    const Shape column = with_batch(size, Shape(before_.size(), 1));
    const array values = reshape(astype(inputs[1], dtype, op.stream), column, op.stream);
    return {where(is_inside, result, values, op.stream)};
  }

 private:
  // The part of a padded array that comes from the array.
  array unpadded(const array& padded, const Shape& shape, StreamOrDevice s) const {
    Shape stops = before_;
    for (size_t i = 0; i < stops.size(); ++i) {
      stops[i] += shape[i];
    }
    return slice(padded, before_, stops, Strides(stops.size(), 1), s);
  }
};

// Elements first, first + step, ... of `a` along an axis.
array part(
    const array& a, size_t axis, int64_t first, int64_t count, int64_t step, StreamOrDevice s) {
  Shape starts(a.shape().size(), 0);
  Shape stops = a.shape();
  Strides strides(a.shape().size(), 1);
  starts[axis] = first;
  stops[axis] = first + (count - 1) * step + (step > 0 ? 1 : -1);
  strides[axis] = step;
  return slice(a, starts, stops, strides, s);
}

// `count` copies of the first or last element.
array edge(const array& a, size_t axis, bool last, int64_t count, StreamOrDevice s) {
  Shape shape = a.shape();
  shape[axis] = count;
  return broadcast_to(part(a, axis, last ? a.shape()[axis] - 1 : 0, 1, 1, s), shape, s);
}

// If there are more, parts of `a` are not put side by side.
constexpr int64_t kMostMirrors = 16;

// `width` elements of `a`, mirrored to and fro, going outwards from its first or last element. The
// mirror stands on that element or, with `repeat_edge`, behind it. The elements are in the order of
// the result.
std::vector<array> mirrored(
    const array& a, size_t axis, bool last, int64_t width, bool repeat_edge, StreamOrDevice s) {
  const int64_t n = a.shape()[axis];
  const int64_t skipped = repeat_edge ? 0 : 1;
  const int64_t period = n - skipped;
  std::vector<array> parts;
  bool towards_end = !last; // the direction in `a` when going outwards
  for (int64_t left = width; left > 0; towards_end = !towards_end) {
    const int64_t count = std::min(left, period);
    const int64_t nearest = towards_end ? skipped : n - 1 - skipped;
    const int64_t furthest = towards_end ? nearest + count - 1 : nearest - count + 1;
    // In front of `a` the result starts with the element that is furthest out.
    parts.push_back(
        part(a, axis, last ? nearest : furthest, count, towards_end == last ? 1 : -1, s));
    left -= count;
  }
  if (!last) {
    std::reverse(parts.begin(), parts.end());
  }
  return parts;
}

// Both ends at once, by the place in `a` of each element of the result. These are few operations
// for any widths, but the places are an array, too.
array mirrored_often(
    const array& a, int axis, int64_t before, int64_t after, bool repeat_edge, StreamOrDevice s) {
  const int64_t n = a.shape()[axis];
  const int64_t round = repeat_edge ? 2 * n : 2 * (n - 1); // there and back
  const array places =
      remainder(arange(-before, n + after, int64_t{1}, int64, s), number(round, int64), s);
  const array back = subtract(number(round - (repeat_edge ? 1 : 0), int64), places, s);
  return take(a, minimum(places, back, s), axis, s);
}

// One axis, padded with elements of `a`.
array pad_axis(
    const array& a,
    size_t axis,
    int64_t before,
    int64_t after,
    std::string_view mode,
    StreamOrDevice s) {
  const int64_t n = a.shape()[axis];
  std::vector<array> parts;
  if (mode == "edge" || n == 1) {
    parts = {edge(a, axis, false, before, s), a, edge(a, axis, true, after, s)};
  } else {
    const bool repeat_edge = mode == "symmetric";
    const int64_t mirrors = before / (n - 1) + after / (n - 1);
    if (mirrors > kMostMirrors) {
      return mirrored_often(a, static_cast<int>(axis), before, after, repeat_edge, s);
    }
    parts = mirrored(a, axis, false, before, repeat_edge, s);
    parts.push_back(a);
    for (const array& outer : mirrored(a, axis, true, after, repeat_edge, s)) {
      parts.push_back(outer);
    }
  }
  return concatenate(parts, static_cast<int>(axis), s);
}

} // namespace

array pad(
    const array& a,
    const std::vector<std::pair<int64_t, int64_t>>& widths,
    std::string_view mode,
    const array& value,
    StreamOrDevice s) {
  const size_t ndim = a.shape().size();
  if (mode != "constant" && mode != "edge" && mode != "reflect" && mode != "symmetric") {
    fail<ValueError>(
        "[pad] mode \"",
        mode,
        "\", expected \"constant\", \"edge\", \"reflect\" or \"symmetric\".");
  }
  if (widths.size() != ndim && widths.size() != 1) {
    fail<ValueError>(
        "[pad] ",
        widths.size(),
        " pairs of widths, expected one for each axis of an array of shape ",
        to_string(a.shape()),
        ".");
  }
  Shape shape = a.shape();
  Shape before(ndim);
  Shape after(ndim);
  for (size_t i = 0; i < ndim; ++i) {
    std::tie(before[i], after[i]) = widths[widths.size() == 1 ? 0 : i];
    if (before[i] < 0 || after[i] < 0) {
      fail<ValueError>(
          "[pad] widths (", before[i], ", ", after[i], ") for axis ", i, ", expected >= 0.");
    }
    if (mode != "constant" && shape[i] == 0 && (before[i] > 0 || after[i] > 0)) {
      fail<ValueError>(
          "[pad] axis ",
          i,
          " of an array of shape ",
          to_string(shape),
          " has no elements to pad it with in mode \"",
          mode,
          "\".");
    }
    if (__builtin_add_overflow(shape[i], before[i], &shape[i]) ||
        __builtin_add_overflow(shape[i], after[i], &shape[i])) {
      fail<ValueError>("[pad] widths (", before[i], ", ", after[i], ") are too large.");
    }
  }
  checked_size("pad", shape);
  if (shape == a.shape()) {
    return a;
  }
  if (mode == "constant") {
    if (value.size() != 1) {
      fail<ValueError>(
          "[pad] a value of shape ", to_string(value.shape()), ", expected a single element.");
    }
    const array inputs[] = {a, value};
    return record(
        std::make_shared<Pad>(std::move(before)), s.stream(), std::move(shape), a.dtype(), inputs);
  }
  array result = a;
  for (size_t i = 0; i < ndim; ++i) {
    if (before[i] > 0 || after[i] > 0) {
      result = pad_axis(result, i, before[i], after[i], mode, s);
    }
  }
  return result;
}

namespace {

array pad_again(const OperationCall& call, const PadFields& fields) {
  const Shape& before = fields.before_;
  const Shape& inside = call.recorded_inputs[0].shape;
  const Shape& whole = call.shape();
  if (before.size() != inside.size() || before.size() != whole.size()) {
    fail<ValueError>(
        "[pad] widths ", to_string(before), " for an array of shape ", to_string(inside), ".");
  }
  std::vector<std::pair<int64_t, int64_t>> widths;
  for (size_t i = 0; i < before.size(); ++i) {
    int64_t after;
    if (__builtin_sub_overflow(whole[i] - inside[i], before[i], &after)) {
      fail<ValueError>("[pad] width ", before[i], " is out of range.");
    }
    widths.emplace_back(before[i], after);
  }
  return pad(call.inputs[0], widths, "constant", call.inputs[1], call.stream);
}

const RecordRow<PadFields, 2> kPad("pad", &pad_again);

} // namespace

} // namespace narrows
