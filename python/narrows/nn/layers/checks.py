"""What layers check about their arguments: the messages name the layer."""

from typing import Any

import narrows.core as mx


def check_array(layer: Any, x: Any) -> None:
    """Raises TypeError unless `x` has a shape, as arrays have."""
    if not hasattr(x, "shape"):
        raise TypeError(f"[{type(layer).__name__}] input {type(x).__name__}, expected an array")


def check_integers(layer: Any, x: Any) -> None:
    """Raises ValueError for an array of anything but integers."""
    if isinstance(x, mx.array) and not mx.issubdtype(x.dtype, mx.integer):
        raise ValueError(f"[{type(layer).__name__}] input of {x.dtype}, expected integers")


def check_last_dimension(layer: Any, x: mx.array, size: int) -> None:
    """Raises ValueError unless the last dimension of `x` has that size."""
    check_array(layer, x)
    if x.ndim == 0 or x.shape[-1] != size:
        raise ValueError(
            f"[{type(layer).__name__}] input of shape {x.shape}, expected (..., {size})"
        )


def check_dimensions(layer: Any, x: mx.array, least: int, most: int, shape: str) -> None:
    """Raises ValueError unless `x` has `least` to `most` dimensions: a shape like `shape`."""
    check_array(layer, x)
    if not least <= x.ndim <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise ValueError(
            f"[{type(layer).__name__}] input of shape {x.shape}, "
            f"expected {count} dimensions: {shape}"
        )


def check_probability(layer: Any, p: float) -> None:
    """Raises ValueError unless 0 <= p < 1."""
    if not 0 <= p < 1:
        raise ValueError(f"[{type(layer).__name__}] probability {p}, expected it in [0, 1)")


def repeated(layer: Any, name: str, value: Any, count: int) -> tuple:
    """A size for each of `count` dimensions; `value` is one for all of them or a tuple."""
    if isinstance(value, int):
        return (value,) * count
    if (
        not isinstance(value, (tuple, list))
        or len(value) != count
        or not all(isinstance(size, int) for size in value)
    ):
        raise ValueError(
            f"[{type(layer).__name__}] {name} {value!r}, expected an integer or {count} of them"
        )
    return tuple(value)
