// Linear algebra. The last two dimensions are matrices, those before them a batch. Elements are
// float32, float64 or complex64. ValueError for other dtypes, and for shapes that an operation is
// not defined for. If an operation is not defined for the values of a matrix, its evaluation raises
// ValueError.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "narrows/ops/common.h"

namespace narrows::linalg {

// The lower triangular l with a = l l^H, or the upper triangular u with a = u^H u. Only that
// triangle of `a` is read.
array cholesky(const array& a, bool upper = false, StreamOrDevice s = {});

// The inverse of the matrix whose Cholesky factor is `a`.
array cholesky_inv(const array& a, bool upper = false, StreamOrDevice s = {});

// x with a x = b. (..., n, n), and (n,) or (..., n, k): the batches broadcast.
array solve(const array& a, const array& b, StreamOrDevice s = {});

// The same for a triangular matrix. Only that triangle is read.
array solve_triangular(const array& a, const array& b, bool upper = false, StreamOrDevice s = {});

array inv(const array& a, StreamOrDevice s = {});
array tri_inv(const array& a, bool upper = false, StreamOrDevice s = {});

// The pseudo-inverse (..., n, m) of (..., m, n): singular values below 10 * max(m, n) * epsilon of
// the largest count as zero.
array pinv(const array& a, StreamOrDevice s = {});

// The determinant, in the dtype of `a`; float32 for integers. float16 and bfloat16 are computed in
// float32.
array det(const array& a, StreamOrDevice s = {});
// The sign, or the phase, of the determinant, and the logarithm of its absolute value: 0 and -inf
// for a singular matrix.
std::vector<array> slogdet(const array& a, StreamOrDevice s = {});

// One array (..., m, n) with l below the diagonal, without its ones, and u on and above it. Pivots
// are uint32 (..., min(m, n)): row i was swapped with row pivots[i], in this order.
std::vector<array> lu_factor(const array& a, StreamOrDevice s = {});
// rows (uint32), l and u with a = l[rows] u.
std::vector<array> lu(const array& a, StreamOrDevice s = {});

// q (..., m, k) with orthonormal columns and the upper triangular r (..., k, n), k = min(m, n).
std::vector<array> qr(const array& a, StreamOrDevice s = {});

// u, s and vt with a = u diag(s) vt, and s in descending order. `full`: u is (m, m) and vt is (n,
// n); else (m, k) and (k, n) with k = min(m, n).
std::vector<array> svd(const array& a, bool full = true, StreamOrDevice s = {});
array singular_values(const array& a, StreamOrDevice s = {});

// The eigenvalues, ascending, and the eigenvectors, as columns, of a Hermitian matrix. Only one
// triangle is read.
std::vector<array> eigh(const array& a, bool upper = false, StreamOrDevice s = {});
array eigvalsh(const array& a, bool upper = false, StreamOrDevice s = {});

// Eigenvalues and eigenvectors (as columns), complex64.
std::vector<array> eig(const array& a, StreamOrDevice s = {});
array eigvals(const array& a, StreamOrDevice s = {});

// The order of a norm: a number, "fro", "f" or "nuc"; none: the 2-norm of all elements.
using NormOrder = std::variant<std::monostate, double, std::string>;

// Norms of vectors along one axis, or of matrices along two. Without axes it is the norm of all
// elements (if there is no order), of a vector, or of a matrix.
array norm(
    const array& a,
    const NormOrder& order = {},
    const std::optional<Axes>& axes = std::nullopt,
    bool keepdims = false,
    StreamOrDevice s = {});

// The cross product along an axis of size 2 or 3. The axis has size 3 in the result.
array cross(const array& a, const array& b, int axis = -1, StreamOrDevice s = {});

} // namespace narrows::linalg
