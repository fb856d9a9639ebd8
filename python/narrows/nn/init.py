"""First values of parameters: each function makes one that takes an array and gives another of
its shape."""

import math
from collections.abc import Callable
from typing import Literal

import narrows.core as mx

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "normal",
    "orthogonal",
    "sparse",
    "uniform",
]


def constant(value: float, dtype: mx.Dtype = mx.float32) -> Callable[[mx.array], mx.array]:
    """One value everywhere.

    Args:
      value: The value.
      dtype: The dtype of the results.

    Returns:
      Callable: A function from an array to one of its shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.init.constant(0.5)(mx.zeros((2,))).tolist()
      [0.5, 0.5]
    """

    def initializer(a: mx.array) -> mx.array:
        return mx.full(a.shape, value, dtype=dtype)

    return initializer


def normal(
    mean: float = 0.0, std: float = 1.0, dtype: mx.Dtype = mx.float32
) -> Callable[[mx.array], mx.array]:
    """Normally distributed numbers.

    Args:
      mean: Their mean.
      std: Their standard deviation.
      dtype: The dtype of the results.

    Returns:
      Callable: A function from an array to one of its shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.init.normal(std=0.1)(mx.zeros((2, 3))).shape
      (2, 3)
    """

    def initializer(a: mx.array) -> mx.array:
        return mx.random.normal(a.shape, dtype=dtype, loc=mean, scale=std)

    return initializer


def uniform(
    low: float = 0.0, high: float = 1.0, dtype: mx.Dtype = mx.float32
) -> Callable[[mx.array], mx.array]:
    """Uniformly distributed numbers.

    Args:
      low: The lowest.
      high: What all are below.
      dtype: The dtype of the results.

    Returns:
      Callable: A function from an array to one of its shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.init.uniform(-1.0, 1.0)(mx.zeros((2, 3))).shape
      (2, 3)
    """

    def initializer(a: mx.array) -> mx.array:
        return mx.random.uniform(low, high, a.shape, dtype=dtype)

    return initializer


def identity(dtype: mx.Dtype = mx.float32) -> Callable[[mx.array], mx.array]:
    """Ones on the diagonal, else zeros.

    Args:
      dtype: The dtype of the results.

    Returns:
      Callable: A function from a square matrix to another. ValueError if it is none.

    Example:
      >>> import narrows.nn as nn
      >>> nn.init.identity()(mx.zeros((2, 2))).tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """

    def initializer(a: mx.array) -> mx.array:
        if a.ndim != 2 or a.shape[0] != a.shape[1]:
            raise ValueError(f"[identity] array of shape {a.shape}, expected a square matrix")
        return mx.eye(a.shape[0], dtype=dtype)

    return initializer


def _fans(name: str, a: mx.array) -> tuple[int, int]:
    """How many inputs an output of a layer with this weight has, and how many outputs an input."""
    if a.ndim < 2:
        raise ValueError(f"[{name}] array of shape {a.shape}, expected 2 or more dimensions")
    places = math.prod(a.shape[1:-1])
    return a.shape[-1] * places, a.shape[0] * places


def _fan(name: str, a: mx.array, mode: str) -> int:
    fans = dict(zip(("fan_in", "fan_out"), _fans(name, a)))
    if mode not in fans:
        raise ValueError(f"[{name}] mode {mode!r}, expected 'fan_in' or 'fan_out'")
    return fans[mode]


def glorot_normal(
    dtype: mx.Dtype = mx.float32,
) -> Callable[[mx.array, float], mx.array]:
    """Normally distributed numbers of standard deviation ``gain * √(2 / (fan_in + fan_out))``.

    Args:
      dtype: The dtype of the results.

    Returns:
      Callable: A function of a weight (outputs, ..., inputs) and a gain, 1 by default.

    Example:
      >>> import narrows.nn as nn
      >>> nn.init.glorot_normal()(mx.zeros((2, 3)), gain=2.0).shape
      (2, 3)
    """

    def initializer(a: mx.array, gain: float = 1.0) -> mx.array:
        std = gain * math.sqrt(2 / sum(_fans("glorot_normal", a)))
        return mx.random.normal(a.shape, dtype=dtype, scale=std)

    return initializer


def glorot_uniform(
    dtype: mx.Dtype = mx.float32,
) -> Callable[[mx.array, float], mx.array]:
    """Uniformly distributed numbers in ``±gain * √(6 / (fan_in + fan_out))``.

    Args:
      dtype: The dtype of the results.

    Returns:
      Callable: A function of a weight (outputs, ..., inputs) and a gain, 1 by default.

    Example:
      >>> import narrows.nn as nn
      >>> nn.init.glorot_uniform()(mx.zeros((2, 3)), gain=2.0).shape
      (2, 3)
    """

    def initializer(a: mx.array, gain: float = 1.0) -> mx.array:
        limit = gain * math.sqrt(6 / sum(_fans("glorot_uniform", a)))
        return mx.random.uniform(-limit, limit, a.shape, dtype=dtype)

    return initializer


