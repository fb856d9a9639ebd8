#include "narrows/ops/reduce.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <string>

#include "bindings/arguments.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

// Parts of docstrings that several functions share.
const std::string kExtreme = R"(

      Args:
        a: An array of any dtype. Complex numbers compare by real part, then by imaginary part.
        axis: The axis or axes that are searched; None is all.
        keepdims: Whether they stay in the shape, with size 1.

      Returns:
        The dtype of `a`; NaN where an element is NaN.

      Raises:
        ValueError: If there are no elements to search.
        IndexError: If an axis is out of range.)";
const std::string kPlace = R"(

      Args:
        a: An array of any dtype.
        axis: The axis that is searched. None: the index is one of the array as if it were
          flattened.
        keepdims: Whether searched axes stay in the shape, with size 1.

      Returns:
        uint32.

      Raises:
        ValueError: If there are no elements to search.)";
std::string arguments(const std::string& verb) {
  return R"(

      Args:
        a: An array of any dtype.
        axis: The axis or axes that are )" +
         verb + R"(; None is all.
        keepdims: Whether they stay in the shape, with size 1.)";
}

// Binds a reduction `apply` with its Python arguments.
auto reduction(array (*apply)(const array&, const OptionalAxes&, bool, StreamOrDevice)) {
  return [apply](const array& a, const AxesArg& axis, bool keepdims, const StreamArg& s) {
    return apply(a, axis.optional(), keepdims, s);
  };
}

auto arg_reduction(array (*apply)(const array&, std::optional<int>, bool, StreamOrDevice)) {
  return [apply](const array& a, std::optional<int> axis, bool keepdims, const StreamArg& s) {
    return apply(a, axis, keepdims, s);
  };
}

using Moment = array (*)(const array&, const OptionalAxes&, bool, int, StreamOrDevice);

auto moment(Moment apply) {
  return [apply](const array& a, const AxesArg& axis, bool keepdims, int ddof, const StreamArg& s) {
    return apply(a, axis.optional(), keepdims, ddof, s);
  };
}

// `correction` is the array API's name for ddof.
auto moment_method(Moment apply) {
  return [apply](
             const array& a,
             const AxesArg& axis,
             bool keepdims,
             int ddof,
             std::optional<int> correction,
             const StreamArg& s) {
    return apply(a, axis.optional(), keepdims, correction.value_or(ddof), s);
  };
}

void bind_sums(nb::module_& m) {
  define_both<
      "sum(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m, reduction(sum), R"(Sum of the elements.)" + arguments("summed over") + R"(

      Returns:
        The dtype of `a`; bool and integers of less than 32 bits are summed as 32-bit integers.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.sum(mx.array([[1, 2], [3, 4]]), axis=0)
        array([4, 6], dtype=int32)
      )");
  define_both<
      "prod(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m, reduction(prod), R"(Product of the elements.)" + arguments("multiplied over") + R"(

      Returns:
        The dtype of `a`; bool and integers of less than 32 bits are multiplied as 32-bit integers.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.prod(mx.array([[1, 2], [3, 4]]), axis=1)
        array([2, 12], dtype=int32)
      )");
  define_both<
      "mean(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m, reduction(mean), R"(Mean of the elements.)" + arguments("averaged over") + R"(

      Returns:
        The dtype of `a`, or float32 for integers and bool. NaN where there are no elements.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.mean(mx.array([1, 2, 4]))
        array(2.33333, dtype=float32)
      )");
}

