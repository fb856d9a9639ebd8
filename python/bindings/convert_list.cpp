#include <cstring>

#include "bindings/convert_parts.h"
#include "narrows/ops/join.h"
#include "narrows/ops/shape.h"

namespace narrows::python {
namespace {

// Deeper lists can only be lists that hold themselves.
constexpr size_t kMostDimensions = 64;

bool is_list(PyObject* object) {
  return PyList_Check(object) || PyTuple_Check(object);
}

[[noreturn]] void fail_ragged() {
  fail<ValueError>("[array] the lists are ragged: lists at the same depth differ in length.");
}

// What the lists hold, found in one pass before memory is taken.
struct ListContents {
  Shape shape;      // of the lists
  Shape leaf_shape; // of arrays in the lists
  bool has_arrays = false;
  bool has_leaf = false;
  Dtype dtype = float32; // of all leaves, promoted
};

// Follows the first elements.
Shape shape_of_lists(PyObject* list) {
  Shape shape;
  while (is_list(list)) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
    shape.push_back(count);
    if (shape.size() > kMostDimensions) {
      fail<ValueError>("[array] lists are nested more than ", kMostDimensions, " deep.");
    }
    if (count == 0) {
      break;
    }
    list = PySequence_Fast_GET_ITEM(list, 0);
  }
  return shape;
}

void add_leaf(ListContents& contents, PyObject* leaf) {
  const array* a = array_inside(leaf);
  const Dtype dtype = a ? a->dtype() : number_dtype(leaf);
  contents.dtype = contents.has_leaf ? promote(contents.dtype, dtype) : dtype;
  const Shape shape = a ? a->shape() : Shape{};
  if (contents.has_leaf && !(shape == contents.leaf_shape)) {
    fail_ragged();
  }
  contents.leaf_shape = shape;
  contents.has_arrays |= a != nullptr;
  contents.has_leaf = true;
}

void examine(ListContents& contents, PyObject* object, size_t depth) {
  if (depth == contents.shape.size()) {
    if (is_list(object)) {
      fail_ragged();
    }
    add_leaf(contents, object);
    return;
  }
  if (!is_list(object) || PySequence_Fast_GET_SIZE(object) != contents.shape[depth]) {
    fail_ragged();
  }
  for (int64_t i = 0; i < contents.shape[depth]; ++i) {
    examine(contents, PySequence_Fast_GET_ITEM(object, i), depth + 1);
  }
}

void write_numbers(PyObject* object, size_t depth, size_t ndim, Dtype dtype, std::byte*& out) {
  if (depth == ndim) {
    const Scalar scalar = number_scalar(object, dtype);
    std::memcpy(out, scalar.bytes, static_cast<size_t>(size_of(dtype)));
    out += size_of(dtype);
    return;
  }
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i) {
    write_numbers(PySequence_Fast_GET_ITEM(object, i), depth + 1, ndim, dtype, out);
  }
}

array from_numbers(PyObject* list, const Shape& shape, Dtype dtype) {
  return host_array("array", shape, dtype, [&](std::byte* to) {
    write_numbers(list, 0, shape.size(), dtype, to);
  });
}

void collect_leaves(
    PyObject* object, size_t depth, size_t ndim, Dtype dtype, std::vector<array>& leaves) {
  if (depth == ndim) {
    leaves.push_back(to_array(object, dtype));
    return;
  }
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i) {
    collect_leaves(PySequence_Fast_GET_ITEM(object, i), depth + 1, ndim, dtype, leaves);
  }
}

// The leaves one after the other; lazy, as they are.
array from_arrays(PyObject* list, const ListContents& contents, Dtype dtype) {
  std::vector<array> leaves;
  collect_leaves(list, 0, contents.shape.size(), dtype, leaves);
  Shape shape = contents.shape;
  for (int64_t n : contents.leaf_shape) {
    shape.push_back(n);
  }
  return reshape(stack(leaves), shape);
}

} // namespace

Dtype smallest_integer_dtype(int64_t value) {
  return value == static_cast<int32_t>(value) ? int32 : int64;
}

int64_t read_int64(PyObject* integer) {
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
  if (overflow) {
    fail<ValueError>(
        "[array] the integer ", nb::str(nb::handle(integer)).c_str(), " does not fit in int64.");
  }
  return value;
}

Dtype number_dtype(PyObject* number) {
  if (PyFloat_Check(number)) {
    return float32;
  }
  if (PyBool_Check(number)) {
    return bool_;
  }
  if (PyLong_Check(number)) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    return overflow ? int64 : smallest_integer_dtype(value);
  }
  if (PyComplex_Check(number)) {
    return complex64;
  }
  fail<ValueError>(
      "[array] got ",
      nb::type_name(nb::handle(number).type()).c_str(),
      " in a list, expected numbers, lists or arrays.");
}

Scalar number_scalar(PyObject* number, Dtype dtype) {
  if (PyFloat_Check(number)) {
    return make_scalar(PyFloat_AS_DOUBLE(number), dtype);
  }
  if (PyLong_Check(number)) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (!overflow) {
      return make_scalar(static_cast<int64_t>(value), dtype);
    }
    if (is_inexact(dtype)) {
      return make_scalar(nb::cast<double>(nb::handle(number)), dtype);
    }
    if (dtype == uint64 && overflow > 0) {
      const unsigned long long large = PyLong_AsUnsignedLongLong(number);
      if (!PyErr_Occurred()) {
        return Scalar::of(static_cast<uint64_t>(large), dtype);
      }
      PyErr_Clear();
    }
    read_int64(number);
  }
  const Py_complex value = PyComplex_AsCComplex(number);
  return make_scalar(
      complex64_t(static_cast<float>(value.real), static_cast<float>(value.imag)), dtype);
}

array from_list(nb::handle list, std::optional<Dtype> dtype) {
  ListContents contents;
  contents.shape = shape_of_lists(list.ptr());
  examine(contents, list.ptr(), 0);
  const Dtype result = dtype ? *dtype : contents.dtype;
  return contents.has_arrays ? from_arrays(list.ptr(), contents, result)
                             : from_numbers(list.ptr(), contents.shape, result);
}

} // namespace narrows::python
