#include "narrows/ops/creation.h"

#include <nanobind/stl/optional.h>

#include <cmath>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/convert_parts.h"
#include "bindings/define.h"
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

// A single number is passed to the operation without making an array.
array fill_with(const Shape& shape, ScalarOrArray value, OptionalDtype dtype, const StreamArg& s) {
  PyObject* p = value.object.ptr();
  if (is_python_number(p)) {
    return full(shape, number_scalar("full", p, dtype ? *dtype : number_dtype(p)), s);
  }
  const array values = to_operand("full", value.object);
  return full(shape, values, dtype.value_or(values.dtype()), s);
}

// A bound of arange(). It is an integer if all bounds are integers.
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
  define<
      "zeros(shape: int | Sequence[int], dtype: Dtype | None = float32, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      &make_zeros,
      R"(An array of zeros.

      Args:
        shape: The shape; an integer is one dimension.
        dtype: The dtype; None is float32.

      Returns:
        An array of that shape.

      Raises:
        ValueError: If a dimension is negative.

      Example:
        >>> mx.zeros((2, 2), mx.int32)
        array([[0, 0],
               [0, 0]], dtype=int32)
      )");
  define<
      "ones(shape: int | Sequence[int], dtype: Dtype | None = float32, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      &make_ones,
      R"(An array of ones.

      Args:
        shape: The shape; an integer is one dimension.
        dtype: The dtype; None is float32.

      Returns:
        An array of that shape.

      Raises:
        ValueError: If a dimension is negative.

      Example:
        >>> mx.ones(3)
        array([1, 1, 1], dtype=float32)
      )");
  define<
      "empty(shape: int | Sequence[int], dtype: Dtype | None = float32, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      &make_zeros,
      R"(An array whose values do not matter: zeros.

      Args:
        shape: The shape; an integer is one dimension.
        dtype: The dtype; None is float32.

      Returns:
        An array of that shape.

      Raises:
        ValueError: If a dimension is negative.

      Example:
        >>> mx.empty((2, 3)).shape
        (2, 3)
      )");
  define<
      "full(shape: int | Sequence[int], vals: scalar | array | ArrayLike, "
      "dtype: Dtype | None = None, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const ShapeOrInt& shape, ScalarOrArray vals, OptionalDtype dtype, const StreamArg& s) {
        return fill_with(shape.shape, vals, dtype, s);
      },
      R"(An array with given elements, broadcast.

      Args:
        shape: The shape; an integer is one dimension.
        vals: A number, or an array that broadcasts to the shape.
        dtype: The dtype; None is that of `vals`.

      Returns:
        An array of that shape.

      Raises:
        ValueError: If `vals` does not broadcast, or a dimension is negative.

      Example:
        >>> mx.full((2, 2), 7)
        array([[7, 7],
               [7, 7]], dtype=int32)
      )");
}

void bind_likes(nb::module_& m) {
  define<
      "zeros_like(a: array, /, dtype: Dtype | None = None, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, OptionalDtype dtype, const StreamArg& s) {
        return zeros(a.shape(), dtype.value_or(a.dtype()), s);
      },
      R"(An array of zeros with the shape of another.

      Args:
        a: The array with the shape.
        dtype: The dtype; None is that of `a`.

      Returns:
        An array of zeros.

      Example:
        >>> mx.zeros_like(mx.array([1, 2, 3]))
        array([0, 0, 0], dtype=int32)
      )");
  m.attr("empty_like") = m.attr("zeros_like");
  define<
      "ones_like(a: array, /, dtype: Dtype | None = None, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, OptionalDtype dtype, const StreamArg& s) {
        return ones(a.shape(), dtype.value_or(a.dtype()), s);
      },
      R"(An array of ones with the shape of another.

      Args:
        a: The array with the shape.
        dtype: The dtype; None is that of `a`.

      Returns:
        An array of ones.

      Example:
        >>> mx.ones_like(mx.array([1, 2, 3]), mx.float16)
        array([1, 1, 1], dtype=float16)
      )");
  define<
      "full_like(a: array, vals: scalar | array | ArrayLike, dtype: Dtype | None = None, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, ScalarOrArray vals, OptionalDtype dtype, const StreamArg& s) {
        return fill_with(a.shape(), vals, dtype.value_or(a.dtype()), s);
      },
      R"(An array with given elements and the shape of another.

      Args:
        a: The array with the shape.
        vals: A number, or an array that broadcasts to the shape.
        dtype: The dtype; None is that of `a`.

      Returns:
        An array with these elements.

      Raises:
        ValueError: If `vals` does not broadcast.

      Example:
        >>> mx.full_like(mx.array([1, 2, 3]), 9)
        array([9, 9, 9], dtype=int32)
      )");
}

