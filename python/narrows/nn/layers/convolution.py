"""Convolutions over one, two and three dimensions."""

import math
from collections.abc import Callable
from typing import Any

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_array, repeated

_INPUTS = {
    1: "(batch, length, {})",
    2: "(batch, height, width, {})",
    3: "(batch, depth, height, width, {})",
}


class _Convolution(Module):
    """What all convolutions share: parameters, their first values, checks and the text shown."""

    def _make_parameters(
        self, in_channels: int, out_channels: int, kernel: tuple, groups: int, bias: bool
    ) -> None:
        for what, channels in (("input", in_channels), ("output", out_channels)):
            if groups <= 0 or channels % groups != 0:
                raise ValueError(
                    f"[{type(self).__name__}] {channels} {what} channels in {groups} groups, "
                    "expected a multiple of them"
                )
        shape = (out_channels, *kernel, in_channels // groups)
        bound = math.sqrt(1 / math.prod(shape[1:]))
        self.weight = mx.random.uniform(-bound, bound, shape)
        if bias:
            self.bias = mx.zeros((out_channels,))

    @property
    def _in_channels(self) -> int:
        return self.weight.shape[-1] * getattr(self, "groups", 1)

    def _extra_repr(self) -> str:
        kernel = self.weight.shape[1:-1]
        shown = {"kernel_size": kernel if len(kernel) > 1 else kernel[0]}
        for name in ("stride", "padding", "dilation", "groups", "output_padding"):
            if hasattr(self, name):
                shown[name] = getattr(self, name)
        shown["bias"] = "bias" in self
        settings = ", ".join(f"{name}={value}" for name, value in shown.items())
        return f"{self._in_channels}, {self.weight.shape[0]}, {settings}"

    def _convolve(self, convolution: Callable, x: mx.array, *settings: Any) -> mx.array:
        check_array(self, x)
        if x.ndim != self.weight.ndim or x.shape[-1] != self._in_channels:
            expected = _INPUTS[self.weight.ndim - 2].format(self._in_channels)
            raise ValueError(
                f"[{type(self).__name__}] input of shape {x.shape}, expected {expected}"
            )
        y = convolution(x, self.weight, *settings)
        return y + self.bias if "bias" in self else y


class Conv1d(_Convolution):
    """Convolution over one dimension.

    Takes inputs (batch, length, in_channels). Parameters: ``weight`` (out_channels,
    kernel_size, in_channels / groups), at first uniform in ±1/√n for outputs
    that are sums of n products, and ``bias`` (out_channels,), at first zeros.

    Args:
      in_channels: The number of channels of the input.
      out_channels: The number of channels of the output.
      kernel_size: The size of the filters.
      stride: How far the filters move between two outputs.
      padding: How many zeros are added at each end of a dimension.
      dilation: How far apart the filters' elements lie.
      groups: In how many groups the channels are: outputs of a group see its inputs only.
      bias: Whether there is a bias.

    Raises:
      ValueError: Channels are not a multiple of the groups, a setting is no size, or the input has
        another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.Conv1d(2, 4, 3, stride=2, bias=False).weight.shape
      (4, 3, 2)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        kernel_size = repeated(self, "kernel_size", kernel_size, 1)
        self._make_parameters(in_channels, out_channels, kernel_size, groups, bias)
        self.padding = repeated(self, "padding", padding, 1)[0]
        self.stride = repeated(self, "stride", stride, 1)[0]
        repeated(self, "dilation", dilation, 1)
        self.dilation = dilation
        self.groups = groups

    def __call__(self, x: mx.array) -> mx.array:
        return self._convolve(mx.conv1d, x, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(_Convolution):
    """Convolution over two dimensions.

    Takes inputs (batch, height, width, in_channels). Parameters: ``weight`` (out_channels,
    *kernel_size, in_channels / groups), at first uniform in ±1/√n for outputs
    that are sums of n products, and ``bias`` (out_channels,), at first zeros.

    Args:
      in_channels: The number of channels of the input.
      out_channels: The number of channels of the output.
      kernel_size: The size of the filters; an integer, or one for each of the two dimensions.
      stride: How far the filters move between two outputs.
      padding: How many zeros are added at each end of a dimension.
      dilation: How far apart the filters' elements lie.
      groups: In how many groups the channels are: outputs of a group see its inputs only.
      bias: Whether there is a bias.

    Raises:
      ValueError: Channels are not a multiple of the groups, a setting is no size, or the input has
        another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.Conv2d(2, 4, 3, stride=2, bias=False).weight.shape
      (4, 3, 3, 2)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple,
        stride: int | tuple = 1,
        padding: int | tuple = 0,
        dilation: int | tuple = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        kernel_size = repeated(self, "kernel_size", kernel_size, 2)
        self._make_parameters(in_channels, out_channels, kernel_size, groups, bias)
        self.padding = repeated(self, "padding", padding, 2)
        self.stride = repeated(self, "stride", stride, 2)
        repeated(self, "dilation", dilation, 2)
        self.dilation = dilation
        self.groups = groups

    def __call__(self, x: mx.array) -> mx.array:
        return self._convolve(mx.conv2d, x, self.stride, self.padding, self.dilation, self.groups)


class Conv3d(_Convolution):
    """Convolution over three dimensions.

    Takes inputs (batch, depth, height, width, in_channels). Parameters: ``weight`` (out_channels,
    *kernel_size, in_channels), at first uniform in ±1/√n for outputs
    that are sums of n products, and ``bias`` (out_channels,), at first zeros.

    Args:
      in_channels: The number of channels of the input.
      out_channels: The number of channels of the output.
      kernel_size: The size of the filters; an integer, or one for each of the three dimensions.
      stride: How far the filters move between two outputs.
      padding: How many zeros are added at each end of a dimension.
      dilation: How far apart the filters' elements lie.
      bias: Whether there is a bias.

    Raises:
      ValueError: A setting is no size, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.Conv3d(2, 4, 3, stride=2, bias=False).weight.shape
      (4, 3, 3, 3, 2)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple,
        stride: int | tuple = 1,
        padding: int | tuple = 0,
        dilation: int | tuple = 1,
        bias: bool = True,
    ):
        super().__init__()
        kernel_size = repeated(self, "kernel_size", kernel_size, 3)
        self._make_parameters(in_channels, out_channels, kernel_size, 1, bias)
        self.padding = repeated(self, "padding", padding, 3)
        self.stride = repeated(self, "stride", stride, 3)
        repeated(self, "dilation", dilation, 3)
        self.dilation = dilation

    def __call__(self, x: mx.array) -> mx.array:
        return self._convolve(mx.conv3d, x, self.stride, self.padding, self.dilation)
