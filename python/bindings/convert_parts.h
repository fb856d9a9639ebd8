// What the files share that convert between Python objects and arrays.
#pragma once

#include "bindings/convert.h"
#include "narrows/ops/creation.h"
#include "narrows/record/host_array.h"

namespace narrows::python {

inline bool is_python_number(PyObject* object) {
  return PyBool_Check(object) || PyLong_Check(object) || PyFloat_Check(object) ||
         PyComplex_Check(object);
}

// int32, or int64 if int32 is too small.
Dtype smallest_integer_dtype(int64_t value);

// A Python bool, int, float or complex: its dtype as an array, and its value as a dtype. ValueError
// for numbers out of the range of the dtype.
Dtype number_dtype(PyObject* number);
Scalar number_scalar(const char* op, PyObject* number, Dtype dtype);
int64_t read_int64(const char* op, PyObject* integer);

// Nested lists and tuples of numbers or arrays.
array from_list(nb::handle list, std::optional<Dtype> dtype);

// Arrays of other libraries: objects with a buffer, __dlpack__, __array_interface__ or __array__.
bool is_foreign(nb::handle object);
array from_foreign(nb::handle object, std::optional<Dtype> dtype);
// The same, by DLPack only. Raises what the object raises.
array from_dlpack(nb::handle object);

// Converts the elements of an evaluated row-major array.
void convert_elements(const array& from, Dtype dtype, std::byte* to);

// One element as a Python number.
nb::object element_to_python(const void* element, Dtype dtype);

} // namespace narrows::python
