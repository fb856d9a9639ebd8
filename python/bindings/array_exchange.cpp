#include "bindings/array_exchange.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/define.h"
#include "bindings/dlpack.h"
#include "bindings/foreign_view.h"
#include "narrows/ops/elementwise.h"
#include "narrows/ops/shape.h"
#include "narrows/walk/linearize.h"

namespace narrows::python {
namespace {

// What a Py_buffer points to, and the owner of the memory.
struct BufferView {
  explicit BufferView(const array& a) : value(a), memory(a.buffer()) {
    for (size_t i = 0; i < a.shape().size(); ++i) {
      shape.push_back(a.shape()[i]);
      strides.push_back(a.layout().strides[i] * a.itemsize());
    }
  }
  array value;
  BufferRef memory; // stays here if the array moves to another device
  std::vector<Py_ssize_t> shape;
  std::vector<Py_ssize_t> strides;
};

// The letters of the struct module. NumPy has none for bfloat16, and reports that itself.
const char* buffer_format(Dtype dtype) {
  static constexpr const char* kFormats[kDtypeCount] = {
      "?", "B", "H", "I", "Q", "b", "h", "i", "q", "e", "bfloat16", "f", "d", "Zf"};
  return kFormats[static_cast<size_t>(dtype)];
}

bool asks_for(int flags, int what) {
  return (flags & what) == what;
}

// Whether the consumer cannot walk strides. Column-major memory is refused with an error.
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

dlpack::Type dlpack_type(Dtype dtype) {
  const dlpack::Code code = dtype == bool_             ? dlpack::kBool
                            : is_unsigned(dtype)       ? dlpack::kUint
                            : is_signed_integer(dtype) ? dlpack::kInt
                            : dtype == bfloat16        ? dlpack::kBfloat
                            : is_complex(dtype)        ? dlpack::kComplex
                                                       : dlpack::kFloat;
  return {code, static_cast<uint8_t>(8 * size_of(dtype)), 1};
}

// A tensor for another library, and the owner of its memory. The consumer deletes it.
template <typename Managed>
struct ExportedTensor {
  explicit ExportedTensor(const array& a)
      : value(a), buffer(a.buffer()), shape(a.shape()), strides(a.layout().strides) {
    managed.context = this;
    managed.deleter = [](Managed* self) { delete static_cast<ExportedTensor*>(self->context); };
    managed.tensor = {
        a.data(),
        {dlpack::kCpu, 0},
        a.ndim(),
        dlpack_type(a.dtype()),
        shape.data(),
        strides.data(),
        0};
  }
  Managed managed{};
  array value;
  BufferRef buffer; // stays here if the array moves to another device
  Shape shape;
  Strides strides;
};

template <typename Managed>
void free_unused_capsule(PyObject* capsule) noexcept {
  if (PyCapsule_IsValid(capsule, Managed::kName)) {
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, Managed::kName));
    managed->deleter(managed);
  }
}

template <typename Managed>
nb::object dlpack_capsule(std::unique_ptr<ExportedTensor<Managed>> tensor) {
  nb::object capsule =
      nb::steal(PyCapsule_New(&tensor->managed, Managed::kName, &free_unused_capsule<Managed>));
  if (!capsule.is_valid()) {
    throw nb::python_error();
  }
  tensor.release();
  return capsule;
}

// The major version that the consumer knows; 0 if it gives none.
int64_t major_version(nb::handle version) {
  if (version.is_none()) {
    return 0;
  }
  if (!PyTuple_Check(version.ptr()) || PyTuple_GET_SIZE(version.ptr()) != 2) {
    fail<TypeError>("[__dlpack__] max_version is no pair of integers.");
  }
  return read_size(PyTuple_GET_ITEM(version.ptr(), 0), "max_version");
}

void require_cpu(nb::handle device) {
  if (device.is_none()) {
    return;
  }
  if (!PyTuple_Check(device.ptr()) || PyTuple_GET_SIZE(device.ptr()) != 2) {
    fail<TypeError>("[__dlpack__] dl_device is no pair of integers.");
  }
  if (read_size(PyTuple_GET_ITEM(device.ptr(), 0), "dl_device") != dlpack::kCpu) {
    throw nb::buffer_error("[__dlpack__] dl_device is another device than the CPU's (1, 0).");
  }
}

bool shares_buffer(const array& a, const array& b) {
  std::lock_guard lock(graph_mutex()); // another thread may move one of them to a device
  return a.buffer().get() == b.buffer().get();
}

