"""Layers that are matrix products: Linear and Bilinear, and Identity, which is none."""

import math
from typing import Any

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_last_dimension


class Identity(Module):
    """Gives back its input.

    Args:
      *args: Ignored, so that the layer can stand in for any other.
      **kwargs: Ignored.

    Example:
      >>> import narrows.nn as nn
      >>> nn.Identity()(mx.array([1, 2])).tolist()
      [1, 2]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __call__(self, x: mx.array) -> mx.array:
        return x


class Linear(Module):
    """``y = x @ weight.T + bias``, from inputs (..., input_dims) to (..., output_dims).

    Parameters: ``weight`` (output_dims, input_dims) and ``bias`` (output_dims,), at first uniform
    in ±1/√input_dims.

    Args:
      input_dims: The size of the input's last dimension.
      output_dims: The size of the output's last dimension.
      bias: Whether there is a bias.

    Raises:
      ValueError: Called with an input whose last dimension has another size.

    Example:
      >>> import narrows.nn as nn
      >>> nn.Linear(4, 2)(mx.ones((3, 4))).shape
      (3, 2)
    """

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True) -> None:
        super().__init__()
        bound = math.sqrt(1.0 / input_dims)
        self.weight = mx.random.uniform(-bound, bound, (output_dims, input_dims))
        if bias:
            self.bias = mx.random.uniform(-bound, bound, (output_dims,))

    def _extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"input_dims={inputs}, output_dims={outputs}, bias={'bias' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        check_last_dimension(self, x, self.weight.shape[1])
        if "bias" in self:
            return mx.addmm(self["bias"], x, self["weight"].T)
        return x @ self["weight"].T

    def to_quantized(
        self,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
        quantize_input: bool = False,
    ) -> Module:
        """A layer with these weights, quantized. `nn.quantize()` calls it.

        Args:
          group_size: How many weights share a scale; default: the mode's.
          bits: Bits of a weight; default: the mode's.
          mode: How weights are quantized, as for `mx.quantize`.
          quantize_input: Whether inputs are quantized too, for modes "nvfp4" and "mxfp8".

        Returns:
          Module: A `QuantizedLinear`, or a `QQLinear` if inputs are quantized.

        Raises:
          ValueError: Inputs cannot be quantized in this mode, or the sizes do not fit.
          NotImplementedError: Inputs are quantized and there is a bias.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Linear(64, 8).to_quantized(bits=8).weight.shape
          (8, 16)
        """
        from narrows.nn.layers.quantized import QQLinear, QuantizedLinear

        if not quantize_input:
            return QuantizedLinear.from_linear(self, group_size, bits, mode)
        if mode not in ("nvfp4", "mxfp8"):
            raise ValueError(
                f"[to_quantized] quantized inputs with mode {mode!r}, expected 'nvfp4' or 'mxfp8'"
            )
        return QQLinear.from_linear(self, group_size, bits, mode)


class Bilinear(Module):
    """``y[o] = x1 @ weight[o].T @ x2 + bias[o]``: a product with both inputs.

    Takes inputs (..., input1_dims) and (..., input2_dims), whose other dimensions are equal, and
    gives (..., output_dims). Parameters: ``weight`` (output_dims, input2_dims, input1_dims) and
    ``bias`` (output_dims,), at first uniform in ±1/√input1_dims.

    Args:
      input1_dims: The size of the first input's last dimension.
      input2_dims: The size of the second input's last dimension.
      output_dims: The size of the output's last dimension.
      bias: Whether there is a bias.

    Raises:
      ValueError: Called with inputs of other shapes.

    Example:
      >>> import narrows.nn as nn
      >>> nn.Bilinear(4, 3, 2)(mx.ones((5, 4)), mx.ones((5, 3))).shape
      (5, 2)
    """

    def __init__(
        self, input1_dims: int, input2_dims: int, output_dims: int, bias: bool = True
    ) -> None:
        super().__init__()
        bound = math.sqrt(1.0 / input1_dims)
        self.weight = mx.random.uniform(-bound, bound, (output_dims, input2_dims, input1_dims))
        if bias:
            self.bias = mx.random.uniform(-bound, bound, (output_dims,))

    def _extra_repr(self) -> str:
        outputs, inputs2, inputs1 = self.weight.shape
        return (
            f"input1_dims={inputs1}, input2_dims={inputs2}, output_dims={outputs}, "
            f"bias={'bias' in self}"
        )

    def __call__(self, x1: mx.array, x2: mx.array) -> mx.array:
        outputs, inputs2, inputs1 = self.weight.shape
        check_last_dimension(self, x1, inputs1)
        check_last_dimension(self, x2, inputs2)
        if x1.shape[:-1] != x2.shape[:-1]:
            raise ValueError(
                f"[Bilinear] inputs of shapes {x1.shape} and {x2.shape}, "
                "expected that all but their last dimensions are equal"
            )
        others = x1.shape[:-1]
        x1 = x1.reshape(-1, inputs1)
        x2 = x2.reshape(-1, inputs2, 1)
        y = x1 @ self.weight.reshape(outputs * inputs2, inputs1).T
        y = (y.reshape(-1, outputs, inputs2) @ x2).reshape(*others, outputs)
        return y + self.bias if "bias" in self else y
