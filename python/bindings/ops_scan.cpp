#include "narrows/ops/scan.h"

#include <nanobind/stl/optional.h>

#include <string>

#include "bindings/arguments.h"
#include "bindings/define.h"
#include "narrows/ops/softmax.h"

namespace narrows::python {
namespace {

// Parts of docstrings that several functions share.
const std::string kAxis = R"(
        axis: The axis that is run along; None runs over the flattened array.
        reverse: Whether the run begins at the end.
        inclusive: Whether an element counts for itself.)";
const std::string kResult = R"(

      Returns:
        The shape of `a`, or one dimension if `axis` is None.

      Raises:
        IndexError: If the axis is out of range.)";
std::string typed_arguments(const std::string& what) {
  return R"(

      Args:
        a: An array of any dtype.
        axis: The axis that is run along; None runs over the flattened array.
        reverse: Whether )" +
         what + R"(s begin at the end.
        inclusive: Whether an element is part of its own )" +
         what + R"(.
        dtype: The dtype in which )" +
         what + R"(s are taken; None is that of `a`, int32 for bool.)";
}

using Scan = array (*)(const array&, std::optional<int>, bool, bool, StreamOrDevice);
using TypedScan =
    array (*)(const array&, std::optional<int>, bool, bool, std::optional<Dtype>, StreamOrDevice);

auto scan(Scan apply) {
  return [apply](
             const array& a,
             std::optional<int> axis,
             bool reverse,
             bool inclusive,
             const StreamArg& s) { return apply(a, axis, reverse, inclusive, s); };
}

auto typed_scan(TypedScan apply) {
  return [apply](
             const array& a,
             std::optional<int> axis,
             bool reverse,
             bool inclusive,
             std::optional<Dtype> dtype,
             const StreamArg& s) { return apply(a, axis, reverse, inclusive, dtype, s); };
}

auto untyped_scan(TypedScan apply) {
  return [apply](
             const array& a,
             std::optional<int> axis,
             bool reverse,
             bool inclusive,
             const StreamArg& s) { return apply(a, axis, reverse, inclusive, std::nullopt, s); };
}

void bind_sums(nb::module_& m) {
  ArrayClass c = array_class();
  define<
      "cumsum(a: array, /, axis: int | None = None, *, reverse: bool = False, "
      "inclusive: bool = True, dtype: Dtype | None = None, stream: StreamOrDevice = None) -> "
      "array">(m, typed_scan(cumsum), R"(Running sums.)" + typed_arguments("sum") + kResult + R"(

      Example:
        >>> mx.cumsum(mx.array([1, 2, 3]))
        array([1, 3, 6], dtype=int32)
        >>> mx.cumsum(mx.array([1, 2, 3]), reverse=True, inclusive=False)
        array([5, 3, 0], dtype=int32)
      )");
  define_method<
      "cumsum(self, axis: int | None = None, *, reverse: bool = False, inclusive: bool = True, "
      "stream: StreamOrDevice = None) -> array">(c, untyped_scan(cumsum), R"(Running sums.

      The same as the function `cumsum()`, which says more.)");
  define<
      "cumprod(a: array, /, axis: int | None = None, *, reverse: bool = False, "
      "inclusive: bool = True, dtype: Dtype | None = None, stream: StreamOrDevice = None) -> "
      "array">(
      m, typed_scan(cumprod), R"(Running products.)" + typed_arguments("product") + kResult + R"(

      Example:
        >>> mx.cumprod(mx.array([[1, 2], [3, 4]]), axis=1)
        array([[1, 2],
               [3, 12]], dtype=int32)
      )");
  define_method<
      "cumprod(self, axis: int | None = None, *, reverse: bool = False, inclusive: bool = True, "
      "stream: StreamOrDevice = None) -> array">(c, untyped_scan(cumprod), R"(Running products.

      The same as the function `cumprod()`, which says more.)");
  m.attr("cumulative_sum") = m.attr("cumsum");
  m.attr("cumulative_prod") = m.attr("cumprod");
}

void bind_extremes(nb::module_& m) {
  define_both<
      "cummax(a: array, /, axis: int | None = None, *, reverse: bool = False, "
      "inclusive: bool = True, stream: StreamOrDevice = None) -> array">(
      m,
      scan(cummax),
      R"(Largest element so far.

      Args:
        a: An array of any dtype.)" +
          kAxis + R"( Where none counts yet, the result is the
          smallest value of the dtype.)" +
          kResult + R"(

      Example:
        >>> mx.cummax(mx.array([1, 5, 3, 7]))
        array([1, 5, 5, 7], dtype=int32)
      )");
  define_both<
      "cummin(a: array, /, axis: int | None = None, *, reverse: bool = False, "
      "inclusive: bool = True, stream: StreamOrDevice = None) -> array">(
      m,
      scan(cummin),
      R"(Smallest element so far.

      Args:
        a: An array of any dtype.)" +
          kAxis + R"( Where none counts yet, the result is the
          largest value of the dtype.)" +
          kResult + R"(

      Example:
        >>> mx.cummin(mx.array([4, 5, 3, 7]))
        array([4, 4, 3, 3], dtype=int32)
      )");
  define_both<
      "logcumsumexp(a: array, /, axis: int | None = None, *, reverse: bool = False, "
      "inclusive: bool = True, stream: StreamOrDevice = None) -> array">(
      m,
      scan(logcumsumexp),
      R"(log(cumsum(exp(a))), without overflow.

      Args:
        a: An array; integers and bool are converted to float32.)" +
          kAxis + kResult + R"(

      Example:
        >>> mx.logcumsumexp(mx.array([1000.0, 1000.0]))
        array([1000, 1000.69], dtype=float32)
      )");
}

void bind_scans(nb::module_& m) {
  bind_sums(m);
  bind_extremes(m);
  define_both<
      "logsumexp(a: array, /, axis: None | int | Sequence[int] = None, keepdims: bool = False, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const AxesArg& axis, bool keepdims, const StreamArg& s) {
        return logsumexp(a, axis.optional(), keepdims, s);
      },
      R"(log(sum(exp(a))), without overflow.

      Args:
        a: An array; integers and bool are converted to float32.
        axis: The axis or axes that are summed over; None is all.
        keepdims: Whether they stay in the shape, with size 1.

      Returns:
        The dtype of `a`, or float32 for integers and bool.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.logsumexp(mx.array([1000.0, 1000.0]))
        array(1000.69, dtype=float32)
      )");
  define<
      "softmax(a: array, /, axis: None | int | Sequence[int] = None, *, precise: bool = False, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const AxesArg& axis, bool precise, const StreamArg& s) {
        return softmax(a, axis.optional(), precise, s);
      },
      R"(exp(a) / sum(exp(a)), without overflow.

      Args:
        a: An array; integers and bool are converted to float32.
        axis: The axis or axes along which the results sum up to 1; None is all.
        precise: Accepted and without effect: 16-bit floats are always computed in float32.

      Returns:
        The shape of `a`.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.softmax(mx.array([[0.0, 0.0], [7.0, 7.0]]), axis=1)
        array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
      )");
}

const Binding binding{&bind_scans};

} // namespace
} // namespace narrows::python
