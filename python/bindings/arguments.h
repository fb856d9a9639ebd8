// Type casters: Python arguments as dtypes, shapes, axes, streams and operands.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <variant>

#include "narrows/core/dtype.h"
#include "narrows/core/shape.h"
#include "narrows/ops/common.h"

namespace narrows::python {

namespace nb = nanobind;

// Objects of the Python class of dtypes contain this.
struct DtypeObject {
  Dtype dtype;
};

// The Python object of this dtype. There is only one. (Borrowed.)
nb::handle dtype_object(Dtype dtype);

// Stands for a stream of the calling thread: every thread that uses it gets its own stream.
struct ThreadLocalStream {
  Device device;
  int id;
  Stream stream() const;
};

// A `stream=` argument. It is resolved within the call, where errors can be raised.
struct StreamArg {
  std::variant<std::monostate, Stream, Device, ThreadLocalStream> where;
  operator StreamOrDevice() const;
};

// A number or an array-like. It is converted within the call, because that depends on the other
// operands.
struct ScalarOrArray {
  nb::handle object;
};

// A shape given as an integer or a sequence of integers.
struct ShapeOrInt {
  Shape shape;
};

// Axes given as None, an integer, or a sequence of integers.
struct AxesArg {
  enum class Kind : uint8_t { none, integer, sequence };
  Kind kind = Kind::none;
  Axes axes;

  std::optional<Axes> optional() const {
    return kind == Kind::none ? std::nullopt : std::optional<Axes>(axes);
  }
};

namespace detail {

// Reads an integer of Python or NumPy. False, without a Python error, if the object is no integer
// or too large.
template <typename T>
bool read_integer(PyObject* object, T& result) noexcept {
  if (PyBool_Check(object) || PyFloat_Check(object) || !PyIndex_Check(object)) {
    return false;
  }
  const Py_ssize_t value = PyNumber_AsSsize_t(object, PyExc_OverflowError);
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    return false;
  }
  result = static_cast<T>(value);
  return static_cast<Py_ssize_t>(result) == value;
}

// Reads a sequence (not a string) of integers.
template <typename Container>
bool read_integers(PyObject* object, Container& result) noexcept {
  using T = std::remove_reference_t<decltype(result[0])>;
  if (!PySequence_Check(object) || PyUnicode_Check(object) || PyBytes_Check(object)) {
    return false;
  }
  PyObject* items = PySequence_Fast(object, "");
  if (!items) {
    PyErr_Clear();
    return false;
  }
  bool good = true;
  result.clear();
  for (Py_ssize_t i = 0; good && i < PySequence_Fast_GET_SIZE(items); ++i) {
    T value{};
    good = read_integer(PySequence_Fast_GET_ITEM(items, i), value);
    result.push_back(value);
  }
  Py_DECREF(items);
  return good;
}

// OverflowError if the object is an integer that int64 cannot hold, or contains one.
void refuse_too_large(PyObject* object);

} // namespace detail
} // namespace narrows::python

namespace nanobind::detail {

template <>
struct type_caster<narrows::Dtype> {
  NB_TYPE_CASTER(narrows::Dtype, const_name("Dtype"))

  bool from_python(handle source, uint32_t, cleanup_list*) noexcept {
    narrows::python::DtypeObject* object = nullptr;
    if (source.is_none() || !try_cast(source, object, false)) {
      return false;
    }
    value = object->dtype;
    return true;
  }
  static handle from_cpp(narrows::Dtype dtype, rv_policy, cleanup_list*) noexcept {
    return narrows::python::dtype_object(dtype).inc_ref();
  }
};

// Shapes and strides: SmallVector<int64_t, 4>. Integers that are too large raise at once.
template <>
struct type_caster<narrows::Shape> {
  NB_TYPE_CASTER(narrows::Shape, const_name("collections.abc.Sequence[int]"))

