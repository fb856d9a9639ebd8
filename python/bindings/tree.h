// Arrays in nested lists, tuples and dicts.
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "narrows/graph/array.h"

namespace narrows::python {

// Every array in the tree, in order. Leaves that are no arrays are left out.
std::vector<array> arrays_in(nanobind::handle tree);

} // namespace narrows::python
