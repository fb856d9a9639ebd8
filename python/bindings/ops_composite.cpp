#include "narrows/ops/composite.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

auto unary(const char* name, array (*apply)(const array&, StreamOrDevice)) {
  return [name, apply](ScalarOrArray a, const StreamArg& s) {
    return apply(to_operand(name, a.object), s);
  };
}

using Closeness = array (*)(const array&, const array&, double, double, bool, StreamOrDevice);

auto closeness(const char* name, Closeness apply) {
  return [name, apply](
             ScalarOrArray a,
             ScalarOrArray b,
             double rtol,
             double atol,
             bool equal_nan,
             const StreamArg& s) {
    const auto [x, y] = to_operands(name, a.object, b.object);
    return apply(x, y, rtol, atol, equal_nan, s);
  };
}

std::optional<array> optional_operand(const char* op, nb::handle object, Dtype dtype) {
  return object.is_none() ? std::nullopt
                          : std::optional<array>(to_operand_beside(op, object, dtype));
}

nb::list divide_with_rest(ScalarOrArray a, ScalarOrArray b, const StreamArg& s) {
  const auto [x, y] = to_operands("divmod", a.object, b.object);
  const auto [quotient, rest] = divmod(x, y, s);
  nb::list both;
  both.append(quotient);
  both.append(rest);
  return both;
}

void bind_rounding(nb::module_& m) {
  ArrayClass c = array_class();
  define<
      "round(a: scalar | array | ArrayLike, /, decimals: int = 0, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](ScalarOrArray a, int decimals, const StreamArg& s) {
        return round(to_operand("round", a.object), decimals, s);
      },
      R"(Rounded to a number of decimal digits, ties to even.

      Args:
        a: An array or a number.
        decimals: How many digits stay after the point; negative numbers count digits before it.

      Returns:
        The shape and the dtype of `a`.

      Example:
        >>> mx.round(mx.array([0.5, 1.5, 2.25]), 1)
        array([0.5, 1.5, 2.2], dtype=float32)
        >>> mx.round(mx.array([1234, 1567]), -2)
        array([1200, 1600], dtype=int32)
      )");
  define_method<"round(self, decimals: int = 0, *, stream: StreamOrDevice = None) -> array">(
      c,
      [](const array& a, int decimals, const StreamArg& s) { return round(a, decimals, s); },
      R"(Rounded to a number of decimal digits, ties to even.

      The same as the function `round()`, which says more.)");
  define<"trunc(a: scalar | array | ArrayLike, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      unary("trunc", trunc),
      R"(Rounded towards zero.

      Args:
        a: An array or a number.

      Returns:
        The shape and the dtype of `a`; integers are unchanged.

      Example:
        >>> mx.trunc(mx.array([1.7, -1.7]))
        array([1, -1], dtype=float32)
      )");
  define<"positive(a: scalar | array | ArrayLike, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      unary("positive", positive),
      R"(The array itself: +a.

      Args:
        a: An array or a number.

      Returns:
        The elements of `a`.

      Example:
        >>> mx.positive(mx.array([1, -2]))
        array([1, -2], dtype=int32)
      )");
  define<"degrees(a: scalar | array | ArrayLike, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      unary("degrees", degrees),
      R"(Angles in radians, as degrees.

      Args:
        a: An array or a number, in radians.

      Returns:
        The shape of `a`, in degrees; float32 for integers and bool.

      Example:
        >>> mx.degrees(mx.array([0.0, mx.pi]))
        array([0, 180], dtype=float32)
      )");
  define<"radians(a: scalar | array | ArrayLike, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      unary("radians", radians),
      R"(Angles in degrees, as radians.

      Args:
        a: An array or a number, in degrees.

      Returns:
        The shape of `a`, in radians; float32 for integers and bool.

      Example:
        >>> mx.radians(mx.array([0, 180]))
        array([0, 3.14159], dtype=float32)
      )");
}

void bind_bounds(nb::module_& m) {
  define<
      "clip(a: array, /, a_min: scalar | array | ArrayLike | None, "
      "a_max: scalar | array | ArrayLike | None, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, nb::handle a_min, nb::handle a_max, const StreamArg& s) {
        return clip(
            a,
            optional_operand("clip", a_min, a.dtype()),
            optional_operand("clip", a_max, a.dtype()),
            s);
      },
      R"(Elements brought between two bounds.

      Args:
        a: An array.
        a_min: What smaller elements become; None is no bound. Broadcasts.
        a_max: What larger elements become; None is no bound. Broadcasts.

      Returns:
        The broadcast shape, in the common dtype.

      Raises:
        ValueError: If both bounds are None.

      Example:
        >>> mx.clip(mx.array([-2, 3, 9]), 0, 5)
        array([0, 3, 5], dtype=int32)
      )");
  define<
      "nan_to_num(a: scalar | array | ArrayLike, nan: float = 0, posinf: float | None = None, "
      "neginf: float | None = None, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](ScalarOrArray a,
         double nan,
         std::optional<double> posinf,
         std::optional<double> neginf,
         const StreamArg& s) {
        return nan_to_num(to_operand("nan_to_num", a.object), nan, posinf, neginf, s);
      },
      R"(NaN and infinities replaced by numbers.

      Args:
        a: An array or a number.
        nan: What NaN becomes.
        posinf: What infinity becomes; None is the largest finite number of the dtype.
        neginf: What negative infinity becomes; None is the lowest finite number.

      Returns:
        The shape and the dtype of `a`.

      Example:
        >>> mx.nan_to_num(mx.array([1.0, mx.nan, mx.inf]), posinf=99.0)
        array([1, 0, 99], dtype=float32)
      )");
}

