// Arrays as text.
#pragma once

#include <string>

#include "narrows/record/array.h"

namespace narrows::python {

// "array([1, 2, 3], dtype=int32)"; evaluates. Dimensions above 6 show their ends only.
std::string describe(const array& a);

} // namespace narrows::python
