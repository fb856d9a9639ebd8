// Arrays as text.
#pragma once

#include <string>

#include "narrows/record/array.h"

namespace narrows::python {

// "array([1, 2, 3], dtype=int32)". Evaluates. Of dimensions longer than 6 only the ends are shown.
std::string describe(const array& a);

} // namespace narrows::python
