#include "bindings/array_exchange.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cstring>
#include <memory>
#include <vector>

#include "bindings/convert_parts.h"
#include "bindings/define.h"
#include "narrows/ops/shape.h"

namespace narrows::python {
namespace {

// What a Py_buffer points into, and what keeps the memory alive.
struct BufferView {
  explicit BufferView(const array& a) : value(a) {
    for (size_t i = 0; i < a.shape().size(); ++i) {
      shape.push_back(a.shape()[i]);
      strides.push_back(a.layout().strides[i] * a.itemsize());
    }
  }
  array value;
  std::vector<Py_ssize_t> shape;
  std::vector<Py_ssize_t> strides;
};

// The struct module's letters; NumPy knows none for bfloat16 and will say so.
const char* buffer_format(Dtype dtype) {
  static constexpr const char* kFormats[kDtypeCount] = {
      "?", "B", "H", "I", "Q", "b", "h", "i", "q", "e", "bfloat16", "f", "d", "Zf"};
  return kFormats[static_cast<size_t>(dtype)];
}

bool asks_for(int flags, int what) {
  return (flags & what) == what;
}

// Whether the consumer cannot walk strides. Nobody gets column-major memory: that is an error.
bool wants_row_major(int flags) {
  if (asks_for(flags, PyBUF_F_CONTIGUOUS)) {
    fail<ValueError>("[array] column-major buffers are not available.");
  }
  return !asks_for(flags, PyBUF_STRIDES) || asks_for(flags, PyBUF_C_CONTIGUOUS) ||
         asks_for(flags, PyBUF_ANY_CONTIGUOUS);
}

int get_buffer(PyObject* object, Py_buffer* buffer, int flags) noexcept {
  std::memset(buffer, 0, sizeof(*buffer));
  try {
    const array* inside = array_inside(object);
    if (!inside) {
      fail<ValueError>("[array] the array was not initialized.");
    }
    array a = evaluated_on_host(*inside);
    if (!a.layout().row_contiguous && wants_row_major(flags)) {
      a = evaluated_on_host(contiguous(a));
    }
    auto view = std::make_unique<BufferView>(a);
    buffer->buf = a.data();
    buffer->len = a.nbytes();
    buffer->itemsize = a.itemsize();
    buffer->ndim = a.ndim();
    if (flags & PyBUF_FORMAT) {
      buffer->format = const_cast<char*>(buffer_format(a.dtype()));
    }
    if (flags & PyBUF_ND) {
      buffer->shape = view->shape.data();
    }
    if (asks_for(flags, PyBUF_STRIDES)) {
      buffer->strides = view->strides.data();
    }
    buffer->internal = view.release();
    buffer->obj = Py_NewRef(object);
    return 0;
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::bad_alloc& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_BufferError, error.what());
  }
  return -1;
}

void release_buffer(PyObject*, Py_buffer* buffer) noexcept {
  delete static_cast<BufferView*>(buffer->internal);
}

nb::dlpack::dtype dlpack_dtype(Dtype dtype) {
  using Code = nb::dlpack::dtype_code;
  const Code code = dtype == bool_             ? Code::Bool
                    : is_unsigned(dtype)       ? Code::UInt
                    : is_signed_integer(dtype) ? Code::Int
                    : dtype == bfloat16        ? Code::Bfloat
                    : is_complex(dtype)        ? Code::Complex
                                               : Code::Float;
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(8 * size_of(dtype)), 1};
}

nb::object to_dlpack(const array& a, const nb::kwargs& options) {
  auto held = std::make_unique<array>(evaluated_on_host(a));
  std::vector<size_t> shape(a.shape().begin(), a.shape().end());
  const Strides strides = held->layout().strides;
  void* data = held->data();
  nb::capsule owner(held.release(), [](void* p) noexcept { delete static_cast<array*>(p); });
  nb::ndarray<nb::array_api, nb::ro> view(
      data, shape.size(), shape.data(), owner, strides.data(), dlpack_dtype(a.dtype()));
  return nb::cast(view).attr("__dlpack__")(**options);
}

nb::object to_numpy(nb::handle self, const nb::object& dtype, const nb::object& copy) {
  const nb::module_ numpy = nb::module_::import_("numpy");
  nb::object view = nb::steal(PyMemoryView_FromObject(self.ptr()));
  if (!view.is_valid()) {
    throw nb::python_error();
  }
  nb::object result = numpy.attr("asarray")(view);
  if (!dtype.is_none() && !result.attr("dtype").equal(dtype)) {
    return result.attr("astype")(dtype);
  }
  const bool wanted = !copy.is_none() && nb::cast<bool>(copy);
  return wanted ? result.attr("copy")() : result;
}

