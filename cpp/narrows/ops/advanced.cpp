#include "narrows/ops/advanced.h"

#include <algorithm>

#include "narrows/core/kernel_families.h"
#include "narrows/ops/broadcast.h"
#include "narrows/ops/counting.h"
#include "narrows/ops/creation.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/gather.h"
#include "narrows/ops/indexed.h"
#include "narrows/ops/masked.h"
#include "narrows/ops/scatter.h"
#include "narrows/ops/shape.h"

namespace narrows {
namespace {

using Items = std::vector<AdvancedItem>;

const array* mask_in(const AdvancedItem& item) {
  const IndexArray* index = std::get_if<IndexArray>(&item);
  return index && index->values.dtype() == bool_ ? &index->values : nullptr;
}

// The number of axes of the array that an item uses.
size_t axes_of(const AdvancedItem& item) {
  if (const array* mask = mask_in(item)) {
    return mask->shape().size();
  }
  return !std::holds_alternative<NewAxis>(item) && !std::holds_alternative<Ellipsis>(item);
}

bool is_advanced(const AdvancedItem& item) {
  return std::holds_alternative<IndexArray>(item) || std::holds_alternative<int64_t>(item);
}

// The items with one for every axis. The ellipsis itself stays, because it separates the arrays
// beside it.
Items with_all_axes(const char* op, const Shape& shape, std::span<const AdvancedItem> items) {
  size_t used = 0;
  size_t ellipses = 0;
  for (const AdvancedItem& item : items) {
    used += axes_of(item);
    ellipses += std::holds_alternative<Ellipsis>(item);
  }
  if (used > shape.size()) {
    fail<ValueError>("[", op, "] ", used, " indices for an array of shape ", to_string(shape), ".");
  }
  if (ellipses > 1) {
    fail<ValueError>("[", op, "] ", ellipses, " ellipses, expected at most one.");
  }
  Items result;
  const size_t left = shape.size() - used;
  for (const AdvancedItem& item : items) {
    result.push_back(item);
    if (std::holds_alternative<Ellipsis>(item)) {
      result.insert(result.end(), left, IndexRange{});
    }
  }
  if (ellipses == 0) {
    result.insert(result.end(), left, IndexRange{});
  }
  return result;
}

void check_mask(const char* op, const Shape& shape, size_t axis, const array& mask) {
  const Shape& m = mask.shape();
  if (!std::equal(m.begin(), m.end(), shape.begin() + axis)) {
    fail<IndexError>(
        "[",
        op,
        "] mask of shape ",
        to_string(m),
        " for an array of shape ",
        to_string(shape),
        ", expected its dimensions from ",
        axis,
        " on.");
  }
}

// Replaces masks by arrays of integers. A mask without dimensions selects along a new axis, which
// the array gets; `added` lists these axes.
Items without_masks(const char* op, array& a, const Items& items, Axes& added, StreamOrDevice s) {
  Items result;
  size_t axis = 0;
  for (const AdvancedItem& item : items) {
    const array* mask = mask_in(item);
    if (!mask) {
      result.push_back(item);
      axis += axes_of(item);
      continue;
    }
    array there = *mask;
    if (there.ndim() == 0) {
      a = expand_dims(a, {static_cast<int>(axis)}, s);
      added.push_back(static_cast<int>(axis));
      there = expand_dims(there, {0}, s);
    }
    check_mask(op, a.shape(), axis, there);
    for (const array& index : nonzero(there)) {
      result.push_back(IndexArray{index});
    }
    axis += there.shape().size();
  }
  return result;
}

// Whether other items stand between integers and arrays.
bool is_separated(const Items& items) {
  const auto first = std::find_if(items.begin(), items.end(), is_advanced);
  const auto end = std::find_if_not(first, items.end(), is_advanced);
  return std::any_of(end, items.end(), is_advanced);
}

void check_values(const char* op, const IndexArray& index, int64_t n, const Shape& shape) {
  if (!index.is_checked || index.values.dtype() == bool_ || !is_integer(index.values.dtype())) {
    return;
  }
  const array values = contiguous(index.values).on_host();
  dispatch(values.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T>) {
      const T* data = values.data<T>();
      for (int64_t i = 0; i < values.size(); ++i) {
        const bool below = std::is_signed_v<T> && static_cast<int64_t>(data[i]) < -n;
        const bool above =
            data[i] > T{0} && static_cast<uint64_t>(data[i]) >= static_cast<uint64_t>(n);
        if (below || above || n == 0) {
          fail<IndexError>(
              "[",
              op,
              "] index ",
              +data[i],
              " is out of range for an axis of size ",
              n,
              " of an array of shape ",
              to_string(shape),
              ".");
        }
      }
    }
  });
}

