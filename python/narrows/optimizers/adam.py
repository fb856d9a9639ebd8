"""Adam and what was made of it: AdamW, Adamax."""

from __future__ import annotations

import math
from collections.abc import Callable

import narrows.core as mx
from narrows.optimizers.optimizer import Optimizer, moving_average, require, require_betas

__all__ = ["Adam", "AdamW", "Adamax"]


class Adam(Optimizer):
    """Adam (arXiv:1412.6980): average gradients over the root of average squared gradients.

    With a gradient g, a parameter w and `betas` b1 and b2::

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g²
        w = w - learning_rate * m / (sqrt(v) + eps)

    With `bias_correction`, m / (1 - b1^t) and v / (1 - b2^t) stand for m and v in the last line,
    with t the number of steps, this one included.

    Args:
      learning_rate: A number, an array of one, or a schedule.
      betas: How much of the averages m and v each step keeps.
      eps: What keeps the divisor from zero.
      bias_correction: Makes up for averages that begin at zero, as the paper does.

    Raises:
      ValueError: `betas` are not two numbers of [0, 1), or `eps` is below 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> optimizer = optim.Adam(learning_rate=0.1, bias_correction=True)
      >>> model = {"w": mx.array([1.0, 1.0])}
      >>> optimizer.update(model, {"w": mx.array([20.0, -0.5])})
      >>> [round(x, 4) for x in model["w"].tolist()]
      [0.9, 1.1]
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        betas: tuple[float, float] | list[float] = (0.9, 0.999),
        eps: float = 1e-8,
        bias_correction: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        require_betas(name, betas)
        require(eps >= 0, name, f"eps={eps}", "a number from 0 on")
        self._maybe_schedule("learning_rate", learning_rate)
        self.betas = betas
        self.eps = eps
        self.bias_correction = bias_correction

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts the averages `m` of gradients and `v` of their squares, zeros, into the state."""
        state["m"] = mx.zeros_like(parameter)
        state["v"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        rate = self._once("rate", gradient.dtype, lambda: self._rate(gradient.dtype))
        # The quotient first: it takes the divisor's memory, where `rate * m` would want some more.
        return parameter - rate * self._quotient(gradient, state)

    def _quotient(self, gradient: mx.array, state: dict) -> mx.array:
        """m over the root of v, which both are moved by the gradient."""
        dtype = gradient.dtype
        m = moving_average(state, "m", self.betas[0], gradient)
        v = moving_average(state, "v", self.betas[1], mx.square(gradient))
        divisor = mx.sqrt(v)
        if self.bias_correction:
            divisor = divisor * self._once(
                "scale", dtype, lambda: mx.rsqrt(self._weight(self.betas[1])).astype(dtype)
            )
        return m / (divisor + self.eps)

    def _rate(self, dtype: mx.Dtype) -> mx.array:
        """The learning rate, corrected where m is to be."""
        rate = self.learning_rate
        if self.bias_correction:
            rate = rate / self._weight(self.betas[0])
        return rate.astype(dtype)

    def _weight(self, beta: float) -> mx.array:
        """1 - beta^t, to the last digits: how much of an average is not its beginning, zero."""
        return -mx.expm1(self.step * (math.log(beta) if beta > 0 else -math.inf))


class AdamW(Adam):
    """AdamW (arXiv:1711.05101): Adam with a weight decay that is no part of the gradient.

    Each step does what `Adam` does, and takes `learning_rate * weight_decay * w` off, too.

    Args:
      learning_rate: A number, an array of one, or a schedule.
      betas: How much of the averages each step keeps.
      eps: What keeps the divisor from zero.
      weight_decay: How fast parameters decay.
      bias_correction: Makes up for averages that begin at zero, as the paper does.

    Raises:
      ValueError: `betas` are not two numbers of [0, 1), or `eps` is below 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> optimizer = optim.AdamW(learning_rate=0.1, weight_decay=0.5, bias_correction=True)
      >>> model = {"w": mx.array([1.0, 1.0])}
      >>> optimizer.update(model, {"w": mx.array([20.0, 0.0])})
      >>> [round(x, 4) for x in model["w"].tolist()]
      [0.85, 0.95]
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        betas: tuple[float, float] | list[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        bias_correction: bool = False,
    ) -> None:
        super().__init__(learning_rate, betas, eps, bias_correction)
        self.weight_decay = weight_decay

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        dtype = gradient.dtype
        step = self._quotient(gradient, state)
        if self.bias_correction:
            step = step * self._once(
                "correction", dtype, lambda: (1 / self._weight(self.betas[0])).astype(dtype)
            )
        # No factor of the parameter, 1 - rate * weight_decay: in 16 bits that is often 1.
        return parameter - self.learning_rate.astype(dtype) * (step + self.weight_decay * parameter)


class Adamax(Adam):
    """Adamax (arXiv:1412.6980): Adam with the largest of recent gradients in place of an average.

    With a gradient g, a parameter w and `betas` b1 and b2::

        m = b1 * m + (1 - b1) * g
        v = max(b2 * v, |g|)
        w = w - learning_rate * m / (v + eps)

    The bias of the average, which begins at zero, is not corrected.

    Args:
      learning_rate: A number, an array of one, or a schedule.
      betas: How much of m and v each step keeps.
      eps: What keeps the divisor from zero.

    Raises:
      ValueError: `betas` are not two numbers of [0, 1), or `eps` is below 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> model = {"w": mx.array([1.0, 1.0])}
      >>> optim.Adamax(learning_rate=1.0).update(model, {"w": mx.array([20.0, -0.5])})
      >>> [round(x, 4) for x in model["w"].tolist()]
      [0.9, 1.1]
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        betas: tuple[float, float] | list[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate, betas, eps)

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts the average `m` and the maximum `v`, zeros, into the state."""
        super().init_single(parameter, state)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        m = moving_average(state, "m", self.betas[0], gradient)
        v = mx.maximum(self.betas[1] * state["v"], mx.abs(gradient))
        state["v"] = v
        return parameter - rate * (m / (v + self.eps))
