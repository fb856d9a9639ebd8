// Arrays seen by other libraries.
#pragma once

#include <nanobind/nanobind.h>

namespace narrows::python {

// Slots by which the array class offers its memory as a buffer.
PyType_Slot* buffer_slots();

// Names in signatures what has a method __mlx_array__().
struct ArrayLike {};

} // namespace narrows::python
