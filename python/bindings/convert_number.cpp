// Python's numbers as elements of arrays.
#include "bindings/convert_parts.h"

namespace narrows::python {
namespace {

// The number in messages.
std::string text_of(PyObject* number) {
  const nb::object text = nb::steal(PyObject_Str(number));
  const char* characters = text.is_valid() ? PyUnicode_AsUTF8(text.ptr()) : nullptr;
  if (!characters) {
    PyErr_Clear(); // Python refuses to print numbers of more than some thousand digits
    return "an integer of very many digits";
  }
  return characters;
}

[[noreturn]] void fail_range(const char* op, PyObject* integer, Dtype dtype) {
  fail<ValueError>("[", op, "] ", text_of(integer), " does not fit in ", name_of(dtype), ".");
}

Scalar integer_scalar(const char* op, PyObject* integer, Dtype dtype) {
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
  if (!overflow) {
    if (is_integer(dtype)) {
      require_fits(op, int64_t{value}, dtype);
    }
    return make_scalar(int64_t{value}, dtype);
  }
  if (dtype == bool_) {
    return make_scalar(int64_t{1}, dtype);
  }
  if (is_inexact(dtype)) {
    const double rounded = PyLong_AsDouble(integer);
    if (rounded == -1.0 && PyErr_Occurred()) {
      PyErr_Clear();
      fail_range(op, integer, dtype);
    }
    return make_scalar(rounded, dtype);
  }
  const unsigned long long large = PyLong_AsUnsignedLongLong(integer);
  if (PyErr_Occurred()) {
    PyErr_Clear();
    fail_range(op, integer, dtype);
  }
  if (dtype != uint64) {
    fail_range(op, integer, dtype);
  }
  return Scalar::of(static_cast<uint64_t>(large), dtype);
}

Scalar real_scalar(const char* op, double value, Dtype dtype) {
  if (is_integer(dtype)) {
    require_fits(op, value, dtype);
  }
  return make_scalar(value, dtype);
}

} // namespace

namespace detail {

void refuse_too_large(PyObject* object) {
  if (PyLong_Check(object)) {
    int overflow = 0;
    PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow) {
      fail<OverflowError>("The size ", text_of(object), " does not fit in 64 bits.");
    }
  } else if (PyList_Check(object) || PyTuple_Check(object)) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i) {
      if (PyObject* item = PySequence_Fast_GET_ITEM(object, i); PyLong_Check(item)) {
        refuse_too_large(item);
      }
    }
  }
}

} // namespace detail

Dtype smallest_integer_dtype(int64_t value) {
  return value == static_cast<int32_t>(value) ? int32 : int64;
}

int64_t read_int64(const char* op, PyObject* integer) {
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
  if (overflow) {
    fail_range(op, integer, int64);
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
  return complex64;
}

Scalar number_scalar(const char* op, PyObject* number, Dtype dtype) {
  if (PyFloat_Check(number)) {
    return real_scalar(op, PyFloat_AS_DOUBLE(number), dtype);
  }
  if (PyLong_Check(number)) {
    return integer_scalar(op, number, dtype);
  }
  const Py_complex value = PyComplex_AsCComplex(number);
  if (value.real == -1.0 && PyErr_Occurred()) {
    throw nb::python_error();
  }
  if (!is_complex(dtype)) {
    return real_scalar(op, value.real, dtype);
  }
  return make_scalar(
      complex64_t(static_cast<float>(value.real), static_cast<float>(value.imag)), dtype);
}

} // namespace narrows::python
