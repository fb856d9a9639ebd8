#include "narrows/ops/indexing.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "narrows/ops/counting.h"

namespace narrows::python {
namespace {

array take_object(
    const array& a, ScalarOrArray indices, std::optional<int> axis, const StreamArg& s) {
  int64_t index = 0;
  if (!array_inside(indices.object) && detail::read_integer(indices.object.ptr(), index)) {
    return take(a, index, axis, s);
  }
  return take(a, to_operand("take", indices.object), axis, s);
}

void bind_takes(nb::module_& m) {
  define<
      "take(a: array, /, indices: int | array, axis: int | None = None, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      &take_object,
      R"(The elements, or the parts along an axis, that indices say.

      Negative indices count from the end. An integer of an array that is out of range gives the
      nearest element.

      Args:
        a: An array.
        indices: An integer, or an array of integers of any shape and dtype.
        axis: The axis that is indexed; None indexes the flattened array.

      Returns:
        An array of a's dtype. The shape of the indices takes the place of the axis.

      Raises:
        IndexError: If a Python integer is out of range, or there are no elements to take from.
        ValueError: If the indices are no integers.

      Example:
        >>> mx.take(mx.array([[1, 2, 3], [4, 5, 6]]), mx.array([2, 0]), axis=1)
        array([[3, 1],
               [6, 4]], dtype=int32)
      )");
  define<
      "take_along_axis(a: array, /, indices: array, axis: int | None = -1, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const array& indices, std::optional<int> axis, const StreamArg& s) {
        return take_along_axis(a, indices, axis, s);
      },
      R"(Along an axis the elements that indices say, line by line.

      Args:
        a: An array.
        indices: An array of integers with as many dimensions. All but `axis` are broadcast together
          with those of `a`. Negative ones count from the end; out of range means the nearest element.
        axis: The axis; None takes from the flattened array, by indices of one dimension.

      Returns:
        An array of a's dtype with the indices' size along `axis`.

      Raises:
        ValueError: If the indices are no integers, or shapes do not fit.

      Example:
        >>> a = mx.array([[3, 1, 2], [6, 5, 4]])
        >>> mx.take_along_axis(a, mx.argmin(a, axis=1, keepdims=True), axis=1)
        array([[1],
               [4]], dtype=int32)
      )");
}

void bind_writes(nb::module_& m) {
  define<
      "put_along_axis(a: array, /, indices: array, values: array, axis: int | None = None, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         const array& indices,
         ScalarOrArray values,
         std::optional<int> axis,
         const StreamArg& s) {
        return put_along_axis(
            a, indices, to_operand_beside("put_along_axis", values.object, a.dtype()), axis, s);
      },
      R"(A copy with the elements replaced that take_along_axis() would read.

      Negative indices count from the end; nothing is written for those out of range. Of several
      values for one element the last one stays, on GPUs any of them.

      Args:
        a: An array.
        indices: An array of integers with as many dimensions. Those but `axis` are broadcast to a's.
        values: An array, or a number, which is broadcast to the indices' shape and converted to a's
          dtype.
        axis: The axis; None writes to the flattened array.

      Returns:
        An array of a's shape and dtype.

      Raises:
        ValueError: If the indices are no integers, or shapes do not fit.

      Example:
        >>> a = mx.zeros((2, 3), mx.int32)
        >>> mx.put_along_axis(a, mx.array([[2], [0]]), mx.array(7), axis=1)
        array([[0, 0, 7],
               [7, 0, 0]], dtype=int32)
      )");
  define<
      "masked_scatter(a: array, /, mask: array, values: array, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, const array& mask, ScalarOrArray values, const StreamArg& s) {
        return masked_scatter(
            a, mask, to_operand_beside("masked_scatter", values.object, a.dtype()), s);
      },
      R"(A copy with the elements replaced for which a mask is true. The mask is not evaluated.

      Args:
        a: An array.
        mask: An array of bool with a's shape, or the shape of its first dimensions.
        values: An array: one part of `a` after another for the true elements in row-major order, or
          one for all of them. Where there are too few, the rest of `a` stays.

      Returns:
        An array of a's shape and dtype.

      Raises:
        IndexError: If the mask has another shape.
        ValueError: If the mask is not of bool, or the values have another shape.

      Example:
        >>> a = mx.array([1, 2, 3, 4])
        >>> mx.masked_scatter(a, a > 2, mx.array([10, 20]))
        array([1, 2, 10, 20], dtype=int32)
      )");
}

