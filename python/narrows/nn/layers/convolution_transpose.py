"""Transposed convolutions over one, two and three dimensions."""

import narrows.core as mx
from narrows.nn.layers.checks import repeated
from narrows.nn.layers.convolution import _Convolution


class ConvTranspose1d(_Convolution):
    """Transposed convolution over one dimension.

    Takes inputs (batch, length, in_channels). Parameters: ``weight`` (out_channels,
    kernel_size, in_channels), at first uniform in ±1/√n for outputs
    that are sums of n products, and ``bias`` (out_channels,), at first zeros.

    Args:
      in_channels: The number of channels of the input.
      out_channels: The number of channels of the output.
      kernel_size: The size of the filters.
      stride: How far apart the inputs lie in the output.
      padding: How much is cut off at each end of a dimension.
      dilation: How far apart the filters' elements lie.
      output_padding: How much is added to one end of the output's dimensions.
      bias: Whether there is a bias.

    Raises:
      ValueError: A setting is no size, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.ConvTranspose1d(2, 4, 3, stride=2, bias=False).weight.shape
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
        output_padding: int = 0,
        bias: bool = True,
    ):
        super().__init__()
        kernel_size = repeated(self, "kernel_size", kernel_size, 1)
        self._make_parameters(in_channels, out_channels, kernel_size, 1, bias)
        self.padding = repeated(self, "padding", padding, 1)[0]
        self.stride = repeated(self, "stride", stride, 1)[0]
        self.output_padding = repeated(self, "output_padding", output_padding, 1)[0]
        repeated(self, "dilation", dilation, 1)
        self.dilation = dilation

    def __call__(self, x: mx.array) -> mx.array:
        return self._convolve(
            mx.conv_transpose1d, x, self.stride, self.padding, self.dilation, self.output_padding
        )


class ConvTranspose2d(_Convolution):
    """Transposed convolution over two dimensions.

    Takes inputs (batch, height, width, in_channels). Parameters: ``weight`` (out_channels,
    *kernel_size, in_channels), at first uniform in ±1/√n for outputs
    that are sums of n products, and ``bias`` (out_channels,), at first zeros.

    Args:
      in_channels: The number of channels of the input.
      out_channels: The number of channels of the output.
      kernel_size: The size of the filters; an integer, or one for each of the two dimensions.
      stride: How far apart the inputs lie in the output.
      padding: How much is cut off at each end of a dimension.
      dilation: How far apart the filters' elements lie.
      output_padding: How much is added to one end of the output's dimensions.
      bias: Whether there is a bias.

    Raises:
      ValueError: A setting is no size, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.ConvTranspose2d(2, 4, 3, stride=2, bias=False).weight.shape
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
        output_padding: int | tuple = 0,
        bias: bool = True,
    ):
        super().__init__()
        kernel_size = repeated(self, "kernel_size", kernel_size, 2)
        self._make_parameters(in_channels, out_channels, kernel_size, 1, bias)
        self.padding = repeated(self, "padding", padding, 2)
        self.stride = repeated(self, "stride", stride, 2)
        self.output_padding = repeated(self, "output_padding", output_padding, 2)
        repeated(self, "dilation", dilation, 2)
        self.dilation = dilation

    def __call__(self, x: mx.array) -> mx.array:
        return self._convolve(
            mx.conv_transpose2d, x, self.stride, self.padding, self.dilation, self.output_padding
        )


class ConvTranspose3d(_Convolution):
    """Transposed convolution over three dimensions.

    Takes inputs (batch, depth, height, width, in_channels). Parameters: ``weight`` (out_channels,
    *kernel_size, in_channels), at first uniform in ±1/√n for outputs
    that are sums of n products, and ``bias`` (out_channels,), at first zeros.

    Args:
      in_channels: The number of channels of the input.
      out_channels: The number of channels of the output.
      kernel_size: The size of the filters; an integer, or one for each of the three dimensions.
      stride: How far apart the inputs lie in the output.
      padding: How much is cut off at each end of a dimension.
      dilation: How far apart the filters' elements lie.
      output_padding: How much is added to one end of the output's dimensions.
      bias: Whether there is a bias.

    Raises:
      ValueError: A setting is no size, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.ConvTranspose3d(2, 4, 3, stride=2, bias=False).weight.shape
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
        output_padding: int | tuple = 0,
        bias: bool = True,
    ):
        super().__init__()
        kernel_size = repeated(self, "kernel_size", kernel_size, 3)
        self._make_parameters(in_channels, out_channels, kernel_size, 1, bias)
        self.padding = repeated(self, "padding", padding, 3)
        self.stride = repeated(self, "stride", stride, 3)
        self.output_padding = repeated(self, "output_padding", output_padding, 3)
        repeated(self, "dilation", dilation, 3)
        self.dilation = dilation

    def __call__(self, x: mx.array) -> mx.array:
        return self._convolve(
            mx.conv_transpose3d, x, self.stride, self.padding, self.dilation, self.output_padding
        )
