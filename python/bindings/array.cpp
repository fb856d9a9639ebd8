#include "narrows/record/array.h"

#include <nanobind/stl/complex.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <memory>

#include "bindings/arguments.h"
#include "bindings/array_exchange.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/printing.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/strided.h"
#include "narrows/ops/subscript.h"

namespace narrows::python {
namespace {

// What iter(a) returns: a[0], a[1], ...
class ArrayIterator {
 public:
  explicit ArrayIterator(array a) : array_(std::move(a)) {
    if (array_.ndim() == 0) {
      fail<TypeError>("[iter] array of shape (), expected at least one dimension.");
    }
  }
  array next() {
    if (position_ >= array_.shape(0)) {
      throw nb::stop_iteration();
    }
    const IndexItem item = position_++;
    return index(array_, {&item, 1});
  }

 private:
  array array_;
  int64_t position_ = 0;
};

int64_t length(const array& a) {
  if (a.ndim() == 0) {
    fail<TypeError>("[len] array of shape (), expected at least one dimension.");
  }
  return a.shape(0);
}

template <PyObject* (*Convert)(PyObject*)>
nb::object number_as(const array& a) {
  nb::object result = nb::steal(Convert(to_python_number(a).ptr()));
  if (!result.is_valid()) {
    throw nb::python_error();
  }
  return result;
}

nb::object as_index(const array& a) {
  if (a.ndim() != 0 || !is_integer(a.dtype())) {
    fail<TypeError>(
        "[index] array of shape ",
        to_string(a.shape()),
        " and dtype ",
        name_of(a.dtype()),
        ", expected an integer array of shape ().");
  }
  return to_python_number(a);
}

std::complex<double> as_complex(const array& a) {
  return PyComplex_Check(to_python_number(a).ptr())
             ? std::complex<double>(a.item<complex64_t>())
             : std::complex<double>(nb::cast<double>(to_python_number(a)));
}

std::string format(const array& a, const nb::str& spec) {
  if (a.ndim() == 0) {
    nb::object text = nb::steal(PyObject_Format(to_python_number(a).ptr(), spec.ptr()));
    if (!text.is_valid()) {
      throw nb::python_error();
    }
    return nb::cast<std::string>(text);
  }
  if (nb::len(spec) > 0) {
    fail<TypeError>("[format] a format specification needs an array of shape ().");
  }
  return describe(a);
}

void bind_facts(ArrayClass& c) {
  c.def_prop_ro(
       "shape",
       [](const array& a) { return a.shape(); },
       nb::sig("def shape(self) -> tuple[int, ...]"),
       "Sizes of the dimensions.")
      .def_prop_ro("ndim", &array::ndim, "Number of dimensions.")
      .def_prop_ro("size", &array::size, "Number of elements.")
      .def_prop_ro("itemsize", &array::itemsize, "Bytes of one element.")
      .def_prop_ro("nbytes", &array::nbytes, "Bytes of all elements.")
      .def_prop_ro("dtype", &array::dtype, "The elements' dtype.")
      .def_prop_ro(
          "T", [](const array& a) { return transpose(a); }, "The dimensions reversed.")
      .def_prop_ro(
          "mT",
          [](const array& a) { return matrix_transpose(a); },
          "The last two dimensions exchanged. ValueError if there are fewer.")
      .def_prop_ro(
          "real", [](const array& a) { return real(a); }, "Real parts.")
      .def_prop_ro(
          "imag", [](const array& a) { return imag(a); }, "Imaginary parts; zeros of real dtypes.");
}

void bind_numbers(ArrayClass& c) {
  c.def(
       "item",
       &to_python_number,
       nb::sig("def item(self) -> bool | int | float | complex"),
       dedented(R"(The only element, as a number of Python. Evaluates the array.

          Returns:
            A bool, int, float or complex.

          Raises:
            ValueError: If there is not exactly one element.

          Example:
            >>> (mx.array(1) + 2).item()
            3
          )")
           .c_str())
      .def(
          "tolist",
          &to_list,
          nb::sig("def tolist(self) -> typing.Any"),
          dedented(R"(The elements in nested lists. Evaluates the array.

          Returns:
            Lists of numbers; a number for shape ().

          Example:
            >>> mx.array([[1, 2], [3, 4]]).tolist()
            [[1, 2], [3, 4]]
          )")
              .c_str())
      .def("__len__", &length)
      .def("__iter__", [](const array& a) { return ArrayIterator(a); })
      .def(
          "__bool__",
          [](const array& a) { return PyObject_IsTrue(to_python_number(a).ptr()) == 1; })
      .def("__int__", &number_as<PyNumber_Long>, nb::sig("def __int__(self) -> int"))
      .def("__float__", &number_as<PyNumber_Float>, nb::sig("def __float__(self) -> float"))
      .def("__complex__", &as_complex)
      .def("__index__", &as_index, nb::sig("def __index__(self) -> int"))
      .def("__repr__", [](const array& a) { return describe(a); })
      .def("__format__", &format, nb::sig("def __format__(self, spec: str, /) -> str"));
}

// Arrays are immutable values, so a copy shares the data.
void bind_copies(ArrayClass& c) {
  c.def("__copy__", [](const array& a) { return a; })
      .def(
          "__deepcopy__", [](const array& a, nb::handle) { return a; }, "memo"_a);
}

void bind_array(nb::module_& m) {
  ArrayClass c(
      m,
      "array",
      nb::is_weak_referenceable(),
      nb::type_slots(buffer_slots()),
      "An N-dimensional array of numbers of one dtype. Operations on it are recorded and run when "
      "its value is needed, or by eval().");
  set_array_class(c);
  nb::class_<ArrayLike>(
      m, "ArrayLike", "Any object with a method __mlx_array__() that returns an array.");
  c.def(
      "__init__",
      [](array* self, ScalarOrArray value, std::optional<Dtype> dtype) {
        new (self) array(to_array(value.object, dtype));
      },
      "val"_a,
      "dtype"_a = nb::none(),
      nb::sig("def __init__(self, val: bool | int | float | complex | list | tuple | array | "
              "ArrayLike, dtype: Dtype | None = None) -> None"),
      dedented(R"(An array made of numbers.

          Args:
            val: A number, nested lists of numbers and arrays, a NumPy array, a buffer or a DLPack
              array. It is copied.
            dtype: The dtype. None: integers become int32, or int64 if they do not fit; floats,
              and NumPy's float64, become float32.

          Raises:
            ValueError: For ragged lists, and for integers beyond int64.

          Example:
            >>> mx.array([[1, 2], [3, 4]], dtype=mx.float16)
            array([[1, 2],
                   [3, 4]], dtype=float16)
          )")
          .c_str());
  nb::class_<ArrayIterator>(m, "ArrayIterator", "What iter() of an array returns.")
      .def("__iter__", [](nb::handle self) { return nb::borrow(self); })
      .def("__next__", &ArrayIterator::next);
  bind_facts(c);
  bind_numbers(c);
  bind_copies(c);
}

const Binding binding{&bind_array, Binding::Stage::types};

} // namespace
} // namespace narrows::python
