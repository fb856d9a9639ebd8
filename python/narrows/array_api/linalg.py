"""The extension `linalg` of the standard."""

import math
from typing import NamedTuple

import narrows.core as mx
from narrows.array_api import _dtypes as d
from narrows.array_api._manipulation import matrix_transpose
from narrows.array_api._products import matmul, tensordot, vecdot
from narrows.array_api._statistics import sum

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: mx.array
    eigenvectors: mx.array


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: mx.array
    R: mx.array


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: mx.array
    logabsdet: mx.array


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: mx.array
    S: mx.array
    Vh: mx.array


def _matrices(name: str, x: mx.array, allowed: frozenset = d.FLOATING) -> mx.array:
    if d.require(name, x, allowed).ndim < 2:
        raise ValueError(f"[{name}] array of shape {x.shape}, expected at least 2 dimensions")
    return x


def cholesky(x: mx.array, /, *, upper: bool = False) -> mx.array:
    """The triangular factor of positive definite matrices."""
    return mx.linalg.cholesky(_matrices("cholesky", x), upper)


def cross(x1: mx.array, x2: mx.array, /, *, axis: int = -1) -> mx.array:
    """Cross products of vectors of three elements."""
    x1, x2 = d.of_one_dtype("cross", [x1, x2], d.NUMERIC)
    if not -min(x1.ndim, x2.ndim) <= axis < max(x1.ndim, x2.ndim):
        raise ValueError(f"[cross] axis {axis} for shapes {x1.shape} and {x2.shape}")
    if (x1.shape[axis], x2.shape[axis]) != (3, 3):
        raise ValueError(f"[cross] shapes {x1.shape} and {x2.shape}, expected vectors of 3")
    return mx.linalg.cross(x1, x2, axis)


def det(x: mx.array, /) -> mx.array:
    """Determinants."""
    return mx.linalg.det(_matrices("det", x))


def diagonal(x: mx.array, /, *, offset: int = 0) -> mx.array:
    """The diagonals of matrices."""
    return mx.diagonal(_matrices("diagonal", x, d.EVERY), offset, -2, -1)


def eigh(x: mx.array, /) -> EighResult:
    """Eigenvalues and eigenvectors of Hermitian matrices."""
    return EighResult(*mx.linalg.eigh(_matrices("eigh", x)))


def eigvalsh(x: mx.array, /) -> mx.array:
    """Eigenvalues of Hermitian matrices."""
    return mx.linalg.eigvalsh(_matrices("eigvalsh", x))


def inv(x: mx.array, /) -> mx.array:
    """Inverses."""
    return mx.linalg.inv(_matrices("inv", x))


def matrix_norm(
    x: mx.array, /, *, keepdims: bool = False, ord: float | str | None = "fro"
) -> mx.array:
    """Norms of matrices: "fro", "nuc", 1, -1, 2, -2, inf, -inf."""
    return mx.linalg.norm(_matrices("matrix_norm", x), ord, (-2, -1), keepdims)


def matrix_power(x: mx.array, n: int, /) -> mx.array:
    """Products of a matrix with itself; of its inverse if `n` is negative."""
    _matrices("matrix_power", x)
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"[matrix_power] shape {x.shape}, expected square matrices")
    factor, left = (x, n) if n >= 0 else (mx.linalg.inv(x), -n)
    if left == 0:
        return mx.broadcast_to(mx.eye(x.shape[-1], dtype=x.dtype), x.shape)
    result = None
    while left:
        if left & 1:
            result = factor if result is None else result @ factor
        left >>= 1
        factor = factor @ factor if left else factor
    return result


def _limit(x: mx.array, values: mx.array, rtol: float | mx.array | None) -> mx.array:
    """The singular value below which one counts as zero."""
    if rtol is None:
        rtol = max(x.shape[-2:]) * d.finfo(x.dtype).eps
    if isinstance(rtol, mx.array):
        rtol = rtol[..., None]
    return mx.max(values, axis=-1, keepdims=True) * rtol


