#include "narrows/ops/join.h"

#include <algorithm>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/rules.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/run/encode.h"

namespace narrows {
namespace {

struct JoinFields {
  int axis_;

  static constexpr std::tuple fields{field("axis", &JoinFields::axis_)};
};

// What concatenate and stack have in common. Inputs may have any layout and dtype: each is copied
// to its place, and converted.
class Concatenate final : public Record<JoinFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "concatenate";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    Layout layout = *output.layout;
    for (const ArrayView& input : step.inputs) {
      encode_copy(encoder, input, {output.buffer, input.shape, &layout, output.dtype});
      layout.offset += (*input.shape)[axis_] * layout.strides[axis_];
    }
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<int64_t> ends;
    for (const array& input : op.inputs) {
      ends.push_back((ends.empty() ? 0 : ends.back()) + input.shape()[axis_]);
    }
    ends.pop_back();
    std::vector<array> parts = split(cotangents[0], ends, axis_, op.stream);
    for (size_t i = 0; i < parts.size(); ++i) {
      parts[i] = astype(parts[i], op.inputs[i].dtype(), op.stream);
    }
    return parts;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return linear_jvp(op, tangents);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const std::vector<array> parts = as_batches(inputs, batched, size, op.stream);
    return {concatenate(parts, axis_ + 1, op.stream)};
  }
};

class Stack final : public Record<JoinFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "stack";
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    Layout layout = *output.layout;
    layout.strides.erase(static_cast<size_t>(axis_));
    for (const ArrayView& input : step.inputs) {
      encode_copy(encoder, input, {output.buffer, input.shape, &layout, output.dtype});
      layout.offset += output.layout->strides[axis_];
    }
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    std::vector<array> parts;
    const auto count = static_cast<int64_t>(op.inputs.size());
    for (const array& part : split(cotangents[0], count, axis_, op.stream)) {
      const Dtype dtype = op.inputs[parts.size()].dtype();
      parts.push_back(astype(squeeze(part, {axis_}, op.stream), dtype, op.stream));
    }
    return parts;
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return linear_jvp(op, tangents);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const std::vector<array> parts = as_batches(inputs, batched, size, op.stream);
    return {stack(parts, axis_ + 1, op.stream)};
  }
};

Dtype common_dtype(const std::vector<array>& arrays) {
  Dtype dtype = arrays[0].dtype();
  for (const array& a : arrays) {
    dtype = promote(dtype, a.dtype());
  }
  return dtype;
}

// `a` with its elements along `axis` moved up by `shift`.
array roll_axis(const array& a, int64_t shift, int axis, StreamOrDevice s) {
  const int64_t n = a.shape(axis);
  const int64_t moved = n == 0 ? 0 : (shift % n + n) % n;
  if (moved == 0) {
    return a;
  }
  const std::vector<array> parts = split(a, std::vector<int64_t>{n - moved}, axis, s);
  return concatenate({parts[1], parts[0]}, axis, s);
}

// A shift modulo the size n, so that sums of several cannot overflow.
int64_t reduced_shift(int64_t shift, int64_t n) {
  return n == 0 ? 0 : shift % n;
}

} // namespace

array concatenate(const std::vector<array>& arrays, std::optional<int> axis, StreamOrDevice s) {
  if (arrays.empty()) {
    fail<ValueError>("[concatenate] no arrays, expected at least one.");
  }
  if (!axis) {
    std::vector<array> flat;
    flat.reserve(arrays.size());
    for (const array& a : arrays) {
      flat.push_back(flatten(a, 0, -1, s));
    }
    return concatenate(flat, 0, s);
  }
  if (arrays.size() == 1) {
    return arrays[0];
  }
  const int at = normalize_axis("concatenate", *axis, arrays[0].shape());
  Shape shape = arrays[0].shape();
  shape[at] = 0;
  std::vector<array> parts; // those with elements
  for (const array& a : arrays) {
    Shape expected = shape;
    if (a.shape().size() == shape.size()) {
      expected[at] = a.shape()[at];
    }
    if (a.shape() != expected) {
      fail<ValueError>(
          "[concatenate] shapes ",
          to_string(arrays[0].shape()),
          " and ",
          to_string(a.shape()),
          " differ, expected the same but for axis ",
          *axis,
          ".");
    }
    if (__builtin_add_overflow(shape[at], a.shape()[at], &shape[at])) {
      fail<ValueError>("[concatenate] the result's axis ", *axis, " is too long.");
    }
    if (a.size() > 0) {
      parts.push_back(a);
    }
  }
  checked_size("concatenate", shape);
  const Dtype dtype = common_dtype(arrays);
  if (parts.size() <= 1) {
    return parts.empty() ? astype(reshape(arrays[0], shape, s), dtype, s)
                         : astype(parts[0], dtype, s);
  }
  return record(std::make_shared<Concatenate>(at), s.stream(), std::move(shape), dtype, parts);
}

