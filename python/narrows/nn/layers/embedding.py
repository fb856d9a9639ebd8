"""Embedding: rows of a table."""

import math

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_integers, check_last_dimension


class Embedding(Module):
    """Looks up rows of a table: from integers (...) to (..., dims).

    Parameter: ``weight`` (num_embeddings, dims), at first normal with variance 1/dims.

    Args:
      num_embeddings: How many rows there are.
      dims: The size of a row.

    Example:
      >>> import narrows.nn as nn
      >>> nn.Embedding(5, 2)
      Embedding(5, 2)
    """

    def __init__(self, num_embeddings: int, dims: int):
        super().__init__()
        self.weight = mx.random.normal((num_embeddings, dims), scale=math.sqrt(1 / dims))

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"

    def __call__(self, x: mx.array) -> mx.array:
        check_integers(self, x)
        return self["weight"][x]

    def as_linear(self, x: mx.array) -> mx.array:
        """``x @ weight.T``: the table as a linear layer, as models use it that share weights.

        Args:
          x: Of shape (..., dims).

        Returns:
          array: Of shape (..., num_embeddings).

        Raises:
          ValueError: The last dimension of `x` has another size.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Embedding(5, 2).as_linear(mx.ones((3, 2))).shape
          (3, 5)
        """
        check_last_dimension(self, x, self.weight.shape[1])
        return x @ self["weight"].T

    def to_quantized(
        self,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
        quantize_input: bool = False,
    ) -> Module:
        """A layer with this table, quantized. `nn.quantize()` calls it.

        Args:
          group_size: How many weights share a scale; default: the mode's.
          bits: Bits of a weight; default: the mode's.
          mode: How weights are quantized, as for `mx.quantize`.
          quantize_input: Must be false: the inputs are integers.

        Returns:
          QuantizedEmbedding: The quantized layer.

        Raises:
          ValueError: `quantize_input` is true, or the sizes do not fit.

        Example:
          >>> import narrows.nn as nn
          >>> nn.Embedding(8, 64).to_quantized()
          QuantizedEmbedding(8, 64, group_size=64, bits=4, mode=affine)
        """
        from narrows.nn.layers.quantized import QuantizedEmbedding

        if quantize_input:
            raise ValueError("[to_quantized] quantize_input is true for an Embedding")
        return QuantizedEmbedding.from_embedding(self, group_size, bits, mode)