  bool from_python(handle source, uint32_t, cleanup_list*) {
    if (narrows::python::detail::read_integers(source.ptr(), value)) {
      return true;
    }
    narrows::python::detail::refuse_too_large(source.ptr());
    return false;
  }
  static handle from_cpp(const narrows::Shape& shape, rv_policy, cleanup_list*) noexcept {
    PyObject* result = PyTuple_New(static_cast<Py_ssize_t>(shape.size()));
    for (size_t i = 0; result && i < shape.size(); ++i) {
      PyTuple_SET_ITEM(result, static_cast<Py_ssize_t>(i), PyLong_FromLongLong(shape[i]));
    }
    return result;
  }
};

// nanobind's own caster lets no exception through.
template <>
struct type_caster<std::optional<narrows::Shape>> {
  NB_TYPE_CASTER(std::optional<narrows::Shape>, const_name("collections.abc.Sequence[int] | None"))

  bool from_python(handle source, uint32_t flags, cleanup_list* cleanup) {
    if (source.is_none()) {
      value.reset();
      return true;
    }
    make_caster<narrows::Shape> caster;
    if (!caster.from_python(source, flags, cleanup)) {
      return false;
    }
    value.emplace(caster.operator narrows::Shape&());
    return true;
  }
};

template <>
struct type_caster<narrows::Axes> {
  NB_TYPE_CASTER(narrows::Axes, const_name("collections.abc.Sequence[int]"))

  bool from_python(handle source, uint32_t, cleanup_list*) noexcept {
    return narrows::python::detail::read_integers(source.ptr(), value);
  }
};

template <>
struct type_caster<narrows::python::ShapeOrInt> {
  NB_TYPE_CASTER(narrows::python::ShapeOrInt, const_name("int | collections.abc.Sequence[int]"))

  bool from_python(handle source, uint32_t, cleanup_list*) {
    int64_t size = 0;
    if (narrows::python::detail::read_integer(source.ptr(), size)) {
      value.shape = narrows::Shape{size};
      return true;
    }
    if (narrows::python::detail::read_integers(source.ptr(), value.shape)) {
      return true;
    }
    narrows::python::detail::refuse_too_large(source.ptr());
    return false;
  }
};

template <>
struct type_caster<narrows::python::AxesArg> {
  using AxesArg = narrows::python::AxesArg;
  NB_TYPE_CASTER(AxesArg, const_name("int | collections.abc.Sequence[int]"))

  bool from_python(handle source, uint32_t, cleanup_list*) noexcept {
    int axis = 0;
    if (source.is_none()) {
      value.kind = AxesArg::Kind::none;
      return true;
    }
    if (narrows::python::detail::read_integer(source.ptr(), axis)) {
      value.kind = AxesArg::Kind::integer;
      value.axes = narrows::Axes{axis};
      return true;
    }
    value.kind = AxesArg::Kind::sequence;
    return narrows::python::detail::read_integers(source.ptr(), value.axes);
  }
};

template <>
struct type_caster<narrows::python::ScalarOrArray> {
  NB_TYPE_CASTER(
      narrows::python::ScalarOrArray,
      const_name("bool | int | float | complex | array | ArrayLike"))

  bool from_python(handle source, uint32_t, cleanup_list*) noexcept {
    value.object = source;
    return !source.is_none();
  }
};

template <>
struct type_caster<narrows::python::StreamArg> {
  using StreamArg = narrows::python::StreamArg;
  NB_TYPE_CASTER(StreamArg, const_name("Stream | ThreadLocalStream | Device | DeviceType"))

  bool from_python(handle source, uint32_t, cleanup_list*) noexcept {
    if (source.is_none()) {
      value.where = std::monostate{};
      return true;
    }
    return read<narrows::Stream>(source) || read<narrows::Device>(source) ||
           read<narrows::python::ThreadLocalStream>(source) || read_type(source);
  }

 private:
  template <typename T>
  bool read(handle source) noexcept {
    T* object = nullptr;
    if (!try_cast(source, object, false)) {
      return false;
    }
    value.where = *object;
    return true;
  }
  bool read_type(handle source) noexcept {
    narrows::Device::Type type{};
    if (!try_cast(source, type, false)) {
      return false;
    }
    value.where = narrows::Device{type, 0};
    return true;
  }
};

} // namespace nanobind::detail