array stack(const std::vector<array>& arrays, int axis, StreamOrDevice s) {
  if (arrays.empty()) {
    fail<ValueError>("[stack] no arrays, expected at least one.");
  }
  Shape shape = arrays[0].shape();
  for (const array& a : arrays) {
    if (a.shape() != shape) {
      fail<ValueError>(
          "[stack] shapes ",
          to_string(shape),
          " and ",
          to_string(a.shape()),
          " differ, expected the same.");
    }
  }
  shape.push_back(1);
  const int at = normalize_axis("stack", axis, shape);
  shape.pop_back();
  if (arrays.size() == 1) {
    return expand_dims(arrays[0], {at}, s);
  }
  shape.insert(static_cast<size_t>(at), static_cast<int64_t>(arrays.size()));
  checked_size("stack", shape);
  return record(
      std::make_shared<Stack>(at), s.stream(), std::move(shape), common_dtype(arrays), arrays);
}

array repeat(const array& a, int64_t repeats, std::optional<int> axis, StreamOrDevice s) {
  if (!axis) {
    return repeat(flatten(a, 0, -1, s), repeats, 0, s);
  }
  const int at = normalize_axis("repeat", *axis, a.shape());
  if (repeats < 0) {
    fail<ValueError>("[repeat] repeats ", repeats, ", expected >= 0.");
  }
  Shape shape = a.shape();
  shape[static_cast<size_t>(at)] = checked_multiply("repeat", a.shape(at), repeats);
  checked_size("repeat", shape);
  Shape repeated = a.shape();
  repeated.insert(static_cast<size_t>(at) + 1, repeats);
  return reshape(broadcast_to(expand_dims(a, {at + 1}, s), repeated, s), shape, s);
}

array tile(const array& a, const Shape& reps, StreamOrDevice s) {
  const size_t ndim = std::max(a.shape().size(), reps.size());
  const size_t new_axes = ndim - a.shape().size();
  const size_t new_reps = ndim - reps.size();
  Shape shape; // of the result
  Shape apart; // of the result with repeats and elements as separate dimensions
  Axes added;  // axes of the repeats in `apart`
  for (size_t i = 0; i < ndim; ++i) {
    const int64_t n = i < new_axes ? 1 : a.shape()[i - new_axes];
    const int64_t count = i < new_reps ? 1 : reps[i - new_reps];
    if (count < 0) {
      fail<ValueError>("[tile] reps ", to_string(reps), ", expected all >= 0.");
    }
    shape.push_back(checked_multiply("tile", n, count));
    if (count != 1 || i < new_axes) {
      added.push_back(apart.ndim());
      apart.push_back(count);
    }
    if (i >= new_axes) {
      apart.push_back(n);
    }
  }
  checked_size("tile", shape);
  return reshape(broadcast_to(expand_dims(a, added, s), apart, s), shape, s);
}

array roll(const array& a, const Shape& shifts, StreamOrDevice s) {
  int64_t sum = 0;
  for (int64_t shift : shifts) {
    sum += reduced_shift(shift, a.size());
  }
  return reshape(roll_axis(flatten(a, 0, -1, s), sum, 0, s), a.shape(), s);
}

array roll(const array& a, const Shape& shifts, const Axes& axes, StreamOrDevice s) {
  if (shifts.size() != axes.size() && shifts.size() != 1 && axes.size() != 1) {
    fail<ValueError>(
        "[roll] ", shifts.size(), " shifts for ", axes.size(), " axes, expected the same number.");
  }
  const size_t count = std::max(shifts.size(), axes.size());
  Shape by_axis(a.shape().size(), 0);
  for (size_t i = 0; i < count; ++i) {
    const int axis = normalize_axis("roll", axes[axes.size() == 1 ? 0 : i], a.shape());
    by_axis[static_cast<size_t>(axis)] +=
        reduced_shift(shifts[shifts.size() == 1 ? 0 : i], a.shape(axis));
  }
  array result = a;
  for (int axis = 0; axis < a.ndim(); ++axis) {
    result = roll_axis(result, by_axis[static_cast<size_t>(axis)], axis, s);
  }
  return result;
}

namespace {

std::vector<array> parts_of(const OperationCall& call) {
  return {call.inputs.begin(), call.inputs.end()};
}

const RecordRow<JoinFields, kAnyInputs> kConcatenate(
    "concatenate", [](const OperationCall& call, const JoinFields& f) {
      return concatenate(parts_of(call), f.axis_, call.stream);
    });
const RecordRow<JoinFields, kAnyInputs> kStack(
    "stack", [](const OperationCall& call, const JoinFields& f) {
      return stack(parts_of(call), f.axis_, call.stream);
    });

} // namespace

} // namespace narrows