def matrix_rank(x: mx.array, /, *, rtol: float | mx.array | None = None) -> mx.array:
    """How many singular values are larger than `rtol` times the largest."""
    _matrices("matrix_rank", x)
    if 0 in x.shape[-2:]:
        return mx.zeros(x.shape[:-2], dtype=d.DEFAULT_INDEX)
    values = svdvals(x)
    return mx.sum(values > _limit(x, values, rtol), axis=-1).astype(d.DEFAULT_INDEX)


def outer(x1: mx.array, x2: mx.array, /) -> mx.array:
    """All products of elements of two vectors."""
    x1, x2 = d.of_one_dtype("outer", [x1, x2], d.NUMERIC)
    if (x1.ndim, x2.ndim) != (1, 1):
        raise ValueError(f"[outer] shapes {x1.shape} and {x2.shape}, expected vectors")
    return x1[:, None] * x2[None, :]


def pinv(x: mx.array, /, *, rtol: float | mx.array | None = None) -> mx.array:
    """Pseudo-inverses: singular values up to `rtol` times the largest count as zero."""
    _matrices("pinv", x)
    if 0 in x.shape[-2:]:
        return mx.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), dtype=x.dtype)
    u, s, vh = svd(x, full_matrices=False)
    is_used = s > _limit(x, s, rtol)
    inverse = mx.where(is_used, 1 / mx.where(is_used, s, 1), 0)
    return (mx.conj(vh.mT) * inverse[..., None, :]) @ mx.conj(u.mT)


def qr(x: mx.array, /, *, mode: str = "reduced") -> QRResult:
    """Q with orthonormal columns and the upper triangular R; Q is square in mode "complete"."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"[qr] mode '{mode}', expected 'reduced' or 'complete'")
    q, r = mx.linalg.qr(_matrices("qr", x))
    further = q.shape[-2] - q.shape[-1]
    if mode == "complete" and further:
        # Vectors that belong to no singular value of q are orthogonal to its columns.
        others = mx.linalg.svd(q)[0][..., q.shape[-1] :]
        q = mx.concatenate([q, others], axis=-1)
        below = mx.zeros((*r.shape[:-2], further, r.shape[-1]), dtype=r.dtype)
        r = mx.concatenate([r, below], axis=-2)
    return QRResult(q, r)


def slogdet(x: mx.array, /) -> SlogdetResult:
    """Signs of determinants, and logarithms of their absolute values."""
    return SlogdetResult(*mx.linalg.slogdet(_matrices("slogdet", x)))


def solve(x1: mx.array, x2: mx.array, /) -> mx.array:
    """y with x1 @ y = x2, which is one vector, or matrices."""
    x1, x2 = d.of_one_dtype("solve", [x1, x2], d.FLOATING)
    _matrices("solve", x1)
    return mx.linalg.solve(x1, x2[:, None])[..., 0] if x2.ndim == 1 else mx.linalg.solve(x1, x2)


def svd(x: mx.array, /, *, full_matrices: bool = True) -> SVDResult:
    """Singular values, with the vectors that belong to them, or with all."""
    _matrices("svd", x)
    return SVDResult(*(mx.linalg.svd(x) if full_matrices else mx.linalg._thin_svd(x)))


def svdvals(x: mx.array, /) -> mx.array:
    """Singular values, the largest first."""
    return mx.linalg.svd(_matrices("svdvals", x), compute_uv=False)


def trace(x: mx.array, /, *, offset: int = 0, dtype: mx.Dtype | None = None) -> mx.array:
    """Sums of diagonals. Small integers give int32 or uint32 if there is no dtype."""
    _matrices("trace", x, d.NUMERIC)
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def vector_norm(
    x: mx.array,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    ord: float = 2,
) -> mx.array:
    """Norms of vectors along axes, which are taken as one; of all elements if there is none."""
    size = mx.abs(d.require("vector_norm", x, d.FLOATING))
    if ord in (math.inf, -math.inf):
        reduce = mx.max if ord > 0 else mx.min
        return reduce(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return mx.sum(size != 0, axis=axis, keepdims=keepdims).astype(size.dtype)
    if ord == 1:
        return mx.sum(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        return mx.sqrt(mx.sum(mx.square(size), axis=axis, keepdims=keepdims))
    return mx.sum(size**ord, axis=axis, keepdims=keepdims) ** (1 / ord)
