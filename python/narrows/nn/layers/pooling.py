"""Pooling: the largest value or the mean in each window."""

import math

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_dimensions, repeated


def _windows(x: mx.array, size: tuple, stride: tuple) -> mx.array:
    """A view of (batch, *places, channels) as (batch, *windows, *size, channels)."""
    places = x.shape[1:-1]
    counts = [max(0, (n - k) // s + 1) for n, k, s in zip(places, size, stride)]
    if size == stride and all(n % k == 0 for n, k in zip(places, size)):
        # No place is in two windows: splitting each dimension in two gives them.
        split = [n for pair in zip(counts, size) for n in pair]
        x = x.reshape(x.shape[0], *split, x.shape[-1])
        axes = range(1, 2 * len(size) + 1)
        return x.transpose(0, *axes[::2], *axes[1::2], x.ndim - 1)
    steps = [math.prod(x.shape[i + 1 :]) for i in range(x.ndim)]
    return mx.as_strided(
        x,
        (x.shape[0], *counts, *size, x.shape[-1]),
        (steps[0], *(n * s for n, s in zip(steps[1:-1], stride)), *steps[1:-1], 1),
    )


class _Pool(Module):
    """What pooling layers share. Classes say over how many dimensions, and how windows become one
    value."""

    _places: int

    def _set(self, kernel_size, stride, padding) -> None:
        stride = kernel_size if stride is None else stride
        padding = 0 if padding is None else padding
        settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        for name, value in settings.items():
            sizes = repeated(self, name, value, self._places)
            least = 0 if name == "padding" else 1
            if min(sizes) < least:
                raise ValueError(
                    f"[{type(self).__name__}] {name} {value}, expected {least} or more"
                )
            setattr(self, f"_{name}", sizes)

    def _extra_repr(self) -> str:
        return f"kernel_size={self._kernel_size}, stride={self._stride}, padding={self._padding}"

    def __call__(self, x: mx.array) -> mx.array:
        places = ("depth, ", "height, ", "width, ")[-self._places :]
        shape = f"(batch, {'length, ' if len(places) == 1 else ''.join(places)}channels)"
        check_dimensions(self, x, self._places + 2, self._places + 2, shape)
        return self._pooled(x)


class _MaxPool(_Pool):
    def _pooled(self, x: mx.array) -> mx.array:
        return mx.max_pool(x, self._kernel_size, self._stride, self._padding)


class _AvgPool(_Pool):
    def _pooled(self, x: mx.array) -> mx.array:
        """Windows that overlap are filters of a convolution, whose gradient is much faster."""
        overlap = any(s < k for s, k in zip(self._stride, self._kernel_size))
        padded = [n + 2 * p for n, p in zip(x.shape[1:-1], self._padding)]
        fit = all(n >= k for n, k in zip(padded, self._kernel_size))
        channels = x.shape[-1]
        if x.dtype != mx.float32 or channels < 8 or not overlap or not fit:
            if any(self._padding):
                x = mx.pad(x, [(0, 0), *((p, p) for p in self._padding), (0, 0)])
            axes = tuple(range(-self._places - 1, -1))
            return mx.mean(_windows(x, self._kernel_size, self._stride), axis=axes)
        filters = mx.full((channels, *self._kernel_size, 1), 1 / math.prod(self._kernel_size))
        return mx.conv_general(x, filters, self._stride, self._padding, groups=channels)


class MaxPool1d(_MaxPool):
    """The largest value in each window, over one dimension.

    Takes inputs (batch, length, channels).
    Padding never is the largest value.

    Args:
      kernel_size: The size of the windows: an integer or a tuple of one.
      stride: How far apart windows begin; default: `kernel_size`.
      padding: How much is added at each end of a dimension.

    Raises:
      ValueError: A size is not positive or of the wrong length, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.MaxPool1d(2)(mx.arange(4.0).reshape(1, 4, 1)).flatten().tolist()
      [1.0, 3.0]
    """

    _places = 1

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int] = 0,
    ):
        super().__init__()
        self._set(kernel_size, stride, padding)


