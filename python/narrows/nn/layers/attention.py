"""Attention with several heads."""

import math

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_array
from narrows.nn.layers.linear import Linear


class MultiHeadAttention(Module):
    """Scaled dot-product attention with several heads.

    Called with queries (batch, length, query_input_dims), keys (batch, source, key_input_dims),
    values (batch, source, value_input_dims) and optionally a mask, it gives (batch, length,
    value_output_dims). The mask can be boolean, with true where a query sees a key, or numbers
    that are added to the scores; its shape is broadcast to (batch, num_heads, length, source).

    Args:
      dims: The size of the projected queries and keys, all heads together.
      num_heads: The number of heads; `dims` is a multiple of it.
      query_input_dims: The size of a query; default: `dims`.
      key_input_dims: The size of a key; default: `dims`.
      value_input_dims: The size of a value; default: `key_input_dims`.
      value_dims: The size of the projected values, all heads together; default: `dims`.
      value_output_dims: The size of the result; default: `dims`.
      bias: Whether the projections have biases.

    Raises:
      ValueError: Sizes are not multiples of `num_heads`, or an input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> list(nn.MultiHeadAttention(8, 2).parameters())
      ['query_proj', 'key_proj', 'value_proj', 'out_proj']
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        query_input_dims: int | None = None,
        key_input_dims: int | None = None,
        value_input_dims: int | None = None,
        value_dims: int | None = None,
        value_output_dims: int | None = None,
        bias: bool = False,
    ):
        super().__init__()
        query_input_dims = query_input_dims or dims
        key_input_dims = key_input_dims or dims
        value_input_dims = value_input_dims or key_input_dims
        value_dims = value_dims or dims
        value_output_dims = value_output_dims or dims
        for name, size in (("dims", dims), ("value_dims", value_dims)):
            if num_heads <= 0 or size % num_heads != 0:
                raise ValueError(
                    f"[MultiHeadAttention] {name} {size} for {num_heads} heads, "
                    "expected a multiple of them"
                )
        self.num_heads = num_heads
        self.query_proj = Linear(query_input_dims, dims, bias=bias)
        self.key_proj = Linear(key_input_dims, dims, bias=bias)
        self.value_proj = Linear(value_input_dims, value_dims, bias=bias)
        self.out_proj = Linear(value_dims, value_output_dims, bias=bias)

    def _heads(self, x: mx.array) -> mx.array:
        """(batch, length, dims) as (batch, num_heads, length, dims of a head)."""
        return mx.unflatten(x, -1, (self.num_heads, -1)).transpose(0, 2, 1, 3)

    def __call__(
        self,
        queries: mx.array,
        keys: mx.array,
        values: mx.array,
        mask: mx.array | str | None = None,
    ) -> mx.array:
        for name, x in (("queries", queries), ("keys", keys), ("values", values)):
            check_array(self, x)
            if x.ndim != 3:
                raise ValueError(
                    f"[MultiHeadAttention] {name} of shape {x.shape}, "
                    "expected (batch, length, dims)"
                )
        queries = self._heads(self.query_proj(queries))
        keys = self._heads(self.key_proj(keys))
        values = self._heads(self.value_proj(values))
        scale = math.sqrt(1 / queries.shape[-1])
        y = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
        return self.out_proj(y.transpose(0, 2, 1, 3).flatten(-2, -1))

    @staticmethod
    def create_additive_causal_mask(N: int, dtype: mx.Dtype = mx.float32) -> mx.array:
        """A mask under which each place sees itself and what is before it.

        Args:
          N: The length of the sequences.
          dtype: A floating dtype.

        Returns:
          array: Of shape (N, N): zeros on and below the diagonal, above it the dtype's lowest
          number.

        Example:
          >>> import narrows.nn as nn
          >>> nn.MultiHeadAttention.create_additive_causal_mask(2, mx.float16).tolist()
          [[0.0, -65504.0], [0.0, 0.0]]
        """
        places = mx.arange(N)
        hidden = places[:, None] < places[None]
        zero = mx.array(0, dtype)
        return mx.where(hidden, mx.array(mx.finfo(dtype).min, dtype), zero)