def he_normal(
    dtype: mx.Dtype = mx.float32,
) -> Callable[[mx.array, Literal["fan_in", "fan_out"], float], mx.array]:
    """Normally distributed numbers of standard deviation ``gain / √fan``.

    Args:
      dtype: The dtype of the results.

    Returns:
      Callable: A function of a weight (outputs, ..., inputs), a mode, ``"fan_in"`` by default or
      ``"fan_out"``, and a gain, 1 by default.

    Example:
      >>> import narrows.nn as nn
      >>> nn.init.he_normal()(mx.zeros((2, 3)), mode="fan_out").shape
      (2, 3)
    """

    def initializer(
        a: mx.array, mode: Literal["fan_in", "fan_out"] = "fan_in", gain: float = 1.0
    ) -> mx.array:
        std = gain / math.sqrt(_fan("he_normal", a, mode))
        return mx.random.normal(a.shape, dtype=dtype, scale=std)

    return initializer


def he_uniform(
    dtype: mx.Dtype = mx.float32,
) -> Callable[[mx.array, Literal["fan_in", "fan_out"], float], mx.array]:
    """Uniformly distributed numbers in ``±gain * √(3 / fan)``.

    Args:
      dtype: The dtype of the results.

    Returns:
      Callable: A function of a weight (outputs, ..., inputs), a mode, ``"fan_in"`` by default or
      ``"fan_out"``, and a gain, 1 by default.

    Example:
      >>> import narrows.nn as nn
      >>> nn.init.he_uniform()(mx.zeros((2, 3)), mode="fan_out").shape
      (2, 3)
    """

    def initializer(
        a: mx.array, mode: Literal["fan_in", "fan_out"] = "fan_in", gain: float = 1.0
    ) -> mx.array:
        limit = gain * math.sqrt(3 / _fan("he_uniform", a, mode))
        return mx.random.uniform(-limit, limit, a.shape, dtype=dtype)

    return initializer


def sparse(
    sparsity: float, mean: float = 0.0, std: float = 1.0, dtype: mx.Dtype = mx.float32
) -> Callable[[mx.array], mx.array]:
    """Normally distributed numbers, and zeros at random places of each row.

    Args:
      sparsity: Which part of a row is zeros, rounded up to whole numbers.
      mean: The mean of the others.
      std: The standard deviation of the others.
      dtype: The dtype of the results.

    Returns:
      Callable: A function from a matrix to one of its shape. ValueError if it is none.

    Raises:
      ValueError: `sparsity` is outside of [0, 1].

    Example:
      >>> import narrows.nn as nn
      >>> w = nn.init.sparse(0.25, mean=10.0)(mx.zeros((3, 8)))
      >>> (w == 0).sum(axis=1).tolist()
      [2, 2, 2]
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"[sparse] sparsity {sparsity}, expected it in [0, 1]")

    def initializer(a: mx.array) -> mx.array:
        if a.ndim != 2:
            raise ValueError(f"[sparse] array of shape {a.shape}, expected a matrix")
        zeros = math.ceil(sparsity * a.shape[1])
        ranks = mx.argsort(mx.argsort(mx.random.uniform(shape=a.shape), axis=1), axis=1)
        values = mx.random.normal(a.shape, dtype=dtype, loc=mean, scale=std)
        return mx.where(ranks < zeros, mx.array(0, dtype), values)

    return initializer


def orthogonal(gain: float = 1.0, dtype: mx.Dtype = mx.float32) -> Callable[[mx.array], mx.array]:
    """Random matrices whose columns, or rows if there are fewer of them, are orthogonal.

    Args:
      gain: The length of these columns or rows.
      dtype: The dtype of the results.

    Returns:
      Callable: A function from a matrix to one of its shape. ValueError if it is none.

    Example:
      >>> import narrows.nn as nn
      >>> w = nn.init.orthogonal()(mx.zeros((2, 5)))
      >>> mx.allclose(w @ w.T, mx.eye(2), atol=1e-5).item()
      True
    """

    def initializer(a: mx.array) -> mx.array:
        if a.ndim != 2:
            raise ValueError(f"[orthogonal] array of shape {a.shape}, expected a matrix")
        rows, columns = a.shape
        size = max(rows, columns)
        q, r = mx.linalg.qr(mx.random.normal((size, size)), stream=mx.cpu)
        # The signs of the diagonal make every orthogonal matrix equally likely.
        q = q * mx.where(mx.diag(r) < 0, -1.0, 1.0)
        return (gain * q[:rows, :columns]).astype(dtype)

    return initializer