// What arrays of integers select of an array whose other axes stay as they are.
struct Selected {
  std::vector<array> indices; // of one shape, with the batch in front
  Slices slices;
  Axes result_axes; // those of the indexed axes, of size 1, among the result's
  Shape positions;
};

// `axes` are those that the arrays index. If they are separated, the positions are the first
// dimensions of the result.
Selected select(
    const char* op,
    const Shape& shape,
    const std::vector<array>& arrays,
    const Axes& axes,
    bool separated,
    StreamOrDevice s) {
  Selected result;
  for (const array& index : arrays) {
    result.positions = broadcast_shapes(op, result.positions, index.shape());
  }
  const int batch = separated ? 0 : axes[0];
  result.slices = {{}, {shape.begin() + batch, shape.end()}, batch, false};
  Shape common(shape.begin(), shape.begin() + batch);
  for (int64_t n : result.positions) {
    common.push_back(n);
  }
  const bool is_empty = element_count(result.positions) == 0;
  for (size_t k = 0; k < arrays.size(); ++k) {
    result.indices.push_back(broadcast_to(arrays[k], common, s));
    result.slices.axes.push_back(axes[k] - batch);
    result.slices.sizes[static_cast<size_t>(axes[k] - batch)] = 1;
    result.result_axes.push_back(common.ndim() + axes[k] - batch);
    if (shape[static_cast<size_t>(axes[k])] == 0 && !is_empty) {
      fail<IndexError>(
          "[",
          op,
          "] indices into axis ",
          axes[k],
          " of an array of shape ",
          to_string(shape),
          ".");
    }
  }
  return result;
}

// Whether no item is an array.
std::vector<IndexItem> basic_items(const Items& items) {
  std::vector<IndexItem> result;
  for (const AdvancedItem& item : items) {
    if (const int64_t* i = std::get_if<int64_t>(&item)) {
      result.emplace_back(*i);
    } else if (const IndexRange* range = std::get_if<IndexRange>(&item)) {
      result.emplace_back(*range);
    } else if (std::holds_alternative<NewAxis>(item)) {
      result.emplace_back(NewAxis{});
    }
  }
  return result;
}

bool is_array(const AdvancedItem& item) {
  return std::holds_alternative<IndexArray>(item);
}

// Arrays are read as whole ranges at first.
array read_arrays(const array& a, const Items& items, StreamOrDevice s) {
  Items basic = items;
  std::vector<array> arrays;
  Axes axes;
  int axis = 0; // of the result of basic indexing
  size_t array_axis = 0;
  for (AdvancedItem& item : basic) {
    if (const IndexArray* index = std::get_if<IndexArray>(&item)) {
      check_values("index", *index, a.shape()[array_axis], a.shape());
      arrays.push_back(index->values);
      axes.push_back(axis);
      item = IndexRange{};
    }
    axis += std::holds_alternative<IndexRange>(item) || std::holds_alternative<NewAxis>(item);
    array_axis += axes_of(item);
  }
  const std::vector<IndexItem> outside = basic_items(basic);
  const array part = index(a, std::span<const IndexItem>(outside), s);
  if (arrays.empty()) {
    return part;
  }
  Selected selected = select("index", part.shape(), arrays, axes, is_separated(items), s);
  selected.slices.clamp = true;
  return squeeze(
      gather_slices(part, selected.indices, selected.slices, s), selected.result_axes, s);
}

bool is_whole(const IndexRange& range) {
  return range.start.value_or(0) == 0 && !range.stop && range.step.value_or(1) == 1;
}