void bind_comparisons(nb::module_& m) {
  define<
      "isclose(a: scalar | array | ArrayLike, b: scalar | array | ArrayLike, /, "
      "rtol: float = 1e-05, atol: float = 1e-08, *, equal_nan: bool = False, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      closeness("isclose", isclose),
      R"(Whether elements are close: |a - b| <= atol + rtol * |b|.

      Infinities are close to themselves.

      Args:
        a: An array or a number.
        b: An array or a number.
        rtol: The tolerance relative to `b`.
        atol: The absolute tolerance.
        equal_nan: Whether NaN is close to NaN.

      Returns:
        bool, of the broadcast shape.

      Raises:
        ValueError: If the shapes do not broadcast.

      Example:
        >>> mx.isclose(mx.array([1.0, 2.0]), mx.array([1.0, 2.1]))
        array([True, False], dtype=bool)
      )");
  define<
      "allclose(a: scalar | array | ArrayLike, b: scalar | array | ArrayLike, /, "
      "rtol: float = 1e-05, atol: float = 1e-08, *, equal_nan: bool = False, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      closeness("allclose", allclose),
      R"(Whether `isclose()` holds for all elements.

      Args:
        a: An array or a number.
        b: An array or a number.
        rtol: The tolerance relative to `b`.
        atol: The absolute tolerance.
        equal_nan: Whether NaN is close to NaN.

      Returns:
        bool, of shape ().

      Raises:
        ValueError: If the shapes do not broadcast.

      Example:
        >>> mx.allclose(mx.array([1.0, 2.0]), mx.array([1.0, 2.0 + 1e-7]))
        array(True, dtype=bool)
      )");
  define<
      "array_equal(a: scalar | array | ArrayLike, b: scalar | array | ArrayLike, "
      "equal_nan: bool = False, stream: StreamOrDevice = None) -> array">(
      m,
      [](ScalarOrArray a, ScalarOrArray b, bool equal_nan, const StreamArg& s) {
        const auto [x, y] = to_operands("array_equal", a.object, b.object);
        return array_equal(x, y, equal_nan, s);
      },
      R"(Whether two arrays have the same shape and equal elements.

      Args:
        a: An array or a number.
        b: An array or a number; its dtype may be another one.
        equal_nan: Whether NaN is equal to NaN.

      Returns:
        bool, of shape ().

      Example:
        >>> mx.array_equal(mx.array([1, 2]), mx.array([1.0, 2.0]))
        array(True, dtype=bool)
      )");
}

void bind_composite(nb::module_& m) {
  bind_rounding(m);
  bind_bounds(m);
  bind_comparisons(m);
  define<
      "divmod(a: scalar | array | ArrayLike, b: scalar | array | ArrayLike, "
      "stream: StreamOrDevice = None) -> list[array]">(
      m,
      &divide_with_rest,
      R"(Quotient and rest of floor division.

      Args:
        a: An array or a number.
        b: An array or a number.

      Returns:
        The list [floor_divide(a, b), remainder(a, b)].

      Raises:
        ValueError: If the shapes do not broadcast, and for complex64.

      Example:
        >>> mx.divmod(mx.array([7, -7]), 3)
        [array([2, -3], dtype=int32), array([1, 2], dtype=int32)]
      )");
  define<
      "diff(a: array, /, n: int = 1, axis: int = -1, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, int n, int axis, const StreamArg& s) { return diff(a, n, axis, s); },
      R"(Differences of neighbours.

      Args:
        a: An array of at least one dimension.
        n: How many times differences are taken.
        axis: The axis along which elements are neighbours.

      Returns:
        The shape of `a`, with `n` fewer along the axis.

      Raises:
        ValueError: If `n` is negative.

      Example:
        >>> mx.diff(mx.array([1, 4, 9, 16]))
        array([3, 5, 7], dtype=int32)
      )");
  define<
      "trace(a: array, /, offset: int = 0, axis1: int = 0, axis2: int = 1, "
      "dtype: Dtype | None = None, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         int offset,
         int axis1,
         int axis2,
         std::optional<Dtype> dtype,
         const StreamArg& s) { return trace(a, offset, axis1, axis2, dtype, s); },
      R"(Sum of a diagonal.

      Args:
        a: An array of at least two dimensions.
        offset: How far above the main diagonal it lies; negative numbers are below it.
        axis1: The dimension of the rows.
        axis2: The dimension of the columns.
        dtype: The dtype that the sum is taken in; None is that of `a`.

      Returns:
        The shape without the two dimensions.

      Raises:
        ValueError: For fewer than two dimensions.

      Example:
        >>> mx.trace(mx.array([[1, 2], [3, 4]]))
        array(5, dtype=int32)
      )");
}

const Binding binding{&bind_composite};

} // namespace
} // namespace narrows::python
