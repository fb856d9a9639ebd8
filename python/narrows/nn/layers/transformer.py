"""Transformers: encoders, decoders, and both together."""

from collections.abc import Callable
from typing import Any

import narrows.core as mx
from narrows.nn.layers.attention import MultiHeadAttention
from narrows.nn.layers.base import Module
from narrows.nn.layers.dropout import Dropout
from narrows.nn.layers.functions import relu
from narrows.nn.layers.linear import Linear
from narrows.nn.layers.normalization import LayerNorm
from narrows.nn.utils import checkpoint as checkpointed


class _Layer(Module):
    """What layers of encoders and of decoders share."""

    def _residual(
        self, x: mx.array, norm: LayerNorm, dropout: Dropout, block: Callable
    ) -> mx.array:
        """``x + dropout(block(x))``, with the norm before the block or at the end."""
        if self.norm_first:
            return x + dropout(block(norm(x)))
        return norm(x + dropout(block(x)))

    def _mlp(self, x: mx.array) -> mx.array:
        return self.linear2(self.activation(self.linear1(x)))


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, then two linear layers, each with a residual connection.

    Called with sequences (batch, length, dims) and a mask, as for `MultiHeadAttention`, or None,
    it gives (batch, length, dims).

    Args:
      dims: The size of the last dimension.
      num_heads: The number of heads.
      mlp_dims: The size between the linear layers; default: ``4 * dims``.
      dropout: The probability of dropout.
      activation: The function between the linear layers.
      norm_first: Whether norms come before attention and linear layers, or after.

    Example:
      >>> import narrows.nn as nn
      >>> list(nn.TransformerEncoderLayer(8, 2).parameters())[:3]
      ['attention', 'ln1', 'ln2']
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
    ):
        super().__init__()
        mlp_dims = mlp_dims or dims * 4
        self.attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        x = self._residual(x, self.ln1, self.dropout1, lambda y: self.attention(y, y, y, mask))
        return self._residual(x, self.ln2, self.dropout2, self._mlp)