nb::bytes to_bytes(const array& a) {
  const array row_major = evaluated_on_host(contiguous(a));
  return nb::bytes(row_major.data(), static_cast<size_t>(row_major.nbytes()));
}

void restore(array* self, const nb::bytes& bytes, const Shape& shape, Dtype dtype) {
  const int64_t size = checked_multiply("array", checked_size("array", shape), size_of(dtype));
  if (size != static_cast<int64_t>(bytes.size())) {
    fail<ValueError>("[array] pickled data has ", bytes.size(), " bytes, expected ", size, ".");
  }
  new (self) array(host_array(
      "array", shape, dtype, [&](std::byte* to) { std::memcpy(to, bytes.data(), bytes.size()); }));
}

array as_array(nb::handle object, std::optional<Dtype> dtype, std::optional<bool> copy) {
  const array* a = array_inside(object);
  if (copy.has_value() && !*copy && (!a || (dtype && *dtype != a->dtype()))) {
    fail<ValueError>("[asarray] this needs a copy, and copy=False forbids it.");
  }
  return to_array(object, dtype);
}

array from_dlpack(nb::handle object, std::optional<bool> copy) {
  if (!nb::hasattr(object, "__dlpack__")) {
    fail<TypeError>(
        "[from_dlpack] ", nb::type_name(object.type()).c_str(), " has no __dlpack__().");
  }
  return as_array(object, std::nullopt, copy);
}

} // namespace

PyType_Slot* buffer_slots() {
  static PyType_Slot slots[] = {
      {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
      {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
      {0, nullptr}};
  return slots;
}

namespace {

void bind_array_exchange(nb::module_& m) {
  ArrayClass c = array_class();
  c.def(
       "__array__",
       &to_numpy,
       "dtype"_a = nb::none(),
       "copy"_a = nb::none(),
       nb::sig("def __array__(self, dtype: object | None = None, copy: object | None = None) -> "
               "numpy.ndarray"))
      .def("__dlpack__", &to_dlpack, nb::sig("def __dlpack__(self, **options) -> typing.Any"))
      .def("__dlpack_device__", [](const array&) { return nb::make_tuple(1, 0); })
      .def(
          "__array_namespace__",
          [](const array&, const nb::object& version) {
            if (!version.is_none()) {
              fail<ValueError>("[array] no version of the array API can be asked for.");
            }
            return nb::module_::import_("narrows.core");
          },
          "api_version"_a = nb::none())
      .def("__bytes__", &to_bytes)
      .def(
          "__getstate__",
          [](const array& a) { return nb::make_tuple(to_bytes(a), a.shape(), a.dtype()); })
      .def("__setstate__", [](array* self, const nb::tuple& state) {
        restore(
            self,
            nb::cast<nb::bytes>(state[0]),
            nb::cast<Shape>(state[1]),
            nb::cast<Dtype>(state[2]));
      });
  define<"asarray(a: Any, dtype: Dtype | None = None, *, copy: bool | None = None) -> array">(
      m,
      [](ScalarOrArray a, std::optional<Dtype> dtype, std::optional<bool> copy) {
        return as_array(a.object, dtype, copy);
      },
      R"(An array made of another object.

      Args:
        a: A number, nested lists of numbers, an array, a NumPy array, a buffer or a DLPack array.
        dtype: The dtype; None is the one that `array` chooses.
        copy: True: the result shares nothing with `a`. False: nothing may be copied. None: arrays
          are returned as they are.

      Returns:
        An array.

      Raises:
        ValueError: If `copy` is False and a copy is needed.

      Example:
        >>> mx.asarray([1, 2, 3], dtype=mx.float16)
        array([1, 2, 3], dtype=float16)
      )");
  define<"from_dlpack(x: Any, /, *, copy: bool | None = None) -> array">(
      m,
      [](ScalarOrArray x, std::optional<bool> copy) { return from_dlpack(x.object, copy); },
      R"(A copy of an array of another library, by way of DLPack.

      Args:
        x: An object with a method __dlpack__().
        copy: True or None.

      Returns:
        An array.

      Raises:
        TypeError: If `x` has no such method.
        ValueError: If `copy` is False.

      Example:
        >>> mx.from_dlpack(mx.array([1, 2, 3]))
        array([1, 2, 3], dtype=int32)
      )");
}

const Binding binding{&bind_array_exchange};

} // namespace
} // namespace narrows::python
