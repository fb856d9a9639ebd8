// Operations that give the same elements other dimensions.
#include "narrows/ops/shape.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"
#include "bindings/unpack.h"
#include "narrows/core/errors.h"
#include "narrows/ops/slice.h"
#include "narrows/ops/strided.h"

namespace narrows::python {
namespace {

std::vector<array> arrays_of(const char* op, const nb::args& arguments) {
  std::vector<array> arrays;
  for (nb::handle item : arguments) {
    arrays.push_back(to_operand(op, item));
  }
  return arrays;
}

// One array for one argument, else a list.
auto at_least(const char* name, array (*apply)(const array&, StreamOrDevice)) {
  return [name, apply](const nb::args& arrays, const StreamArg& s) -> nb::object {
    std::vector<array> results;
    for (const array& a : arrays_of(name, arrays)) {
      results.push_back(apply(a, s));
    }
    return results.size() == 1 ? nb::cast(results[0]) : nb::cast(results);
  };
}

Shape common_shape(const nb::args& shapes) {
  std::vector<Shape> all;
  for (nb::handle shape : shapes) {
    Shape& converted = all.emplace_back();
    if (!nb::try_cast(shape, converted)) {
      fail<TypeError>(
          "[broadcast_shapes] got ", nb::repr(shape).c_str(), ", expected sequences of ints.");
    }
  }
  return broadcast_shapes(all);
}

void bind_reshape(nb::module_& m) {
  ArrayClass c = array_class();
  define<"reshape(a: array, /, shape: Sequence[int], *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const Shape& shape, const StreamArg& s) { return reshape(a, shape, s); },
      R"(The elements in row-major order, with another shape.

      The result is a view where the layout of `a` allows one, else a copy.

      Args:
        a: An array.
        shape: The new shape. One dimension may be -1: it gets the size that is left.

      Returns:
        An array of that shape.

      Raises:
        ValueError: If the numbers of elements differ.

      Example:
        >>> mx.reshape(mx.arange(6), (2, -1))
        array([[0, 1, 2],
               [3, 4, 5]], dtype=int32)
      )");
  define_method<
      "reshape(self, *shape: int | Sequence[int], stream: StreamOrDevice = None) -> array">(
      c,
      [](const array& a, const nb::args& shape, const StreamArg& s) {
        return reshape(a, unpack<Shape>("reshape", shape), s);
      },
      R"(The elements in row-major order, with another shape.

      The same as the function `reshape()`; takes integers or one sequence of them.

      Example:
        >>> mx.arange(6).reshape(3, 2).shape
        (3, 2)
      )");
  define_both<
      "flatten(a: array, /, start_axis: int = 0, end_axis: int = -1, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, int start, int end, const StreamArg& s) {
        return flatten(a, start, end, s);
      },
      R"(Neighbouring dimensions merged into one.

      Args:
        a: An array.
        start_axis: The first dimension that is merged.
        end_axis: The last dimension that is merged.

      Returns:
        An array with fewer dimensions; a scalar gets one.

      Raises:
        ValueError: If the axes are in the wrong order.

      Example:
        >>> mx.flatten(mx.zeros((2, 3, 4)), 1).shape
        (2, 12)
      )");
  define<
      "unflatten(a: array, /, axis: int, shape: Sequence[int], *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, int axis, const Shape& shape, const StreamArg& s) {
        return unflatten(a, axis, shape, s);
      },
      R"(One dimension split into several.

      Args:
        a: An array.
        axis: The dimension.
        shape: The sizes that take its place, of which one may be -1.

      Returns:
        An array with more dimensions.

      Raises:
        ValueError: If the product of the sizes is not the size of the dimension.

      Example:
        >>> mx.unflatten(mx.zeros((6, 5)), 0, (2, -1)).shape
        (2, 3, 5)
      )");
}

