"""Dropout of elements and of whole channels."""

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_dimensions, check_probability


class _Dropout(Module):
    """Drops what `_mask_shape()` makes one decision for."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        check_probability(self, p)
        self._p = p

    def _extra_repr(self) -> str:
        return f"p={self._p}"

    def _mask_shape(self, x: mx.array) -> tuple:
        return x.shape

    def __call__(self, x: mx.array) -> mx.array:
        shape = self._mask_shape(x)
        if self._p == 0 or not self.training:
            return x
        keep = 1 - self._p
        return mx.where(mx.random.bernoulli(keep, shape), x * (1 / keep), 0)


class Dropout(_Dropout):
    """Sets random elements to zero in training; others are multiplied by ``1/(1-p)``.

    Args:
      p: The probability that an element becomes zero, in [0, 1).

    Raises:
      ValueError: `p` is not in [0, 1).

    Example:
      >>> import narrows.nn as nn
      >>> sorted(set(nn.Dropout(0.5)(mx.ones((100,))).tolist()))
      [0.0, 2.0]
    """


class Dropout2d(_Dropout):
    """Sets random channels of images to zero in training; others are multiplied by ``1/(1-p)``.

    Takes inputs (batch, height, width, channels) or (height, width, channels).

    Args:
      p: The probability that a channel becomes zero, in [0, 1).

    Raises:
      ValueError: `p` is not in [0, 1), or the input has another number of dimensions.

    Example:
      >>> import narrows.nn as nn
      >>> y = nn.Dropout2d(0.5)(mx.ones((1, 4, 4, 8)))
      >>> mx.all(y.min(axis=(1, 2)) == y.max(axis=(1, 2))).item()
      True
    """

    def _mask_shape(self, x: mx.array) -> tuple:
        check_dimensions(self, x, 3, 4, "([batch,] height, width, channels)")
        return (*x.shape[:-3], 1, 1, x.shape[-1])


class Dropout3d(_Dropout):
    """Sets random channels of volumes to zero in training; others are multiplied by ``1/(1-p)``.

    Takes inputs (batch, depth, height, width, channels) or (depth, height, width, channels).

    Args:
      p: The probability that a channel becomes zero, in [0, 1).

    Raises:
      ValueError: `p` is not in [0, 1), or the input has another number of dimensions.

    Example:
      >>> import narrows.nn as nn
      >>> y = nn.Dropout3d(0.5)(mx.ones((1, 2, 4, 4, 8)))
      >>> mx.all(y.min(axis=(1, 2, 3)) == y.max(axis=(1, 2, 3))).item()
      True
    """

    def _mask_shape(self, x: mx.array) -> tuple:
        check_dimensions(self, x, 4, 5, "([batch,] depth, height, width, channels)")
        return (*x.shape[:-4], 1, 1, 1, x.shape[-1])
