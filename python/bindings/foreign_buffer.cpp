// The buffer protocol, and what all protocols share.
#include <cstring>

#include "bindings/foreign_view.h"

namespace narrows::python {
namespace {

// A letter of the struct module, with its native and its standard size.
struct Letter {
  char letter;
  char kind;
  int64_t native;
  int64_t standard;
};

constexpr Letter kLetters[] = {
    {'?', 'b', 1, 1},
    {'c', 'i', 1, 1},
    {'b', 'i', 1, 1},
    {'B', 'u', 1, 1},
    {'h', 'i', 2, 2},
    {'H', 'u', 2, 2},
    {'i', 'i', 4, 4},
    {'I', 'u', 4, 4},
    {'l', 'i', 8, 4},
    {'L', 'u', 8, 4},
    {'q', 'i', 8, 8},
    {'Q', 'u', 8, 8},
    {'n', 'i', 8, 8},
    {'N', 'u', 8, 8},
    {'e', 'f', 2, 2},
    {'f', 'f', 4, 4},
    {'d', 'f', 8, 8},
};

// The size is that of the elements in memory, if the letter can have it: some exporters write '<l'
// for eight bytes.
std::optional<ElementType> type_of_format(const char* format, int64_t bytes) {
  if (std::strcmp(format, "bfloat16") == 0) {
    return element_type('E', bytes);
  }
  const bool swapped = *format == '>' || *format == '!';
  if (swapped || *format == '<' || *format == '=' || *format == '@') {
    ++format;
  }
  const bool complex = *format == 'Z';
  format += complex;
  if (*format == '\0' || format[1] != '\0') {
    return std::nullopt;
  }
  for (const Letter& row : kLetters) {
    if (row.letter != *format || (swapped && bytes > 1)) {
      continue;
    }
    if (complex) {
      return row.kind == 'f' && bytes == 2 * row.native ? element_type('c', bytes) : std::nullopt;
    }
    return bytes == row.native || bytes == row.standard ? element_type(row.kind, bytes)
                                                        : std::nullopt;
  }
  return std::nullopt;
}

} // namespace

std::optional<ElementType> element_type(char kind, int64_t bytes) {
  struct Row {
    char kind;
    int64_t bytes;
    ElementType type;
  };
  static constexpr Row kRows[] = {
      {'b', 1, {bool_}},
      {'i', 1, {int8}},
      {'i', 2, {int16}},
      {'i', 4, {int32}},
      {'i', 8, {int64}},
      {'u', 1, {uint8}},
      {'u', 2, {uint16}},
      {'u', 4, {uint32}},
      {'u', 8, {uint64}},
      {'f', 2, {float16}},
      {'f', 4, {float32}},
      {'f', 8, {float64}},
      {'E', 2, {bfloat16}},
      {'c', 8, {complex64}},
      {'c', 16, {float64, true}},
  };
  for (const Row& row : kRows) {
    if (row.kind == kind && row.bytes == bytes) {
      return row.type;
    }
  }
  return std::nullopt;
}

void set_layout(ForeignView& view, int64_t ndim, const int64_t* shape, const int64_t* strides) {
  if (ndim < 0 || ndim > kMostForeignDimensions || (ndim > 0 && !shape)) {
    fail<ValueError>(
        "[array] an object with ",
        ndim,
        " dimensions, expected at most ",
        kMostForeignDimensions,
        ".");
  }
  int64_t bytes = 16; // of the largest elements
  bool overflow = false;
  bool empty = false;
  for (int64_t i = 0; i < ndim; ++i) {
    if (shape[i] < 0) {
      fail<ValueError>("[array] dimension ", i, " has the size ", shape[i], ", expected >= 0.");
    }
    view.shape.push_back(shape[i]);
    empty |= shape[i] == 0;
    overflow |= __builtin_mul_overflow(bytes, shape[i], &bytes);
  }
  if (overflow && !empty) {
    fail<OverflowError>(
        "[array] shape ", to_string(view.shape), " has more elements than memory can hold.");
  }
  const Strides dense =
      row_major_strides(empty ? Shape(view.shape.size(), int64_t{0}) : view.shape);
  int64_t extent = view.type.bytes();
  for (int64_t i = 0; i < ndim; ++i) {
    int64_t stride = 0; // does not matter for a dimension of size 1
    int64_t reach = 0;
    const auto axis = static_cast<size_t>(i);
    if (!empty && shape[i] > 1) {
      stride = strides ? strides[i] : dense[axis] * view.type.bytes();
    }
    if (stride == INT64_MIN ||
        __builtin_mul_overflow(stride < 0 ? -stride : stride, shape[i] - 1, &reach) ||
        __builtin_add_overflow(extent, reach, &extent)) {
      fail<OverflowError>(
          "[array] strides of ", stride, " bytes reach beyond what memory can hold.");
    }
    view.strides.push_back(stride);
  }
}

std::pair<int64_t, int64_t> extent_of(const ForeignView& view) {
  if (element_count(view.shape) == 0) {
    return {0, 0};
  }
  int64_t low = 0;
  int64_t high = view.type.bytes();
  for (size_t i = 0; i < view.shape.size(); ++i) {
    const int64_t reach = view.strides[i] * (view.shape[i] - 1);
    (reach < 0 ? low : high) += reach;
  }
  return {low, high};
}

nb::object optional_attribute(nb::handle object, const char* name) {
  if (PyType_Check(object.ptr())) {
    return {};
  }
  const nb::object key = nb::steal(PyUnicode_InternFromString(name));
  PyObject* found = nullptr;
#if PY_VERSION_HEX >= 0x030D0000
  const int status =
      key.is_valid() ? PyObject_GetOptionalAttr(object.ptr(), key.ptr(), &found) : -1;
#else
  const int status = key.is_valid() ? _PyObject_LookupAttr(object.ptr(), key.ptr(), &found) : -1;
#endif
  if (status < 0) {
    throw nb::python_error();
  }
  return nb::steal(found);
}

int64_t read_size(nb::handle object, const char* what) {
  const nb::object integer =
      nb::steal(PyIndex_Check(object.ptr()) ? PyNumber_Index(object.ptr()) : nullptr);
  if (!integer.is_valid()) {
    if (PyErr_Occurred()) {
      throw nb::python_error();
    }
    fail<TypeError>(
        "[array] ", what, " holds ", nb::type_name(object.type()).c_str(), ", expected integers.");
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(integer.ptr(), &overflow);
  if (overflow) {
    fail<OverflowError>("[array] an integer of ", what, " does not fit in 64 bits.");
  }
  return value;
}

std::shared_ptr<HeldBuffer> hold_buffer(nb::handle object, int flags) {
  auto held = std::make_shared<HeldBuffer>();
  if (PyObject_GetBuffer(object.ptr(), &held->buffer, flags) != 0) {
    held->buffer.obj = nullptr;
    if (PyErr_Occurred()) {
      throw nb::python_error();
    }
    fail<ValueError>("[array] ", nb::type_name(object.type()).c_str(), " gave no buffer.");
  }
  return held;
}

std::optional<ForeignView> view_by_buffer(nb::handle object) {
  if (!PyObject_CheckBuffer(object.ptr())) {
    return std::nullopt;
  }
  const std::shared_ptr<HeldBuffer> owner = hold_buffer(object, PyBUF_RECORDS_RO);
  const Py_buffer* buffer = &owner->buffer;
  // NumPy's scalars may export bytes only. Their interface says what the bytes are.
  const bool bytes_only = !buffer->strides && buffer->ndim == 1 && buffer->itemsize == 1;
  if (bytes_only && optional_attribute(object, "__array_interface__").is_valid()) {
    return std::nullopt;
  }
  const char* format = buffer->format ? buffer->format : "B";
  const std::optional<ElementType> type = type_of_format(format, buffer->itemsize);
  if (!type) {
    fail<NoDtypeError>(
        "[array] elements of ",
        buffer->itemsize,
        " bytes with the format '",
        format,
        "' have no dtype.");
  }
  if (buffer->suboffsets) {
    fail<ValueError>("[array] buffers with suboffsets cannot be read.");
  }
  ForeignView view{owner, static_cast<const std::byte*>(buffer->buf), {}, {}, *type};
  static_assert(sizeof(Py_ssize_t) == sizeof(int64_t));
  const Py_ssize_t one_dimension = buffer->len / buffer->itemsize;
  const bool no_shape = !buffer->shape && buffer->ndim == 1;
  set_layout(
      view,
      buffer->ndim,
      reinterpret_cast<const int64_t*>(no_shape ? &one_dimension : buffer->shape),
      reinterpret_cast<const int64_t*>(buffer->strides));
  const int64_t bytes = element_count(view.shape) * type->bytes();
  if (buffer->len != bytes) {
    fail<ValueError>(
        "[array] a buffer of shape ",
        to_string(view.shape),
        " has ",
        buffer->len,
        " bytes, expected ",
        bytes,
        ".");
  }
  return view;
}

} // namespace narrows::python
