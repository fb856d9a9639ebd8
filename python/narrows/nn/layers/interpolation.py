"""Which inputs an interpolated output is made of, and their weights: plain numbers."""

import math
from collections.abc import Callable
from functools import lru_cache


def _centered(i: int, n: int, m: int, scale: float) -> float:
    """Where output `i` of `m` lies among `n` inputs: both have the same center."""
    return (i - (m - 1) / 2) / scale + (n - 1) / 2


def _positions(n: int, m: int, scale: float, align_corners: bool) -> list[float]:
    if align_corners:
        step = (n - 1) / (m - 1) if m > 1 else 0.0
        return [i * step for i in range(m)]
    return [_centered(i, n, m, scale) for i in range(m)]


def _triangle(distance: float) -> float:
    return max(0.0, 1 - abs(distance))


def _cubic(distance: float, a: float) -> float:
    """The cubic convolution kernel; `a` is its slope at distance one."""
    d = abs(distance)
    if d < 1:
        return ((a + 2) * d - (a + 3)) * d * d + 1
    return (((d - 5) * d + 8) * d - 4) * a if d < 2 else 0.0


@lru_cache(maxsize=256)
def nearest(n: int, scale: float) -> list[int]:
    """The input that each output is."""
    m = int(scale * n)
    if scale < 1:
        return [i * n // m for i in range(m)]
    return [min(max(round(((2 * i + 1) * n - m) / (2 * m)), 0), n - 1) for i in range(m)]


Taps = tuple[list[list[int]], list[list[float]]]


def _taps(positions: list[float], n: int, radius: float, kernel: Callable, cut: bool) -> Taps:
    """The inputs within `radius` of each position, and what `kernel` makes of the distances.

    Beyond the ends there is the last input again or, if `cut`, nothing. Of each output there is
    the same number of inputs, at first all their firsts, then all their seconds and so on.
    """
    count = 2 * math.ceil(radius)
    indices, weights = [], []
    for position in positions:
        first = math.floor(position) - count // 2 + 1
        near = range(first, first + count)
        values = [kernel(i - position) if not cut or 0 <= i < n else 0.0 for i in near]
        total = sum(values)
        indices.append([min(max(i, 0), n - 1) for i in near])
        weights.append([value / total for value in values])
    return [list(t) for t in zip(*indices)], [list(t) for t in zip(*weights)]


@lru_cache(maxsize=256)
def taps(n: int, scale: float, mode: str, align_corners: bool, antialias: bool) -> Taps:
    """The inputs of each output and their weights, for the modes "linear" and "cubic"."""
    positions = _positions(n, int(scale * n), scale, align_corners)
    width = max(1.0, 1 / scale) if antialias else 1.0
    if mode == "linear":
        return _taps(positions, n, width, lambda d: _triangle(d / width), antialias)
    a = -0.5 if antialias else -0.75
    return _taps(positions, n, 2 * width, lambda d: _cubic(d / width, a), antialias)
