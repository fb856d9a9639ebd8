#include "narrows/ops/indexing.h"

#include <algorithm>
#include <vector>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/gather.h"
#include "narrows/ops/indexed.h"
#include "narrows/ops/masked.h"
#include "narrows/ops/scatter.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"

namespace narrows {
namespace {

// The array and the axis to index. Without an axis, the array is flattened.
array with_axis(const char* op, const array& a, std::optional<int>& axis, StreamOrDevice s) {
  const array result = axis ? a : reshape(a, {a.size()}, s);
  axis = normalize_axis(op, axis.value_or(0), result.shape());
  return result;
}

// The shape without one of the dimensions.
Shape without(const Shape& shape, int axis) {
  Shape result = shape;
  result.erase(static_cast<size_t>(axis));
  return result;
}

Shape with(Shape shape, int axis, int64_t size) {
  shape.insert(static_cast<size_t>(axis), size);
  return shape;
}

void require_same_ndim(const char* op, const array& a, const array& indices) {
  if (a.ndim() != indices.ndim()) {
    fail<ValueError>(
        "[",
        op,
        "] indices of shape ",
        to_string(indices.shape()),
        " for an array of shape ",
        to_string(a.shape()),
        ", expected as many dimensions.");
  }
}

array write_along_axis(
    const char* op,
    const array& a,
    const array& indices,
    const array& values,
    std::optional<int> axis,
    ScatterOp mode,
    StreamOrDevice s) {
  array target = a;
  array index = indices;
  if (!axis) {
    target = reshape(a, {a.size()}, s);
    index = reshape(indices, {indices.size()}, s);
  }
  const int at = normalize_axis(op, axis.value_or(0), target.shape());
  require_same_ndim(op, target, index);
  const Shape lines = without(target.shape(), at);
  index = broadcast_to(index, with(lines, at, index.shape(at)), s);
  const array updates = axis ? broadcast_to(values, index.shape(), s)
                             : reshape(broadcast_to(values, indices.shape(), s), index.shape(), s);
  return reshape(scatter_axis(target, index, updates, at, mode, s), a.shape(), s);
}

// The integers of a vector, one by one.
std::vector<array> starts_of(
    const char* op, const array& a, const array& start, const Axes& axes, StreamOrDevice s) {
  if (start.ndim() > 1 || start.size() != static_cast<int64_t>(axes.size())) {
    fail<ValueError>(
        "[",
        op,
        "] start of shape ",
        to_string(start.shape()),
        ", expected an integer for each of ",
        axes.size(),
        " axes of an array of shape ",
        to_string(a.shape()),
        ".");
  }
  std::vector<array> result;
  for (int64_t i = 0; i < start.size(); ++i) {
    result.push_back(
        start.ndim() == 0 ? start : squeeze(slice(start, {i}, {i + 1}, {1}, s), {0}, s));
  }
  return result;
}

Slices slices_from(const char* op, const array& a, const Axes& axes, const Shape& sizes) {
  Slices slices{{}, sizes, 0, true};
  for (int axis : axes) {
    slices.axes.push_back(normalize_axis(op, axis, a.shape()));
  }
  return slices;
}

} // namespace

array take(const array& a, const array& indices, std::optional<int> axis, StreamOrDevice s) {
  const array x = with_axis("take", a, axis, s);
  const auto at = static_cast<size_t>(*axis);
  if (x.shape()[at] == 0 && indices.size() > 0) {
    fail<IndexError>(
        "[take] indices along axis ",
        at,
        " of an array of shape ",
        to_string(x.shape()),
        ", which has no elements there.");
  }
  // The dimensions before the axis are a batch that shares the indices.
  Slices slices{{0}, {x.shape().begin() + at, x.shape().end()}, *axis, true};
  slices.sizes[0] = 1;
  Shape shape(x.shape().begin(), x.shape().begin() + at);
  for (int64_t n : indices.shape()) {
    shape.push_back(n);
  }
  const array result = gather_slices(x, {broadcast_to(indices, shape, s)}, slices, s);
  return squeeze(result, {shape.ndim()}, s);
}

array take(const array& a, int64_t index, std::optional<int> axis, StreamOrDevice s) {
  const array x = with_axis("take", a, axis, s);
  const auto at = static_cast<size_t>(*axis);
  const int64_t n = x.shape()[at];
  if (index < -n || index >= n) {
    fail<IndexError>(
        "[take] index ",
        index,
        " is out of range for axis ",
        at,
        " of an array of shape ",
        to_string(x.shape()),
        ".");
  }
  Shape starts(x.shape().size(), 0);
  Shape stops = x.shape();
  starts[at] = index < 0 ? index + n : index;
  stops[at] = starts[at] + 1;
  return squeeze(slice(x, starts, stops, Strides(starts.size(), 1), s), {static_cast<int>(at)}, s);
}

array take_along_axis(
    const array& a, const array& indices, std::optional<int> axis, StreamOrDevice s) {
  const array x = with_axis("take_along_axis", a, axis, s);
  require_same_ndim("take_along_axis", x, indices);
  const Shape lines = broadcast_shapes(
      "take_along_axis", without(x.shape(), *axis), without(indices.shape(), *axis));
  return gather_axis(
      broadcast_to(x, with(lines, *axis, x.shape(*axis)), s),
      broadcast_to(indices, with(lines, *axis, indices.shape(*axis)), s),
      *axis,
      s);
}

array put_along_axis(
    const array& a,
    const array& indices,
    const array& values,
    std::optional<int> axis,
    StreamOrDevice s) {
  return write_along_axis("put_along_axis", a, indices, values, axis, ScatterOp::assign, s);
}

array scatter_add_axis(
    const array& a,
    const array& indices,
    const array& values,
    std::optional<int> axis,
    StreamOrDevice s) {
  return write_along_axis("scatter_add_axis", a, indices, values, axis, ScatterOp::add, s);
}

array slice_at(
    const array& a, const array& start, const Axes& axes, const Shape& sizes, StreamOrDevice s) {
  const std::vector<array> starts = starts_of("slice", a, start, axes, s);
  return gather_slices(a, starts, slices_from("slice", a, axes, sizes), s);
}

array slice_update_at(
    const array& a, const array& update, const array& start, const Axes& axes, StreamOrDevice s) {
  if (update.ndim() > a.ndim()) {
    fail<ValueError>(
        "[slice_update] an update of shape ",
        to_string(update.shape()),
        " for an array of shape ",
        to_string(a.shape()),
        ", expected no more dimensions.");
  }
  const std::vector<array> starts = starts_of("slice_update", a, start, axes, s);
  Axes added;
  for (int i = update.ndim(); i < a.ndim(); ++i) {
    added.push_back(i - update.ndim());
  }
  const array part = expand_dims(update, added, s);
  return scatter_slices(
      a, starts, part, slices_from("slice_update", a, axes, part.shape()), ScatterOp::assign, s);
}

array masked_scatter(const array& a, const array& mask, const array& values, StreamOrDevice s) {
  return masked_update("masked_scatter", a, mask, 0, values, 0, nullptr, s);
}

} // namespace narrows
