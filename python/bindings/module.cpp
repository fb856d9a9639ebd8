#include <cmath>
#include <limits>
#include <numbers>

#include "bindings/bindings.h"

namespace narrows::python {
namespace {

void bind_constants(nb::module_& m) {
  m.attr("pi") = std::numbers::pi;
  m.attr("e") = std::numbers::e;
  m.attr("euler_gamma") = std::numbers::egamma;
  m.attr("inf") = std::numeric_limits<double>::infinity();
  m.attr("nan") = std::numeric_limits<double>::quiet_NaN();
  m.attr("newaxis") = nb::none();
  m.attr("__version__") = NARROWS_VERSION;
}

} // namespace

NB_MODULE(core, m) {
  m.doc() = "Lazy arrays: operations are recorded, and evaluation runs them in little memory.";
  // Arrays outlive the module in frames and modules that the interpreter never clears.
  nb::set_leak_warnings(false);
  bind_constants(m);
  bind_errors(m);
  bind_dtype(m);
  bind_device(m);
  ArrayClass array_class = bind_array(m);
  bind_printing(m);
  bind_memory(m);
  bind_evaluate(m);
  bind_plan(m);
  bind_origin(m);
  bind_pending(m);
  bind_profile(m);
  bind_creation(m);
  bind_elementwise(m, array_class);
  bind_shape(m, array_class);
  bind_reduce(m, array_class);
  bind_scans(m, array_class);
  bind_join(m);
  bind_matmul(m);
  bind_composite(m, array_class);
  bind_random(m);
  bind_function(m);
  bind_derivatives(m);
  bind_vmap(m);
  bind_custom_function(m);
  bind_compile(m);
  bind_export(m);
}

} // namespace narrows::python
