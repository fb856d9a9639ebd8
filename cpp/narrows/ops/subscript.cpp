#include "narrows/ops/subscript.h"

#include <algorithm>

#include "narrows/ops/broadcast.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"

namespace narrows {
namespace {

// The selection: a slice of every axis. In the result, `dropped` axes are removed, and then
// `inserted` axes are added.
struct Selection {
  Shape starts;
  Shape stops;
  Strides steps;
  Axes dropped;
  Axes inserted;
};

void add_whole_axes(Selection& selection, const Shape& shape, size_t count) {
  for (; count > 0; --count) {
    const int64_t n = shape[selection.starts.size()];
    selection.starts.push_back(0);
    selection.stops.push_back(n);
    selection.steps.push_back(1);
  }
}

void add_integer(const char* op, Selection& selection, const Shape& shape, int64_t i) {
  const size_t axis = selection.starts.size();
  const int64_t n = shape[axis];
  if (i < -n || i >= n) {
    fail<IndexError>(
        "[",
        op,
        "] index ",
        i,
        " is out of range for axis ",
        axis,
        " of an array of shape ",
        to_string(shape),
        ".");
  }
  const int64_t start = i < 0 ? i + n : i;
  selection.dropped.push_back(static_cast<int>(axis));
  selection.starts.push_back(start);
  selection.stops.push_back(start + 1);
  selection.steps.push_back(1);
}

void add_range(const char* op, Selection& selection, const Shape& shape, const IndexRange& range) {
  const int64_t n = shape[selection.starts.size()];
  const int64_t step = range.step.value_or(1);
  if (step == 0) {
    fail<ValueError>("[", op, "] the step of a slice is 0, expected another number.");
  }
  // For a negative step, bounds are clipped to the range from the place before the first element to
  // the last element.
  const int64_t lowest = step > 0 ? 0 : -1;
  const int64_t highest = step > 0 ? n : n - 1;
  auto clip = [&](std::optional<int64_t> bound, int64_t otherwise) {
    return bound ? std::clamp(*bound < 0 ? *bound + n : *bound, lowest, highest) : otherwise;
  };
  selection.starts.push_back(clip(range.start, step > 0 ? lowest : highest));
  selection.stops.push_back(clip(range.stop, step > 0 ? highest : lowest));
  selection.steps.push_back(step);
}

Selection select(const char* op, const Shape& shape, std::span<const IndexItem> items) {
  size_t used = 0;
  size_t ellipses = 0;
  for (const IndexItem& item : items) {
    used += std::holds_alternative<int64_t>(item) || std::holds_alternative<IndexRange>(item);
    ellipses += std::holds_alternative<Ellipsis>(item);
  }
  if (used > shape.size()) {
    fail<ValueError>("[", op, "] ", used, " indices for an array of shape ", to_string(shape), ".");
  }
  if (ellipses > 1) {
    fail<ValueError>("[", op, "] ", ellipses, " ellipses, expected at most one.");
  }
  Selection selection;
  for (const IndexItem& item : items) {
    if (const int64_t* i = std::get_if<int64_t>(&item)) {
      add_integer(op, selection, shape, *i);
    } else if (const IndexRange* range = std::get_if<IndexRange>(&item)) {
      add_range(op, selection, shape, *range);
    } else if (std::holds_alternative<Ellipsis>(item)) {
      add_whole_axes(selection, shape, shape.size() - used);
    } else {
      const size_t kept = selection.starts.size() - selection.dropped.size();
      selection.inserted.push_back(static_cast<int>(kept + selection.inserted.size()));
    }
  }
  add_whole_axes(selection, shape, shape.size() - selection.starts.size());
  return selection;
}

// The shape of the slice.
Shape sliced_shape(const Selection& selection) {
  Shape shape = selection.starts;
  for (size_t i = 0; i < shape.size(); ++i) {
    shape[i] = slice_length(selection.starts[i], selection.stops[i], selection.steps[i]);
  }
  return shape;
}

// The shape of the slice without the dropped axes and with the new ones.
Shape visible_shape(const Selection& selection, Shape shape) {
  for (size_t i = selection.dropped.size(); i-- > 0;) {
    shape.erase(static_cast<size_t>(selection.dropped[i]));
  }
  for (int axis : selection.inserted) {
    shape.insert(static_cast<size_t>(axis), 1);
  }
  return shape;
}

} // namespace

array index(const array& a, std::span<const IndexItem> items, StreamOrDevice s) {
  const Selection selection = select("index", a.shape(), items);
  const array part = slice(a, selection.starts, selection.stops, selection.steps, s);
  return expand_dims(squeeze(part, selection.dropped, s), selection.inserted, s);
}

array index_update(
    const array& a, std::span<const IndexItem> items, const array& value, StreamOrDevice s) {
  const Selection selection = select("index_update", a.shape(), items);
  const Shape sliced = sliced_shape(selection);
  const Shape visible = visible_shape(selection, sliced);
  Shape shape = value.shape();
  while (shape.size() > visible.size() && shape[0] == 1) {
    shape.erase(0);
  }
  if (broadcast_shapes("index_update", shape, visible) != visible) {
    fail<ValueError>(
        "[index_update] a value of shape ",
        to_string(value.shape()),
        " cannot be broadcast to the selected shape ",
        to_string(visible),
        ".");
  }
  const array values = broadcast_to(reshape(value, shape, s), visible, s);
  return slice_update(
      a, reshape(values, sliced, s), selection.starts, selection.stops, selection.steps, s);
}

} // namespace narrows