// Memory that the host reads needs no stream, so `stream` may be anything.
nb::object to_dlpack(
    const array& a,
    nb::handle stream,
    nb::handle max_version,
    nb::handle dl_device,
    std::optional<bool> copy_wanted) {
  (void)stream;
  require_cpu(dl_device);
  const int64_t version = major_version(max_version);
  const bool is_copy = copy_wanted.value_or(false);
  const array held = evaluated_on_host(is_copy ? copy(a) : a);
  if (copy_wanted == false && !shares_buffer(a, held)) {
    throw nb::buffer_error("[__dlpack__] this needs a copy, and copy=False forbids it.");
  }
  if (version < dlpack::kMajorVersion) {
    return dlpack_capsule(std::make_unique<ExportedTensor<dlpack::Unversioned>>(held));
  }
  auto tensor = std::make_unique<ExportedTensor<dlpack::Versioned>>(held);
  tensor->managed.major = dlpack::kMajorVersion;
  tensor->managed.flags = is_copy ? dlpack::kCopied : dlpack::kReadOnly;
  return dlpack_capsule(std::move(tensor));
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

nb::object array_namespace(const array&, nb::handle version) {
  constexpr const char* kKnown[] = {"2021.12", "2022.12", "2023.12", "2024.12"};
  const std::string wanted = version.is_none() ? kKnown[3] : nb::str(version).c_str();
  if (std::ranges::find(kKnown, wanted) == std::end(kKnown)) {
    fail<ValueError>(
        "[array] version '", wanted, "' of the array API, expected one from 2021.12 to 2024.12.");
  }
  return nb::module_::import_("narrows.array_api");
}

array to_device(const array& a, const StreamArg& device, nb::handle stream) {
  if (!stream.is_none()) {
    fail<ValueError>("[to_device] a stream, expected None.");
  }
  const StreamOrDevice to = device;
  return to.stream().device == a.stream().device ? a : copy(a, to);
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
  new (self) array(host_array("array", shape, dtype, [&](std::byte* to) {
    std::memcpy(to, bytes.data(), bytes.size());
    if (dtype == bool_) { // a pickle may contain any byte
      std::transform(to, to + size, to, [](std::byte b) { return std::byte{b != std::byte{}}; });
    }
  }));
}

// Whether to_array() returns an array in the object's own memory.
bool is_shared(nb::handle object, std::optional<Dtype> dtype) {
  const array* a = array_inside(object);
  return a && (!dtype || *dtype == a->dtype());
}

array as_array(nb::handle object, std::optional<Dtype> dtype, std::optional<bool> copy_wanted) {
  const bool shared = is_shared(object, dtype);
  if (copy_wanted == false && !shared) {
    fail<ValueError>("[asarray] this needs a copy, and copy=False forbids it.");
  }
  const array made = to_array(object, dtype);
  return shared && copy_wanted == true ? copy(made) : made;
}

array from_dlpack_or_array(nb::handle object, std::optional<bool> copy_wanted) {
  if (array_inside(object)) {
    return as_array(object, std::nullopt, copy_wanted);
  }
  if (copy_wanted == false) {
    fail<ValueError>("[from_dlpack] this needs a copy, and copy=False forbids it.");
  }
  return from_dlpack(object);
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
      .def(
          "__dlpack__",
          &to_dlpack,
          nb::kw_only(),
          "stream"_a = nb::none(),
          "max_version"_a = nb::none(),
          "dl_device"_a = nb::none(),
          "copy"_a = nb::none(),
          nb::sig("def __dlpack__(self, *, stream: object | None = None, max_version: "
                  "tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: "
                  "bool | None = None) -> typing.Any"),
          dedented(R"(A DLPack capsule of the evaluated array, in the memory of the host.

          Args:
            stream: Ignored; nothing runs any more.
            max_version: The newest version that the consumer knows. Without one, version 0.
            dl_device: Where the consumer wants the memory: (1, 0), the CPU.
            copy: True for memory of its own, which may be written. False to forbid a copy. None
              to copy only where the host cannot read the array's memory.

          Raises:
            BufferError: For another device, or a copy that `copy` forbids.
          )")
              .c_str())
      .def("__dlpack_device__", [](const array&) { return nb::make_tuple(1, 0); })
      .def(
          "__array_namespace__",
          &array_namespace,
          "api_version"_a = nb::none(),
          nb::sig("def __array_namespace__(self, *, api_version: str | None = None) -> typing.Any"),
          dedented(R"(The functions of the Python array API standard: `narrows.array_api`.

          Args:
            api_version: A version of the standard. None: 2024.12.

          Raises:
            ValueError: For later versions, and what is none.
          )")
              .c_str())
      .def_prop_ro(
          "device",
          [](const array& a) { return a.stream().device; },
          "The Device that the array was recorded for.")
      .def("__bytes__", &to_bytes)
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
  define_method<"to_device(self, device: Device | DeviceType, /, *, stream: None = None) -> array">(
      c,
      &to_device,
      R"(The array on a device: a copy, or the array itself if it was recorded for it.

      Args:
        device: A device.
        stream: None.

      Returns:
        An array whose `device` is that one.

      Raises:
        ValueError: If the device is not there, or there is a stream.

      Example:
        >>> mx.array([1, 2]).to_device(mx.cpu).device
        Device(cpu, 0)
      )");
  define<"asarray(a: Any, dtype: Dtype | None = None, *, copy: bool | None = None) -> array">(
      m,
      [](ScalarOrArray a, std::optional<Dtype> dtype, std::optional<bool> copy) {
        return as_array(a.object, dtype, copy);
      },
      R"(An array made of another object.

      Args:
        a: A number, nested lists of numbers, an array, a NumPy array, a buffer or a DLPack array.
        dtype: The dtype; None is the one that `array` chooses.
        copy: True: the result has memory of its own. False: nothing may be copied. None: copied
          unless `a` is an array with this dtype already.

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
      [](ScalarOrArray x, std::optional<bool> copy) {
        return from_dlpack_or_array(x.object, copy);
      },
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
