// Defines an operation twice: as a function of the module, and as a method of the array class.
#pragma once

#include "bindings/bindings.h"

namespace narrows::python {

// `f` takes the array first and a StreamArg last; `extra` are the annotations of what lies
// between, with nb::kw_only() before the stream, which is added here.
template <typename F, typename... Extra>
void def_both(
    nb::module_& m, ArrayClass& c, const char* name, const char* doc, F f, const Extra&... extra) {
  m.def(name, f, "a"_a, extra..., "stream"_a = nb::none(), doc);
  c.def(name, f, extra..., "stream"_a = nb::none(), doc);
}

} // namespace narrows::python
