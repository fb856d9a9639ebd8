#include <nanobind/stl/optional.h>

#include "bindings/arguments.h"
#include "bindings/define.h"
#include "narrows/ops/gather_mm.h"
#include "narrows/ops/hadamard.h"
#include "narrows/ops/masked_mm.h"

namespace narrows::python {
namespace {

using OptionalArray = std::optional<array>;

void bind_chosen_matmul(nb::module_& m) {
  define<
      "gather_mm(a: array, b: array, /, lhs_indices: array | None = None, rhs_indices: array | "
      "None "
      "= None, *, sorted_indices: bool = False, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a,
         const array& b,
         const OptionalArray& lhs_indices,
         const OptionalArray& rhs_indices,
         bool,
         const StreamArg& s) { return gather_mm(a, b, lhs_indices, rhs_indices, s); },
      R"(Products of chosen matrices with chosen matrices.

      Product i is that of matrix ``lhs_indices[i]`` of `a` and matrix ``rhs_indices[i]`` of `b`.
      Matrices are read where they are, not copied.

      Args:
        a: Shape (..., m, k), of a floating-point dtype: a stack of matrices, which are numbered in
          order.
        b: Shape (..., k, n).
        lhs_indices: Integers; default: one for each matrix of `a`, in its stack's shape.
        rhs_indices: Integers; default: one for each matrix of `b`. Both broadcast.
        sorted_indices: Whether `rhs_indices` are sorted; the result is the same.

      Returns:
        The shape of the indices, then (m, n), in the common dtype of `a` and `b`.

      Raises:
        ValueError: If shapes or dtypes do not fit.

      Example:
        >>> b = mx.array([[[1.0], [1.0]], [[10.0], [10.0]]])
        >>> mx.gather_mm(mx.array([[[1.0, 2.0]]]), b, rhs_indices=mx.array([1, 0])).tolist()
        [[[30.0]], [[3.0]]]
      )");
  define<
      "block_masked_mm(a: array, b: array, /, block_size: int = 64, mask_out: array | None = None, "
      "mask_lhs: array | None = None, mask_rhs: array | None = None, *, stream: StreamOrDevice = "
      "None) -> array">(
      m,
      [](const array& a,
         const array& b,
         int block_size,
         const OptionalArray& mask_out,
         const OptionalArray& mask_lhs,
         const OptionalArray& mask_rhs,
         const StreamArg& s) {
        return block_masked_mm(a, b, block_size, mask_out, mask_lhs, mask_rhs, s);
      },
      R"(The matrix product of masked blocks.

      Masks have an element for each block of `block_size` times `block_size` elements. Where a mask
      of bool is false the block counts as zeros; blocks are multiplied by masks of other dtypes.

      Args:
        a: Shape (..., m, k) or (k,), of a floating-point dtype.
        b: Shape (..., k, n) or (k,).
        block_size: 32 or 64.
        mask_out: Shape (..., m / block_size, n / block_size), rounded up: of the result.
        mask_lhs: Shape (..., m / block_size, k / block_size), of `a`.
        mask_rhs: Shape (..., k / block_size, n / block_size), of `b`.

      Returns:
        Shape (..., m, n), in the common dtype of `a` and `b`.

      Raises:
        ValueError: If shapes or dtypes do not fit, or for another `block_size`.

      Example:
        >>> a = mx.ones((64, 64))
        >>> mask = mx.array([[True, False], [True, True]])
        >>> mx.block_masked_mm(a, a, 32, mask_lhs=mask)[::32, 0]
        array([32, 64], dtype=float32)
      )");
  define<
      "segmented_mm(a: array, b: array, /, segments: array, *, stream: StreamOrDevice = None) -> "
      "array">(
      m,
      [](const array& a, const array& b, const array& segments, const StreamArg& s) {
        return segmented_mm(a, b, segments, s);
      },
      R"(Products of ranges of columns with the same ranges of rows.

      Args:
        a: Shape (m, k), of a floating-point dtype.
        b: Shape (k, n).
        segments: Integers of shape (..., 2): where each range begins and where it ends.

      Returns:
        Shape (..., m, n): for each range ``a[:, begin:end] @ b[begin:end]``.

      Raises:
        ValueError: If shapes or dtypes do not fit.

      Example:
        >>> a, b = mx.array([[1.0, 2.0, 3.0]]), mx.ones((3, 1))
        >>> mx.segmented_mm(a, b, mx.array([[0, 2], [2, 3]])).tolist()
        [[[3.0]], [[3.0]]]
      )");
  define<
      "hadamard_transform(a: array, scale: float | None = None, stream: StreamOrDevice = None) -> "
      "array">(
      m,
      [](const array& a, std::optional<double> scale, const StreamArg& s) {
        return hadamard_transform(a, scale, s);
      },
      R"(Rows along the last axis times a Hadamard matrix: all of it is +1 and -1, times a scale.

      Args:
        a: Shape (..., n) with n = m * 2**k and m one of 1, 12, 20 and 28.
        scale: What the result is multiplied by; default: 1 / sqrt(n), which makes the matrix
          orthogonal.

      Returns:
        The shape and dtype of `a`; float32 for integers.

      Raises:
        ValueError: For other lengths of rows, and for complex numbers.

      Example:
        >>> mx.hadamard_transform(mx.array([1.0, 2.0, 3.0, 4.0]), scale=1.0)
        array([10, -2, -4, 0], dtype=float32)
      )");
}

const Binding binding{&bind_chosen_matmul};

} // namespace
} // namespace narrows::python
