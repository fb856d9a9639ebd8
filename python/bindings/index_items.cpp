#include "bindings/index_items.h"

#include <optional>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "narrows/ops/elementwise.h"

namespace narrows::python {
namespace {

[[noreturn]] void fail_index(nb::handle item) {
  fail<ValueError>(
      "[index] got ",
      nb::type_name(item.type()).c_str(),
      ", expected integers, slices, None, ..., and arrays or lists of integers or bools.");
}

// A bound of a slice, clipped to the range of int64. An array of one integer is evaluated.
std::optional<int64_t> read_bound(PyObject* bound) {
  if (bound == Py_None) {
    return std::nullopt;
  }
  const array* inside = array_inside(bound);
  if (inside ? inside->ndim() > 0 || !is_integer(inside->dtype()) : !PyIndex_Check(bound)) {
    fail<ValueError>(
        "[index] a slice has a bound of type ",
        nb::type_name(nb::handle(bound).type()).c_str(),
        ", expected integers or None.");
  }
  const Py_ssize_t value = PyNumber_AsSsize_t(bound, nullptr);
  if (value == -1 && PyErr_Occurred()) {
    throw nb::python_error();
  }
  return value;
}

// Reads an item that is no array.
std::optional<IndexItem> read_basic(nb::handle item) {
  PyObject* p = item.ptr();
  int64_t position = 0;
  if (!array_inside(item) && detail::read_integer(p, position)) {
    return position;
  }
  if (PySlice_Check(p)) {
    const auto* slice = reinterpret_cast<PySliceObject*>(p);
    return IndexRange{read_bound(slice->start), read_bound(slice->stop), read_bound(slice->step)};
  }
  if (item.is_none()) {
    return NewAxis{};
  }
  if (p == Py_Ellipsis) {
    return Ellipsis{};
  }
  return std::nullopt;
}

IndexArray read_array(nb::handle item) {
  const array* inside = array_inside(item);
  const bool is_list = PyList_Check(item.ptr()) || PyTuple_Check(item.ptr());
  if (!inside && !is_list && !is_operand(item)) {
    fail_index(item);
  }
  array values = inside ? *inside : to_array(item);
  if (is_list && values.size() == 0) {
    values = astype(values, int32); // an empty list: integers, not floats
  }
  if (values.dtype() != bool_ && !is_integer(values.dtype())) {
    fail<ValueError>(
        "[index] indices of dtype ", name_of(values.dtype()), ", expected integers or bools.");
  }
  return {std::move(values), !inside};
}

void read_item(nb::handle item, Index& index) {
  std::optional<IndexItem> basic = read_basic(item);
  if (!basic && !index.has_arrays) {
    index.has_arrays = true;
    for (const IndexItem& before : index.basic) {
      std::visit([&](const auto& value) { index.advanced.emplace_back(value); }, before);
    }
  }
  if (!basic) {
    index.advanced.emplace_back(read_array(item));
  } else if (index.has_arrays) {
    std::visit([&](const auto& value) { index.advanced.emplace_back(value); }, *basic);
  } else {
    index.basic.push_back(*basic);
  }
}

} // namespace

Index read_index(nb::handle object) {
  Index index;
  if (PyTuple_Check(object.ptr())) {
    for (nb::handle item : nb::borrow<nb::tuple>(object)) {
      read_item(item, index);
    }
  } else {
    read_item(object, index);
  }
  return index;
}

} // namespace narrows::python
