"""The extension `fft` of the standard. Results are complex64, or float32."""

from collections.abc import Callable
from typing import Any

import narrows.core as mx
from narrows.array_api import _dtypes as d
from narrows.array_api._elementwise import _named

__all__ = [
    "fft",
    "ifft",
    "fftn",
    "ifftn",
    "rfft",
    "irfft",
    "rfftn",
    "irfftn",
    "hfft",
    "ihfft",
    "fftfreq",
    "rfftfreq",
    "fftshift",
    "ifftshift",
]

_OTHER_WAY = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _along_one(name: str, allowed: frozenset) -> Callable:
    operation = getattr(mx.fft, name)

    def function(
        x: mx.array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
    ) -> mx.array:
        return operation(d.require(name, x, allowed), n=n, axis=axis, norm=norm)

    return _named(function, name)


def _along_several(name: str, allowed: frozenset) -> Callable:
    operation = getattr(mx.fft, name)

    def function(
        x: mx.array,
        /,
        *,
        s: tuple[int, ...] | None = None,
        axes: tuple[int, ...] | None = None,
        norm: str = "backward",
    ) -> mx.array:
        if s is not None and axes is not None and len(s) != len(axes):
            raise ValueError(f"[{name}] s {s} and axes {axes}, expected one length")
        return operation(d.require(name, x, allowed), s=s, axes=axes, norm=norm)

    return _named(function, name)


fft = _along_one("fft", d.FLOATING)
ifft = _along_one("ifft", d.FLOATING)
rfft = _along_one("rfft", d.REAL_FLOATING)
irfft = _along_one("irfft", d.FLOATING)
fftn = _along_several("fftn", d.FLOATING)
ifftn = _along_several("ifftn", d.FLOATING)
rfftn = _along_several("rfftn", d.REAL_FLOATING)
irfftn = _along_several("irfftn", d.FLOATING)


def _check_norm(name: str, norm: str) -> str:
    if norm not in _OTHER_WAY:
        raise ValueError(f"[{name}] norm '{norm}', expected 'backward', 'ortho' or 'forward'")
    return _OTHER_WAY[norm]


def hfft(
    x: mx.array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
) -> mx.array:
    """The real spectrum of a signal of which one half is given, the other its conjugate."""
    d.require("hfft", x, d.FLOATING)
    return mx.fft.irfft(mx.conj(x), n=n, axis=axis, norm=_check_norm("hfft", norm))


def ihfft(
    x: mx.array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
) -> mx.array:
    """What `hfft` is the inverse of."""
    d.require("ihfft", x, d.REAL_FLOATING)
    return mx.conj(mx.fft.rfft(x, n=n, axis=axis, norm=_check_norm("ihfft", norm)))


def _frequencies(
    name: str, counts: mx.array, n: int, spacing: float, dtype: mx.Dtype | None
) -> mx.array:
    dtype = d.DEFAULT_REAL if dtype is None else dtype
    if dtype not in d.REAL_FLOATING:
        raise TypeError(f"[{name}] dtype {d.name_of(dtype)}, expected real floating point")
    return counts.astype(dtype) / (n * spacing)


def fftfreq(
    n: int, /, *, d: float = 1.0, dtype: mx.Dtype | None = None, device: Any = None
) -> mx.array:
    """The frequencies of `fft`, for samples `d` apart."""
    counts = mx.arange(n, stream=device)
    counts = mx.where(counts < (n + 1) // 2, counts, counts - n)
    return _frequencies("fftfreq", counts, n, d, dtype)


def rfftfreq(
    n: int, /, *, d: float = 1.0, dtype: mx.Dtype | None = None, device: Any = None
) -> mx.array:
    """The frequencies of `rfft`, for samples `d` apart."""
    return _frequencies("rfftfreq", mx.arange(n // 2 + 1, stream=device), n, d, dtype)


def fftshift(x: mx.array, /, *, axes: int | tuple[int, ...] | None = None) -> mx.array:
    """The frequency 0 moved to the middle."""
    return mx.fft.fftshift(d.require("fftshift", x, d.EVERY), axes)


def ifftshift(x: mx.array, /, *, axes: int | tuple[int, ...] | None = None) -> mx.array:
    """What `fftshift` undoes."""
    return mx.fft.ifftshift(d.require("ifftshift", x, d.EVERY), axes)
