"""Optimizers that divide by averages of squared gradients: RMSprop, Adagrad, AdaDelta."""

from __future__ import annotations

from collections.abc import Callable

import narrows.core as mx
from narrows.optimizers.optimizer import Optimizer, moving_average, require

__all__ = ["AdaDelta", "Adagrad", "RMSprop"]


class RMSprop(Optimizer):
    """RMSprop: divides by the root of an average of squared gradients.

    With a gradient g and a parameter w::

        v = alpha * v + (1 - alpha) * g²
        w = w - learning_rate * g / (sqrt(v) + eps)

    Args:
      learning_rate: A number, an array of one, or a schedule.
      alpha: How much of the average v each step keeps.
      eps: What keeps the divisor from zero.

    Raises:
      ValueError: `alpha` or `eps` is below 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> model = {"w": mx.array(1.0)}
      >>> optim.RMSprop(learning_rate=0.1, alpha=0.75).update(model, {"w": mx.array(40.0)})
      >>> round(model["w"].item(), 4)
      0.8
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        alpha: float = 0.99,
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        require(alpha >= 0, "RMSprop", f"alpha={alpha}", "a number from 0 on")
        require(eps >= 0, "RMSprop", f"eps={eps}", "a number from 0 on")
        self._maybe_schedule("learning_rate", learning_rate)
        self.alpha = alpha
        self.eps = eps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts the average `v`, zeros, into the state."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = moving_average(state, "v", self.alpha, mx.square(gradient))
        return parameter - rate * (gradient / (mx.sqrt(v) + self.eps))


class Adagrad(Optimizer):
    """Adagrad: divides by the root of the sum of all squared gradients.

    With a gradient g and a parameter w::

        v = v + g²
        w = w - learning_rate * g / (sqrt(v) + eps)

    Args:
      learning_rate: A number, an array of one, or a schedule.
      eps: What keeps the divisor from zero.

    Raises:
      ValueError: `eps` is below 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> optimizer = optim.Adagrad(learning_rate=1.0)
      >>> model = {"w": mx.array(0.0)}
      >>> for _ in range(2):
      ...     optimizer.update(model, {"w": mx.array(3.0)})
      >>> round(model["w"].item(), 4)  # -1 - 1 / sqrt(2)
      -1.7071
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        require(eps >= 0, "Adagrad", f"eps={eps}", "a number from 0 on")
        self._maybe_schedule("learning_rate", learning_rate)
        self.eps = eps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts the sum `v`, zeros, into the state."""
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = state["v"] + mx.square(gradient)
        state["v"] = v
        return parameter - rate * (gradient / (mx.sqrt(v) + self.eps))


class AdaDelta(Optimizer):
    """AdaDelta (arXiv:1212.5701): steps of the size of those before, in the units of the parameter.

    With a gradient g and a parameter w::

        v = rho * v + (1 - rho) * g²
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d²
        w = w - learning_rate * d

    Args:
      learning_rate: A number, an array of one, or a schedule; 1.0 in the paper.
      rho: How much of the averages u and v each step keeps.
      eps: What keeps the divisor from zero, and begins the first steps.

    Raises:
      ValueError: `rho` or `eps` is below 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> model = {"w": mx.array(1.0)}
      >>> optim.AdaDelta(learning_rate=1.0, rho=0.0, eps=0.01).update(model, {"w": mx.array(7.0)})
      >>> round(model["w"].item(), 4)
      0.9
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        rho: float = 0.9,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        require(rho >= 0, "AdaDelta", f"rho={rho}", "a number from 0 on")
        require(eps >= 0, "AdaDelta", f"eps={eps}", "a number from 0 on")
        self._maybe_schedule("learning_rate", learning_rate)
        self.rho = rho
        self.eps = eps

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts the averages `v` of squared gradients and `u` of squared steps into the state."""
        state["v"] = mx.zeros_like(parameter)
        state["u"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = moving_average(state, "v", self.rho, mx.square(gradient))
        u = state["u"]

        def step():
            # Recorded for each use, because a value that two operations read would take memory.
            return mx.sqrt(u + self.eps) / mx.sqrt(v + self.eps) * gradient

        moving_average(state, "u", self.rho, mx.square(step()))
        return parameter - rate * step()
