"""Reductions, scans, searching, sorting and sets."""

from collections.abc import Callable
from typing import NamedTuple

import narrows.core as mx
from narrows.array_api import _dtypes as d
from narrows.array_api._elementwise import _named

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "max",
    "mean",
    "min",
    "nonzero",
    "prod",
    "searchsorted",
    "sort",
    "std",
    "sum",
    "take",
    "take_along_axis",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "var",
    "where",
]

Axis = int | tuple[int, ...] | None


def _sum_dtype(dtype: mx.Dtype) -> mx.Dtype:
    """Small integers are summed in the default integer, or the unsigned one of its size."""
    if dtype in d.INTEGER and mx.iinfo(dtype).bits < 32:
        return mx.uint32 if dtype in d.UNSIGNED else d.DEFAULT_INTEGER
    return dtype


def _summed(name: str, x: mx.array, dtype: mx.Dtype | None) -> mx.array:
    d.require(name, x, d.NUMERIC)
    return d.astype(x, _sum_dtype(x.dtype) if dtype is None else dtype)


def sum(
    x: mx.array, /, *, axis: Axis = None, dtype: mx.Dtype | None = None, keepdims: bool = False
) -> mx.array:
    """Sums along axes. Small integers give int32 or uint32 if there is no dtype."""
    x = _summed("sum", x, dtype)
    return mx.sum(x, axis, keepdims).astype(x.dtype)


def prod(
    x: mx.array, /, *, axis: Axis = None, dtype: mx.Dtype | None = None, keepdims: bool = False
) -> mx.array:
    """Products along axes. Small integers give int32 or uint32 if there is no dtype."""
    x = _summed("prod", x, dtype)
    return mx.prod(x, axis, keepdims).astype(x.dtype)


def _cumulative(name: str, first: int) -> Callable:
    operation = getattr(mx, name)

    def function(
        x: mx.array,
        /,
        *,
        axis: int | None = None,
        dtype: mx.Dtype | None = None,
        include_initial: bool = False,
    ) -> mx.array:
        x = _summed(name, x, dtype)
        if x.ndim == 0 or (axis is None and x.ndim > 1):
            raise ValueError(f"[{name}] shape {x.shape} and axis {axis}, expected an axis")
        axis = 0 if axis is None else axis
        result = operation(x, axis=axis).astype(x.dtype)
        if not include_initial:
            return result
        shape = list(x.shape)
        shape[axis] = 1
        return mx.concatenate([mx.full(shape, first, dtype=x.dtype), result], axis=axis)

    return _named(function, name)


cumulative_sum = _cumulative("cumulative_sum", 0)
cumulative_prod = _cumulative("cumulative_prod", 1)


def _reduction(name: str, allowed: frozenset) -> Callable:
    operation = getattr(mx, name)

    def function(x: mx.array, /, *, axis: Axis = None, keepdims: bool = False) -> mx.array:
        return operation(d.require(name, x, allowed), axis=axis, keepdims=keepdims)

    return _named(function, name)


max = _reduction("max", d.REAL_NUMERIC)
min = _reduction("min", d.REAL_NUMERIC)
mean = _reduction("mean", d.FLOATING)
all = _reduction("all", d.EVERY)
any = _reduction("any", d.EVERY)


def _indices(name: str, allowed: frozenset) -> Callable:
    operation = getattr(mx, name)

    def function(x: mx.array, /, *, axis: Axis = None, keepdims: bool = False) -> mx.array:
        x = d.require(name, x, allowed)
        return operation(x, axis=axis, keepdims=keepdims).astype(d.DEFAULT_INDEX)

    return _named(function, name)


argmax = _indices("argmax", d.REAL_NUMERIC)
argmin = _indices("argmin", d.REAL_NUMERIC)
count_nonzero = _indices("count_nonzero", d.EVERY)


