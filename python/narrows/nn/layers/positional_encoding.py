"""What tells attention where in a sequence something stands."""

import math

import narrows.core as mx
from narrows.nn.layers.base import Module


class RoPE(Module):
    """Rotary positional encoding: pairs of features are rotated by angles that grow with place.

    Called with (..., length, features) and, optionally, the place ``offset`` of the first entry,
    it gives an array of the same shape. Pair ``i`` of place ``p`` is rotated by ``p * scale *
    base^(-2i / dims)``.

    Args:
      dims: How many features are rotated, an even number; others stay as they are.
      traditional: Whether pairs are features side by side, or features half of `dims` apart.
      base: The base of the angles.
      scale: What places are multiplied by.

    Example:
      >>> import narrows.nn as nn
      >>> nn.RoPE(8)
      RoPE(8, traditional=False)
    """

    def __init__(
        self, dims: int, traditional: bool = False, base: float = 10000, scale: float = 1.0
    ):
        super().__init__()
        self.dims = dims
        self.traditional = traditional
        self.base = base
        self.scale = scale

    def _extra_repr(self) -> str:
        return f"{self.dims}, traditional={self.traditional}"

    def __call__(self, x: mx.array, offset: int | mx.array = 0) -> mx.array:
        return mx.fast.rope(
            x,
            self.dims,
            traditional=self.traditional,
            base=self.base,
            scale=self.scale,
            offset=offset,
        )


class SinusoidalPositionalEncoding(Module):
    """Sines and cosines of places, at frequencies from `max_freq` down to `min_freq`.

    Called with places (...), it gives (..., dims): first all sines, then all cosines. The
    frequencies form a geometric sequence.

    Args:
      dims: The size of an encoding, an even number.
      min_freq: The lowest frequency.
      max_freq: The highest frequency.
      scale: What encodings are multiplied by; default: √(2 / dims), so that their norm is one.
      cos_first: Whether cosines come first.
      full_turns: Whether frequencies are turns, that is, multiplied by 2π.

    Raises:
      ValueError: `dims` is not positive or not even.

    Example:
      >>> import narrows.nn as nn
      >>> nn.SinusoidalPositionalEncoding(2)(mx.array([0.0])).tolist()
      [[0.0, 1.0]]
    """

    def __init__(
        self,
        dims: int,
        min_freq: float = 0.0001,
        max_freq: float = 1,
        scale: float | None = None,
        cos_first: bool = False,
        full_turns: bool = False,
    ):
        super().__init__()
        if dims <= 0 or dims % 2 != 0:
            raise ValueError(
                f"[SinusoidalPositionalEncoding] dims {dims}, expected an even number above zero"
            )
        count = dims // 2
        ratio = (min_freq / max_freq) ** (1 / max(count - 1, 1))
        turn = 2 * math.pi if full_turns else 1.0
        self._sigmas = mx.array([max_freq * ratio**i * turn for i in range(count)])
        self.scale = math.sqrt(2 / dims) if scale is None else scale
        self.cos_first = cos_first

    def __call__(self, x: mx.array) -> mx.array:
        angles = x[..., None] * self._sigmas
        parts = [mx.cos(angles), mx.sin(angles)]
        y = mx.concatenate(parts if self.cos_first else parts[::-1], axis=-1)
        return y if self.scale == 1 else y * self.scale


class ALiBi(Module):
    """Attention with linear biases: scores become lower with the distance of query and key.

    Called with scores (batch, num_heads, length, source), optionally the place ``offset`` of the
    first query, and a mask, it gives scores of the same shape. The mask can be boolean, with true
    where a query sees a key, or numbers that are added.

    Example:
      >>> import narrows.nn as nn
      >>> nn.ALiBi()(mx.zeros((1, 1, 2, 2)))[0, 0].tolist()
      [[0.0, -0.00390625], [-0.00390625, 0.0]]
    """

    @staticmethod
    def create_alibi_matrix(
        q_sequence_length: int,
        k_sequence_length: int,
        num_heads: int,
        offset: int = 0,
        dtype: mx.Dtype = mx.float32,
    ) -> mx.array:
        """What is added to the scores.

        Args:
          q_sequence_length: The place after the last query.
          k_sequence_length: The number of keys.
          num_heads: The number of heads.
          offset: The place of the first query.
          dtype: The result's dtype.

        Returns:
          array: Of shape (1, num_heads, q_sequence_length - offset, k_sequence_length).

        Example:
          >>> import narrows.nn as nn
          >>> nn.ALiBi.create_alibi_matrix(3, 3, 1, offset=2)[0, 0].tolist()
          [[-0.0078125, -0.00390625, 0.0]]
        """
        queries = mx.arange(offset, q_sequence_length)
        keys = mx.arange(k_sequence_length)
        nearness = (-mx.abs(queries[:, None] - keys[None])).astype(dtype)
        return nearness * ALiBi.create_alibi_slope(num_heads, dtype)[None]

    @staticmethod
    def create_alibi_slope(num_heads: int, dtype: mx.Dtype = mx.float32) -> mx.array:
        """How much scores become lower with each place of distance.

        Args:
          num_heads: The number of heads.
          dtype: The result's dtype.

        Returns:
          array: Of shape (num_heads, 1, 1). For a power of two ``n`` the slopes are 2^(-8i/n), i
          from 1 to n; for other numbers every second slope of the next power of two is added.

        Example:
          >>> import narrows.nn as nn
          >>> nn.ALiBi.create_alibi_slope(3).flatten().tolist()
          [0.0625, 0.00390625, 0.25]
        """
        power = 2 ** int(math.log2(num_heads))
        slopes = [2 ** (-8 * i / power) for i in range(1, power + 1)]
        slopes += [2 ** (-8 * i / (2 * power)) for i in range(1, 2 * power, 2)]
        return mx.array(slopes[:num_heads], dtype).reshape(num_heads, 1, 1)

    def __call__(
        self, attention_scores: mx.array, offset: int = 0, mask: mx.array | None = None
    ) -> mx.array:
        if attention_scores.ndim != 4:
            raise ValueError(
                f"[ALiBi] scores of shape {attention_scores.shape}, "
                "expected (batch, num_heads, length, source)"
            )
        _, heads, queries, keys = attention_scores.shape
        dtype = attention_scores.dtype
        bias = self.create_alibi_matrix(queries + offset, keys, heads, offset, dtype)
        if mask is not None and mask.dtype == mx.bool_:
            bias = mx.where(mask, bias, mx.array(mx.finfo(dtype).min, dtype))
        elif mask is not None:
            bias = bias + mask
        return attention_scores + bias
