#include "narrows/ops/linalg.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "bindings/arguments.h"
#include "bindings/convert.h"
#include "bindings/define.h"

namespace narrows::python {
namespace {

nb::tuple as_tuple(const std::vector<array>& arrays) {
  nb::list list;
  for (const array& a : arrays) {
    list.append(a);
  }
  return nb::tuple(list);
}

// Whether the upper triangle is read.
bool is_upper(const char* op, const std::string& uplo) {
  if (uplo != "L" && uplo != "U" && uplo != "l" && uplo != "u") {
    fail<ValueError>("[linalg.", op, "] UPLO '", uplo, "', expected 'L' or 'U'.");
  }
  return uplo == "U" || uplo == "u";
}

linalg::NormOrder norm_order(nb::handle order) {
  double number = 0;
  std::string name;
  if (order.is_none()) {
    return std::monostate();
  }
  if (nb::try_cast(order, name, false)) {
    return name;
  }
  if (!nb::try_cast(order, number)) {
    fail<TypeError>(
        "[linalg.norm] ord of type ",
        nb::type_name(order.type()).c_str(),
        ", expected None, a number or a str.");
  }
  return number;
}

void bind_solutions(nb::module_& m) {
  define<"inv(a: array, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const StreamArg& s) { return linalg::inv(a, s); },
      R"(Inverses of matrices.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.

      Returns:
        Shape (..., n, n).

      Raises:
        ValueError: For other shapes and dtypes; for a singular matrix, when it is evaluated.

      Example:
        >>> mx.linalg.inv(mx.array([[2.0, 0.0], [0.0, 4.0]]))
        array([[0.5, 0],
               [0, 0.25]], dtype=float32)
      )");
  define<"tri_inv(a: array, upper: bool = False, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, bool upper, const StreamArg& s) { return linalg::tri_inv(a, upper, s); },
      R"(Inverses of triangular matrices.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.
        upper: Whether the upper triangle is the matrix; what is below it is not read.

      Returns:
        Shape (..., n, n), triangular.

      Raises:
        ValueError: For other shapes and dtypes; for a zero on the diagonal, when it is evaluated.

      Example:
        >>> mx.linalg.tri_inv(mx.array([[2.0, 7.0], [1.0, 4.0]]))
        array([[0.5, 0],
               [-0.125, 0.25]], dtype=float32)
      )");
  define<"cholesky(a: array, upper: bool = False, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, bool upper, const StreamArg& s) { return linalg::cholesky(a, upper, s); },
      R"(Cholesky factors of Hermitian positive definite matrices.

      Their derivative is that of I. Murray, "Differentiation of the Cholesky decomposition" (2016).

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.
        upper: Whether the upper triangle of `a` is read and U with a = U^H U returned.

      Returns:
        Shape (..., n, n): the lower triangular L with a = L L^H, or U.

      Raises:
        ValueError: For other shapes and dtypes; for a matrix that is not positive definite, when it
          is evaluated.

