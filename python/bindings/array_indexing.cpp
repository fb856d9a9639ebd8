#include <vector>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/subscript.h"

namespace narrows::python {
namespace {

using Items = std::vector<IndexItem>;

[[noreturn]] void fail_index(nb::handle item) {
  fail<ValueError>(
      "[index] got ",
      nb::type_name(item.type()).c_str(),
      ", expected integers, slices, None and ... (arrays, lists and masks are not supported).");
}

// A bound of a slice, clipped to what int64 holds.
std::optional<int64_t> read_bound(PyObject* bound) {
  if (bound == Py_None) {
    return std::nullopt;
  }
  if (!PyIndex_Check(bound) || array_inside(bound)) {
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

IndexItem read_item(nb::handle item) {
  PyObject* p = item.ptr();
  int64_t position = 0;
  if (detail::read_integer(p, position) && !array_inside(item)) {
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
  fail_index(item);
}

Items read_items(nb::handle index) {
  Items items;
  if (PyTuple_Check(index.ptr())) {
    for (nb::handle item : nb::borrow<nb::tuple>(index)) {
      items.push_back(read_item(item));
    }
  } else {
    items.push_back(read_item(index));
  }
  return items;
}

array get_item(const array& a, nb::handle position) {
  return index(a, read_items(position));
}

// Assigns to the array object itself, so that every name for it sees the new value.
void set_item(array& a, nb::handle position, ScalarOrArray value) {
  const Items items = read_items(position);
  a = index_update(a, items, to_operand_beside("index_update", value.object, a.dtype()));
}

// a.at[index]: functional updates.
struct ArrayAt {
  array a;
  std::optional<Items> items = std::nullopt;
};

struct UpdateAt {
  const char* op;
  array (*apply)(const array&, const array&, StreamOrDevice);

  array operator()(const ArrayAt& at, ScalarOrArray value) const {
    if (!at.items) {
      fail<ValueError>("[", op, "] array.at has no index, expected as in a.at[0].add(1).");
    }
    const array operand = astype(to_operand_beside(op, value.object, at.a.dtype()), at.a.dtype());
    return index_update(at.a, *at.items, apply(index(at.a, *at.items), operand, {}));
  }
};

void bind_array_indexing(nb::module_& m) {
  ArrayClass c = array_class();
  c.def("__getitem__", &get_item, nb::arg().none());
  c.def("__setitem__", &set_item, nb::arg().none(), nb::arg());

  nb::class_<ArrayAt> at(
      m, "ArrayAt", "What a.at is: a.at[index].add(x) is `a` after a[index] += x.");
  at.def(
      "__getitem__",
      [](const ArrayAt& self, nb::handle position) {
        return ArrayAt{self.a, read_items(position)};
      },
      nb::arg().none());
  at.def(
      "add",
      UpdateAt{"add", add},
      "value"_a,
      dedented(R"(A copy of the array with `value` added to the elements at the index.

          Args:
            value: A number or an array, which broadcasts to the shape of the indexed part.

          Returns:
            An array.

          Example:
            >>> mx.array([1.0, 20.0, 30.0]).at[1:].add(25)
            array([1, 45, 55], dtype=float32)
          )")
          .c_str());
  at.def(
      "subtract",
      UpdateAt{"subtract", subtract},
      "value"_a,
      dedented(R"(A copy of the array with `value` subtracted from the elements at the index.

          Args:
            value: A number or an array, which broadcasts to the shape of the indexed part.

          Returns:
            An array.

          Example:
            >>> mx.array([1.0, 20.0, 30.0]).at[1:].subtract(25)
            array([1, -5, 5], dtype=float32)
          )")
          .c_str());
  at.def(
      "multiply",
      UpdateAt{"multiply", multiply},
      "value"_a,
      dedented(R"(A copy of the array with the elements at the index multiplied by `value`.

          Args:
            value: A number or an array, which broadcasts to the shape of the indexed part.

          Returns:
            An array.

          Example:
            >>> mx.array([1.0, 20.0, 30.0]).at[1:].multiply(25)
            array([1, 500, 750], dtype=float32)
          )")
          .c_str());
  at.def(
      "divide",
      UpdateAt{"divide", divide},
      "value"_a,
      dedented(R"(A copy of the array with the elements at the index divided by `value`.

          Args:
            value: A number or an array, which broadcasts to the shape of the indexed part.

          Returns:
            An array.

          Example:
            >>> mx.array([1.0, 20.0, 30.0]).at[1:].divide(25)
            array([1, 0.8, 1.2], dtype=float32)
          )")
          .c_str());
  at.def(
      "maximum",
      UpdateAt{"maximum", maximum},
      "value"_a,
      dedented(
          R"(A copy of the array with each element at the index raised to at least `value`.

          Args:
            value: A number or an array, which broadcasts to the shape of the indexed part.

          Returns:
            An array.

          Example:
            >>> mx.array([1.0, 20.0, 30.0]).at[1:].maximum(25)
            array([1, 25, 30], dtype=float32)
          )")
          .c_str());
  at.def(
      "minimum",
      UpdateAt{"minimum", minimum},
      "value"_a,
      dedented(
          R"(A copy of the array with each element at the index lowered to at most `value`.

          Args:
            value: A number or an array, which broadcasts to the shape of the indexed part.

          Returns:
            An array.

          Example:
            >>> mx.array([1.0, 20.0, 30.0]).at[1:].minimum(25)
            array([1, 20, 25], dtype=float32)
          )")
          .c_str());
  c.def_prop_ro(
      "at",
      [](const array& a) { return ArrayAt{a}; },
      "a.at[index].add(x), and subtract, multiply, divide, maximum, minimum: updated copies.");
}

const Binding binding{&bind_array_indexing};

} // namespace
} // namespace narrows::python
