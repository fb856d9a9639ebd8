#include "narrows/ops/matmul.h"

#include "bindings/arguments.h"
#include "bindings/define.h"
#include "narrows/ops/tensordot.h"

namespace narrows::python {
namespace {

// axes: a number, or two sequences of dimensions to pair.
array contract(const array& a, const array& b, nb::handle axes, const StreamArg& s) {
  int count = 0;
  if (detail::read_integer(axes.ptr(), count)) {
    return tensordot(a, b, count, s);
  }
  Axes of_a, of_b;
  if (!PySequence_Check(axes.ptr()) || nb::len(axes) != 2 ||
      !detail::read_integers(nb::object(axes[0]).ptr(), of_a) ||
      !detail::read_integers(nb::object(axes[1]).ptr(), of_b)) {
    fail<TypeError>("[tensordot] axes, expected an integer or two sequences of integers.");
  }
  return tensordot(a, b, of_a, of_b, s);
}

void bind_products(nb::module_& m) {
  define<"matmul(a: array, b: array, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const array& b, const StreamArg& s) { return matmul(a, b, s); },
      R"(Matrix product.

      The last two dimensions are matrices; those before them broadcast. A vector is a row on the
      left and a column on the right, and its dimension is not in the result.

      Args:
        a: Shape (..., m, k) or (k,), of a floating point dtype or complex64.
        b: Shape (..., k, n) or (k,).

      Returns:
        Shape (..., m, n), in the common dtype of `a` and `b`.

      Raises:
        ValueError: For scalars, for integers, and for shapes that do not match.

      Example:
        >>> mx.matmul(mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([1.0, 10.0]))
        array([21, 43], dtype=float32)
      )");
  define<"inner(a: array, b: array, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const array& b, const StreamArg& s) { return inner(a, b, s); },
      R"(Sums of products over the last dimension of both arrays.

      Args:
        a: Shape (..., k), of a floating point dtype or complex64.
        b: Shape (..., k).

      Returns:
        Shape a.shape[:-1] + b.shape[:-1].

      Raises:
        ValueError: If the last dimensions differ in size, or for integers.

      Example:
        >>> mx.inner(mx.array([1.0, 2.0, 3.0]), mx.array([4.0, 5.0, 6.0]))
        array(32, dtype=float32)
      )");
  define<"outer(a: array, b: array, /, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const array& b, const StreamArg& s) { return outer(a, b, s); },
      R"(The product of each element of `a` with each element of `b`.

      Args:
        a: An array of any shape; it is flattened.
        b: An array of any shape; it is flattened.

      Returns:
        Shape (a.size, b.size), in the common dtype.

      Example:
        >>> mx.outer(mx.array([1, 2]), mx.array([10, 20, 30]))
        array([[10, 20, 30],
               [20, 40, 60]], dtype=int32)
      )");
  define<"kron(a: array, b: array, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const array& b, const StreamArg& s) { return kron(a, b, s); },
      R"(Kronecker product: `b` times each element of `a`, laid out where that element was.

      Args:
        a: An array of any shape.
        b: An array of any shape; the one with fewer dimensions gets leading ones of size 1.

      Returns:
        Dimension i has the size a.shape[i] * b.shape[i].

      Example:
        >>> mx.kron(mx.array([[1, 2]]), mx.array([[1, 1], [0, 1]]))
        array([[1, 1, 2, 2],
               [0, 1, 0, 2]], dtype=int32)
      )");
}

void bind_matmul(nb::module_& m) {
  bind_products(m);
  define<
      "addmm(c: array, a: array, b: array, /, alpha: float = 1.0, beta: float = 1.0, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& c,
         const array& a,
         const array& b,
         double alpha,
         double beta,
         const StreamArg& s) { return addmm(c, a, b, alpha, beta, s); },
      R"(alpha * (a @ b) + beta * c.

      Args:
        c: What is added; broadcasts to the shape of the product.
        a: Shape (..., m, k) or (k,), as for `matmul()`.
        b: Shape (..., k, n) or (k,).
        alpha: Factor of the product.
        beta: Factor of `c`.

      Returns:
        Shape (..., m, n).

      Raises:
        ValueError: As `matmul()`, and if `c` does not broadcast.

      Example:
        >>> a = mx.array([[1.0, 2.0]])
        >>> mx.addmm(mx.array([100.0]), a, a.T, alpha=2.0)
        array([[110]], dtype=float32)
      )");
  define<
      "vecdot(a: array, b: array, /, *, axis: int = -1, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const array& b, int axis, const StreamArg& s) {
        return vecdot(a, b, axis, s);
      },
      R"(Sums of conjugate(a) * b along one axis.

      Args:
        a: An array.
        b: An array with the same size along `axis`; other dimensions broadcast.
        axis: The axis that is summed over.

      Returns:
        The broadcast shape without `axis`.

      Raises:
        ValueError: If shapes do not broadcast or the sizes along `axis` differ.

      Example:
        >>> mx.vecdot(mx.array([[1.0, 2.0], [3.0, 4.0]]), mx.array([1.0, 1.0]))
        array([3, 7], dtype=float32)
      )");
  define<
      "tensordot(a: array, b: array, /, axes: int | list[Sequence[int]] = 2, *, "
      "stream: StreamOrDevice = None) -> array">(
      m,
      &contract,
      R"(Sums of products over several dimensions.

      Args:
        a: An array of a floating point dtype or complex64.
        b: An array.
        axes: A number n sums over the last n dimensions of `a` and the first n of `b`. Two
          sequences name the dimensions of `a` and of `b` that are paired.

      Returns:
        The other dimensions of `a`, then those of `b`.

      Raises:
        ValueError: If the sizes of a pair differ.

      Example:
        >>> mx.tensordot(mx.ones((2, 3, 4)), mx.ones((3, 4, 5)), axes=2).shape
        (2, 5)
        >>> mx.tensordot(mx.ones((2, 3)), mx.ones((5, 3)), axes=[[1], [1]]).shape
        (2, 5)
      )");
}

const Binding binding{&bind_matmul};

} // namespace
} // namespace narrows::python