void bind_sequences(nb::module_& m) {
  define<
      "arange(start: int | float, stop: int | float | None, step: int | float | None = None, "
      "dtype: Dtype | None = None, *, stream: StreamOrDevice = None) -> array">(
      m,
      &make_arange,
      R"(start, start + step, ... up to, but without, `stop`.

      Args:
        start: The first number. With one argument it is 0, and the argument is `stop`.
        stop: The bound: numbers are below it, or above it for a negative step.
        step: The difference of neighbours; None is 1. An infinite one gives `start` alone.
        dtype: Any dtype of numbers. None: int32, or int64 for large bounds, if all are integers,
          else float32.

      Returns:
        One dimension, with max(0, ceil((stop - start) / step)) elements.

      Raises:
        ValueError: If `step` is zero or a bound is not finite.
        TypeError: If a bound is not a number.

      Example:
        >>> mx.arange(2, 9, 3)
        array([2, 5, 8], dtype=int32)
        >>> mx.arange(3)
        array([0, 1, 2], dtype=int32)
      )");
  define<
      "arange(stop: int | float, step: int | float | None = None, dtype: Dtype | None = None, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](nb::handle stop, nb::handle step, OptionalDtype dtype, const StreamArg& s) {
        return make_arange(stop, nb::none(), step, dtype, s);
      },
      "");
  define<
      "linspace(start: scalar, stop: scalar, num: int | None = 50, endpoint: bool = True, "
      "dtype: Dtype | None = float32, stream: StreamOrDevice = None) -> array">(
      m,
      [](nb::handle start,
         nb::handle stop,
         std::optional<int64_t> num,
         bool endpoint,
         OptionalDtype dtype,
         const StreamArg& s) {
        return linspace(
            read_number(start, "start"),
            read_number(stop, "stop"),
            num.value_or(50),
            endpoint,
            dtype.value_or(float32),
            s);
      },
      R"(Evenly spaced numbers.

      Args:
        start: The first number.
        stop: The end of the interval.
        num: How many numbers; None is 50.
        endpoint: Whether `stop` is the last number. If not, the interval is cut into `num` parts,
          and each part's beginning is a number.
        dtype: The dtype; None is float32.

      Returns:
        Shape (num,).

      Raises:
        ValueError: If `num` is negative.

      Example:
        >>> mx.linspace(0, 1, 5)
        array([0, 0.25, 0.5, 0.75, 1], dtype=float32)
      )");
}

void bind_matrices(nb::module_& m) {
  define<
      "eye(n: int, m: int | None = None, k: int = 0, dtype: Dtype | None = float32, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](int64_t n,
         std::optional<int64_t> columns,
         int k,
         OptionalDtype dtype,
         const StreamArg& s) { return eye(n, columns.value_or(n), k, dtype.value_or(float32), s); },
      R"(Ones on a diagonal, zeros elsewhere.

      Args:
        n: How many rows.
        m: How many columns; None is `n`.
        k: Which diagonal: 0 is the main one, positive numbers are above it.
        dtype: The dtype; None is float32.

      Returns:
        Shape (n, m).

      Raises:
        ValueError: If a size is negative.

      Example:
        >>> mx.eye(2, 3, 1, mx.int32)
        array([[0, 1, 0],
               [0, 0, 1]], dtype=int32)
      )");
  define<
      "identity(n: int, dtype: Dtype | None = float32, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](int64_t n, OptionalDtype dtype, const StreamArg& s) {
        return eye(n, n, 0, dtype.value_or(float32), s);
      },
      R"(The identity matrix.

      Args:
        n: How many rows and columns.
        dtype: The dtype; None is float32.

      Returns:
        Shape (n, n).

      Raises:
        ValueError: If `n` is negative.

      Example:
        >>> mx.identity(2)
        array([[1, 0],
               [0, 1]], dtype=float32)
      )");
  define<
      "tri(n: int, m: int | None = None, k: int = 0, dtype: Dtype | None = None, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](int64_t n,
         std::optional<int64_t> columns,
         int k,
         OptionalDtype dtype,
         const StreamArg& s) { return tri(n, columns.value_or(n), k, dtype.value_or(float32), s); },
      R"(Ones on and below a diagonal, zeros above it.

      Args:
        n: How many rows.
        m: How many columns; None is `n`.
        k: Which diagonal: 0 is the main one, positive numbers are above it.
        dtype: The dtype; None is float32.

      Returns:
        Shape (n, m).

      Raises:
        ValueError: If a size is negative.

      Example:
        >>> mx.tri(3, dtype=mx.int32)
        array([[1, 0, 0],
               [1, 1, 0],
               [1, 1, 1]], dtype=int32)
      )");
  define<"tril(x: array, k: int = 0, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x, int k, const StreamArg& s) { return tril(x, k, s); },
      R"(The lower triangle of matrices: zeros above a diagonal.

      Args:
        x: Shape (..., m, n).
        k: Which diagonal: 0 is the main one, positive numbers are above it.

      Returns:
        The shape and the dtype of `x`.

      Raises:
        ValueError: If there are fewer than two dimensions.

      Example:
        >>> mx.tril(mx.array([[1, 2], [3, 4]]))
        array([[1, 0],
               [3, 4]], dtype=int32)
      )");
  define<"triu(x: array, k: int = 0, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& x, int k, const StreamArg& s) { return triu(x, k, s); },
      R"(The upper triangle of matrices: zeros below a diagonal.

      Args:
        x: Shape (..., m, n).
        k: Which diagonal: 0 is the main one, positive numbers are above it.

      Returns:
        The shape and the dtype of `x`.

      Raises:
        ValueError: If there are fewer than two dimensions.

      Example:
        >>> mx.triu(mx.array([[1, 2], [3, 4]]))
        array([[1, 2],
               [0, 4]], dtype=int32)
      )");
}

void bind_creation(nb::module_& m) {
  bind_fills(m);
  bind_likes(m);
  bind_sequences(m);
  bind_matrices(m);
}

const Binding binding{&bind_creation};

} // namespace
} // namespace narrows::python
