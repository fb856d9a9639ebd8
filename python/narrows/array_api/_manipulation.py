"""Functions that put elements elsewhere."""

import operator
from collections.abc import Sequence

import narrows.core as mx
from narrows.array_api import _dtypes as d

__all__ = [
    "broadcast_arrays",
    "broadcast_to",
    "concat",
    "expand_dims",
    "flip",
    "matrix_transpose",
    "moveaxis",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "tile",
    "unstack",
]


def broadcast_arrays(*arrays: mx.array) -> tuple[mx.array, ...]:
    """The arrays in the shape that they broadcast to."""
    return tuple(mx.broadcast_arrays(*arrays)) if arrays else ()


def broadcast_to(x: mx.array, /, shape: tuple[int, ...]) -> mx.array:
    """The array in a shape that it broadcasts to."""
    return mx.broadcast_to(d.require("broadcast_to", x), shape)


def concat(arrays: tuple[mx.array, ...] | list[mx.array], /, *, axis: int | None = 0) -> mx.array:
    """Arrays one behind the other, in the dtype that they promote to."""
    arrays = d.of_one_dtype("concat", arrays)
    if axis is None:
        return mx.concatenate([mx.flatten(x) for x in arrays])
    return mx.concatenate(arrays, axis=axis)


def stack(arrays: tuple[mx.array, ...] | list[mx.array], /, *, axis: int = 0) -> mx.array:
    """Arrays along a new axis, in the dtype that they promote to."""
    return mx.stack(d.of_one_dtype("stack", arrays), axis=axis)


def unstack(x: mx.array, /, *, axis: int = 0) -> tuple[mx.array, ...]:
    """The parts of an array along an axis."""
    return tuple(mx.unstack(d.require("unstack", x), axis=axis))


def expand_dims(x: mx.array, /, axis: int = 0) -> mx.array:
    """A new axis of size 1. IndexError if there is no such place for it."""
    d.require("expand_dims", x)
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise IndexError(f"[expand_dims] axis {axis} for shape {x.shape}")
    return mx.expand_dims(x, axis)


def squeeze(x: mx.array, /, axis: int | tuple[int, ...]) -> mx.array:
    """The array without axes of size 1. ValueError for other sizes."""
    return mx.squeeze(d.require("squeeze", x), axis)


def flip(x: mx.array, /, *, axis: int | tuple[int, ...] | None = None) -> mx.array:
    """The elements in reverse along axes; along all if there is none."""
    return mx.flip(d.require("flip", x), axis)


def permute_dims(x: mx.array, /, axes: tuple[int, ...]) -> mx.array:
    """The axes in another order."""
    return mx.transpose(d.require("permute_dims", x), axes)


def matrix_transpose(x: mx.array, /) -> mx.array:
    """Matrices with their rows as columns. ValueError for fewer than two dimensions."""
    return mx.matrix_transpose(d.require("matrix_transpose", x))


def moveaxis(
    x: mx.array, source: int | tuple[int, ...], destination: int | tuple[int, ...], /
) -> mx.array:
    """Axes at other places; the others stay in their order."""
    d.require("moveaxis", x)
    sources, places = (axes_from_front("moveaxis", axes, x.ndim) for axes in (source, destination))
    if len(sources) != len(places):
        raise ValueError(f"[moveaxis] {len(sources)} axes to {len(places)} places")
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources)):
        order.insert(place, axis)
    return mx.transpose(x, order)


def axes_from_front(name: str, axes: int | Sequence[int], ndim: int) -> list[int]:
    """Axes that count from the front, each but once."""
    listed = [axes] if isinstance(axes, int) else [operator.index(axis) for axis in axes]
    if any(not -ndim <= axis < ndim for axis in listed):
        raise IndexError(f"[{name}] axes {listed} for {ndim} dimensions")
    listed = [axis % ndim for axis in listed]
    if len(set(listed)) < len(listed):
        raise ValueError(f"[{name}] axes {listed}, expected each but once")
    return listed


def repeat(x: mx.array, repeats: int | mx.array, /, *, axis: int | None = None) -> mx.array:
    """Each element several times: all as often, or each as often as `repeats` says."""
    d.require("repeat", x)
    if axis is None:
        x, axis = mx.flatten(x), 0
    if not isinstance(repeats, mx.array):
        return mx.repeat(x, repeats, axis=axis)
    counts = d.require("repeat", repeats, d.INTEGER).astype(mx.int64)
    if counts.ndim > 1 or (counts.ndim == 1 and counts.size not in (1, x.shape[axis])):
        raise ValueError(f"[repeat] repeats of shape {counts.shape} for shape {x.shape}")
    if mx.any(counts < 0).item():
        raise ValueError("[repeat] negative repeats, expected 0 or more")
    ends = mx.cumsum(mx.broadcast_to(counts, (x.shape[axis],)))
    total = ends[-1].item() if ends.size else 0
    return mx.take(x, mx.searchsorted(ends, mx.arange(total, dtype=mx.int64), "right"), axis=axis)


def reshape(x: mx.array, /, shape: tuple[int, ...], *, copy: bool | None = None) -> mx.array:
    """The elements in another shape. `copy` changes nothing to be seen: arrays are values."""
    return mx.reshape(d.require("reshape", x), shape)


def roll(
    x: mx.array, /, shift: int | tuple[int, ...], *, axis: int | tuple[int, ...] | None = None
) -> mx.array:
    """The elements moved along axes, and around."""
    d.require("roll", x)
    if isinstance(shift, int) and isinstance(axis, tuple):
        shift = (shift,) * len(axis)
    return mx.roll(x, shift, axis)


def tile(x: mx.array, repetitions: tuple[int, ...], /) -> mx.array:
    """The array several times along each axis."""
    return mx.tile(d.require("tile", x), repetitions)
