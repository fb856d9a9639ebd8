// Conversions between Python objects and arrays: numbers, nested lists, NumPy arrays, buffers,
// DLPack.
#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <optional>
#include <span>
#include <utility>

#include "bindings/arguments.h"
#include "narrows/record/array.h"

namespace narrows::python {

// The array in a Python object; nullptr if the object is something else.
const array* array_inside(nb::handle object) noexcept;
// Sets the class that array_inside() looks for.
void set_array_class(nb::handle array_class);

// ValueError for elements whose type no dtype has, such as text or dates.
struct NoDtypeError : ValueError {
  using ValueError::ValueError;
};

// Whether the object may be an operand: a number, an array, or an object that exports one. Lists
// are not.
bool is_operand(nb::handle object);

// An array of the object's elements, of `dtype` if given. Integers become int32 (int64 if they do
// not fit), floats float32, and NumPy's float64 float32. ValueError for ragged lists, and for
// objects that are no arrays.
array to_array(nb::handle object, std::optional<Dtype> dtype = std::nullopt);

// The same for an operand of the operation `op`. Lists are refused.
array to_operand(const char* op, nb::handle object);

// The operands of one operation. Python numbers, and arrays of other libraries, take the dtype of
// the array beside them if its category includes theirs. ValueError for an integer that does not
// fit. NoDtypeError for elements without a dtype.
std::pair<array, array> to_operands(const char* op, nb::handle a, nb::handle b);
// The same for an array of this dtype.
array to_operand_beside(const char* op, nb::handle object, Dtype dtype);

// A number for a single element, else nested lists of numbers.
nb::object to_python_number(const array& a);
nb::object to_list(const array& a);

// Computes the arrays without holding the interpreter's lock, if there is anything to compute.
void evaluate(std::span<const array> arrays);
void evaluate(const array& a);
// Evaluates. Returns the array itself or, where the host cannot address its memory, a copy.
array evaluated_on_host(const array& a);

} // namespace narrows::python
