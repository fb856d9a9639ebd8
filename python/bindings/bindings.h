// The parts of the Python module, one function for each topic; module.cpp calls them.
#pragma once

#include <nanobind/nanobind.h>

#include "narrows/record/array.h"

namespace narrows::python {

namespace nb = nanobind;
using namespace nanobind::literals;

void bind_errors(nb::module_& m);
void bind_dtype(nb::module_& m);
void bind_device(nb::module_& m);
void bind_memory(nb::module_& m);
void bind_evaluate(nb::module_& m);
void bind_plan(nb::module_& m);
void bind_origin(nb::module_& m);
void bind_pending(nb::module_& m);
void bind_profile(nb::module_& m);
void bind_printing(nb::module_& m);

// The array class, created first so that signatures can name it, then filled topic by topic.
using ArrayClass = nb::class_<array>;
ArrayClass bind_array(nb::module_& m);
void bind_array_operators(ArrayClass& c);
void bind_array_indexing(nb::module_& m, ArrayClass& c);
void bind_array_exchange(nb::module_& m, ArrayClass& c);

// Operations, as functions of the module and, where there is one, as methods.
void bind_creation(nb::module_& m);
void bind_elementwise(nb::module_& m, ArrayClass& c);
void bind_shape(nb::module_& m, ArrayClass& c);
void bind_reduce(nb::module_& m, ArrayClass& c);
void bind_scans(nb::module_& m, ArrayClass& c);
void bind_join(nb::module_& m);
void bind_matmul(nb::module_& m);
void bind_composite(nb::module_& m, ArrayClass& c);
void bind_random(nb::module_& m);

// Transformations of functions.
void bind_function(nb::module_& m);
void bind_derivatives(nb::module_& m);
void bind_vmap(nb::module_& m);
void bind_custom_function(nb::module_& m);
void bind_compile(nb::module_& m);
void bind_export(nb::module_& m);

} // namespace narrows::python