class MaxPool2d(_MaxPool):
    """The largest value in each window, over two dimensions.

    Takes inputs (batch, height, width, channels).
    Padding never is the largest value.

    Args:
      kernel_size: The size of the windows: an integer, or a tuple of two.
      stride: How far apart windows begin; default: `kernel_size`.
      padding: How much is added at each end of a dimension.

    Raises:
      ValueError: A size is not positive or of the wrong length, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.MaxPool2d(2)(mx.arange(16.0).reshape(1, 4, 4, 1)).flatten().tolist()
      [5.0, 7.0, 13.0, 15.0]
    """

    _places = 2

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] | None = 0,
    ):
        super().__init__()
        self._set(kernel_size, stride, padding)


class MaxPool3d(_MaxPool):
    """The largest value in each window, over three dimensions.

    Takes inputs (batch, depth, height, width, channels).
    Padding never is the largest value.

    Args:
      kernel_size: The size of the windows: an integer, or a tuple of three.
      stride: How far apart windows begin; default: `kernel_size`.
      padding: How much is added at each end of a dimension.

    Raises:
      ValueError: A size is not positive or of the wrong length, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.MaxPool3d(2)(mx.arange(64.0).reshape(1, 4, 4, 4, 1)).flatten().tolist()
      [21.0, 23.0, 29.0, 31.0, 53.0, 55.0, 61.0, 63.0]
    """

    _places = 3

    def __init__(
        self,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] | None = None,
        padding: int | tuple[int, int, int] | None = 0,
    ):
        super().__init__()
        self._set(kernel_size, stride, padding)


class AvgPool1d(_AvgPool):
    """The mean in each window, over one dimension.

    Takes inputs (batch, length, channels).
    Padding counts as zeros, also in the number that sums are divided by.

    Args:
      kernel_size: The size of the windows: an integer or a tuple of one.
      stride: How far apart windows begin; default: `kernel_size`.
      padding: How much is added at each end of a dimension.

    Raises:
      ValueError: A size is not positive or of the wrong length, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.AvgPool1d(2)(mx.arange(4.0).reshape(1, 4, 1)).flatten().tolist()
      [0.5, 2.5]
    """

    _places = 1

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int] = 0,
    ):
        super().__init__()
        self._set(kernel_size, stride, padding)


class AvgPool2d(_AvgPool):
    """The mean in each window, over two dimensions.

    Takes inputs (batch, height, width, channels).
    Padding counts as zeros, also in the number that sums are divided by.

    Args:
      kernel_size: The size of the windows: an integer, or a tuple of two.
      stride: How far apart windows begin; default: `kernel_size`.
      padding: How much is added at each end of a dimension.

    Raises:
      ValueError: A size is not positive or of the wrong length, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.AvgPool2d(2)(mx.arange(16.0).reshape(1, 4, 4, 1)).flatten().tolist()
      [2.5, 4.5, 10.5, 12.5]
    """

    _places = 2

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] | None = 0,
    ):
        super().__init__()
        self._set(kernel_size, stride, padding)


class AvgPool3d(_AvgPool):
    """The mean in each window, over three dimensions.

    Takes inputs (batch, depth, height, width, channels).
    Padding counts as zeros, also in the number that sums are divided by.

    Args:
      kernel_size: The size of the windows: an integer, or a tuple of three.
      stride: How far apart windows begin; default: `kernel_size`.
      padding: How much is added at each end of a dimension.

    Raises:
      ValueError: A size is not positive or of the wrong length, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.AvgPool3d(2)(mx.arange(64.0).reshape(1, 4, 4, 4, 1)).flatten().tolist()
      [10.5, 12.5, 18.5, 20.5, 42.5, 44.5, 50.5, 52.5]
    """

    _places = 3

    def __init__(
        self,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] | None = None,
        padding: int | tuple[int, int, int] | None = 0,
    ):
        super().__init__()
        self._set(kernel_size, stride, padding)
