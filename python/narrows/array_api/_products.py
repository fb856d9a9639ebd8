"""Products of vectors and matrices, of integers too."""

from collections.abc import Sequence

import narrows.core as mx
from narrows.array_api import _dtypes as d
from narrows.array_api._manipulation import axes_from_front

__all__ = ["matmul", "tensordot", "vecdot"]


def matmul(x1: mx.array, x2: mx.array, /) -> mx.array:
    """Products of matrices. ValueError for shapes that do not fit."""
    x1, x2 = d.of_one_dtype("matmul", [x1, x2], d.NUMERIC)
    if x1.dtype in d.FLOATING:
        return mx.matmul(x1, x2)
    if x1.ndim == 0 or x2.ndim == 0:
        raise ValueError("[matmul] an array of shape (), expected at least one dimension")
    rows = x1 if x1.ndim > 1 else x1[None]
    columns = x2 if x2.ndim > 1 else x2[:, None]
    product = mx.einsum("...ij,...jk->...ik", rows, columns).astype(x1.dtype)
    product = product if x2.ndim > 1 else mx.squeeze(product, -1)
    return product if x1.ndim > 1 else mx.squeeze(product, -2 if x2.ndim > 1 else -1)


def vecdot(x1: mx.array, x2: mx.array, /, *, axis: int = -1) -> mx.array:
    """Products of vectors along an axis, the first ones conjugated."""
    x1, x2 = d.of_one_dtype("vecdot", [x1, x2], d.NUMERIC)
    for x in (x1, x2):
        if not -x.ndim <= axis < 0:
            raise ValueError(f"[vecdot] axis {axis} for shape {x.shape}, expected a negative one")
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"[vecdot] shapes {x1.shape} and {x2.shape}, expected one size")
    return mx.sum(mx.conj(x1) * x2, axis=axis).astype(x1.dtype)


def tensordot(
    x1: mx.array, x2: mx.array, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> mx.array:
    """Sums of products over several axes of both."""
    x1, x2 = d.of_one_dtype("tensordot", [x1, x2], d.NUMERIC)
    if isinstance(axes, int):
        if not 0 <= axes <= min(x1.ndim, x2.ndim):
            raise ValueError(f"[tensordot] {axes} axes of shapes {x1.shape} and {x2.shape}")
        axes = (range(x1.ndim - axes, x1.ndim), range(axes))
    first, second = (
        axes_from_front("tensordot", listed, x.ndim)
        for x, listed in zip((x1, x2), axes, strict=True)
    )
    sizes = [[x.shape[axis] for axis in listed] for x, listed in ((x1, first), (x2, second))]
    if sizes[0] != sizes[1]:
        raise ValueError(f"[tensordot] axes of sizes {sizes[0]} and {sizes[1]}")
    free = [[i for i in range(x.ndim) if i not in used] for x, used in ((x1, first), (x2, second))]
    count = 1
    for size in sizes[0]:
        count *= size
    shape = [x1.shape[i] for i in free[0]] + [x2.shape[i] for i in free[1]]
    rows = mx.transpose(x1, free[0] + first).reshape(_product(x1, free[0]), count)
    columns = mx.transpose(x2, second + free[1]).reshape(count, _product(x2, free[1]))
    return matmul(rows, columns).reshape(shape)


def _product(x: mx.array, axes: list[int]) -> int:
    size = 1
    for axis in axes:
        size *= x.shape[axis]
    return size