void bind_unit_dimensions(nb::module_& m) {
  define_both<
      "squeeze(a: array, /, axis: None | int | Sequence[int] = None, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const AxesArg& axis, const StreamArg& s) {
        return axis.kind == AxesArg::Kind::none ? squeeze(a, s) : squeeze(a, axis.axes, s);
      },
      R"(Without dimensions of size 1.

      Args:
        a: An array.
        axis: The dimension or dimensions to remove; None removes all of size 1.

      Returns:
        A view with fewer dimensions.

      Raises:
        ValueError: If one of `axis` has another size than 1.

      Example:
        >>> mx.squeeze(mx.zeros((1, 3, 1)), 0).shape
        (3, 1)
      )");
  define<
      "expand_dims(a: array, /, axis: int | Sequence[int], *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, const AxesArg& axis, const StreamArg& s) {
        if (axis.kind == AxesArg::Kind::none) {
          fail<TypeError>("[expand_dims] axis is None, expected integers.");
        }
        return expand_dims(a, axis.axes, s);
      },
      R"(With further dimensions of size 1.

      Args:
        a: An array.
        axis: Where the new dimensions are in the result.

      Returns:
        A view with more dimensions.

      Raises:
        ValueError: If an axis is named twice.

      Example:
        >>> mx.expand_dims(mx.zeros((2, 3)), (0, -1)).shape
        (1, 2, 3, 1)
      )");
  define<"atleast_1d(*arys: array, stream: StreamOrDevice = None) -> array | list[array]">(
      m,
      at_least("atleast_1d", atleast_1d),
      R"(Each array with at least one dimension.

      Args:
        *arys: Arrays or numbers.

      Returns:
        An array for one argument, else a list.

      Example:
        >>> mx.atleast_1d(mx.array(3)).shape
        (1,)
      )");
  define<"atleast_2d(*arys: array, stream: StreamOrDevice = None) -> array | list[array]">(
      m,
      at_least("atleast_2d", atleast_2d),
      R"(Each array with at least two dimensions; a vector becomes a row.

      Args:
        *arys: Arrays or numbers.

      Returns:
        An array for one argument, else a list.

      Example:
        >>> mx.atleast_2d(mx.zeros(3)).shape
        (1, 3)
      )");
  define<"atleast_3d(*arys: array, stream: StreamOrDevice = None) -> array | list[array]">(
      m,
      at_least("atleast_3d", atleast_3d),
      R"(Each array with at least three dimensions.

      Args:
        *arys: Arrays or numbers. Shape (n,) becomes (1, n, 1), and (m, n) becomes (m, n, 1).

      Returns:
        An array for one argument, else a list.

      Example:
        >>> mx.atleast_3d(mx.zeros(3)).shape
        (1, 3, 1)
      )");
}

void bind_broadcasts(nb::module_& m) {
  define<
      "broadcast_to(a: scalar | array | ArrayLike, /, shape: Sequence[int], *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](ScalarOrArray a, const Shape& shape, const StreamArg& s) {
        return broadcast_to(to_operand("broadcast_to", a.object), shape, s);
      },
      R"(The array seen with a larger shape, without a copy.

      Args:
        a: An array or a number.
        shape: The shape. Dimensions of size 1 are repeated, and missing leading ones are added.

      Returns:
        A view.

      Raises:
        ValueError: If `a` does not broadcast to the shape.

      Example:
        >>> mx.broadcast_to(mx.array([1, 2]), (2, 2))
        array([[1, 2],
               [1, 2]], dtype=int32)
      )");
  define<"broadcast_arrays(*arrays: array, stream: StreamOrDevice = None) -> list[array]">(
      m,
      [](const nb::args& arrays, const StreamArg& s) {
        return broadcast_arrays(arrays_of("broadcast_arrays", arrays), s);
      },
      R"(All arrays with the shape that they broadcast to.

      Args:
        *arrays: Arrays or numbers.

      Returns:
        Views, in the same order.

      Raises:
        ValueError: If the shapes do not broadcast.

      Example:
        >>> [a.shape for a in mx.broadcast_arrays(mx.zeros((3, 1)), mx.zeros(2))]
        [(3, 2), (3, 2)]
      )");
  define<"broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]">(
      m,
      &common_shape,
      R"(The shape that all shapes broadcast to.

      Args:
        *shapes: Sequences of integers.

      Returns:
        A tuple.

      Raises:
        ValueError: If there is no such shape.

      Example:
        >>> mx.broadcast_shapes((3, 1), (2,))
        (3, 2)
      )");
  define<
      "meshgrid(*arrays: array, sparse: bool | None = False, indexing: str | None = 'xy', "
      "stream: StreamOrDevice = None) -> tuple[array, ...]">(
      m,
      [](const nb::args& arrays,
         std::optional<bool> sparse,
         const std::optional<std::string>& indexing,
         const StreamArg& s) {
        return nb::tuple(nb::cast(meshgrid(
            arrays_of("meshgrid", arrays), sparse.value_or(false), indexing.value_or("xy"), s)));
      },
      R"(The coordinates of a grid.

      Args:
        *arrays: The coordinates along each dimension of the grid.
        sparse: Whether output i has size 1 in all dimensions but the one that it varies along.
        indexing: 'xy': the first array varies along dimension 1 and the second along dimension 0.
          'ij': array i varies along dimension i.

      Returns:
        An array for each argument.

      Raises:
        ValueError: For another `indexing`.

      Example:
        >>> x, y = mx.meshgrid(mx.array([1, 2]), mx.array([5, 6]))
        >>> x
        array([[1, 2],
               [1, 2]], dtype=int32)
        >>> y
        array([[5, 5],
               [6, 6]], dtype=int32)
      )");
}

