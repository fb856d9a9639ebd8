#include "narrows/ops/strided.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "metal_kernels/limits.h"
#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/operation.h"
#include "narrows/ops/pad.h"
#include "narrows/ops/recorded_as.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/view.h"

namespace narrows {
namespace {

struct TransposeFields {
  Axes axes_;

  static constexpr std::tuple fields{field<Shape>("axes", &TransposeFields::axes_)};
};

class Transpose final : public Record<TransposeFields, LinearView> {
 public:
  using Record::Record;

  const char* name() const override {
    return "transpose";
  }
  void place(Placement& placement) const override {
    const Layout& layout = placement.input_layout(0);
    Strides strides;
    for (int axis : axes_) {
      strides.push_back(layout.strides[static_cast<size_t>(axis)]);
    }
    placement.view(
        0, 0, Layout::strided(placement.output_shape(0), std::move(strides), layout.offset));
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    Axes back(axes_.size());
    for (int i = 0; i < axes_.ndim(); ++i) {
      back[static_cast<size_t>(axes_[static_cast<size_t>(i)])] = i;
    }
    // What was transposed only to be this cotangent is as it was before.
    const RecordedAs cotangent = recorded_as(cotangents[0]);
    const auto* transposed = cotangent.as<Transpose>();
    if (transposed && transposed->axes_ == axes_) {
      return {cotangent.inputs[0]};
    }
    return {transpose(cotangents[0], back, op.stream)};
  }
  // Whether it exchanges the last two dimensions and leaves the others where they are.
  bool exchanges_last_two() const {
    const int last = axes_.ndim() - 1;
    for (int i = 0; i < axes_.ndim(); ++i) {
      const int from = i < last - 1 ? i : 2 * last - 1 - i;
      if (axes_[static_cast<size_t>(i)] != from) {
        return false;
      }
    }
    return last > 0;
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    Axes axes = behind_batch(axes_);
    axes.insert(0, 0);
    return {transpose(inputs[0], axes, op.stream)};
  }
};

struct DiagonalFields {
  int offset_;
  int axis1_;
  int axis2_;

  static constexpr std::tuple fields{
      field("offset", &DiagonalFields::offset_),
      field("axis1", &DiagonalFields::axis1_),
      field("axis2", &DiagonalFields::axis2_)};
};

class Diagonal final : public Record<DiagonalFields, LinearView> {
 public:
  using Record::Record;

