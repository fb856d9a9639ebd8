// Integer arguments that can be passed as f(1, 2), f((1, 2)) or f([1, 2]).
#pragma once

#include "bindings/arguments.h"
#include "narrows/core/errors.h"

namespace narrows::python {

template <typename Integers>
Integers unpack(const char* op, const nb::args& arguments) {
  Integers result;
  nb::object source = arguments;
  if (arguments.size() == 1 && !PyIndex_Check(nb::object(arguments[0]).ptr())) {
    source = arguments[0];
  }
  if (!detail::read_integers(source.ptr(), result)) {
    detail::refuse_too_large(source.ptr());
    fail<TypeError>("[", op, "] expected integers or one sequence of integers.");
  }
  return result;
}

} // namespace narrows::python
