// Functions that transformations return to Python, and Python objects in graphs.
#pragma once

#include <functional>
#include <memory>

#include "bindings/bindings.h"

namespace narrows::python {

// A transformed function. Calling it runs `call` with the original function. The garbage collector
// sees that function and `state`, so that cycles through them are freed. `call` must not hold
// Python objects.
struct TransformedFunction {
  using Call = std::function<nb::object(
      const TransformedFunction& self, const nb::args& args, const nb::kwargs& kwargs)>;

  nb::object function;
  nb::object state; // anything else that it needs
  Call call;
};

// The Python object, with name and docstring of `function`. TypeError if that is not callable.
nb::object transformed(
    const char* op, nb::object function, TransformedFunction::Call call, nb::object state = {});

// A Python object in a graph. Any thread may take the graph apart; the reference is released where
// the interpreter runs.
using HeldObject = std::shared_ptr<PyObject>;
HeldObject hold(nb::handle object);

} // namespace narrows::python