// The value with the dimensions of the selection.
array shown_as(const array& value, const Shape& shape, StreamOrDevice s) {
  array result = value;
  while (result.ndim() > shape.ndim() && result.shape(0) == 1) {
    result = squeeze(result, {0}, s);
  }
  if (broadcast_shapes("index_update", result.shape(), shape) != shape) {
    fail<ValueError>(
        "[index_update] a value of shape ",
        to_string(value.shape()),
        " cannot be broadcast to the selected shape ",
        to_string(shape),
        ".");
  }
  return broadcast_to(result, shape, s);
}

// The factor of division for a[...]: elements that are selected several times are divided as often.
array divided(const array& a, const Selected& selected, const array& updates, StreamOrDevice s) {
  if (is_inexact(a.dtype())) {
    const array one = number(1, a.dtype());
    return scatter_slices(
        a, selected.indices, divide(one, updates, s), selected.slices, ScatterOp::multiply, s);
  }
  // Integers have no reciprocals.
  const array ones_there = full(a.shape(), make_scalar(int64_t{1}, a.dtype()), s);
  const array divisor = scatter_slices(
      ones_there, selected.indices, updates, selected.slices, ScatterOp::multiply, s);
  const array is_divided = not_equal(divisor, ones_there, s);
  return where(is_divided, astype(divide(a, divisor, s), a.dtype(), s), a, s);
}

array apply_updates(
    const array& a, const Selected& selected, const array& updates, UpdateOp op, StreamOrDevice s) {
  const auto scatter_as = [&](ScatterOp mode, const array& with) {
    return scatter_slices(a, selected.indices, with, selected.slices, mode, s);
  };
  switch (op) {
    case UpdateOp::assign:
      return scatter_as(ScatterOp::assign, updates);
    case UpdateOp::add:
      return scatter_as(ScatterOp::add, updates);
    case UpdateOp::subtract:
      return scatter_as(ScatterOp::add, negative(updates, s));
    case UpdateOp::multiply:
      return scatter_as(ScatterOp::multiply, updates);
    case UpdateOp::divide:
      return divided(a, selected, updates, s);
    case UpdateOp::minimum:
      return scatter_as(ScatterOp::minimum, updates);
    case UpdateOp::maximum:
      break;
  }
  return scatter_as(ScatterOp::maximum, updates);
}

// Integers, arrays and whole axes.
array update_whole(
    const array& a, const Items& items, const array& value, UpdateOp op, StreamOrDevice s) {
  std::vector<array> arrays;
  std::vector<size_t> integers; // of the arrays, those that were integers
  Axes axes;
  Dtype index_dtype = int32;
  int axis = 0;
  for (const AdvancedItem& item : items) {
    const int64_t n = axes_of(item) > 0 ? a.shape(axis) : 0;
    if (const IndexArray* index = std::get_if<IndexArray>(&item)) {
      check_values("index_update", *index, n, a.shape());
      arrays.push_back(index->values);
      axes.push_back(axis);
      const Dtype dtype = index->values.dtype();
      index_dtype = dtype == int64 || dtype == uint32 ? dtype : index_dtype;
    } else if (const int64_t* i = std::get_if<int64_t>(&item)) {
      if (*i < -n || *i >= n) {
        fail<IndexError>(
            "[index_update] index ",
            *i,
            " is out of range for axis ",
            axis,
            " of an array of shape ",
            to_string(a.shape()),
            ".");
      }
      arrays.push_back(number(*i < 0 ? *i + n : *i, n > INT32_MAX ? int64 : int32));
      integers.push_back(axes.size());
      axes.push_back(axis);
    }
    axis += static_cast<int>(axes_of(item));
  }
  // Integers take the dtype of the arrays, so that these are not converted.
  for (size_t k : integers) {
    arrays[k] = astype(arrays[k], index_dtype, s);
  }
  const bool separated = is_separated(items);
  const Selected selected = select("index_update", a.shape(), arrays, axes, separated, s);

  // The shape of a[items], and which of its axes are new.
  Shape shape = separated ? selected.positions : Shape{};
  Axes new_axes;
  bool placed = separated;
  axis = 0;
  for (const AdvancedItem& item : items) {
    if (is_advanced(item)) {
      for (size_t i = 0; !placed && i < selected.positions.size(); ++i) {
        shape.push_back(selected.positions[i]);
      }
      placed = true;
    } else if (std::holds_alternative<IndexRange>(item)) {
      shape.push_back(a.shape(axis));
    } else if (std::holds_alternative<NewAxis>(item)) {
      new_axes.push_back(shape.ndim());
      shape.push_back(1);
    }
    axis += static_cast<int>(axes_of(item));
  }
  const array shown = squeeze(shown_as(value, shape, s), new_axes, s);
  return apply_updates(a, selected, expand_dims(shown, selected.result_axes, s), op, s);
}

