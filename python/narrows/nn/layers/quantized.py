"""Layers whose weights are quantized, and the function that replaces layers by them."""

import math
from collections.abc import Callable
from typing import Any

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_integers, check_last_dimension
from narrows.utils import tree_map_with_path

# The group size and the bits of each mode, where they are not given.
_DEFAULTS = {"affine": (64, 4), "mxfp4": (32, 4), "nvfp4": (16, 4), "mxfp8": (32, 8)}


def _sizes(group_size: int | None, bits: int | None, mode: str) -> tuple[int, int]:
    if mode not in _DEFAULTS:
        known = ", ".join(map(repr, _DEFAULTS))
        raise ValueError(f"[quantize] mode {mode!r}, expected one of {known}")
    default_size, default_bits = _DEFAULTS[mode]
    return group_size or default_size, bits or default_bits


def quantize(
    model: Module,
    group_size: int | None = None,
    bits: int | None = None,
    *,
    mode: str = "affine",
    quantize_input: bool = False,
    class_predicate: Callable[[str, Module], bool | dict] | None = None,
) -> None:
    """Replaces layers below a model by quantized ones.

    Args:
      model: The model, which is changed.
      group_size: How many weights share a scale; default: the mode's.
      bits: Bits of a weight; default: the mode's.
      mode: How weights are quantized, as for `mx.quantize`.
      quantize_input: Whether inputs are quantized too, for the modes "nvfp4" and "mxfp8".
      class_predicate: Called with the path of a layer and the layer: whether to quantize it, or
        the arguments of its ``to_quantized()``. By default all layers are quantized that have
        this method.

    Raises:
      ValueError: `class_predicate` chose a layer without ``to_quantized()`` or gave something
        else, or a layer cannot be quantized so.

    Example:
      >>> import narrows.nn as nn
      >>> model = nn.Sequential(nn.ReLU())
      >>> nn.quantize(model)  # nothing to quantize
    """
    chosen = class_predicate or (lambda _, layer: hasattr(layer, "to_quantized"))
    settings = {"group_size": group_size, "bits": bits, "mode": mode}
    if quantize_input:
        settings["quantize_input"] = True

    def replacement(path: str, layer: Any) -> Any:
        answer = chosen(path, layer) if isinstance(layer, Module) else False
        if not isinstance(answer, (bool, dict)):
            raise ValueError(
                f"[quantize] class_predicate gave {answer!r} for {path}, expected a bool or a dict"
            )
        if answer is False:
            return layer
        if not hasattr(layer, "to_quantized"):
            raise ValueError(f"[quantize] {path} is a {type(layer).__name__}, without to_quantized")
        return layer.to_quantized(**(settings if answer is True else answer))

    leaves = tree_map_with_path(replacement, model.leaf_modules(), is_leaf=Module.is_module)
    model.update_modules(leaves)


class _Quantized(Module):
    """What layers with a quantized weight share."""

    def _set_weight(
        self, weight: mx.array, group_size: int | None, bits: int | None, mode: str
    ) -> None:
        """Quantizes a weight and takes the result as parameters."""
        self.group_size, self.bits = _sizes(group_size, bits, mode)
        self.mode = mode
        if weight.shape[-1] % self.group_size != 0:
            raise ValueError(
                f"[{type(self).__name__}] weight of shape {weight.shape}, "
                f"expected (..., a multiple of the group size {self.group_size})"
            )
        parts = mx.quantize(weight, group_size=self.group_size, bits=self.bits, mode=mode)
        self.weight, self.scales, *biases = parts
        self.biases = biases[0] if biases else None

    @property
    def _settings(self) -> dict:
        return {"group_size": self.group_size, "bits": self.bits, "mode": self.mode}

    @property
    def _input_dims(self) -> int:
        return self.weight.shape[1] * 32 // self.bits

    def _product(self, x: mx.array) -> mx.array:
        """``x @ weight.T``."""
        check_last_dimension(self, x, self._input_dims)
        return mx.quantized_matmul(
            x,
            self["weight"],
            scales=self["scales"],
            biases=self.get("biases"),
            transpose=True,
            **self._settings,
        )

    def _settings_shown(self) -> str:
        return f"group_size={self.group_size}, bits={self.bits}, mode={self.mode}"


