"""Muon: momentum whose matrices are made nearly orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable

import narrows.core as mx
from narrows.optimizers.optimizer import Optimizer, moving_average, require

__all__ = ["Muon"]

# The quintic polynomial a x + b x³ + c x⁵, which takes singular values of (0, 1] to about 1 fast.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def _orthogonalized(matrix: mx.array, steps: int) -> mx.array:
    """A matrix of nearly the same singular vectors, whose singular values are about 1."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix  # products of the shorter side are smaller
    norm = mx.sqrt(mx.square(x.astype(mx.float32)).sum()).astype(x.dtype)
    x = x / (norm + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = mx.addmm(x, mx.addmm(square, square, square, alpha=_C, beta=_B), x, beta=_A)
    return x.T if tall else x


class Muon(Optimizer):
    """Muon (https://kellerjordan.github.io/posts/muon/): orthogonalized momentum for hidden layers.

    With a gradient g and a parameter w::

        g = g + weight_decay * w
        v = momentum * v + (1 - momentum) * g
        u = momentum * v + (1 - momentum) * g  # with nesterov; else v
        w = w - learning_rate * sqrt(max(1, rows / columns)) * orthogonalized(u)

    Parameters of more than two axes are taken as matrices of their first axis and all others. Those
    of one axis or none are not orthogonalized: they, embeddings and last layers are better left to
    another optimizer, as with `MultiOptimizer`.

    Args:
      learning_rate: A number, an array of one, or a schedule.
      momentum: How much of the average v each step keeps.
      weight_decay: How much of the parameter is added to its gradient.
      nesterov: Looks ahead along the average.
      ns_steps: The number of Newton-Schulz iterations that orthogonalize.

    Raises:
      ValueError: `ns_steps` is below 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> optimizer = optim.Muon(learning_rate=0.1, weight_decay=0.0)
      >>> model = {"w": mx.zeros((2, 2))}
      >>> optimizer.update(model, {"w": mx.array([[3.0, 0.0], [0.0, 0.5]])})
      >>> [[round(x, 1) for x in row] for row in model["w"].tolist()]  # steps of about one length
      [[-0.1, 0.0], [0.0, -0.1]]
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        nesterov: bool = True,
        ns_steps: int = 5,
    ) -> None:
        super().__init__()
        require(ns_steps >= 0, "Muon", f"ns_steps={ns_steps}", "a number from 0 on")
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.ns_steps = ns_steps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts the average `v`, zeros, into the state."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        update = moving_average(state, "v", self.momentum, gradient)
        if self.nesterov:
            update = self.momentum * update + (1 - self.momentum) * gradient
        if update.ndim >= 2 and update.size > 0:
            matrix = update.reshape(update.shape[0], -1)
            rate = rate * math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
            update = _orthogonalized(matrix, self.ns_steps).reshape(update.shape)
        return parameter - rate * update