void bind_slices(nb::module_& m) {
  define<
      "slice(a: array, start_indices: array, axes: Sequence[int], slice_size: Sequence[int], *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         const array& start,
         const Axes& axes,
         const Shape& size,
         const StreamArg& s) { return slice_at(a, start, axes, size, s); },
      R"(A part of an array that begins where an array says.

      Negative integers count from the end. A part that would not be within the array begins so early
      that it is.

      Args:
        a: An array.
        start_indices: An integer for each of the axes, as an array of one dimension, or of none for
          one axis.
        axes: The axes along which the part begins there; along the others it begins at 0.
        slice_size: The shape of the part.

      Returns:
        An array of a's dtype and this shape.

      Raises:
        ValueError: If there are not as many integers as axes, or the part is larger than `a`.

      Example:
        >>> a = mx.arange(12).reshape(3, 4)
        >>> mx.slice(a, mx.array([1, 2]), axes=(0, 1), slice_size=(2, 2))
        array([[6, 7],
               [10, 11]], dtype=int32)
      )");
  define<
      "slice_update(a: array, update: array, start_indices: array, axes: Sequence[int], *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         const array& update,
         const array& start,
         const Axes& axes,
         const StreamArg& s) { return slice_update_at(a, update, start, axes, s); },
      R"(A copy with the part replaced that slice() would read.

      Where `a` is not used any more nothing is copied but the update.

      Args:
        a: An array.
        update: An array of the part's shape, of a's last dimensions if it has fewer. It is converted
          to a's dtype.
        start_indices: Where the part begins, as in slice().
        axes: The axes along which it begins there.

      Returns:
        An array of a's shape and dtype.

      Raises:
        ValueError: If there are not as many integers as axes, or the update is larger than `a`.

      Example:
        >>> a = mx.zeros((2, 3), mx.int32)
        >>> mx.slice_update(a, mx.array([[8, 9]]), mx.array([1, 1]), axes=(0, 1))
        array([[0, 0, 0],
               [0, 8, 9]], dtype=int32)
      )");
}

nb::tuple nonzero_tuple(const array& a) {
  evaluate(a);
  nb::list result;
  for (const array& index : nonzero(a)) {
    result.append(index);
  }
  return nb::tuple(result);
}

using Range = std::optional<std::pair<double, double>>;

std::pair<array, array> histogram_of(
    const array& a,
    nb::handle bins,
    const Range& range,
    bool density,
    const std::optional<array>& weights) {
  const HistogramOptions options{range, weights, density};
  evaluate(a);
  int64_t count = 0;
  if (!array_inside(bins) && detail::read_integer(bins.ptr(), count)) {
    return histogram(a, count, options);
  }
  return histogram(a, to_array(bins), options);
}

void bind_counts(nb::module_& m) {
  define<"nonzero(a: array, /) -> tuple[array, ...]">(
      m,
      &nonzero_tuple,
      R"(The indices of the elements that are not zero, in row-major order. Evaluates the array.

      Args:
        a: An array of one dimension or more.

      Returns:
        For each dimension an array of int32 (int64 where a dimension needs it).

      Raises:
        ValueError: If the array has no dimensions.

      Example:
        >>> mx.nonzero(mx.array([[0, 5], [7, 0]]))
        (array([0, 1], dtype=int32), array([1, 0], dtype=int32))
      )");
  define<"argwhere(a: array, /) -> array">(
      m,
      [](const array& a) {
        evaluate(a);
        return argwhere(a);
      },
      R"(The indices of the elements that are not zero, as rows. Evaluates the array.

      Args:
        a: An array.

      Returns:
        An array of int32 (int64 where a dimension needs it) of shape (count, a.ndim).

      Example:
        >>> mx.argwhere(mx.array([[0, 5], [7, 0]]))
        array([[0, 1],
               [1, 0]], dtype=int32)
      )");
  define<
      "bincount(a: array, /, weights: array | None = None, minlength: int = 0, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         const std::optional<array>& weights,
         int64_t minlength,
         const StreamArg& s) {
        evaluate(a);
        return bincount(a, weights, minlength, s);
      },
      R"(How often each of the integers 0, 1, 2, ... occurs. Evaluates the array, not the weights.

      Args:
        a: An array of integers of one dimension, none of them negative.
        weights: An array of a's shape; counts are then sums of weights.
        minlength: How many integers are counted at least.

      Returns:
        An array of int32, or of the weights' dtype (float32 for integers), of shape (n,): n is the
        largest integer plus one, or `minlength`.

      Raises:
        ValueError: If there are negative integers, other dtypes or more dimensions.

      Example:
        >>> mx.bincount(mx.array([1, 3, 1]))
        array([0, 2, 0, 1], dtype=int32)
      )");
  define<
      "histogram(a: array, /, bins: int | Sequence[float] | array = 10, "
      "range: tuple[float, float] | None = None, density: bool = False, "
      "weights: array | None = None) -> tuple[array, array]">(
      m,
      &histogram_of,
      R"(How many elements are in each of several bins. Evaluates its arguments; computed on the CPU.

      Args:
        a: An array of real numbers of any shape.
        bins: How many bins of the same width there are; or their edges, which do not decrease.
        range: The first and the last edge; None: the least and the largest element. Not used where
          edges are given.
        density: Whether the result is a density, whose integral is 1.
        weights: An array of a's shape; counts are then sums of weights.

      Returns:
        The counts, of int32 (floating point with weights or as a density), and the edges, of float32
        (float64 if `a` has it). A bin has its lower edge, the last one both.

      Raises:
        ValueError: If edges decrease, or the range is not finite.

      Example:
        >>> counts, edges = mx.histogram(mx.array([0.0, 1.0, 1.5, 4.0]), bins=2)
        >>> counts
        array([3, 1], dtype=int32)
        >>> edges
        array([0, 2, 4], dtype=float32)
      )");
}

void bind_indexing(nb::module_& m) {
  bind_takes(m);
  bind_writes(m);
  bind_slices(m);
  bind_counts(m);
}

const Binding binding{&bind_indexing};

} // namespace
} // namespace narrows::python
