"""Optimizers that go along the gradient or its sign, with momentum: SGD and Lion."""

from __future__ import annotations

from collections.abc import Callable

import narrows.core as mx
from narrows.optimizers.optimizer import Optimizer, moving_average, require, require_betas

__all__ = ["SGD", "Lion"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

    With a gradient g and a parameter w::

        g = g + weight_decay * w
        v = momentum * v + (1 - dampening) * g
        w = w - learning_rate * v

    With `nesterov`, `g + momentum * v` stands for v in the last line; without momentum, g does.

    Args:
      learning_rate: A number, an array of one, or a schedule.
      momentum: How much of the velocity v each step keeps.
      weight_decay: How much of the parameter is added to its gradient.
      dampening: How much less of the gradient the velocity takes.
      nesterov: Looks ahead along the velocity. Wants momentum, and no dampening.

    Raises:
      ValueError: `nesterov` without momentum, or with dampening.

    Example:
      >>> import narrows.optimizers as optim
      >>> optimizer = optim.SGD(learning_rate=0.5, momentum=0.5)
      >>> model = {"w": mx.array(1.0)}
      >>> for _ in range(2):
      ...     optimizer.update(model, {"w": mx.array(1.0)})
      >>> model["w"].item()
      -0.25
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__()
        require(
            not nesterov or (momentum > 0 and dampening == 0),
            "SGD",
            f"momentum={momentum} and dampening={dampening} with nesterov",
            "momentum above 0, and dampening=0",
        )
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dampening = dampening
        self.nesterov = nesterov

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts the velocity `v`, zeros, into the state."""
        # Without momentum the velocity stays zero, and a broadcast zero takes no memory.
        zero = mx.zeros((), parameter.dtype)
        unused = self.momentum <= 0
        state["v"] = mx.broadcast_to(zero, parameter.shape) if unused else mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        rate = self.learning_rate.astype(gradient.dtype)

        def decayed():
            # Recorded for each use, because a value that two operations read would take memory.
            return gradient + self.weight_decay * parameter if self.weight_decay else gradient

        if self.momentum <= 0:
            return parameter - rate * decayed()
        damped = (1 - self.dampening) * decayed() if self.dampening > 0 else decayed()
        velocity = self.momentum * state["v"] + damped
        state["v"] = velocity
        if self.nesterov:
            velocity = decayed() + self.momentum * velocity
        return parameter - rate * velocity


class Lion(Optimizer):
    """Lion (arXiv:2302.06675): moves every element by the learning rate, whatever its gradient.

    With a gradient g, a parameter w and `betas` b1 and b2::

        c = b1 * m + (1 - b1) * g
        m = b2 * m + (1 - b2) * g
        w = w - learning_rate * (sign(c) + weight_decay * w)

    A learning rate a third to a tenth of AdamW's is usual, and a weight decay as much larger.

    Args:
      learning_rate: A number, an array of one, or a schedule.
      betas: How much of the average m counts in the direction, and is kept by each step.
      weight_decay: How much of the parameter is added to the direction.

    Raises:
      ValueError: `betas` are not two numbers of [0, 1).

    Example:
      >>> import narrows.optimizers as optim
      >>> optimizer = optim.Lion(learning_rate=0.25)
      >>> model = {"w": mx.array([1.0, 1.0])}
      >>> optimizer.update(model, {"w": mx.array([100.0, -0.001])})
      >>> model["w"].tolist()
      [0.75, 1.25]
    """

    def __init__(
        self,
        learning_rate: float | mx.array | Callable[[mx.array], mx.array],
        betas: tuple[float, float] | list[float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__()
        require_betas("Lion", betas)
        self._maybe_schedule("learning_rate", learning_rate)
        self.betas = betas
        self.weight_decay = weight_decay

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Puts the average `m`, zeros, into the state."""
        state["m"] = mx.zeros_like(parameter)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """Makes a step for one parameter: see the class."""
        rate = self.learning_rate.astype(gradient.dtype)
        direction = mx.sign(self.betas[0] * state["m"] + (1 - self.betas[0]) * gradient)
        moving_average(state, "m", self.betas[1], gradient)
        if self.weight_decay > 0:
            parameter = (1 - rate * self.weight_decay) * parameter
        return parameter - rate * direction
