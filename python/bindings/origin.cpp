#include "narrows/record/origin.h"

#include <string>
#include <string_view>

#include "bindings/define.h"

namespace narrows::python {
namespace {

// The directory of the package's own Python files, with a separator at its end.
const std::string& package_directory() {
  static const auto* directory = new std::string([] {
    nb::object file = nb::module_::import_("narrows").attr("__file__");
    nb::object path = nb::module_::import_("os.path").attr("join")(
        nb::module_::import_("os.path").attr("dirname")(file), "");
    return std::string(nb::str(path).c_str());
  }());
  return *directory;
}

// The file of a frame's code.
nb::object file_of(PyFrameObject* frame) {
  nb::object code = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetCode(frame)));
  return code.attr("co_filename");
}

Origin origin_in(PyFrameObject* frame, nb::handle file) {
  Py_ssize_t size = 0;
  if (const char* text = PyUnicode_AsUTF8AndSize(file.ptr(), &size)) {
    return origin_at({text, static_cast<size_t>(size)}, PyFrame_GetLineNumber(frame));
  }
  PyErr_Clear(); // the name is no UTF-8
  nb::object bytes = nb::steal(PyUnicode_AsEncodedString(file.ptr(), "utf-8", "backslashreplace"));
  if (!bytes.is_valid()) {
    throw nb::python_error();
  }
  return origin_at(PyBytes_AS_STRING(bytes.ptr()), PyFrame_GetLineNumber(frame));
}

// The innermost frame of this thread outside of the package; 0 if there is none.
Origin innermost_user_line() {
  const std::string& package = package_directory();
  nb::object frame =
      nb::steal(reinterpret_cast<PyObject*>(PyThreadState_GetFrame(PyThreadState_Get())));
  while (frame.is_valid()) {
    auto* at = reinterpret_cast<PyFrameObject*>(frame.ptr());
    nb::object file = file_of(at);
    if (PyUnicode_Check(file.ptr())) {
      const char* text = PyUnicode_AsUTF8(file.ptr());
      PyErr_Clear();
      if (!text || !std::string_view(text).starts_with(package)) {
        return origin_in(at, file);
      }
    }
    frame = nb::steal(reinterpret_cast<PyObject*>(PyFrame_GetBack(at)));
  }
  return 0;
}

// Does not throw, and does not touch Python without the interpreter's lock.
Origin python_line() {
  if (!PyGILState_Check()) {
    return 0;
  }
  try {
    return innermost_user_line();
  } catch (const std::exception&) {
    return 0;
  }
}

void bind_origin(nb::module_& m) {
  set_origin_source(python_line);
  define<"set_trace_origin(on: bool) -> bool">(
      m,
      &set_trace_origin,
      R"(Sets whether operations remember the line of the program that recorded them.

      Errors of their evaluation name that line, and `plan()`, `profile()` and `graph_info()` show
      it. Recording takes longer with it. NARROWS_TRACE_ORIGIN=1 in the environment has it on from
      the start.

      Args:
        on: Whether operations that are recorded from now on do.

      Returns:
        The previous setting.

      Example:
        >>> previous = mx.set_trace_origin(True)
        >>> mx.set_trace_origin(previous)
        True
      )");
}

const Binding binding{&bind_origin};

} // namespace
} // namespace narrows::python
