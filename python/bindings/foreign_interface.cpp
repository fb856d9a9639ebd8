// Arrays of other libraries, by the dictionary __array_interface__.
#include <cstdlib>

#include "bindings/foreign_view.h"

namespace narrows::python {
namespace {

constexpr const char* kInterface = "__array_interface__";

[[noreturn]] void fail_field(const char* field, nb::handle value) {
  fail<ValueError>(
      "[array] the field '",
      field,
      "' of ",
      kInterface,
      value.is_valid() ? " is of type " : " is missing",
      value.is_valid() ? nb::type_name(value.type()).c_str() : "",
      ".");
}

// A field; nothing if it is missing or None.
nb::object field_of(const nb::object& interface, const char* name) {
  nb::object value = nb::borrow(PyDict_GetItemString(interface.ptr(), name));
  return value.is_none() ? nb::object() : value;
}

// The text of a str; empty for other objects, and for text that UTF-8 cannot express.
std::string text_of(const nb::object& value) {
  const bool is_text = value.is_valid() && PyUnicode_Check(value.ptr());
  const char* text = is_text ? PyUnicode_AsUTF8(value.ptr()) : nullptr;
  if (is_text && !text) {
    PyErr_Clear();
  }
  return text ? text : "";
}

// The object's own name of its dtype: "bfloat16" where the interface only says "two bytes".
std::string dtype_name(nb::handle object) {
  const nb::object dtype = optional_attribute(object, "dtype");
  const nb::object name = dtype.is_valid() ? optional_attribute(dtype, "name") : nb::object();
  return text_of(name);
}

// "<f4": byte order, kind, bytes.
ElementType type_of(nb::handle object, const nb::object& interface) {
  const nb::object field = field_of(interface, "typestr");
  const std::string text = text_of(field);
  if (text.empty()) {
    fail_field("typestr", field);
  }
  const size_t start = text.find_first_of("<>|=") == 0 ? 1 : 0;
  const bool has_size = text.size() > start + 1 && text.size() < start + 4 &&
                        text.find_first_not_of("0123456789", start + 1) == std::string::npos;
  const int64_t bytes = has_size ? std::atoi(text.c_str() + start + 1) : 0;
  std::optional<ElementType> type;
  if (has_size && text[start] == 'V') {
    type = dtype_name(object) == "bfloat16" ? element_type('E', bytes) : std::nullopt;
  } else if (has_size) {
    type = element_type(text[start], bytes);
  }
  if (!type || (text[0] == '>' && bytes > 1)) {
    const std::string name = dtype_name(object);
    fail<NoDtypeError>("[array] elements of type ", name.empty() ? text : name, " have no dtype.");
  }
  return *type;
}

Shape integers_of(const char* field, const nb::object& value) {
  if (!value.is_valid() || !PyTuple_Check(value.ptr())) {
    fail_field(field, value);
  }
  Shape integers;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value.ptr()); ++i) {
    integers.push_back(read_size(PyTuple_GET_ITEM(value.ptr(), i), field));
  }
  return integers;
}

void set_layout_from(ForeignView& view, const nb::object& interface) {
  const Shape shape = integers_of("shape", field_of(interface, "shape"));
  const nb::object strides = field_of(interface, "strides");
  if (!strides.is_valid()) {
    set_layout(view, static_cast<int64_t>(shape.size()), shape.data(), nullptr);
    return;
  }
  const Shape bytes = integers_of("strides", strides);
  if (bytes.size() != shape.size()) {
    fail<ValueError>(
        "[array] ",
        kInterface,
        " has ",
        bytes.size(),
        " strides for ",
        shape.size(),
        " dimensions.");
  }
  set_layout(view, static_cast<int64_t>(shape.size()), shape.data(), bytes.data());
}

// Memory that is given by its address. Its size cannot be checked.
void set_address(ForeignView& view, const nb::object& data) {
  const nb::handle address =
      PyTuple_GET_SIZE(data.ptr()) == 2 ? PyTuple_GET_ITEM(data.ptr(), 0) : nullptr;
  if (!address.is_valid() || !PyLong_Check(address.ptr())) {
    fail_field("data", address.is_valid() ? address : nb::handle(data));
  }
  void* pointer = PyLong_AsVoidPtr(address.ptr());
  if (!pointer && PyErr_Occurred()) {
    PyErr_Clear();
    fail<OverflowError>("[array] the address in ", kInterface, " does not fit in a pointer.");
  }
  view.data = static_cast<const std::byte*>(pointer);
}

// Memory that is given as a buffer. The elements must lie in it.
void set_buffer(ForeignView& view, const nb::object& interface, nb::handle source) {
  if (!PyObject_CheckBuffer(source.ptr())) {
    fail_field("data", source);
  }
  const std::shared_ptr<HeldBuffer> owner = hold_buffer(source, PyBUF_SIMPLE);
  const nb::object offset_field = field_of(interface, "offset");
  const int64_t offset = offset_field.is_valid() ? read_size(offset_field, "offset") : 0;
  const auto [low, high] = extent_of(view);
  const int64_t length = owner->buffer.len;
  if (offset < 0 || offset > length || offset < -low || high > length - offset) {
    fail<ValueError>(
        "[array] ",
        kInterface,
        " has elements from byte ",
        low,
        " to ",
        high,
        " behind an offset of ",
        offset,
        ", and a buffer of ",
        length,
        " bytes.");
  }
  view.data = static_cast<const std::byte*>(owner->buffer.buf) + offset;
  view.owner = owner;
}

} // namespace

std::optional<ForeignView> view_by_interface(nb::handle object) {
  const nb::object interface = optional_attribute(object, kInterface);
  if (!interface.is_valid()) {
    return std::nullopt;
  }
  if (!PyDict_Check(interface.ptr())) {
    fail<ValueError>("[array] ", kInterface, " is no dictionary.");
  }
  if (field_of(interface, "mask").is_valid()) {
    fail<ValueError>("[array] masked arrays cannot be read.");
  }
  ForeignView view;
  view.type = type_of(object, interface);
  set_layout_from(view, interface);
  const nb::object data = field_of(interface, "data");
  if (data.is_valid() && PyTuple_Check(data.ptr())) {
    set_address(view, data);
    view.owner = std::make_shared<nb::object>(interface);
  } else {
    set_buffer(view, interface, data.is_valid() ? nb::handle(data) : object);
  }
  return view;
}

} // namespace narrows::python
