#include "bindings/convert.h"

#include <cstring>
#include <map>

#include "bindings/foreign_view.h"
#include "narrows/core/dispatch.h"
#include "narrows/ops/elementwise.h"

namespace narrows::python {
namespace {

PyTypeObject* array_type = nullptr;

std::string type_of(nb::handle object) {
  return nb::type_name(object.type()).c_str();
}

// The array that an object with this method returns.
constexpr const char* kArrayMethod = "__mlx_array__";

array from_array_method(nb::handle object, const nb::object& method) {
  const nb::object made = method();
  if (const array* a = array_inside(made)) {
    return *a;
  }
  fail<TypeError>(
      "[array] ",
      kArrayMethod,
      "() of ",
      type_of(object),
      " returned ",
      type_of(made),
      ", expected an array.");
}

// Whether numbers of the dtype `value` keep their category when they become `beside`.
bool category_fits(Dtype value, Dtype beside) {
  return value == bool_ || (is_integer(value) && beside != bool_) ||
         (is_floating(value) && is_inexact(beside)) || beside == complex64;
}

array number_beside(const char* op, PyObject* number, Dtype dtype) {
  if (PyFloat_Check(number)) {
    dtype = at_least_float(dtype);
  } else if (PyComplex_Check(number)) {
    dtype = complex64;
  } else if (dtype == bool_ && !PyBool_Check(number)) {
    dtype = smallest_integer_dtype(read_int64(op, number));
  }
  return array(number_scalar(op, number, dtype));
}

array from_number(PyObject* number, std::optional<Dtype> dtype) {
  return array(number_scalar("array", number, dtype ? *dtype : number_dtype(number)));
}

} // namespace

const array* array_inside(nb::handle object) noexcept {
  PyTypeObject* type = Py_TYPE(object.ptr());
  const bool is_array = type == array_type || PyType_IsSubtype(type, array_type);
  // Objects that were made by __new__() alone contain no array.
  return is_array && nb::inst_ready(object) ? nb::inst_ptr<array>(object) : nullptr;
}

void set_array_class(nb::handle array_class) {
  array_type = reinterpret_cast<PyTypeObject*>(array_class.ptr());
}

bool is_operand(nb::handle object) {
  return array_inside(object) || is_python_number(object.ptr()) || is_foreign(object) ||
         optional_attribute(object, kArrayMethod).is_valid();
}

array to_array(nb::handle object, std::optional<Dtype> dtype) {
  PyObject* p = object.ptr();
  if (is_python_number(p)) {
    return from_number(p, dtype);
  }
  if (PyList_Check(p) || PyTuple_Check(p)) {
    return from_list(object, dtype);
  }
  if (const array* inside = array_inside(object)) {
    return dtype ? astype(*inside, *dtype) : *inside;
  }
  if (PyObject_CheckBuffer(p)) { // usually an array of NumPy
    return from_foreign(object, dtype);
  }
  if (const nb::object method = optional_attribute(object, kArrayMethod); method.is_valid()) {
    const array made = from_array_method(object, method);
    return dtype ? astype(made, *dtype) : made;
  }
  if (is_foreign(object)) {
    return from_foreign(object, dtype);
  }
  if (object.is_none()) {
    fail<TypeError>("[array] got None, expected a number, a list, an array or a buffer.");
  }
  fail<ValueError>(
      "[array] got ", type_of(object), ", expected a number, a list, an array or a buffer.");
}

array to_operand(const char* op, nb::handle object) {
  if (const array* a = array_inside(object)) {
    return *a;
  }
  if (!is_operand(object)) {
    fail<ValueError>("[", op, "] got ", type_of(object), ", expected a number or an array.");
  }
  return to_array(object);
}

array to_operand_beside(const char* op, nb::handle object, Dtype dtype) {
  if (const array* a = array_inside(object)) {
    return *a;
  }
  if (is_python_number(object.ptr())) {
    return number_beside(op, object.ptr(), dtype);
  }
  const array value = to_operand(op, object);
  if (!is_foreign(object) || !category_fits(value.dtype(), dtype)) {
    return value;
  }
  // Integers of other libraries are numbers, and must fit.
  return value.ndim() == 0 && is_integer(value.dtype())
             ? number_beside(op, to_python_number(value).ptr(), dtype)
             : astype(value, dtype);
}

std::pair<array, array> to_operands(const char* op, nb::handle a, nb::handle b) {
  if (const array* x = array_inside(a)) {
    return {*x, to_operand_beside(op, b, x->dtype())};
  }
  if (const array* y = array_inside(b)) {
    return {to_operand_beside(op, a, y->dtype()), *y};
  }
  return {to_operand(op, a), to_operand(op, b)};
}

nb::object element_to_python(const void* element, Dtype dtype) {
  return dispatch(dtype, [&](auto tag) -> nb::object {
    using T = typename decltype(tag)::type;
    T value;
    std::memcpy(static_cast<void*>(&value), element, sizeof(T));
    PyObject* result = nullptr;
    if constexpr (std::is_same_v<T, bool>) {
      result = PyBool_FromLong(value);
    } else if constexpr (std::is_same_v<T, uint64_t>) {
      result = PyLong_FromUnsignedLongLong(value);
    } else if constexpr (std::is_integral_v<T>) {
      result = PyLong_FromLongLong(value);
    } else if constexpr (std::is_same_v<T, complex64_t>) {
      result = PyComplex_FromDoubles(value.real(), value.imag());
    } else if constexpr (std::is_same_v<T, double>) {
      result = PyFloat_FromDouble(value);
    } else {
      result = PyFloat_FromDouble(static_cast<float>(value));
    }
    if (!result) {
      throw nb::python_error();
    }
    return nb::steal(result);
  });
}

nb::object to_python_number(const array& a) {
  if (a.size() != 1) {
    fail<ValueError>(
        "[item] array of shape ", to_string(a.shape()), ", expected exactly one element.");
  }
  return element_to_python(evaluated_on_host(a).data(), a.dtype());
}

namespace {

nb::object list_of(const array& a, const std::byte* data, int axis) {
  if (axis == a.ndim()) {
    return element_to_python(data, a.dtype());
  }
  const int64_t count = a.shape()[static_cast<size_t>(axis)];
  const int64_t step = a.layout().strides[static_cast<size_t>(axis)] * a.itemsize();
  nb::object list = nb::steal(PyList_New(count));
  if (!list.is_valid()) {
    throw nb::python_error();
  }
  for (int64_t i = 0; i < count; ++i) {
    PyList_SET_ITEM(list.ptr(), i, list_of(a, data + i * step, axis + 1).release().ptr());
  }
  return list;
}

} // namespace

nb::object to_list(const array& a) {
  const array held = evaluated_on_host(a);
  return list_of(held, held.data<std::byte>(), 0);
}

} // namespace narrows::python
