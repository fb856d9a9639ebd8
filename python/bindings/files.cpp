#include "bindings/files.h"

#include <nanobind/stl/string.h>

namespace narrows::python {

namespace nb = nanobind;
using namespace nanobind::literals;

void write_text(nb::handle file, const std::string& text) {
  if (nb::hasattr(file, "write")) {
    file.attr("write")(text);
    return;
  }
  nb::object open = nb::module_::import_("builtins").attr("open");
  nb::object opened = open(file, "w", "encoding"_a = "utf-8");
  opened.attr("write")(text);
  opened.attr("close")();
}

nb::object text_or_file(const std::string& text, nb::handle file) {
  if (file.is_none()) {
    return nb::cast(text);
  }
  write_text(file, text);
  return nb::none();
}

} // namespace narrows::python
