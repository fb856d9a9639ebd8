"""Adafactor: second moments of matrices in the memory of a row and a column."""

from __future__ import annotations

import functools
from collections.abc import Callable

import narrows.core as mx
from narrows.optimizers.optimizer import Optimizer, moving_average, require

__all__ = ["Adafactor"]


def _rms(x: mx.array) -> mx.array:
    return mx.sqrt(mx.mean(mx.square(x)))


class Adafactor(Optimizer):
    """Adafactor (arXiv:1804.04235): divides by roots of second moments, which it keeps factored.

    Of a parameter of two axes and more, it keeps the averages of squared gradients along the last
    axis and along the one before, in place of one for each element.

    Args:
      learning_rate: A number, an array of one, or a schedule. It is not used if `relative_step`.
      eps: What is added to squared gradients; the least size by which `scale_parameter` scales.
      clip_threshold: The root mean square of a parameter's step, less the learning rate, is at
        most this.
      decay_rate: Averages keep `1 - t**decay_rate` at step t.
      beta_1: How much of an average of steps each step keeps. None: there is no such average.
      weight_decay: How fast parameters decay.
      scale_parameter: Multiplies the learning rate by the root mean square of the parameter.
      relative_step: The learning rate is `min(0.01, 1 / sqrt(t))` at step t.
      warmup_init: With `relative_step`, it is `min(1e-6 * t, 1 / sqrt(t))`.

    Raises:
      ValueError: There is neither a learning rate nor `relative_step`.

    Example:
      >>> import narrows.optimizers as optim
      >>> optimizer = optim.Adafactor()
      >>> model = {"w": mx.ones((2, 3))}
      >>> optimizer.update(model, {"w": mx.ones((2, 3))})
      >>> [[round(x, 4) for x in row] for row in model["w"].tolist()]
      [[0.99, 0.99, 0.99], [0.99, 0.99, 0.99]]
      >>> {name: value.shape for name, value in optimizer.state["w"].items()}
      {'exp_avg_sq_row': (2,), 'exp_avg_sq_col': (3,)}
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array] | None = None,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta_1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        super().__init__()
        require(
            relative_step or learning_rate is not None,
            "Adafactor",
            f"learning_rate={learning_rate} and relative_step={relative_step}",
            "one of them",
        )
        if learning_rate is not None:
            self._maybe_schedule("learning_rate", learning_rate)
        self.eps = eps
        self.clip_threshold = clip_threshold
        self.decay_rate = decay_rate
        self.beta_1 = beta_1
        self.weight_decay = weight_decay
        self.scale_parameter = scale_parameter
        self.relative_step = relative_step
        self.warmup_init = warmup_init

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts zeros into the state: `exp_avg_sq_row` and `exp_avg_sq_col`, or `exp_avg_sq` for a
        parameter of one axis or none; with `beta_1` also `exp_avg`."""
        shape, dtype = parameter.shape, parameter.dtype
        if parameter.ndim >= 2:
            state["exp_avg_sq_row"] = mx.zeros(shape[:-1], dtype)
            state["exp_avg_sq_col"] = mx.zeros(shape[:-2] + shape[-1:], dtype)
        else:
            state["exp_avg_sq"] = mx.zeros(shape, dtype)
        if self.beta_1 is not None:
            state["exp_avg"] = mx.zeros(shape, dtype)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        if parameter.size == 0:
            return parameter
        rate = self._rate(parameter)
        factors = self._factors(gradient, state)

        def divided():
            # Recorded for each use, because a value that two operations read would take memory.
            return functools.reduce(mx.multiply, factors) * gradient

        scale = rate / mx.maximum(1.0, _rms(divided()) / self.clip_threshold)
        update = divided() * scale
        if self.beta_1 is not None:
            update = moving_average(state, "exp_avg", self.beta_1, update)
        if self.weight_decay != 0:
            parameter = parameter * (1 - self.weight_decay * rate)
        return parameter - update

    def _rate(self, parameter: mx.array) -> mx.array:
        if self.relative_step:
            most = 1e-6 * self.step if self.warmup_init else 1e-2
            rate = mx.minimum(most, mx.rsqrt(self.step))
        else:
            rate = self.learning_rate
        rate = rate.astype(parameter.dtype)
        return rate * mx.maximum(self.eps[1], _rms(parameter)) if self.scale_parameter else rate

    def _factors(self, gradient: mx.array, state: dict) -> list[mx.array]:
        """Arrays whose product is one over the root of the average of squared gradients."""
        beta = (1 - self.step**self.decay_rate).astype(gradient.dtype)

        def average(name, axis=None):
            square = mx.square(gradient) + self.eps[0]
            return moving_average(state, name, beta, square if axis is None else square.mean(axis))

        if gradient.ndim < 2:
            return [mx.rsqrt(average("exp_avg_sq"))]
        row, column = average("exp_avg_sq_row", -1), average("exp_avg_sq_col", -2)
        row = mx.rsqrt(row / row.mean(axis=-1, keepdims=True))
        return [row[..., None], mx.rsqrt(column)[..., None, :]]
