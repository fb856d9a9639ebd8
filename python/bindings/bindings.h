// How the files of this directory add their part to the Python module: each ends with a `Binding`,
// and nothing else has to know of it.
#pragma once

#include <nanobind/nanobind.h>

#include "narrows/record/array.h"

namespace narrows::python {

namespace nb = nanobind;
using namespace nanobind::literals;

// Adds a part of the module when that is imported:
//
//   const Binding binding{[](nb::module_& m) { m.def(...); }};
class Binding {
 public:
  // Types come first: default arguments name dtypes, and methods need their class.
  enum class Stage { types, functions };
  using Add = void (*)(nb::module_& m);

  explicit Binding(Add add, Stage stage = Stage::functions);
  static void add_all(nb::module_& m);
};

// The module narrows.core.
nb::module_ core_module();

// The array class, for methods.
using ArrayClass = nb::class_<array>;
inline ArrayClass array_class() {
  return nb::borrow<ArrayClass>(nb::type<array>());
}

} // namespace narrows::python
