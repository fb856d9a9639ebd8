// How other libraries see arrays.
#pragma once

#include <nanobind/nanobind.h>

namespace narrows::python {

// Slots of the array class that export its memory as a buffer.
PyType_Slot* buffer_slots();

// The name, in signatures, of objects that have a method __mlx_array__().
struct ArrayLike {};

} // namespace narrows::python