class TransformerDecoderLayer(_Layer):
    """Attention to itself, to another sequence, and two linear layers, with residual connections.

    Called with sequences (batch, length, dims), a memory (batch, source, dims) and masks for the
    two attentions, it gives (batch, length, dims).

    Args:
      dims: The size of the last dimension.
      num_heads: The number of heads.
      mlp_dims: The size between the linear layers; default: ``4 * dims``.
      dropout: The probability of dropout.
      activation: The function between the linear layers.
      norm_first: Whether norms come before attention and linear layers, or after.

    Example:
      >>> import narrows.nn as nn
      >>> list(nn.TransformerDecoderLayer(8, 2).parameters())[:3]
      ['self_attention', 'cross_attention', 'ln1']
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
    ):
        super().__init__()
        mlp_dims = mlp_dims or dims * 4
        self.self_attention = MultiHeadAttention(dims, num_heads)
        self.cross_attention = MultiHeadAttention(dims, num_heads)
        self.ln1 = LayerNorm(dims)
        self.ln2 = LayerNorm(dims)
        self.ln3 = LayerNorm(dims)
        self.linear1 = Linear(dims, mlp_dims)
        self.linear2 = Linear(mlp_dims, dims)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = activation
        self.norm_first = norm_first

    def __call__(
        self,
        x: mx.array,
        memory: mx.array,
        x_mask: mx.array | None,
        memory_mask: mx.array | None,
    ) -> mx.array:
        def to_itself(y):
            return self.self_attention(y, y, y, x_mask)

        def to_memory(y):
            return self.cross_attention(y, memory, memory, memory_mask)

        x = self._residual(x, self.ln1, self.dropout1, to_itself)
        x = self._residual(x, self.ln2, self.dropout2, to_memory)
        return self._residual(x, self.ln3, self.dropout3, self._mlp)


class _Stack(Module):
    """Layers one after the other, and a norm."""

    def _stack(self, layers: list, dims: int, checkpoint: bool) -> None:
        self.layers = layers
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x: mx.array, *others: mx.array | None) -> mx.array:
        for layer in self.layers:
            call = checkpointed(layer) if self.checkpoint else layer
            x = call(x, *others)
        return self.ln(x)


class TransformerEncoder(_Stack):
    """Several `TransformerEncoderLayer` and a norm.

    Called with sequences (batch, length, dims) and a mask or None, it gives (batch, length, dims).

    Args:
      num_layers: The number of layers.
      dims: The size of the last dimension.
      num_heads: The number of heads.
      mlp_dims: The size between the linear layers; default: ``4 * dims``.
      dropout: The probability of dropout.
      activation: The function between the linear layers.
      norm_first: Whether norms come before attention and linear layers, or after.
      checkpoint: Whether gradients compute the layers again, to need less memory.

    Example:
      >>> import narrows.nn as nn
      >>> len(nn.TransformerEncoder(3, 8, 2).layers)
      3
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        layers = [
            TransformerEncoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self._stack(layers, dims, checkpoint)

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        return super().__call__(x, mask)


class TransformerDecoder(_Stack):
    """Several `TransformerDecoderLayer` and a norm.

    Called with sequences (batch, length, dims), a memory (batch, source, dims) and a mask or None
    for each of them, it gives (batch, length, dims).

    Args:
      num_layers: The number of layers.
      dims: The size of the last dimension.
      num_heads: The number of heads.
      mlp_dims: The size between the linear layers; default: ``4 * dims``.
      dropout: The probability of dropout.
      activation: The function between the linear layers.
      norm_first: Whether norms come before attention and linear layers, or after.
      checkpoint: Whether gradients compute the layers again, to need less memory.

    Example:
      >>> import narrows.nn as nn
      >>> len(nn.TransformerDecoder(3, 8, 2).layers)
      3
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        layers = [
            TransformerDecoderLayer(dims, num_heads, mlp_dims, dropout, activation, norm_first)
            for _ in range(num_layers)
        ]
        self._stack(layers, dims, checkpoint)

    def __call__(
        self,
        x: mx.array,
        memory: mx.array,
        x_mask: mx.array | None,
        memory_mask: mx.array | None,
    ) -> mx.array:
        return super().__call__(x, memory, x_mask, memory_mask)


class Transformer(Module):
    """An encoder and a decoder that attends to what the encoder gives.

    Called with sources (batch, source, dims), targets (batch, length, dims) and masks or None for
    the sources, the targets, and what targets see of the sources, it gives (batch, length, dims).

    Args:
      dims: The size of the last dimension.
      num_heads: The number of heads.
      num_encoder_layers: The number of the encoder's layers.
      num_decoder_layers: The number of the decoder's layers.
      mlp_dims: The size between linear layers; default: ``4 * dims``.
      dropout: The probability of dropout.
      activation: The function between linear layers.
      custom_encoder: What to take in place of a `TransformerEncoder`.
      custom_decoder: What to take in place of a `TransformerDecoder`.
      norm_first: Whether norms come before attention and linear layers, or after.
      checkpoint: Whether gradients compute the layers again, to need less memory.

    Example:
      >>> import narrows.nn as nn
      >>> list(nn.Transformer(8, 2, 1, 1).parameters())
      ['encoder', 'decoder']
    """

    def __init__(
        self,
        dims: int = 512,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        norm_first: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        settings = (dims, num_heads, mlp_dims, dropout, activation, norm_first, checkpoint)
        self.encoder = (
            custom_encoder
            if custom_encoder is not None
            else TransformerEncoder(num_encoder_layers, *settings)
        )
        self.decoder = (
            custom_decoder
            if custom_decoder is not None
            else TransformerDecoder(num_decoder_layers, *settings)
        )

    def __call__(
        self,
        src: mx.array,
        tgt: mx.array,
        src_mask: mx.array | None,
        tgt_mask: mx.array | None,
        memory_mask: mx.array | None,
    ) -> mx.array:
        return self.decoder(tgt, self.encoder(src, src_mask), tgt_mask, memory_mask)