class QuantizedLinear(_Quantized):
    """A `Linear` whose weight is quantized.

    Parameters, which are frozen: ``weight`` (output_dims, input_dims * bits / 32) of uint32,
    ``scales`` and, for the mode "affine", ``biases`` (output_dims, input_dims / group_size), and
    ``bias`` (output_dims,).

    Args:
      input_dims: The size of the input's last dimension, a multiple of the group size.
      output_dims: The size of the output's last dimension.
      bias: Whether there is a bias.
      group_size: How many weights share a scale; default: the mode's.
      bits: Bits of a weight; default: the mode's.
      mode: How weights are quantized, as for `mx.quantize`.

    Raises:
      ValueError: The sizes do not fit, or an input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.QuantizedLinear(64, 8)(mx.ones((2, 64))).shape
      (2, 8)
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ):
        super().__init__()
        bound = math.sqrt(1 / input_dims)
        weight = mx.random.uniform(-bound, bound, (output_dims, input_dims))
        self._set_weight(weight, group_size, bits, mode)
        if bias:
            self.bias = mx.zeros((output_dims,))
        self.freeze()

    @classmethod
    def from_linear(
        cls,
        linear_layer: Module,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ) -> "QuantizedLinear":
        """A layer with the weight of a `Linear`, quantized.

        Args:
          linear_layer: The layer.
          group_size: How many weights share a scale; default: the mode's.
          bits: Bits of a weight; default: the mode's.
          mode: How weights are quantized, as for `mx.quantize`.

        Returns:
          QuantizedLinear: The quantized layer.

        Raises:
          ValueError: The sizes do not fit.

        Example:
          >>> import narrows.nn as nn
          >>> nn.QuantizedLinear.from_linear(nn.Linear(64, 8), bits=8).weight.shape
          (8, 16)
        """
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer._set_weight(linear_layer.weight, group_size, bits, mode)
        if "bias" in linear_layer:
            layer.bias = linear_layer.bias
        return layer.freeze()

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self._input_dims}, output_dims={self.weight.shape[0]}, "
            f"bias={'bias' in self}, {self._settings_shown()}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        y = self._product(x)
        return y + self["bias"] if "bias" in self else y


class QuantizedEmbedding(_Quantized):
    """An `Embedding` whose table is quantized.

    Parameters, which are frozen: ``weight`` (num_embeddings, dims * bits / 32) of uint32,
    ``scales`` and, for the mode "affine", ``biases`` (num_embeddings, dims / group_size).

    Args:
      num_embeddings: How many rows there are.
      dims: The size of a row, a multiple of the group size.
      group_size: How many weights share a scale; default: the mode's.
      bits: Bits of a weight; default: the mode's.
      mode: How weights are quantized, as for `mx.quantize`.

    Raises:
      ValueError: The sizes do not fit.

    Example:
      >>> import narrows.nn as nn
      >>> nn.QuantizedEmbedding(8, 64)(mx.array([1, 5])).shape
      (2, 64)
    """

    def __init__(
        self,
        num_embeddings: int,
        dims: int,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ):
        super().__init__()
        weight = mx.random.normal((num_embeddings, dims), scale=math.sqrt(1 / dims))
        self._set_table(weight, group_size, bits, mode)

    def _set_table(
        self, weight: mx.array, group_size: int | None, bits: int | None, mode: str
    ) -> None:
        self.num_embeddings, self.dims = weight.shape
        self._set_weight(weight, group_size, bits, mode)
        self.freeze()

    @classmethod
    def from_embedding(
        cls,
        embedding_layer: Module,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
    ) -> "QuantizedEmbedding":
        """A layer with the table of an `Embedding`, quantized.

        Args:
          embedding_layer: The layer.
          group_size: How many weights share a scale; default: the mode's.
          bits: Bits of a weight; default: the mode's.
          mode: How weights are quantized, as for `mx.quantize`.

        Returns:
          QuantizedEmbedding: The quantized layer.

        Raises:
          ValueError: The sizes do not fit.

        Example:
          >>> import narrows.nn as nn
          >>> nn.QuantizedEmbedding.from_embedding(nn.Embedding(8, 64), bits=8).weight.shape
          (8, 16)
        """
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer._set_table(embedding_layer.weight, group_size, bits, mode)
        return layer

    def _extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.dims}, {self._settings_shown()}"

    def __call__(self, x: mx.array) -> mx.array:
        check_integers(self, x)
        biases = self.get("biases")
        return mx.dequantize(
            self["weight"][x],
            scales=self["scales"][x],
            biases=None if biases is None else biases[x],
            **self._settings,
        )

    def as_linear(self, x: mx.array) -> mx.array:
        """``x @ table.T``: the table as a linear layer, as models use it that share weights.

        Args:
          x: Of shape (..., dims).

        Returns:
          array: Of shape (..., num_embeddings).

        Raises:
          ValueError: The last dimension of `x` has another size.

        Example:
          >>> import narrows.nn as nn
          >>> nn.QuantizedEmbedding(8, 64).as_linear(mx.ones((2, 64))).shape
          (2, 8)
        """
        return self._product(x)


class QQLinear(Module):
    """A `Linear` without bias whose weight and inputs are quantized.

    In training the weight has its full precision, and each product quantizes it. Otherwise it is
    kept quantized: ``weight`` (output_dims, input_dims * bits / 32) of uint32 and ``scales``
    (output_dims, input_dims / group_size).

    Args:
      input_dims: The size of the input's last dimension, a multiple of the group size.
      output_dims: The size of the output's last dimension.
      group_size: How many weights share a scale; default: the mode's.
      bits: Bits of a weight; default: the mode's.
      mode: How numbers are quantized: "nvfp4" or "mxfp8".

    Raises:
      ValueError: There is no such mode, or an input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.QQLinear(64, 32).eval()
      QQLinear(input_dims=64, output_dims=32, group_size=16, bits=4, mode=nvfp4)
    """

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "nvfp4",
    ):
        super().__init__()
        bound = math.sqrt(1 / input_dims)
        weight = mx.random.uniform(-bound, bound, (output_dims, input_dims))
        self._set_up(weight, group_size, bits, mode)

    def _set_up(self, weight: mx.array, group_size: int | None, bits: int | None, mode: str):
        self.group_size, self.bits = _sizes(group_size, bits, mode)
        self.mode = mode
        self.weight = weight
        self._quantized = False
        self._dtype = weight.dtype

    @classmethod
    def from_linear(
        cls,
        linear_layer: Module,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "nvfp4",
    ) -> "QQLinear":
        """A layer with the weight of a `Linear`.

        Args:
          linear_layer: The layer.
          group_size: How many weights share a scale; default: the mode's.
          bits: Bits of a weight; default: the mode's.
          mode: How numbers are quantized: "nvfp4" or "mxfp8".

        Returns:
          QQLinear: The layer, in the mode, training or not, of the other.

        Raises:
          NotImplementedError: The layer has a bias.

        Example:
          >>> import narrows.nn as nn
          >>> nn.QQLinear.from_linear(nn.Linear(64, 32, bias=False), mode="mxfp8")
          QQLinear(input_dims=64, output_dims=32, group_size=32, bits=8, mode=mxfp8)
        """
        if "bias" in linear_layer:
            raise NotImplementedError("[QQLinear] a layer with a bias, expected one without")
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer._set_up(linear_layer.weight, group_size, bits, mode)
        layer.train(linear_layer.training)
        return layer

    @property
    def _settings(self) -> dict:
        return {"group_size": self.group_size, "bits": self.bits, "mode": self.mode}

    def _extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        if self._quantized:
            inputs = inputs * 32 // self.bits
        return (
            f"input_dims={inputs}, output_dims={outputs}, "
            f"group_size={self.group_size}, bits={self.bits}, mode={self.mode}"
        )

    def quantize(self) -> None:
        """Keeps the weight quantized. `eval()` calls it.

        Example:
          >>> import narrows.nn as nn
          >>> layer = nn.QQLinear(64, 32)
          >>> layer.quantize()
          >>> layer.weight.shape
          (32, 8)
        """
        if not self._quantized:
            self._dtype = self.weight.dtype
            self.weight, self.scales = mx.quantize(self.weight, **self._settings)
            self._quantized = True

    def dequantize(self) -> None:
        """Keeps the weight in full precision. `train()` calls it.

        Example:
          >>> import narrows.nn as nn
          >>> layer = nn.QQLinear(64, 32).eval()
          >>> layer.dequantize()
          >>> layer.weight.shape
          (32, 64)
        """
        if self._quantized:
            self.weight = mx.dequantize(
                self.weight, scales=self.scales, dtype=self._dtype, **self._settings
            )
            del self.scales
            self._quantized = False

    def _set_training_mode(self, mode: bool) -> None:
        super()._set_training_mode(mode)
        if mode:
            self.dequantize()
        else:
            self.quantize()

    def __call__(self, x: mx.array) -> mx.array:
        inputs = self.weight.shape[1] * (32 // self.bits if self._quantized else 1)
        check_last_dimension(self, x, inputs)
        return mx.qqmm(x, self["weight"], self.get("scales"), **self._settings)
