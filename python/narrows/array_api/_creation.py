"""Functions that make arrays. `device` is a device of narrows, where the array is made."""

from typing import Any

import narrows.core as mx
from narrows.array_api import _dtypes as d

__all__ = [
    "arange",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
    "linspace",
    "meshgrid",
    "ones",
    "ones_like",
    "tril",
    "triu",
    "zeros",
    "zeros_like",
]

Shape = int | tuple[int, ...]


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: mx.Dtype | None = None,
    device: Any = None,
) -> mx.array:
    """start, start + step, ... below `stop`; 0, 1, ... below `start` if there is no `stop`."""
    start, stop = (0, start) if stop is None else (start, stop)
    return mx.arange(start, stop, step, dtype=dtype, stream=device)


def _dtype_of(obj: Any) -> mx.Dtype | None:
    """float64 for what has that dtype in another library: narrows.core makes float32 of it."""
    name = str(getattr(obj, "dtype", "")).rpartition(".")[2]
    return mx.float64 if name == "float64" and not isinstance(obj, mx.array) else None


def asarray(
    obj: Any,
    /,
    *,
    dtype: mx.Dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
) -> mx.array:
    """An array made of numbers, nested lists, or an array of any library.

    Raises:
      ValueError: If `copy` is False and a copy is needed.
    """
    made = mx.asarray(obj, dtype=dtype or _dtype_of(obj), copy=copy)
    return made if device is None or copy is False else made.to_device(device)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> mx.array:
    """A copy of an array of another library; an array of narrows as it is.

    Raises:
      BufferError: If `copy` is False and a copy is needed.
    """
    try:
        made = mx.from_dlpack(x, copy=copy)
    except ValueError as error:
        if copy is False:
            raise BufferError(str(error)) from error
        raise
    return made if device is None else made.to_device(device)


def zeros(shape: Shape, *, dtype: mx.Dtype | None = None, device: Any = None) -> mx.array:
    """Zeros; float32 if there is no dtype."""
    return mx.zeros(shape, dtype=dtype, stream=device)


def ones(shape: Shape, *, dtype: mx.Dtype | None = None, device: Any = None) -> mx.array:
    """Ones; float32 if there is no dtype."""
    return mx.ones(shape, dtype=dtype, stream=device)


def empty(shape: Shape, *, dtype: mx.Dtype | None = None, device: Any = None) -> mx.array:
    """Zeros: no element is left to chance."""
    return mx.empty(shape, dtype=dtype, stream=device)


def full(
    shape: Shape,
    fill_value: complex | mx.array,
    *,
    dtype: mx.Dtype | None = None,
    device: Any = None,
) -> mx.array:
    """One number everywhere, in the default dtype of its kind if there is none."""
    return mx.full(shape, fill_value, dtype=dtype, stream=device)


def zeros_like(x: mx.array, /, *, dtype: mx.Dtype | None = None, device: Any = None) -> mx.array:
    """Zeros of the shape of `x`, and of its dtype if there is no other."""
    d.require("zeros_like", x)
    return mx.zeros(x.shape, dtype=dtype or x.dtype, stream=device)


def ones_like(x: mx.array, /, *, dtype: mx.Dtype | None = None, device: Any = None) -> mx.array:
    """Ones of the shape of `x`, and of its dtype if there is no other."""
    d.require("ones_like", x)
    return mx.ones(x.shape, dtype=dtype or x.dtype, stream=device)


def empty_like(x: mx.array, /, *, dtype: mx.Dtype | None = None, device: Any = None) -> mx.array:
    """Zeros of the shape of `x`, and of its dtype if there is no other."""
    d.require("empty_like", x)
    return mx.empty(x.shape, dtype=dtype or x.dtype, stream=device)


def full_like(
    x: mx.array,
    /,
    fill_value: complex,
    *,
    dtype: mx.Dtype | None = None,
    device: Any = None,
) -> mx.array:
    """One number everywhere, in the shape of `x`, and its dtype if there is no other."""
    d.require("full_like", x)
    return mx.full(x.shape, fill_value, dtype=dtype or x.dtype, stream=device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: mx.Dtype | None = None,
    device: Any = None,
) -> mx.array:
    """Ones on the k-th diagonal, zeros elsewhere."""
    return mx.eye(n_rows, n_cols, k=k, dtype=dtype, stream=device)


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: mx.Dtype | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> mx.array:
    """`num` numbers between two, in equal steps; the last is `stop` if `endpoint`."""
    start, stop = complex(start), complex(stop)
    is_complex = start.imag != 0 or stop.imag != 0
    dtype = dtype or (d.DEFAULT_COMPLEX if is_complex else d.DEFAULT_REAL)
    if is_complex and dtype not in d.COMPLEX:
        raise TypeError(f"[linspace] complex bounds and dtype {d.name_of(dtype)}")
    options = {"endpoint": endpoint, "stream": device}
    if dtype not in d.COMPLEX:
        return mx.linspace(start.real, stop.real, num, dtype=dtype, **options)
    real = mx.linspace(start.real, stop.real, num, **options)
    imag = mx.linspace(start.imag, stop.imag, num, **options)
    return mx.view(mx.stack([real, imag], axis=-1), mx.complex64).reshape(num)


def meshgrid(*arrays: mx.array, indexing: str = "xy") -> tuple[mx.array, ...]:
    """The coordinates of a grid, an array for each axis."""
    if len({d.require("meshgrid", x, d.NUMERIC).dtype for x in arrays}) > 1:
        raise ValueError("[meshgrid] arrays of several dtypes, expected one")
    return tuple(mx.meshgrid(*arrays, indexing=indexing)) if arrays else ()


def tril(x: mx.array, /, *, k: int = 0) -> mx.array:
    """Matrices with zeros above the k-th diagonal."""
    return mx.tril(d.require("tril", x), k)


def triu(x: mx.array, /, *, k: int = 0) -> mx.array:
    """Matrices with zeros below the k-th diagonal."""
    return mx.triu(d.require("triu", x), k)
