"""Upsample: images and other grids made larger or smaller."""

from typing import Literal

import narrows.core as mx
from narrows.nn.layers import interpolation
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_array


class Upsample(Module):
    """Makes the dimensions between the batch and the channels larger or smaller.

    Takes inputs (batch, ..., channels) with at least one dimension in between; sizes are
    multiplied by `scale_factor` and rounded down.

    Args:
      scale_factor: What sizes are multiplied by: one number, or one for each dimension.
      mode: ``"nearest"`` takes the input that lies nearest, ``"linear"`` weighs two of each
        dimension, ``"cubic"`` four.
      align_corners: Whether the first and the last outputs lie on the first and the last inputs,
        for the modes "linear" and "cubic".
      antialias: Whether outputs weigh more inputs where sizes become smaller, for the modes
        "linear" and "cubic".

    Raises:
      ValueError: Another mode, a factor that is not positive, `antialias` with the mode "nearest"
        or with `align_corners`, or the input has another number of dimensions.

    Example:
      >>> import narrows.nn as nn
      >>> nn.Upsample(2)(mx.array([1.0, 2.0]).reshape(1, 2, 1)).flatten().tolist()
      [1.0, 1.0, 2.0, 2.0]
    """

    def __init__(
        self,
        scale_factor: float | tuple,
        mode: Literal["nearest", "linear", "cubic"] = "nearest",
        align_corners: bool = False,
        antialias: bool = False,
    ):
        super().__init__()
        if mode not in ("nearest", "linear", "cubic"):
            raise ValueError(f"[Upsample] mode {mode!r}, expected 'nearest', 'linear' or 'cubic'")
        if antialias and (mode == "nearest" or align_corners):
            raise ValueError(
                f"[Upsample] antialias with mode {mode!r} and align_corners {align_corners}, "
                "expected 'linear' or 'cubic', and not align_corners"
            )
        if isinstance(scale_factor, (list, tuple)):
            self.scale_factor = tuple(map(float, scale_factor))
        else:
            self.scale_factor = float(scale_factor)
        factors = self.scale_factor
        if not all(f > 0 for f in (factors if isinstance(factors, tuple) else (factors,))):
            raise ValueError(f"[Upsample] scale_factor {scale_factor}, expected it above zero")
        self.mode = mode
        self.align_corners = align_corners
        self.antialias = antialias

    def _extra_repr(self) -> str:
        return (
            f"scale_factor={self.scale_factor}, mode={self.mode!r}, "
            f"align_corners={self.align_corners}"
            f"{', antialias=True' if self.antialias else ''}"
        )

    def _nearest(self, x: mx.array, axis: int, scale: float) -> mx.array:
        if scale == int(scale):
            return mx.repeat(x, int(scale), axis=axis)
        return mx.take(x, mx.array(interpolation.nearest(x.shape[axis], scale)), axis=axis)

    def _interpolated(self, x: mx.array, axis: int, scale: float) -> mx.array:
        indices, weights = interpolation.taps(
            x.shape[axis], scale, self.mode, self.align_corners, self.antialias
        )
        after = (1,) * (x.ndim - 1 - axis)
        total = None
        for index, weight in zip(indices, weights):
            part = mx.take(x, mx.array(index), axis=axis) * mx.array(weight).reshape(-1, *after)
            total = part if total is None else total + part
        return total

    def __call__(self, x: mx.array) -> mx.array:
        check_array(self, x)
        places = x.ndim - 2
        if places < 1:
            raise ValueError(
                f"[Upsample] input of shape {x.shape}, expected (batch, ..., channels) "
                "of 3 or more dimensions"
            )
        factors = self.scale_factor
        if not isinstance(factors, tuple):
            factors = (factors,) * places
        if len(factors) != places:
            raise ValueError(
                f"[Upsample] input of shape {x.shape}, expected {len(factors)} dimensions between "
                f"batch and channels for scale_factor {factors}"
            )
        sizes = [int(n * f) for n, f in zip(x.shape[1:], factors)]
        if 0 in sizes:
            return mx.zeros((x.shape[0], *sizes, x.shape[-1]), x.dtype)
        one_axis = self._nearest if self.mode == "nearest" else self._interpolated
        for axis, factor in enumerate(factors, 1):
            if factor != 1:
                x = one_axis(x, axis, factor)
        return x
