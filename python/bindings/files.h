// Text that a function returns, or writes to its argument `file`.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

namespace narrows::python {

// Writes to a path, or to an object with write().
void write_text(nanobind::handle file, const std::string& text);

// Returns the text. If `file` is not None, writes it there and returns None.
nanobind::object text_or_file(const std::string& text, nanobind::handle file);

} // namespace narrows::python