      Example:
        >>> mx.linalg.cholesky(mx.array([[4.0, 2.0], [2.0, 2.0]]))
        array([[2, 0],
               [1, 1]], dtype=float32)
      )");
  define<"cholesky_inv(a: array, upper: bool = False, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, bool upper, const StreamArg& s) {
        return linalg::cholesky_inv(a, upper, s);
      },
      R"(Inverses of matrices that are given by their Cholesky factors.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64: what `cholesky()` returns.
        upper: Whether it is the upper factor.

      Returns:
        Shape (..., n, n): the inverse of a a^H, or of a^H a.

      Raises:
        ValueError: For other shapes and dtypes; for a zero on the diagonal, when it is evaluated.

      Example:
        >>> mx.linalg.cholesky_inv(mx.array([[2.0, 0.0], [0.0, 1.0]]))
        array([[0.25, 0],
               [0, 1]], dtype=float32)
      )");
  define<"solve(a: array, b: array, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const array& b, const StreamArg& s) { return linalg::solve(a, b, s); },
      R"(Solves a x = b.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.
        b: Shape (n,) or (..., n, k). The dimensions before the matrices broadcast.

      Returns:
        x, of shape (..., n) or (..., n, k).

      Raises:
        ValueError: For other shapes and dtypes; for a singular matrix, when it is evaluated.

      Example:
        >>> mx.linalg.solve(mx.array([[2.0, 0.0], [0.0, 4.0]]), mx.array([1.0, 2.0]))
        array([0.5, 0.5], dtype=float32)
      )");
  define<
      "solve_triangular(a: array, b: array, *, upper: bool = False, stream: StreamOrDevice = None) "
      "-> array">(
      m,
      [](const array& a, const array& b, bool upper, const StreamArg& s) {
        return linalg::solve_triangular(a, b, upper, s);
      },
      R"(Solves a x = b for triangular matrices.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.
        b: Shape (n,) or (..., n, k). The dimensions before the matrices broadcast.
        upper: Whether the upper triangle is the matrix; what is below it is not read.

      Returns:
        x, of shape (..., n) or (..., n, k).

      Raises:
        ValueError: For other shapes and dtypes; for a zero on the diagonal, when it is evaluated.

      Example:
        >>> mx.linalg.solve_triangular(mx.array([[2.0, 7.0], [1.0, 4.0]]), mx.array([2.0, 5.0]))
        array([1, 1], dtype=float32)
      )");
  define<"pinv(a: array, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const StreamArg& s) { return linalg::pinv(a, s); },
      R"(Pseudo-inverses (Moore, Penrose) of matrices.

      Singular values below 10 * max(m, n) * epsilon of the largest one count as zero.

      Args:
        a: Shape (..., m, n), of dtype float32, float64 or complex64.

      Returns:
        Shape (..., n, m).

      Raises:
        ValueError: For fewer dimensions and other dtypes.

      Example:
        >>> mx.linalg.pinv(mx.array([[2.0, 0.0], [0.0, 0.0]]))
        array([[0.5, 0],
               [0, 0]], dtype=float32)
      )");
  define<"det(a: array, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const StreamArg& s) { return linalg::det(a, s); },
      R"(Determinants of matrices.

      Their derivative needs the inverse: for a singular matrix it raises ValueError.

      Args:
        a: Shape (..., n, n). 16-bit numbers are computed in float32.

      Returns:
        Shape (...), of the dtype of `a`; float32 for integers.

      Raises:
        ValueError: For other shapes.

      Example:
        >>> mx.linalg.det(mx.array([[1.0, 2.0], [3.0, 4.0]]))
        array(-2, dtype=float32)
      )");
  define<"slogdet(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array]">(
      m,
      [](const array& a, const StreamArg& s) { return as_tuple(linalg::slogdet(a, s)); },
      R"(Signs of determinants, and logarithms of their absolute values.

      Args:
        a: Shape (..., n, n). 16-bit numbers are computed in float32.

      Returns:
        Two arrays of shape (...): the sign (a complex number of absolute value 1 for complex64), and
        the logarithm. 0 and -inf for a singular matrix.

      Raises:
        ValueError: For other shapes.

      Example:
        >>> mx.linalg.slogdet(mx.array([[0.0, 1.0], [1.0, 0.0]]))
        (array(-1, dtype=float32), array(0, dtype=float32))
      )");
}

