// Views with other axes, and views of parts of an array.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include "bindings/define.h"
#include "bindings/unpack.h"
#include "narrows/ops/shape.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"

namespace narrows::python {
namespace {

std::vector<array> split_at(
    const array& a, nb::handle indices_or_sections, int axis, const StreamArg& s) {
  int64_t sections = 0;
  Shape indices;
  if (detail::read_integer(indices_or_sections.ptr(), sections)) {
    return split(a, sections, axis, s);
  }
  if (!detail::read_integers(indices_or_sections.ptr(), indices)) {
    fail<TypeError>("[split] expected an integer or a sequence of integers.");
  }
  return split(a, std::vector<int64_t>(indices.begin(), indices.end()), axis, s);
}

nb::tuple unstack(const array& x, int axis, const StreamArg& s) {
  const int position = normalize_axis("unstack", axis, x.shape());
  std::vector<array> parts;
  const int64_t count = x.shape()[static_cast<size_t>(position)];
  if (count > 0) {
    for (const array& part : split(x, count, position, s)) {
      parts.push_back(squeeze(part, Axes{position}, s));
    }
  }
  return nb::tuple(nb::cast(parts));
}

void bind_permutations(nb::module_& m) {
  ArrayClass c = array_class();
  define<
      "transpose(a: array, /, axes: Sequence[int] | None = None, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, const std::optional<Axes>& axes, const StreamArg& s) {
        return axes ? transpose(a, *axes, s) : transpose(a, s);
      },
      R"(The dimensions in another order.

      Args:
        a: An array.
        axes: Dimension i of the result is dimension axes[i] of `a`; None reverses them.

      Returns:
        A view.

      Raises:
        ValueError: Unless `axes` names every axis once.

      Example:
        >>> mx.transpose(mx.zeros((2, 3, 4)), (2, 0, 1)).shape
        (4, 2, 3)
      )");
  m.attr("permute_dims") = m.attr("transpose");
  define_method<
      "transpose(self, *axes: int | Sequence[int], stream: StreamOrDevice = None) -> array">(
      c,
      [](const array& a, const nb::args& axes, const StreamArg& s) {
        const bool all = axes.size() == 0 || (axes.size() == 1 && axes[0].is_none());
        return all ? transpose(a, s) : transpose(a, unpack<Axes>("transpose", axes), s);
      },
      R"(The dimensions in another order.

      The same as the function `transpose()`; takes integers or one sequence of them.

      Example:
        >>> mx.zeros((2, 3, 4)).transpose(2, 0, 1).shape
        (4, 2, 3)
      )");
  define_both<
      "swapaxes(a: array, /, axis1: int, axis2: int, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, int axis1, int axis2, const StreamArg& s) {
        return swapaxes(a, axis1, axis2, s);
      },
      R"(Two dimensions exchanged.

      Args:
        a: An array.
        axis1: One dimension.
        axis2: The other.

      Returns:
        A view.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.swapaxes(mx.zeros((2, 3, 4)), 0, 2).shape
        (4, 3, 2)
      )");
  define_both<
      "moveaxis(a: array, /, source: int, destination: int, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, int source, int destination, const StreamArg& s) {
        return moveaxis(a, source, destination, s);
      },
      R"(One dimension moved to another place.

      Args:
        a: An array.
        source: The dimension.
        destination: Its place in the result.

      Returns:
        A view.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.moveaxis(mx.zeros((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
      )");
  define<"matrix_transpose(a: array, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const StreamArg& s) { return matrix_transpose(a, s); },
      R"(The last two dimensions exchanged.

      Args:
        a: Shape (..., m, n).

      Returns:
        A view of shape (..., n, m).

      Raises:
        ValueError: If there are fewer than two dimensions.

      Example:
        >>> mx.matrix_transpose(mx.zeros((5, 2, 3))).shape
        (5, 3, 2)
      )");
  define<
      "flip(a: array, /, axis: None | int | Sequence[int] = None, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const AxesArg& axis, const StreamArg& s) {
        return axis.kind == AxesArg::Kind::none ? flip(a, s) : flip(a, axis.axes, s);
      },
      R"(The elements in reverse order.

      Args:
        a: An array.
        axis: The dimension or dimensions that are reversed; None is all.

      Returns:
        A view.

      Raises:
        IndexError: If an axis is out of range.

      Example:
        >>> mx.flip(mx.array([[1, 2], [3, 4]]), axis=1)
        array([[2, 1],
               [4, 3]], dtype=int32)
      )");
}

void bind_diagonals(nb::module_& m) {
  define_both<
      "diagonal(a: array, offset: int = 0, axis1: int = 0, axis2: int = 1, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, int offset, int axis1, int axis2, const StreamArg& s) {
        return diagonal(a, offset, axis1, axis2, s);
      },
      R"(A diagonal of two dimensions.

      Args:
        a: An array of at least two dimensions.
        offset: How far above the main diagonal it lies; negative numbers are below it.
        axis1: The dimension of the rows.
        axis2: The dimension of the columns.

      Returns:
        A view in which the diagonal is the last dimension.

      Raises:
        ValueError: For fewer than two dimensions, and if both axes are the same.

      Example:
        >>> mx.diagonal(mx.array([[1, 2], [3, 4]]))
        array([1, 4], dtype=int32)
      )");
  define_both<"diag(a: array, /, k: int = 0, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, int k, const StreamArg& s) { return diag(a, k, s); },
      R"(A matrix with a given diagonal, or the diagonal of a matrix.

      Args:
        a: A vector or a matrix.
        k: Which diagonal: 0 is the main one, positive numbers are above it.

      Returns:
        Of a vector, the square matrix with it on the diagonal and zeros elsewhere; of a matrix, the
        vector on the diagonal.

      Raises:
        ValueError: For other numbers of dimensions.

      Example:
        >>> mx.diag(mx.array([1, 2]))
        array([[1, 0],
               [0, 2]], dtype=int32)
      )");
}

void bind_parts(nb::module_& m) {
  define_both<
      "split(a: array, /, indices_or_sections: int | Sequence[int], axis: int = 0, *, "
      "stream: StreamOrDevice = None) -> list[array]">(
      m,
      &split_at,
      R"(Parts of an array along one dimension.

      Args:
        a: An array.
        indices_or_sections: An integer is the number of equal parts. A sequence of integers cuts
          before each of these indices.
        axis: The dimension that is cut.

      Returns:
        A list of views.

      Raises:
        ValueError: If the dimension is not a multiple of the number of parts.

      Example:
        >>> mx.split(mx.arange(6), 3)
        [array([0, 1], dtype=int32), array([2, 3], dtype=int32), array([4, 5], dtype=int32)]
        >>> [part.shape for part in mx.split(mx.arange(6), [1, 4])]
        [(1,), (3,), (2,)]
      )");
  define<
      "unstack(x: array, /, *, axis: int = 0, stream: StreamOrDevice = None) -> tuple[array, ...]">(
      m,
      &unstack,
      R"(The entries along one dimension.

      Args:
        x: An array of at least one dimension.
        axis: The dimension.

      Returns:
        Views without that dimension.

      Raises:
        IndexError: If the axis is out of range.

      Example:
        >>> mx.unstack(mx.array([[1, 2], [3, 4]]))
        (array([1, 2], dtype=int32), array([3, 4], dtype=int32))
      )");
}

void bind_axes(nb::module_& m) {
  bind_permutations(m);
  bind_diagonals(m);
  bind_parts(m);
}

const Binding binding{&bind_axes};

} // namespace
} // namespace narrows::python