// Applies the ranges alone. Returns the part that they select, and the items that are left for it.
array update_arrays(
    const array& a, const Items& items, const array& value, UpdateOp op, StreamOrDevice s) {
  std::vector<IndexItem> ranges;
  Items inside;
  for (const AdvancedItem& item : items) {
    const IndexRange* range = std::get_if<IndexRange>(&item);
    inside.push_back(range ? AdvancedItem(IndexRange{}) : item);
    if (axes_of(item) > 0) {
      ranges.emplace_back(range && !is_whole(*range) ? *range : IndexRange{});
    }
  }
  const std::span<const IndexItem> outside(ranges);
  const array part = index(a, outside, s);
  return index_update(a, outside, update_whole(part, inside, value, op, s), s);
}

Combine combination(UpdateOp op) {
  switch (op) {
    case UpdateOp::assign:
      return nullptr;
    case UpdateOp::add:
      return add;
    case UpdateOp::subtract:
      return subtract;
    case UpdateOp::multiply:
      return multiply;
    case UpdateOp::divide:
      return divide;
    case UpdateOp::minimum:
      return minimum;
    case UpdateOp::maximum:
      break;
  }
  return maximum;
}

// A mask is the only array.
array update_masked(
    const array& a, const Items& items, const array& value, UpdateOp op, StreamOrDevice s) {
  Items basic;
  const array* mask = nullptr;
  int mask_axis = 0;
  int axis = 0;
  for (const AdvancedItem& item : items) {
    if (const array* found = mask_in(item)) {
      mask = found;
      mask_axis = axis;
      axis += mask->ndim();
      basic.insert(basic.end(), mask->shape().size(), IndexRange{});
      continue;
    }
    axis += std::holds_alternative<IndexRange>(item) || std::holds_alternative<NewAxis>(item);
    basic.push_back(item);
  }
  const std::vector<IndexItem> ranges = basic_items(basic);
  const std::span<const IndexItem> outside(ranges);
  const array part = index(a, outside, s);
  const int count_axis = is_separated(items) ? 0 : mask_axis;
  const array changed =
      masked_update("index_update", part, *mask, mask_axis, value, count_axis, combination(op), s);
  return index_update(a, outside, changed, s);
}

// There are no arrays.
array update_basic(
    const array& a, const Items& items, const array& value, UpdateOp op, StreamOrDevice s) {
  const std::vector<IndexItem> ranges = basic_items(items);
  const std::span<const IndexItem> outside(ranges);
  if (op == UpdateOp::assign) {
    return index_update(a, outside, value, s);
  }
  return index_update(a, outside, combination(op)(index(a, outside, s), value, s), s);
}

} // namespace

array index(const array& a, std::span<const AdvancedItem> items, StreamOrDevice s) {
  array target = a;
  Axes added;
  const Items all = with_all_axes("index", a.shape(), items);
  return read_arrays(target, without_masks("index", target, all, added, s), s);
}

array index_update(
    const array& a,
    std::span<const AdvancedItem> items,
    const array& value,
    UpdateOp op,
    StreamOrDevice s) {
  const Items all = with_all_axes("index_update", a.shape(), items);
  const array converted = astype(value, a.dtype(), s);
  const auto masks = std::count_if(
      all.begin(), all.end(), [](const AdvancedItem& item) { return mask_in(item) != nullptr; });
  const auto arrays = std::count_if(all.begin(), all.end(), is_array);
  if (arrays == 0) {
    return update_basic(a, all, converted, op, s);
  }
  if (masks == 1 && arrays == 1) {
    return update_masked(a, all, converted, op, s);
  }
  array target = a;
  Axes added;
  const Items integers = without_masks("index_update", target, all, added, s);
  const array result = update_arrays(target, integers, converted, op, s);
  return reshape(result, a.shape(), s);
}

} // namespace narrows