void bind_factors(nb::module_& m) {
  define<"lu_factor(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array]">(
      m,
      [](const array& a, const StreamArg& s) { return as_tuple(linalg::lu_factor(a, s)); },
      R"(LU factors of matrices, in one array. The derivative is that of `lu()`.

      Args:
        a: Shape (..., m, n), of dtype float32, float64 or complex64.

      Returns:
        L (below the diagonal, without its ones) and U (on and above it) in shape (..., m, n), and
        pivots, uint32 (..., min(m, n)): row i was swapped with row pivots[i], in this order.

      Raises:
        ValueError: For fewer dimensions and other dtypes.

      Example:
        >>> mx.linalg.lu_factor(mx.array([[1.0, 2.0], [2.0, 2.0]]))
        (array([[2, 2],
               [0.5, 1]], dtype=float32), array([1, 1], dtype=uint32))
      )");
  define<"lu(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array, array]">(
      m,
      [](const array& a, const StreamArg& s) { return as_tuple(linalg::lu(a, s)); },
      R"(LU factors of matrices.

      The derivative is that of matrices whose first k rows and columns, in the order of L, are
      regular; the order stays.

      Args:
        a: Shape (..., m, n), of dtype float32, float64 or complex64.

      Returns:
        rows, L and U with a = L[rows] @ U: uint32 (..., m), (..., m, k) and (..., k, n), where
        k = min(m, n).

      Raises:
        ValueError: For fewer dimensions and other dtypes.

      Example:
        >>> rows, l, u = mx.linalg.lu(mx.array([[1.0, 2.0], [2.0, 2.0]]))
        >>> l[rows] @ u
        array([[1, 2],
               [2, 2]], dtype=float32)
      )");
  define<"qr(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array]">(
      m,
      [](const array& a, const StreamArg& s) { return as_tuple(linalg::qr(a, s)); },
      R"(QR factors of matrices.

      The derivative, for matrices whose first k columns are independent, is that of M. Seeger
      and others, "Auto-differentiating linear algebra" (2017).

      Args:
        a: Shape (..., m, n), of dtype float32, float64 or complex64.

      Returns:
        Q with orthonormal columns and the upper triangular R with a = Q R: (..., m, k) and
        (..., k, n), where k = min(m, n).

      Raises:
        ValueError: For fewer dimensions and other dtypes.

      Example:
        >>> q, r = mx.linalg.qr(mx.array([[3.0, 1.0], [4.0, 2.0]]))
        >>> mx.allclose(q @ r, mx.array([[3.0, 1.0], [4.0, 2.0]])).item()
        True
      )");
  define<
      "svd(a: array, compute_uv: bool = True, *, stream: StreamOrDevice = None) -> "
      "tuple[array, array, array] | array">(
      m,
      [](const array& a, bool compute_uv, const StreamArg& s) -> nb::object {
        return compute_uv ? nb::object(as_tuple(linalg::svd(a, true, s)))
                          : nb::cast(linalg::singular_values(a, s));
      },
      R"(Singular value decompositions of matrices.

      The derivative is that of J. Townsend, "Differentiating the singular value decomposition"
      (2016). Equal singular values count as if U and Vt did not turn between them, and the further
      columns of U, or rows of Vt, as if they did not turn among each other; vectors of complex
      matrices have one up to their phase. Not finite elements make all results NaN.

      Args:
        a: Shape (..., m, n), of dtype float32, float64 or complex64.
        compute_uv: If false, only the singular values are computed.

      Returns:
        U, S and Vt with a = U[..., :k] @ diag(S) @ Vt[..., :k, :]: (..., m, m), real (..., k),
        descending, and (..., n, n), where k = min(m, n). Only S without `compute_uv`.

      Raises:
        ValueError: For fewer dimensions and other dtypes; if the iteration does not converge, when
          it is evaluated.

      Example:
        >>> mx.linalg.svd(mx.array([[3.0, 0.0], [0.0, -4.0]]), compute_uv=False)
        array([4, 3], dtype=float32)
      )");
  define<
      "eigh(a: array, UPLO: str = 'L', *, stream: StreamOrDevice = None) -> tuple[array, array]">(
      m,
      [](const array& a, const std::string& uplo, const StreamArg& s) {
        return as_tuple(linalg::eigh(a, is_upper("eigh", uplo), s));
      },
      R"(Eigenvalues and eigenvectors of Hermitian matrices.

      The derivative is that of M. Seeger and others, "Auto-differentiating linear algebra" (2017); equal
      eigenvalues count as if their vectors did not turn between them. Not finite elements make all
      results NaN.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.
        UPLO: Which triangle is read: 'L' or 'U'.

      Returns:
        The eigenvalues, real (..., n), ascending, and the eigenvectors as columns, (..., n, n).

      Raises:
        ValueError: For other shapes, dtypes and letters; if the iteration does not converge, when it
          is evaluated.

      Example:
        >>> mx.linalg.eigh(mx.array([[2.0, 0.0], [0.0, 1.0]]))[0]
        array([1, 2], dtype=float32)
      )");
  define<"eigvalsh(a: array, UPLO: str = 'L', *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const std::string& uplo, const StreamArg& s) {
        return linalg::eigvalsh(a, is_upper("eigvalsh", uplo), s);
      },
      R"(Eigenvalues of Hermitian matrices.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.
        UPLO: Which triangle is read: 'L' or 'U'.

      Returns:
        Real, shape (..., n), ascending.

      Raises:
        ValueError: As for `eigh()`.

      Example:
        >>> mx.linalg.eigvalsh(mx.array([[0.0, 1.0], [1.0, 0.0]]))
        array([-1, 1], dtype=float32)
      )");
  define<"eig(a: array, *, stream: StreamOrDevice = None) -> tuple[array, array]">(
      m,
      [](const array& a, const StreamArg& s) { return as_tuple(linalg::eig(a, s)); },
      R"(Eigenvalues and eigenvectors of matrices.

      The derivative is that of matrices whose eigenvalues differ; vectors stay as LAPACK scales them:
      their norm is 1 and their largest element real. Not finite elements make all results NaN.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.

      Returns:
        The eigenvalues, (..., n), and the eigenvectors as columns, (..., n, n), both complex64.

      Raises:
        ValueError: For other shapes and dtypes; if the iteration does not converge, when it is
          evaluated.

      Example:
        >>> mx.linalg.eig(mx.array([[2.0, 0.0], [0.0, 1.0]]))[0]
        array([2+0j, 1+0j], dtype=complex64)
      )");
  define<"eigvals(a: array, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const StreamArg& s) { return linalg::eigvals(a, s); },
      R"(Eigenvalues of matrices. They have a derivative where they differ.

      Args:
        a: Shape (..., n, n), of dtype float32, float64 or complex64.

      Returns:
        complex64, shape (..., n).

      Raises:
        ValueError: As for `eig()`.

      Example:
        >>> mx.linalg.eigvals(mx.array([[2.0, 5.0], [0.0, 1.0]]))
        array([2+0j, 1+0j], dtype=complex64)
      )");
}

