// Checks of arguments that several families make.
#pragma once

#include "narrows/core/dtype.h"
#include "narrows/core/errors.h"

namespace narrows {

// ValueError unless the dtype is floating point or complex.
inline void require_inexact(const char* op, Dtype dtype) {
  if (!is_inexact(dtype)) {
    fail<ValueError>(
        "[", op, "] dtype ", name_of(dtype), ", expected floating point or complex numbers.");
  }
}

} // namespace narrows
