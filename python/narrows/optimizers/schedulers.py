"""Learning rates that change with the step: functions from a step to a number."""

from __future__ import annotations

import math
from collections.abc import Callable

import narrows.core as mx

__all__ = [
    "cosine_decay",
    "exponential_decay",
    "join_schedules",
    "linear_schedule",
    "step_decay",
]


def _require_positive(name: str, what: str, value: int) -> None:
    if not value > 0:
        raise ValueError(f"[{name}] {what}={value}, expected a number above 0.")


def exponential_decay(init: float, decay_rate: float) -> Callable:
    """A schedule that is multiplied by a number at every step.

    Args:
      init: The value at step 0.
      decay_rate: What each step multiplies by.

    Returns:
      A function of the step, a number or an array of integers: `init * decay_rate**step`.

    Example:
      >>> import narrows.optimizers as optim
      >>> schedule = optim.exponential_decay(1.0, 0.5)
      >>> schedule(mx.array(3)).item()
      0.125
      >>> optim.SGD(learning_rate=schedule).learning_rate.item()
      1.0
    """

    def schedule(step):
        return init * decay_rate**step

    return schedule


def step_decay(init: float, decay_rate: float, step_size: int) -> Callable:
    """A schedule that is multiplied by a number from time to time.

    Args:
      init: The value at step 0.
      decay_rate: What `step_size` steps multiply by.
      step_size: How many steps have the same value.

    Returns:
      A function of the step, a number or an array of integers, that gives
      `init * decay_rate**(step // step_size)`.

    Raises:
      ValueError: `step_size` is not above 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> schedule = optim.step_decay(1.0, 0.5, 10)
      >>> [schedule(mx.array(step)).item() for step in (9, 10, 25)]
      [1.0, 0.5, 0.25]
    """
    _require_positive("step_decay", "step_size", step_size)

    def schedule(step):
        return init * decay_rate ** (step // step_size)

    return schedule


def cosine_decay(init: float, decay_steps: int, end: float = 0.0) -> Callable:
    """A schedule that falls along half of a cosine, and stays where that ends.

    Args:
      init: The value at step 0.
      decay_steps: The number of steps that the fall takes.
      end: The value from step `decay_steps` on.

    Returns:
      A function of the step, a number or an array of integers, that gives a float32 array.

    Raises:
      ValueError: `decay_steps` is not above 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> schedule = optim.cosine_decay(1.0, 10)
      >>> [round(schedule(step).item(), 3) for step in (0, 5, 10, 20)]
      [1.0, 0.5, 0.0, 0.0]
    """
    _require_positive("cosine_decay", "decay_steps", decay_steps)

    def schedule(step):
        angle = mx.minimum(step, decay_steps) * (math.pi / decay_steps)
        return end + (1.0 + mx.cos(angle)) * (0.5 * (init - end))

    return schedule


def linear_schedule(init: float, end: float, steps: int) -> Callable:
    """A schedule that goes from one value to another in a straight line, and stays there.

    Args:
      init: The value at step 0.
      end: The value from step `steps` on.
      steps: The number of steps that the change takes.

    Returns:
      A function of the step, a number or an array of integers, that gives a float32 array.

    Raises:
      ValueError: `steps` is not above 0.

    Example:
      >>> import narrows.optimizers as optim
      >>> warmup = optim.linear_schedule(0.0, 1.0, steps=4)
      >>> [warmup(step).item() for step in (0, 1, 4, 9)]
      [0.0, 0.25, 1.0, 1.0]
    """
    _require_positive("linear_schedule", "steps", steps)

    def schedule(step):
        return mx.minimum(step, steps) * ((end - init) / steps) + init

    return schedule


def join_schedules(schedules: list[Callable], boundaries: list[int]) -> Callable:
    """A schedule that follows several, one after the other.

    Args:
      schedules: The schedules. Each is given the steps since its beginning.
      boundaries: The steps at which the second schedule and those after it begin, in their order.

    Returns:
      A function of the step, a number or an array of integers, that gives an array.

    Raises:
      ValueError: There is no schedule, or the number of boundaries is not one less than theirs.

    Example:
      >>> import narrows.optimizers as optim
      >>> warmup = optim.linear_schedule(0.0, 1.0, steps=10)
      >>> schedule = optim.join_schedules([warmup, optim.cosine_decay(1.0, 100)], [10])
      >>> [round(schedule(step).item(), 3) for step in (5, 10, 60)]
      [0.5, 1.0, 0.5]
    """
    schedules, boundaries = list(schedules), list(boundaries)
    if not schedules:
        raise ValueError("[join_schedules] 0 schedules, expected at least one.")
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"[join_schedules] {len(boundaries)} boundaries for {len(schedules)} schedules, "
            f"expected {len(schedules) - 1}."
        )

    def schedule(step):
        value = schedules[0](step)
        for begin, following in zip(boundaries, schedules[1:]):
            # Before `begin`, `step - begin` may wrap around; its value is not used.
            value = mx.where(step < begin, value, following(step - begin))
        return value

    return schedule