void bind_measures(nb::module_& m) {
  define<
      "norm(a: array, /, ord: int | float | str | None = None, axis: int | Sequence[int] | None = "
      "None, keepdims: bool = False, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, nb::handle ord, const AxesArg& axis, bool keepdims, const StreamArg& s) {
        return linalg::norm(a, norm_order(ord), axis.optional(), keepdims, s);
      },
      R"(Norms of vectors or matrices.

      Of vectors (one axis), `ord` is inf (the largest absolute value), -inf (the smallest), 0 (how
      many are not zero), or p: sum(abs(a)**p)**(1/p). Of matrices (two axes): 'fro' or 'f' (the root
      of the sum of squares), 'nuc' (the sum of the singular values), 2 and -2 (the largest and the
      smallest of them), 1 and -1 (of the sums of columns), inf and -inf (of rows).

      Args:
        a: Any shape. Integers are taken as float32.
        ord: The norm. None: the root of the sum of squares.
        axis: One or two axes. None: all; with `ord`, of an array of one or two dimensions.
        keepdims: Whether the axes stay, with size 1.

      Returns:
        Real, of the shape without these axes.

      Raises:
        ValueError: For an order or a number of axes that there is no norm of.
        TypeError: For an order of another type.

      Example:
        >>> mx.linalg.norm(mx.array([3.0, 4.0]))
        array(5, dtype=float32)
        >>> mx.linalg.norm(mx.array([[1.0, -2.0], [3.0, 4.0]]), ord=1)
        array(6, dtype=float32)
      )");
  define<"cross(a: array, b: array, axis: int = -1, *, stream: StreamOrDevice = None) -> array">(
      m,
      [](const array& a, const array& b, int axis, const StreamArg& s) {
        return linalg::cross(a, b, axis, s);
      },
      R"(Cross products of vectors.

      Args:
        a: Any shape, with 2 or 3 elements along the axis; the third of two is zero.
        b: The same; other dimensions broadcast.
        axis: Which axis the vectors lie along.

      Returns:
        The shape of both, with 3 elements along the axis.

      Raises:
        ValueError: For other sizes.

      Example:
        >>> mx.linalg.cross(mx.array([1, 0, 0]), mx.array([0, 1, 0]))
        array([0, 0, 1], dtype=int32)
      )");
}

void bind_linalg(nb::module_& parent) {
  nb::module_ m = parent.def_submodule("linalg", "Linear algebra, on the CPU's LAPACK.");
  bind_solutions(m);
  bind_factors(m);
  bind_measures(m);
  parent.attr("matrix_norm") = m.attr("norm");
  // For narrows.array_api: MLX's svd() returns all vectors.
  m.def("_thin_svd", [](const array& a) { return as_tuple(linalg::svd(a, false)); });
}

const Binding binding{&bind_linalg};

} // namespace
} // namespace narrows::python