void bind_moments(nb::module_& m) {
  ArrayClass c = array_class();
  define<
      "var(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, "
      "ddof: int = 0, *, stream: StreamOrDevice = None) -> array">(
      m, moment(var), R"(Variance of the elements.)" + arguments("averaged over") + R"(
        ddof: The sum of squares over n elements is divided by n - ddof.

      Returns:
        The dtype of `a`, or float32 for integers and bool.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.var(mx.array([1.0, 2.0, 3.0]), ddof=1)
        array(1, dtype=float32)
      )");
  define_method<
      "var(self, axis: None | int | Sequence[int] = None, keepdims: bool = False, "
      "ddof: int = 0, *, correction: int | None = None, stream: StreamOrDevice = None) -> array">(
      c,
      moment_method(var),
      R"(Variance of the elements.

      The same as the function `var()`. `correction`, if given, takes the place of `ddof`.)");
  define<
      "std(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, "
      "ddof: int = 0, *, stream: StreamOrDevice = None) -> array">(
      m,
      moment(narrows::std),
      R"(Standard deviation of the elements: the square root of `var()`.)" +
          arguments("averaged over") + R"(
        ddof: The sum of squares over n elements is divided by n - ddof.

      Returns:
        The dtype of `a`, or float32 for integers and bool.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.std(mx.array([[1.0, 3.0], [2.0, 8.0]]), axis=1)
        array([1, 3], dtype=float32)
      )");
  define_method<
      "std(self, axis: None | int | Sequence[int] = None, keepdims: bool = False, "
      "ddof: int = 0, *, correction: int | None = None, stream: StreamOrDevice = None) -> array">(
      c,
      moment_method(narrows::std),
      R"(Standard deviation of the elements.

      The same as the function `std()`. `correction`, if given, takes the place of `ddof`.)");
}

void bind_extremes(nb::module_& m) {
  define_both<
      "min(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m, reduction(min), R"(Smallest element.)" + kExtreme + R"(

      Example:
        >>> mx.min(mx.array([[5, 2], [3, 4]]), axis=1)
        array([2, 3], dtype=int32)
      )");
  define_both<
      "max(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m, reduction(max), R"(Largest element.)" + kExtreme + R"(

      Example:
        >>> mx.max(mx.array([[5, 2], [3, 4]]), axis=1)
        array([5, 4], dtype=int32)
      )");
  define<
      "minmax(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> tuple[array, array]">(
      m,
      [](const array& a, const AxesArg& axis, bool keepdims, const StreamArg& s) {
        return minmax(a, axis.optional(), keepdims, s);
      },
      R"(Smallest and largest element.)" + arguments("searched") + R"(

      Returns:
        The pair (min(a), max(a)).

      Raises:
        ValueError: If there are no elements to search.

      Example:
        >>> mx.minmax(mx.array([5, 2, 3]))
        (array(2, dtype=int32), array(5, dtype=int32))
      )");
  define_both<
      "argmin(a: array, /, axis: None | int = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m, arg_reduction(argmin), R"(Index of the first smallest element.)" + kPlace + R"(

      Example:
        >>> mx.argmin(mx.array([[5, 2], [3, 4]]), axis=1)
        array([1, 0], dtype=uint32)
      )");
  define_both<
      "argmax(a: array, /, axis: None | int = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m, arg_reduction(argmax), R"(Index of the first largest element.)" + kPlace + R"(

      Example:
        >>> mx.argmax(mx.array([[5, 2], [3, 4]]))
        array(0, dtype=uint32)
      )");
}

void bind_truth(nb::module_& m) {
  define_both<
      "all(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      reduction(all),
      R"(Whether all elements are nonzero.)" + arguments("looked at together") + R"(

      Returns:
        bool; true where there are no elements.

      Example:
        >>> mx.all(mx.array([[1, 0], [1, 1]]), axis=1)
        array([False, True], dtype=bool)
      )");
  define_both<
      "any(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      reduction(any),
      R"(Whether any element is nonzero.)" + arguments("looked at together") + R"(

      Returns:
        bool; false where there are no elements.

      Example:
        >>> mx.any(mx.array([[1, 0], [0, 0]]), axis=1)
        array([True, False], dtype=bool)
      )");
  define<
      "count_nonzero(a: array, /, *, axis: None | int | Sequence[int] = None, "
      "keepdims: bool = False, stream: StreamOrDevice = None) -> array">(
      m,
      reduction(count_nonzero),
      R"(How many elements are nonzero.)" + arguments("counted over") + R"(

      Returns:
        int32.

      Example:
        >>> mx.count_nonzero(mx.array([[1, 0], [7, 7]]), axis=0)
        array([2, 1], dtype=int32)
      )");
}

void bind_reduce(nb::module_& m) {
  bind_sums(m);
  bind_moments(m);
  bind_extremes(m);
  bind_truth(m);
}

const Binding binding{&bind_reduce};

} // namespace
} // namespace narrows::python
