"""Elementwise functions: the operations of narrows.core under the standard's rules for dtypes."""

from collections.abc import Callable
from typing import Any

import narrows.core as mx
from narrows.array_api import _dtypes as d

_UNARY = {
    d.NUMERIC: "abs negative positive sign square real conj isfinite isinf isnan round",
    d.REAL_NUMERIC: "ceil floor trunc",
    d.FLOATING: "acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 "
    "reciprocal sin sinh sqrt tan tanh",
    d.COMPLEX: "imag",
    d.BOOLEAN: "logical_not",
    d.INTEGER_OR_BOOLEAN: "bitwise_invert",
}
_BINARY = {
    d.NUMERIC: "add subtract multiply pow",
    d.REAL_NUMERIC: "floor_divide remainder greater greater_equal less less_equal maximum minimum",
    d.FLOATING: "divide",
    d.REAL_FLOATING: "atan2 logaddexp",
    d.EVERY: "equal not_equal",
    d.BOOLEAN: "logical_and logical_or logical_xor",
    d.INTEGER_OR_BOOLEAN: "bitwise_and bitwise_or bitwise_xor",
    d.INTEGER: "bitwise_left_shift bitwise_right_shift",
}

__all__ = [
    *(name for words in (*_UNARY.values(), *_BINARY.values()) for name in words.split()),
    *("clip", "copysign", "hypot", "nextafter", "signbit"),
]


def _named(function: Callable, name: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The operation `{name}`. TypeError for dtypes that it is not defined for."
    return function


def _unary(name: str, allowed: frozenset) -> Callable:
    operation = getattr(mx, name)

    def function(x: mx.array, /) -> mx.array:
        return operation(d.require(name, x, allowed))

    return _named(function, name)


def _binary(name: str, allowed: frozenset) -> Callable:
    operation = getattr(mx, name)

    def function(x1: mx.array | complex, x2: mx.array | complex, /) -> mx.array:
        return operation(*d.operands(name, x1, x2, allowed))

    return _named(function, name)


for _make, _table in ((_unary, _UNARY), (_binary, _BINARY)):
    for _allowed, _words in _table.items():
        globals().update({_word: _make(_word, _allowed) for _word in _words.split()})

_BITS = {2: mx.int16, 4: mx.int32, 8: mx.int64}


def _as_bits(x: mx.array) -> mx.array:
    return mx.view(x, _BITS[x.itemsize])


def _both(name: str, x1: Any, x2: Any) -> tuple[mx.array, mx.array]:
    """Real operands as arrays of one dtype and shape."""
    x1, x2 = d.operands(name, x1, x2, d.REAL_FLOATING)
    dtype = d.result_type(x1, x2)
    return tuple(mx.broadcast_arrays(mx.asarray(x1, dtype=dtype), mx.asarray(x2, dtype=dtype)))


def signbit(x: mx.array, /) -> mx.array:
    """Whether the sign is negative, of zeros and NaN too."""
    return _as_bits(d.require("signbit", x, d.REAL_FLOATING)) < 0


def copysign(x1: mx.array | float, x2: mx.array | float, /) -> mx.array:
    """Elements of `x1` with the signs of `x2`."""
    size, sign = _both("copysign", x1, x2)
    bits = _as_bits(size)
    lowest = mx.iinfo(bits.dtype).min
    return mx.view((bits & ~lowest) | (_as_bits(sign) & lowest), size.dtype)


def hypot(x1: mx.array | float, x2: mx.array | float, /) -> mx.array:
    """sqrt(x1**2 + x2**2), whose squares do not overflow."""
    a, b = (mx.abs(x) for x in _both("hypot", x1, x2))
    larger, smaller = mx.maximum(a, b), mx.minimum(a, b)
    ratio = mx.where(smaller == larger, 1.0, smaller / mx.where(larger == 0, 1.0, larger))
    lengths = larger * mx.sqrt(1 + ratio * ratio)
    return mx.where(mx.isinf(a) | mx.isinf(b), mx.inf, lengths)


def nextafter(x1: mx.array | float, x2: mx.array | float, /) -> mx.array:
    """The number next to each element of `x1` in the direction of `x2`."""
    start, end = _both("nextafter", x1, x2)
    bits = _as_bits(start)
    # Numbers of one sign are in the order of their bits, but negative ones in the opposite order.
    away = (start < end) == (start > 0)
    stepped = mx.view(mx.where(away, bits + 1, bits - 1), start.dtype)
    least = copysign(mx.view(mx.ones_like(bits), start.dtype), end)
    moved = mx.where(start == 0, least, stepped)
    moved = mx.where(start == end, end, moved)
    return mx.where(mx.isnan(start) | mx.isnan(end), mx.nan, moved)


def clip(
    x: mx.array,
    /,
    min: mx.array | float | None = None,
    max: mx.array | float | None = None,
) -> mx.array:
    """Elements between two bounds, in the dtype of `x`."""
    d.require("clip", x, d.REAL_NUMERIC)
    for bound in (min, max):
        if bound is not None:
            d.operands("clip", x, bound, d.REAL_NUMERIC)
    if min is None and max is None:
        return mx.positive(x)
    return mx.clip(x, min, max).astype(x.dtype)
