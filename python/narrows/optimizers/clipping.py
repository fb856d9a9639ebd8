"""Bounds on gradients."""

from __future__ import annotations

from typing import Any

import narrows.core as mx
from narrows.utils import tree_map, tree_reduce

__all__ = ["clip_grad_norm"]


def _squared_norm(gradient: mx.array) -> mx.array:
    # Squares of 16-bit floats may overflow, and their sums lose digits.
    wide = gradient.astype(mx.float32) if gradient.itemsize == 2 else gradient
    return mx.square(wide).sum()


def clip_grad_norm(grads: Any, max_norm: float | mx.array) -> tuple[Any, mx.array]:
    """Scales gradients down so that the norm of all of them together is within a bound.

    Args:
      grads: A tree of arrays.
      max_norm: The bound: a number or an array of one.

    Returns:
      The gradients, with the dtypes that they had (floats in place of integers), and the norm of
      all before, a float32 array of shape ().

    Raises:
      ValueError: `max_norm` is below 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> grads, norm = optim.clip_grad_norm({"w": mx.array([3.0, 4.0])}, max_norm=1.0)
      >>> norm.item()
      5.0
      >>> [round(x, 3) for x in grads["w"].tolist()]
      [0.6, 0.8]
    """
    if not isinstance(max_norm, mx.array) and not max_norm >= 0:
        raise ValueError(f"[clip_grad_norm] max_norm={max_norm}, expected a number from 0 on.")
    squared = tree_reduce(lambda total, g: total + _squared_norm(g), grads, mx.array(0.0))
    norm = mx.sqrt(squared)
    # The small number keeps gradients of zeros from becoming NaN.
    scale = mx.minimum(max_norm / (norm + 1e-6), 1.0)

    def scaled(gradient):
        result = gradient * scale
        floating = mx.issubdtype(gradient.dtype, mx.floating)
        return result.astype(gradient.dtype) if floating else result

    return tree_map(scaled, grads), norm