void bind_layouts(nb::module_& m) {
  ArrayClass c = array_class();
  define<
      "contiguous(a: array, /, allow_col_major: bool = False, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, bool allow_col_major, const StreamArg& s) {
        return contiguous(a, allow_col_major, s);
      },
      R"(The same elements, without gaps and in row-major memory order.

      Args:
        a: An array.
        allow_col_major: Whether column-major order will do, too.

      Returns:
        The array itself where its layout is so, else a copy.

      Example:
        >>> mx.contiguous(mx.arange(4).reshape(2, 2).T)
        array([[0, 2],
               [1, 3]], dtype=int32)
      )");
  define<
      "view(a: scalar | array | ArrayLike, dtype: Dtype, stream: StreamOrDevice = None) -> array">(
      m,
      [](ScalarOrArray a, Dtype dtype, const StreamArg& s) {
        return view(to_operand("view", a.object), dtype, s);
      },
      R"(The bytes of an array, read as another dtype.

      Args:
        a: An array or a number.
        dtype: The dtype.

      Returns:
        The shape of `a`, with a last dimension that scales as the sizes of the dtypes do.

      Raises:
        ValueError: If the bytes of the last dimension are no multiple of the new size.

      Example:
        >>> mx.view(mx.array([1.0, 2.0]), mx.uint32)
        array([1065353216, 1073741824], dtype=uint32)
      )");
  define_method<"view(self, dtype: Dtype, *, stream: StreamOrDevice = None) -> array">(
      c,
      [](const array& a, Dtype dtype, const StreamArg& s) { return view(a, dtype, s); },
      R"(The bytes of an array, read as another dtype.

      The same as the function `view()`, which says more.)");
  define<
      "as_strided(a: array, /, shape: Sequence[int] | None = None, "
      "strides: Sequence[int] | None = None, offset: int = 0, *, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a,
         const std::optional<Shape>& shape,
         const std::optional<Strides>& strides,
         int64_t offset,
         const StreamArg& s) {
        const Shape to = shape.value_or(a.shape());
        return as_strided(a, to, strides.value_or(row_major_strides(to)), offset, s);
      },
      R"(The elements found by strides.

      Element (i, j, ...) is element offset + i * strides[0] + j * strides[1] + ... of `a` in
      row-major order.

      Args:
        a: An array.
        shape: The shape of the result; None is that of `a`.
        strides: A stride for each dimension, in elements; None is those of row-major order.
        offset: Where element (0, 0, ...) is, in elements.

      Returns:
        An array of that shape.

      Raises:
        ValueError: If an element lies outside of `a`.

      Example:
        >>> mx.as_strided(mx.arange(5), (3, 3), (1, 1))
        array([[0, 1, 2],
               [1, 2, 3],
               [2, 3, 4]], dtype=int32)
      )");
}

void bind_shape(nb::module_& m) {
  bind_reshape(m);
  bind_unit_dimensions(m);
  bind_broadcasts(m);
  bind_layouts(m);
}

const Binding binding{&bind_shape};

} // namespace
} // namespace narrows::python