  const char* name() const override {
    return "diagonal";
  }
  void place(Placement& placement) const override {
    const Layout& layout = placement.input_layout(0);
    const Shape& shape = placement.output_shape(0);
    Strides strides = layout.strides;
    const int64_t stride1 = strides[static_cast<size_t>(axis1_)];
    const int64_t stride2 = strides[static_cast<size_t>(axis2_)];
    strides.erase(static_cast<size_t>(std::max(axis1_, axis2_)));
    strides.erase(static_cast<size_t>(std::min(axis1_, axis2_)));
    strides.push_back(stride1 + stride2);
    int64_t start = layout.offset;
    if (element_count(shape) > 0) {
      start += offset_ >= 0 ? offset_ * stride2 : -int64_t{offset_} * stride1;
    }
    placement.view(0, 0, Layout::strided(shape, std::move(strides), start));
  }
  // Puts it into zeros, as rows that have one element each, on the diagonal.
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    const array& input = op.inputs[0];
    const int64_t rows = input.shape(axis1_);
    const int64_t columns = input.shape(axis2_);
    const int64_t first = std::max(-int64_t{offset_}, int64_t{0});
    const int64_t after = rows - first - cotangents[0].shape(-1);
    std::vector<std::pair<int64_t, int64_t>> widths(op.outputs[0].shape().size(), {0, 0});
    widths.back() = {first, after};
    const array zero = number(0, input.dtype());
    array g = pad(cotangents[0], widths, "constant", zero, op.stream);
    const array on_diagonal = eye(rows, columns, offset_, bool_, op.stream);
    g = where(on_diagonal, expand_dims(g, {-1}, op.stream), zero, op.stream);
    // The other axes, then axis1 and axis2.
    Axes back;
    int next = 0;
    for (int i = 0; i < input.ndim(); ++i) {
      const bool is_first = i == axis1_;
      back.push_back(is_first ? input.ndim() - 2 : i == axis2_ ? input.ndim() - 1 : next++);
    }
    return {transpose(g, back, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t) const override {
    return {diagonal(inputs[0], offset_, axis1_ + 1, axis2_ + 1, op.stream)};
  }
};

// Which dimensions of a strided view are walked one index after the other, so that the walk over
// the other dimensions sees no element twice. The longest dimensions stay in the walk.
std::vector<bool> overlapping_dimensions(const Shape& shape, const Strides& strides) {
  std::vector<size_t> by_size(shape.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::stable_sort(
      by_size.begin(), by_size.end(), [&](size_t i, size_t j) { return shape[i] > shape[j]; });
  const auto distance = [&](size_t i) { return std::abs(strides[i]); };
  std::vector<bool> overlaps(shape.size(), false);
  std::vector<size_t> walked; // by distance
  for (size_t candidate : by_size) {
    std::vector<size_t> with = walked;
    with.insert(
        std::upper_bound(
            with.begin(),
            with.end(),
            candidate,
            [&](size_t i, size_t j) { return distance(i) < distance(j); }),
        candidate);
    int64_t reach = 0;
    for (size_t i : with) {
      overlaps[candidate] = overlaps[candidate] || (shape[i] > 1 && distance(i) <= reach);
      reach += (shape[i] - 1) * distance(i);
    }
    if (!overlaps[candidate]) {
      walked = std::move(with);
    }
  }
  return overlaps;
}

array strided_add(
    const array& a, const array& b, const Strides& strides, int64_t offset, StreamOrDevice s);

struct StridedFields {
  Strides strides_;
  int64_t offset_;

  static constexpr std::tuple fields{
      field("strides", &StridedFields::strides_), field("offset", &StridedFields::offset_)};
};

// The first input, with the second one added to a strided view of it. The view may overlap itself.
class StridedAdd final : public Record<StridedFields> {
 public:
  using Record::Record;

  const char* name() const override {
    return "strided_add";
  }
  KernelId kernel(Dtype, Dtype out) const override {
    return {KernelFamily::elementwise, static_cast<uint8_t>(ElementwiseOp::add), out, out};
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    if (!placement.donate(0, 0)) {
      placement.allocate(0);
    }
  }
  void encode(Encoder& encoder, const StepView& step) const override {
    const ArrayView& output = step.outputs[0];
    if (output.buffer != step.inputs[0].buffer) {
      encode_copy(encoder, step.inputs[0], output);
    }
    if (step.inputs[1].size() > 0) {
      const std::vector<bool> apart = overlapping_dimensions(*step.inputs[1].shape, strides_);
      const Layout view = Layout::strided(
          *step.inputs[1].shape, Strides(strides_), output.layout->offset + offset_);
      add_from(encoder, step.inputs[1], {output.buffer, nullptr, &view, output.dtype}, apart, 0);
    }
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    return {cotangents[0], read(cotangents[0], op.inputs[1].shape(), op.stream)};
  }
  std::vector<array> jvp(const Recorded& op, std::span<const array> tangents) const override {
    return linear_jvp(op, tangents);
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>& batched,
      int64_t size) const override {
    const array& entry = op.outputs[0];
    const array base = as_batch(inputs[0], batched[0], size, op.stream);
    const array update = as_batch(inputs[1], batched[1], size, op.stream);
    Strides strides = strides_;
    strides.insert(0, entry.size());
    return {strided_add(base, update, strides, offset_, op.stream)};
  }

 private:
  array read(const array& a, const Shape& shape, StreamOrDevice s) const {
    return as_strided(a, shape, strides_, offset_, s);
  }

  // Adds `from` to `to` for every index of the dimensions from `first` on that are walked by
  // themselves.
  void add_from(
      Encoder& encoder,
      const ArrayView& from,
      const ArrayView& to,
      const std::vector<bool>& apart,
      size_t first) const {
    while (first < apart.size() && !apart[first]) {
      ++first;
    }
    if (first == apart.size()) {
      const ArrayView sum{to.buffer, from.shape, to.layout, to.dtype};
      const ArrayView inputs[] = {sum, from};
      encode_elementwise(encoder, kernel(to.dtype, to.dtype), inputs, sum);
      return;
    }
    const int64_t length = (*from.shape)[first];
    Shape shape = *from.shape;
    shape[first] = 1;
    Layout from_layout = *from.layout;
    Layout to_layout = *to.layout;
    for (int64_t i = 0; i < length; ++i) {
      add_from(
          encoder,
          {from.buffer, &shape, &from_layout, from.dtype},
          {to.buffer, nullptr, &to_layout, to.dtype},
          apart,
          first + 1);
      from_layout.offset += from.layout->strides[first];
      to_layout.offset += to.layout->strides[first];
    }
  }
};

class AsStrided final : public Record<StridedFields, LinearView> {
 public:
  using Record::Record;

  const char* name() const override {
    return "as_strided";
  }
  void place(Placement& placement) const override {
    placement.pack(0);
    const int64_t start = placement.input_layout(0).offset + offset_;
    placement.view(0, 0, Layout::strided(placement.output_shape(0), Strides(strides_), start));
  }
  std::vector<array> vjp(const Recorded& op, std::span<const array> cotangents) const override {
    // An element that the view shows several times gets the sum.
    Shape seen = op.outputs[0].shape();
    for (int i = 0; i < seen.ndim(); ++i) {
      if (strides_[static_cast<size_t>(i)] == 0 && seen[i] != 1) {
        seen[i] = 1;
      }
    }
    const array g = sum_to(cotangents[0], seen, op.stream);
    return {strided_add(zeros_like(op.inputs[0], op.stream), g, strides_, offset_, op.stream)};
  }
  std::vector<array> vmap(
      const Recorded& op,
      std::span<const array> inputs,
      const std::vector<bool>&,
      int64_t size) const override {
    Strides strides = strides_;
    strides.insert(0, op.inputs[0].size());
    const Shape shape = with_batch(size, op.outputs[0].shape());
    return {as_strided(inputs[0], shape, strides, offset_, op.stream)};
  }
};

// Whether offset + sum of i * stride stays in [0, size) for all indices of the shape.
bool stays_inside(const Shape& shape, const Strides& strides, int64_t offset, int64_t size) {
  int64_t lowest = offset;
  int64_t highest = offset;
  bool overflow = false;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t reach;
    overflow |= __builtin_mul_overflow(shape[i] - 1, strides[i], &reach);
    int64_t& end = reach < 0 ? lowest : highest;
    overflow |= __builtin_add_overflow(end, reach, &end);
  }
  return !overflow && lowest >= 0 && highest < size;
}

// Checks a strided view of an array of `size` elements. Returns whether it has no elements.
bool is_empty_view(
    const char* op, const Shape& shape, const Strides& strides, int64_t offset, int64_t size) {
  if (shape.size() != strides.size()) {
    fail<ValueError>(
        "[",
        op,
        "] shape ",
        to_string(shape),
        " and strides ",
        to_string(strides),
        ", expected one stride for each dimension.");
  }
  const bool empty = checked_size(op, shape) == 0;
  if (!empty && !stays_inside(shape, strides, offset, size)) {
    fail<ValueError>(
        "[",
        op,
        "] shape ",
        to_string(shape),
        " with strides ",
        to_string(strides),
        " and offset ",
        offset,
        " reaches outside of an array of ",
        size,
        " elements.");
  }
  return empty;
}

array strided_add(
    const array& a, const array& b, const Strides& strides, int64_t offset, StreamOrDevice s) {
  if (a.dtype() != b.dtype()) {
    fail<ValueError>(
        "[strided_add] dtypes ",
        name_of(a.dtype()),
        " and ",
        name_of(b.dtype()),
        ", expected the same.");
  }
  const bool empty = is_empty_view("strided_add", b.shape(), strides, offset, a.size());
  const array inputs[] = {a, b};
  return record(
      std::make_shared<StridedAdd>(strides, empty ? 0 : offset),
      s.stream(),
      a.shape(),
      a.dtype(),
      inputs);
}

} // namespace

bool is_matrix_transpose(const array& a) {
  const RecordedAs recorded = recorded_as(a);
  const auto* transposed = recorded.as<Transpose>();
  return transposed && transposed->exchanges_last_two();
}

array transpose(const array& a, StreamOrDevice s) {
  Axes axes;
  for (int i = a.ndim(); i-- > 0;) {
    axes.push_back(i);
  }
  return transpose(a, axes, s);
}

array transpose(const array& a, const Axes& axes, StreamOrDevice s) {
  if (axes.ndim() != a.ndim()) {
    fail<ValueError>(
        "[transpose] ",
        axes.size(),
        " axes, expected one for each dimension of an array of shape ",
        to_string(a.shape()),
        ".");
  }
  normalize_axes("transpose", axes, a.shape());
  Axes normalized;
  Shape shape;
  for (int axis : axes) {
    normalized.push_back(axis < 0 ? axis + a.ndim() : axis);
    shape.push_back(a.shape()[static_cast<size_t>(normalized.back())]);
  }
  if (std::is_sorted(normalized.begin(), normalized.end())) {
    return a;
  }
  return record(
      std::make_shared<Transpose>(std::move(normalized)),
      s.stream(),
      std::move(shape),
      a.dtype(),
      {&a, 1});
}

array swapaxes(const array& a, int axis1, int axis2, StreamOrDevice s) {
  const int first = normalize_axis("swapaxes", axis1, a.shape());
  const int second = normalize_axis("swapaxes", axis2, a.shape());
  Axes axes;
  for (int i = 0; i < a.ndim(); ++i) {
    axes.push_back(i == first ? second : i == second ? first : i);
  }
  return transpose(a, axes, s);
}

array moveaxis(const array& a, int source, int destination, StreamOrDevice s) {
  const int from = normalize_axis("moveaxis", source, a.shape());
  const int to = normalize_axis("moveaxis", destination, a.shape());
  Axes axes;
  for (int i = 0; i < a.ndim(); ++i) {
    if (i != from) {
      axes.push_back(i);
    }
  }
  axes.insert(static_cast<size_t>(to), from);
  return transpose(a, axes, s);
}

array matrix_transpose(const array& a, StreamOrDevice s) {
  if (a.ndim() < 2) {
    fail<ValueError>(
        "[matrix_transpose] array of shape ",
        to_string(a.shape()),
        ", expected at least 2 dimensions.");
  }
  return swapaxes(a, -1, -2, s);
}

array diagonal(const array& a, int offset, int axis1, int axis2, StreamOrDevice s) {
  if (a.ndim() < 2) {
    fail<ValueError>(
        "[diagonal] array of shape ", to_string(a.shape()), ", expected at least 2 dimensions.");
  }
  const int first = normalize_axis("diagonal", axis1, a.shape());
  const int second = normalize_axis("diagonal", axis2, a.shape());
  if (first == second) {
    fail<ValueError>("[diagonal] axis1 and axis2 are both ", axis1, ", expected different axes.");
  }
  Shape shape;
  for (int i = 0; i < a.ndim(); ++i) {
    if (i != first && i != second) {
      shape.push_back(a.shape()[static_cast<size_t>(i)]);
    }
  }
  const int64_t rows = a.shape(first) + std::min(int64_t{offset}, int64_t{0});
  const int64_t columns = a.shape(second) - std::max(int64_t{offset}, int64_t{0});
  shape.push_back(std::max(std::min(rows, columns), int64_t{0}));
  return record(
      std::make_shared<Diagonal>(offset, first, second),
      s.stream(),
      std::move(shape),
      a.dtype(),
      {&a, 1});
}

array diag(const array& a, int k, StreamOrDevice s) {
  if (a.ndim() == 2) {
    return diagonal(a, k, 0, 1, s);
  }
  if (a.ndim() != 1) {
    fail<ValueError>(
        "[diag] array of shape ", to_string(a.shape()), ", expected 1 or 2 dimensions.");
  }
  // Row-major, the diagonal is every (n + 1)-th element.
  const int64_t n = a.size() + std::abs(int64_t{k});
  checked_size("diag", {n, n});
  const int64_t start = k >= 0 ? k : -int64_t{k} * n;
  const int64_t stop = a.size() == 0 ? start : start + (a.size() - 1) * (n + 1) + 1;
  const array flat = slice_update(zeros({n * n}, a.dtype(), s), a, {start}, {stop}, {n + 1}, s);
  return reshape(flat, {n, n}, s);
}

array as_strided(
    const array& a, const Shape& shape, const Strides& strides, int64_t offset, StreamOrDevice s) {
  const bool empty = is_empty_view("as_strided", shape, strides, offset, a.size());
  return record(
      std::make_shared<AsStrided>(strides, empty ? 0 : offset),
      s.stream(),
      shape,
      a.dtype(),
      {&a, 1});
}

namespace {

const RecordRow<TransposeFields> kTranspose("transpose", &transpose);
const RecordRow<DiagonalFields> kDiagonal("diagonal", &diagonal);
const RecordRow<StridedFields> kAsStrided(
    "as_strided", [](const OperationCall& call, const StridedFields& f) {
      return as_strided(call.inputs[0], call.shape(), f.strides_, f.offset_, call.stream);
    });
const RecordRow<StridedFields, 2> kStridedAdd("strided_add", &strided_add);

} // namespace

} // namespace narrows
