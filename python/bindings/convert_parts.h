// What the files that convert between Python objects and arrays share.
#pragma once

#include "bindings/convert.h"
#include "narrows/ops/creation.h"
#include "narrows/record/host_array.h"

namespace narrows::python {

// An evaluated array of one element, on the CPU.
array scalar_array(const Scalar& scalar);

// int32, or int64 if that is too small.
Dtype smallest_integer_dtype(int64_t value);

// A Python bool, int, float or complex: its dtype as an array, and its value as a dtype.
// ValueError for integers beyond int64 (uint64, for that dtype).
Dtype number_dtype(PyObject* number);
Scalar number_scalar(PyObject* number, Dtype dtype);
int64_t read_int64(PyObject* integer);

// Nested lists and tuples of numbers or arrays.
array from_list(nb::handle list, std::optional<Dtype> dtype);

// Objects with a buffer or DLPack.
bool is_foreign(nb::handle object);
array from_foreign(nb::handle object, std::optional<Dtype> dtype);

// One element as a Python number.
nb::object element_to_python(const void* element, Dtype dtype);

} // namespace narrows::python