def var(
    x: mx.array, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> mx.array:
    """Variances along axes: sums of squares divided by the count less `correction`."""
    d.require("var", x, d.REAL_FLOATING)
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    count = 1
    for i in axes:
        count *= x.shape[i]
    centred = x - mx.mean(x, axis=axes, keepdims=True)
    squares = mx.sum(mx.square(centred), axis=axes, keepdims=keepdims)
    return squares / mx.maximum(mx.array(count - correction, dtype=x.dtype), 0)


def std(
    x: mx.array, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> mx.array:
    """Standard deviations along axes, as `var` has it."""
    d.require("std", x, d.REAL_FLOATING)
    return mx.sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def diff(
    x: mx.array,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: mx.array | None = None,
    append: mx.array | None = None,
) -> mx.array:
    """Differences of neighbours, n times."""
    parts = [part for part in (prepend, x, append) if part is not None]
    parts = d.of_one_dtype("diff", parts, d.NUMERIC)
    return mx.diff(mx.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0], n, axis)


def where(condition: mx.array, x1: mx.array | complex, x2: mx.array | complex, /) -> mx.array:
    """Elements of `x1` where the condition is true, else of `x2`."""
    d.require("where", condition, d.BOOLEAN)
    return mx.where(condition, *d.operands("where", x1, x2, d.EVERY))


def nonzero(x: mx.array, /) -> tuple[mx.array, ...]:
    """The indices of elements that are not zero, an array for each axis. Evaluates."""
    if d.require("nonzero", x).ndim == 0:
        raise ValueError("[nonzero] array of shape (), expected at least one dimension")
    return tuple(indices.astype(d.DEFAULT_INDEX) for indices in mx.nonzero(x))


def searchsorted(
    x1: mx.array, x2: mx.array, /, *, side: str = "left", sorter: mx.array | None = None
) -> mx.array:
    """Where elements of `x2` would stand in `x1`, which is sorted, or is by `sorter`."""
    x1, x2 = d.of_one_dtype("searchsorted", [x1, x2], d.REAL_NUMERIC)
    if sorter is not None:
        x1 = mx.take(x1, d.require("searchsorted", sorter, d.INTEGER))
    return mx.searchsorted(x1, x2, side).astype(d.DEFAULT_INDEX)


def take(x: mx.array, indices: mx.array, /, *, axis: int | None = None) -> mx.array:
    """The parts of an array that the indices, of one dimension, say."""
    d.require("take", indices, d.INTEGER)
    if d.require("take", x).ndim != 1 and axis is None:
        raise ValueError(f"[take] array of shape {x.shape}, expected an axis")
    if indices.ndim != 1:
        raise ValueError(f"[take] indices of shape {indices.shape}, expected one dimension")
    return mx.take(x, indices, axis=0 if axis is None else axis)


def take_along_axis(x: mx.array, indices: mx.array, /, *, axis: int = -1) -> mx.array:
    """Along an axis, the elements that the indices say for each line."""
    d.require("take_along_axis", indices, d.INTEGER)
    return mx.take_along_axis(d.require("take_along_axis", x), indices, axis=axis)


def sort(
    x: mx.array, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> mx.array:
    """The elements in order, NaN last, or first if `descending`. Always stable."""
    d.require("sort", x, d.REAL_NUMERIC)
    return mx.flip(mx.sort(mx.flip(x, axis), axis), axis) if descending else mx.sort(x, axis)


def argsort(
    x: mx.array, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> mx.array:
    """The indices that put the elements in order. Always stable."""
    d.require("argsort", x, d.REAL_NUMERIC)
    if not descending:
        return mx.argsort(x, axis).astype(d.DEFAULT_INDEX)
    order = mx.argsort(mx.flip(x, axis), axis).astype(d.DEFAULT_INDEX)
    return x.shape[axis] - 1 - mx.flip(order, axis)


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: mx.array
    indices: mx.array
    inverse_indices: mx.array
    counts: mx.array


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: mx.array
    counts: mx.array


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: mx.array
    inverse_indices: mx.array


def unique_all(x: mx.array, /) -> UniqueAll:
    """The different elements in order, where each is first, which each is, and how many.

    Each NaN is different. It evaluates: how many there are depends on the elements.
    """
    flat = mx.flatten(d.require("unique_all", x))
    order = mx.argsort(flat).astype(d.DEFAULT_INDEX)
    ordered = mx.take(flat, order)
    is_first = mx.concatenate(
        [mx.ones((1 if flat.size else 0,), mx.bool_), ordered[1:] != ordered[:-1]]
    )
    starts = mx.nonzero(is_first)[0].astype(d.DEFAULT_INDEX)
    ends = mx.concatenate([starts[1:], mx.array([flat.size], d.DEFAULT_INDEX)[: starts.size]])
    number = mx.cumsum(is_first.astype(d.DEFAULT_INDEX)) - 1
    inverse = mx.put_along_axis(mx.zeros_like(number), order, number, 0)
    values, indices = mx.take(flat, mx.take(order, starts)), mx.take(order, starts)
    return UniqueAll(values, indices, inverse.reshape(x.shape), ends - starts)


def unique_counts(x: mx.array, /) -> UniqueCounts:
    """The different elements in order, and how many there are of each. Evaluates."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: mx.array, /) -> UniqueInverse:
    """The different elements in order, and which each element is. Evaluates."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: mx.array, /) -> mx.array:
    """The different elements in order. Evaluates."""
    return unique_all(x).values
