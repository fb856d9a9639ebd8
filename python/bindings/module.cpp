#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "bindings/bindings.h"

namespace narrows::python {
namespace {

struct Registered {
  Binding::Add add;
  Binding::Stage stage;
};

// The parts of the module, added while the library is loaded.
std::vector<Registered>& registered() {
  static std::vector<Registered> bindings;
  return bindings;
}

PyObject* core = nullptr; // borrowed: the module outlives its functions

void add_constants(nb::module_& m) {
  m.attr("pi") = std::numbers::pi;
  m.attr("e") = std::numbers::e;
  m.attr("euler_gamma") = std::numbers::egamma;
  m.attr("inf") = std::numeric_limits<double>::infinity();
  m.attr("nan") = std::numeric_limits<double>::quiet_NaN();
  m.attr("newaxis") = nb::none();
  m.attr("__version__") = NARROWS_VERSION;
}

const Binding binding{&add_constants};

} // namespace

Binding::Binding(Add add, Stage stage) {
  registered().push_back({add, stage});
}

void Binding::add_all(nb::module_& m) {
  for (const Stage stage : {Stage::types, Stage::functions}) {
    for (const Registered& entry : registered()) {
      if (entry.stage == stage) {
        entry.add(m);
      }
    }
  }
}

nb::module_ core_module() {
  return nb::borrow<nb::module_>(core);
}

NB_MODULE(core, m) {
  m.doc() = "Lazy arrays: operations are recorded, and evaluation runs them in little memory.";
  // Some arrays live longer than the module, in frames and modules that the interpreter never
  // clears.
  nb::set_leak_warnings(false);
  core = m.ptr();
  Binding::add_all(m);
}

} // namespace narrows::python
