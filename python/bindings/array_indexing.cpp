#include <vector>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/index_items.h"
#include "narrows/ops/advanced.h"
#include "narrows/ops/elementwise.h"

namespace narrows::python {
namespace {

// Computes masks without the interpreter's lock, because the shape of a[...] depends on their
// values.
array get_item(const array& a, nb::handle position) {
  const Index items = read_index(position);
  if (!items.has_arrays) {
    return index(a, items.basic);
  }
  for (const AdvancedItem& item : items.advanced) {
    const IndexArray* mask = std::get_if<IndexArray>(&item);
    if (mask && mask->values.dtype() == bool_) {
      evaluate(mask->values);
    }
  }
  return index(a, items.advanced);
}

// Assigns to the array object itself, so that every name of it sees the new value.
void set_item(array& a, nb::handle position, ScalarOrArray value) {
  const Index items = read_index(position);
  const array values = to_operand_beside("index_update", value.object, a.dtype());
  a = items.has_arrays ? index_update(a, items.advanced, values)
                       : index_update(a, items.basic, values);
}

// a.at[index]: functional updates.
struct ArrayAt {
  array a;
  std::optional<Index> items = std::nullopt;
};

struct UpdateAt {
  const char* name;
  UpdateOp op;
  array (*apply)(const array&, const array&, StreamOrDevice);

  array operator()(const ArrayAt& at, ScalarOrArray value) const {
    if (!at.items) {
      fail<ValueError>("[", name, "] array.at has no index, expected as in a.at[0].add(1).");
    }
    const array operand = astype(to_operand_beside(name, value.object, at.a.dtype()), at.a.dtype());
    if (at.items->has_arrays) {
      return index_update(at.a, at.items->advanced, operand, op);
    }
    const std::vector<IndexItem>& items = at.items->basic;
    return index_update(at.a, items, apply(index(at.a, items), operand, {}));
  }
};

void bind_array_indexing(nb::module_& m) {
  ArrayClass c = array_class();
  c.def("__getitem__", &get_item, nb::arg().none());
  c.def("__setitem__", &set_item, nb::arg().none(), nb::arg());

  nb::class_<ArrayAt> at(
      m,
      "ArrayAt",
      "What a.at is: a.at[index].add(x) is `a` after a[index] += x, but for elements that the "
      "index "
      "has several times: these change as often.");
  at.def(
      "__getitem__",
      [](const ArrayAt& self, nb::handle position) {
        return ArrayAt{self.a, read_index(position)};
      },
      nb::arg().none());
  at.def(
      "add",
      UpdateAt{"add", UpdateOp::add, add},
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
      UpdateAt{"subtract", UpdateOp::subtract, subtract},
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
      UpdateAt{"multiply", UpdateOp::multiply, multiply},
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
      UpdateAt{"divide", UpdateOp::divide, divide},
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
      UpdateAt{"maximum", UpdateOp::maximum, maximum},
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
      UpdateAt{"minimum", UpdateOp::minimum, minimum},
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
