#include "narrows/ops/creation.h"

#include <nanobind/stl/optional.h>

#include <cmath>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/convert_parts.h"
#include "narrows/ops/elementwise.h"

namespace narrows::python {
namespace {

using OptionalDtype = std::optional<Dtype>;

array make_zeros(const ShapeOrInt& shape, OptionalDtype dtype, const StreamArg& s) {
  return zeros(shape.shape, dtype.value_or(float32), s);
}

array make_ones(const ShapeOrInt& shape, OptionalDtype dtype, const StreamArg& s) {
  return ones(shape.shape, dtype.value_or(float32), s);
}

// A single number needs no array: the fill carries it.
array fill_with(const Shape& shape, ScalarOrArray value, OptionalDtype dtype, const StreamArg& s) {
  PyObject* p = value.object.ptr();
  if (is_python_number(p)) {
    return full(shape, number_scalar("full", p, dtype ? *dtype : number_dtype(p)), s);
  }
  const array values = to_operand("full", value.object);
  return full(shape, values, dtype.value_or(values.dtype()), s);
}

// A bound of arange(): an integer if all bounds are.
struct Bound {
  bool integer = true;
  int64_t i = 0;
  double f = 0;
};

Bound read_bound(nb::handle object, const char* which) {
  Bound bound;
  PyObject* p = object.ptr();
  if (PyBool_Check(p)) {
    fail<ValueError>("[arange] ", which, " is a bool, expected an int or a float.");
  }
  if (PyFloat_Check(p)) {
    bound.integer = false;
    bound.f = PyFloat_AS_DOUBLE(p);
  } else if (PyLong_Check(p)) {
    bound.i = read_int64("arange", p);
    bound.f = static_cast<double>(bound.i);
  } else if (nb::object i; PyIndex_Check(p) && !array_inside(object) &&
                           (i = nb::steal(PyNumber_Index(p))).is_valid()) {
    return read_bound(i, which);
  } else {
    PyErr_Clear();
    fail<TypeError>(
        "[arange] ",
        which,
        " is of type ",
        nb::type_name(object.type()).c_str(),
        ", expected an int or a float.");
  }
  return bound;
}

array make_arange(
    nb::handle first,
    nb::handle second,
    nb::handle third,
    OptionalDtype dtype,
    const StreamArg& s) {
  const bool one = second.is_none();
  const Bound start = one ? Bound{} : read_bound(first, "start");
  const Bound stop = read_bound(one ? first : second, "stop");
  const Bound step = third.is_none() ? Bound{true, 1, 1.0} : read_bound(third, "step");
  if (start.integer && stop.integer && step.integer) {
    const bool small = smallest_integer_dtype(start.i) == int32 &&
                       smallest_integer_dtype(stop.i) == int32 &&
                       smallest_integer_dtype(step.i) == int32;
    return arange(start.i, stop.i, step.i, dtype.value_or(small ? int32 : int64), s);
  }
  return arange(start.f, stop.f, step.f, dtype.value_or(float32), s);
}

double read_number(nb::handle object, const char* which) {
  const array* a = array_inside(object);
  double value = 0;
  if (!nb::try_cast(a ? to_python_number(*a) : nb::borrow(object), value)) {
    fail<TypeError>(
        "[linspace] ",
        which,
        " is of type ",
        nb::type_name(object.type()).c_str(),
        ", expected a number.");
  }
  return value;
}

void bind_fills(nb::module_& m) {
  m.def(
      "zeros",
      &make_zeros,
      "shape"_a,
      "dtype"_a.none() = float32,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "An array of zeros.");
  m.def(
      "ones",
      &make_ones,
      "shape"_a,
      "dtype"_a.none() = float32,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "An array of ones.");
  m.def(
      "empty",
      &make_zeros,
      "shape"_a,
      "dtype"_a.none() = float32,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "An array whose values do not matter: zeros.");
  m.def(
      "full",
      [](const ShapeOrInt& shape, ScalarOrArray vals, OptionalDtype dtype, const StreamArg& s) {
        return fill_with(shape.shape, vals, dtype, s);
      },
      "shape"_a,
      "vals"_a,
      "dtype"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "An array of `shape` with the elements of `vals`, broadcast; of the dtype of `vals` if none "
      "is given. ValueError if `vals` does not broadcast.");
  m.def(
      "zeros_like",
      [](const array& a, OptionalDtype dtype, const StreamArg& s) {
        return zeros(a.shape(), dtype.value_or(a.dtype()), s);
      },
      "a"_a,
      "dtype"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Zeros with the shape and, if none is given, the dtype of `a`.");
  m.attr("empty_like") = m.attr("zeros_like");
  m.def(
      "ones_like",
      [](const array& a, OptionalDtype dtype, const StreamArg& s) {
        return ones(a.shape(), dtype.value_or(a.dtype()), s);
      },
      "a"_a,
      "dtype"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Ones with the shape and, if none is given, the dtype of `a`.");
  m.def(
      "full_like",
      [](const array& a, ScalarOrArray vals, OptionalDtype dtype, const StreamArg& s) {
        return fill_with(a.shape(), vals, dtype.value_or(a.dtype()), s);
      },
      "a"_a,
      "vals"_a,
      "dtype"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "`vals`, broadcast, with the shape and, if none is given, the dtype of `a`.");
}

void bind_sequences(nb::module_& m) {
  m.def(
      "arange",
      [](nb::handle start,
         nb::handle stop,
         nb::handle step,
         OptionalDtype dtype,
         const StreamArg& s) { return make_arange(start, stop, step, dtype, s); },
      "start"_a,
      "stop"_a.none() = nb::none(),
      "step"_a.none() = nb::none(),
      "dtype"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      nb::sig("def arange(start: int | float, stop: int | float | None = None, step: int | float | "
              "None = None, dtype: Dtype | None = None, *, stream: Stream | ThreadLocalStream | "
              "Device | DeviceType | None = None) -> array"),
      "start, start + step, ... below stop (above it for a negative step). With one argument, "
      "from 0 up to it. int32 (int64 for large bounds) if all are integers, else float32. "
      "ValueError if `step` is zero or a bound not finite.");
  m.def(
      "arange",
      [](nb::handle stop, nb::handle step, OptionalDtype dtype, const StreamArg& s) {
        return make_arange(stop, nb::none(), step, dtype, s);
      },
      nb::kw_only(),
      "stop"_a,
      "step"_a.none() = nb::none(),
      "dtype"_a = nb::none(),
      "stream"_a = nb::none(),
      nb::sig("def arange(*, stop: int | float, step: int | float | None = None, dtype: Dtype | "
              "None = None, stream: Stream | ThreadLocalStream | Device | DeviceType | None = "
              "None) -> array"));
  m.def(
      "linspace",
      [](nb::handle start,
         nb::handle stop,
         int64_t num,
         bool endpoint,
         OptionalDtype dtype,
         const StreamArg& s) {
        return linspace(
            read_number(start, "start"),
            read_number(stop, "stop"),
            num,
            endpoint,
            dtype.value_or(float32),
            s);
      },
      "start"_a,
      "stop"_a,
      "num"_a = 50,
      "endpoint"_a = true,
      "dtype"_a.none() = float32,
      "stream"_a = nb::none(),
      "`num` numbers, evenly spaced from `start` to `stop`, which is the last if `endpoint`. "
      "ValueError if `num` is negative.");
}

void bind_matrices(nb::module_& m) {
  m.def(
      "eye",
      [](int64_t n,
         std::optional<int64_t> columns,
         int k,
         OptionalDtype dtype,
         const StreamArg& s) { return eye(n, columns.value_or(n), k, dtype.value_or(float32), s); },
      "n"_a,
      "m"_a = nb::none(),
      "k"_a = 0,
      "dtype"_a.none() = float32,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Shape (n, m), or (n, n): ones on the `k`-th diagonal, zeros elsewhere.");
  m.def(
      "identity",
      [](int64_t n, OptionalDtype dtype, const StreamArg& s) {
        return eye(n, n, 0, dtype.value_or(float32), s);
      },
      "n"_a,
      "dtype"_a.none() = float32,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The (n, n) identity matrix.");
  m.def(
      "tri",
      [](int64_t n,
         std::optional<int64_t> columns,
         int k,
         OptionalDtype dtype,
         const StreamArg& s) { return tri(n, columns.value_or(n), k, dtype.value_or(float32), s); },
      "n"_a,
      "m"_a = nb::none(),
      "k"_a = 0,
      "dtype"_a = nb::none(),
      nb::kw_only(),
      "stream"_a = nb::none(),
      "Shape (n, m), or (n, n): ones on and below the `k`-th diagonal, zeros above.");
  m.def(
      "tril",
      [](const array& x, int k, const StreamArg& s) { return tril(x, k, s); },
      "x"_a,
      "k"_a = 0,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The last two dimensions with zeros above the `k`-th diagonal. ValueError if there are "
      "fewer.");
  m.def(
      "triu",
      [](const array& x, int k, const StreamArg& s) { return triu(x, k, s); },
      "x"_a,
      "k"_a = 0,
      nb::kw_only(),
      "stream"_a = nb::none(),
      "The last two dimensions with zeros below the `k`-th diagonal. ValueError if there are "
      "fewer.");
}

} // namespace

void bind_creation(nb::module_& m) {
  bind_fills(m);
  bind_sequences(m);
  bind_matrices(m);
}

} // namespace narrows::python
