"""Activation functions.

They are plain functions of operations, not compiled ones: a compiled function is a step by itself,
and these become one step with the operations around them.
"""

import math

import narrows.core as mx


def _negative_part(x):
    """``min(x, 0)``, whose derivative at zero is one: what is made of it has one, too."""
    return mx.where(x > 0, 0, x)


def sigmoid(x):
    """``1 / (1 + exp(-x))``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.sigmoid(mx.array([0.0])).tolist()
      [0.5]
    """
    return mx.sigmoid(x)


def relu(x):
    """``max(x, 0)``.

    Args:
      x: An array.

    Returns:
      array: Of the shape and dtype of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.relu(mx.array([-1.0, 2.0])).tolist()
      [0.0, 2.0]
    """
    return mx.maximum(x, 0)


def relu2(x):
    """``max(x, 0)²``.

    Args:
      x: An array.

    Returns:
      array: Of the shape and dtype of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.relu2(mx.array([-1.0, 3.0])).tolist()
      [0.0, 9.0]
    """
    return mx.square(mx.maximum(x, 0))


def relu6(x):
    """``min(max(x, 0), 6)``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.relu6(mx.array([-1.0, 3.0, 9.0])).tolist()
      [0.0, 3.0, 6.0]
    """
    return mx.minimum(mx.maximum(x, 0), 6.0)


def leaky_relu(x, negative_slope=0.01):
    """``max(negative_slope * x, x)``.

    Args:
      x: An array.
      negative_slope: What negative numbers are multiplied by.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.leaky_relu(mx.array([-1.0, 2.0]), negative_slope=0.5).tolist()
      [-0.5, 2.0]
    """
    return mx.maximum(negative_slope * x, x)


def prelu(x: mx.array, alpha: mx.array) -> mx.array:
    """``max(x, 0) + alpha * min(x, 0)``.

    Args:
      x: An array.
      alpha: What negative numbers are multiplied by: an array that broadcasts with `x`.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.prelu(mx.array([-1.0, 2.0]), mx.array(0.5)).tolist()
      [-0.5, 2.0]
    """
    return mx.maximum(0, x) + alpha * mx.minimum(0, x)


def elu(x, alpha=1.0):
    """``x`` where it is positive, else ``alpha * (exp(x) - 1)``.

    Args:
      x: An array.
      alpha: What the negative part is multiplied by.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.elu(mx.array([-100.0, 2.0])).tolist()
      [-1.0, 2.0]
    """
    return mx.where(x > 0, x, alpha * mx.expm1(_negative_part(x)))


def celu(x, alpha=1.0):
    """``max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1)``.

    Args:
      x: An array.
      alpha: What the negative part is stretched by in both directions.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.celu(mx.array([-100.0, 2.0]), alpha=2.0).tolist()
      [-2.0, 2.0]
    """
    return mx.where(x > 0, x, alpha * mx.expm1(_negative_part(x) / alpha))


def selu(x):
    """``1.0507 * elu(x, 1.67326)``, which keeps mean zero and variance one.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.selu(mx.array([0.0, 1.0])).round(4).tolist()
      [0.0, 1.0506999492645264]
    """
    return 1.0507 * mx.where(x > 0, x, 1.67326 * mx.expm1(_negative_part(x)))


def silu(x):
    """``x * sigmoid(x)``, also known as swish.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.silu(mx.array([0.0, 100.0])).tolist()
      [0.0, 100.0]
    """
    return x * mx.sigmoid(x)


def gelu(x) -> mx.array:
    """``x * Φ(x)``, where Φ is the normal distribution's cumulative function.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.gelu(mx.array([0.0, 100.0])).tolist()
      [0.0, 100.0]
    """
    return x * (1 + mx.erf(x / math.sqrt(2))) / 2


def gelu_approx(x):
    """`gelu()` by way of tanh: ``0.5 * x * (1 + tanh(√(2 / π) * (x + 0.044715 * x³)))``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.gelu_approx(mx.array([0.0, 100.0])).tolist()
      [0.0, 100.0]
    """
    return 0.5 * x * (1 + mx.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * mx.square(x))))


def gelu_fast_approx(x):
    """`gelu()` by way of the sigmoid: ``x * sigmoid(1.702 * x)``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.gelu_fast_approx(mx.array([0.0, 100.0])).tolist()
      [0.0, 100.0]
    """
    return x * mx.sigmoid(1.702 * x)


def mish(x: mx.array) -> mx.array:
    """``x * tanh(softplus(x))``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.mish(mx.array([0.0, 100.0])).tolist()
      [0.0, 100.0]
    """
    return x * mx.tanh(mx.logaddexp(x, 0))


def hardswish(x):
    """``x * min(max(x + 3, 0), 6) / 6``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.hardswish(mx.array([-1.5, 3.0])).tolist()
      [-0.375, 3.0]
    """
    return x * mx.minimum(mx.maximum(x + 3, 0), 6) / 6


def hard_tanh(x, min_val=-1.0, max_val=1.0):
    """``min(max(x, min_val), max_val)``.

    Args:
      x: An array.
      min_val: The lowest result.
      max_val: The highest result.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.hard_tanh(mx.array([-3.0, 0.5, 3.0])).tolist()
      [-1.0, 0.5, 1.0]
    """
    return mx.minimum(mx.maximum(x, min_val), max_val)


def hard_shrink(x, lambd=0.5):
    """``x`` where it is farther than `lambd` from zero, else zero.

    Args:
      x: An array.
      lambd: The distance.

    Returns:
      array: Of the shape and dtype of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.hard_shrink(mx.array([-1.0, 0.25])).tolist()
      [-1.0, 0.0]
    """
    return mx.where(mx.abs(x) > lambd, x, 0)


def softshrink(x, lambd: float = 0.5):
    """``x`` moved by `lambd` towards zero, or zero where it lies nearer.

    Args:
      x: An array.
      lambd: The distance.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.softshrink(mx.array([-1.0, 0.25])).tolist()
      [-0.5, 0.0]
    """
    return mx.where(mx.abs(x) > lambd, x - mx.sign(x) * lambd, 0)


def softplus(x):
    """``log(1 + exp(x))``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.softplus(mx.array([-200.0, 100.0])).tolist()
      [0.0, 100.0]
    """
    return mx.logaddexp(x, 0)


def softsign(x):
    """``x / (1 + |x|)``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.softsign(mx.array([-1.0, 3.0])).tolist()
      [-0.5, 0.75]
    """
    return x / (1 + mx.abs(x))


def log_sigmoid(x):
    """``log(sigmoid(x))``.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.log_sigmoid(mx.array([-100.0])).tolist()
      [-100.0]
    """
    return -mx.logaddexp(-x, 0)


def softmax(x, axis=-1):
    """``exp(x) / sum(exp(x))``, along an axis.

    Args:
      x: An array.
      axis: The axis.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.softmax(mx.array([[3.0, 3.0]])).tolist()
      [[0.5, 0.5]]
    """
    return mx.softmax(x, axis=axis)


def softmin(x, axis=-1):
    """``exp(-x) / sum(exp(-x))``, along an axis.

    Args:
      x: An array.
      axis: The axis.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.softmin(mx.array([[3.0, 3.0]])).tolist()
      [[0.5, 0.5]]
    """
    return mx.softmax(-x, axis=axis)


def log_softmax(x, axis=-1):
    """``x - log(sum(exp(x)))``, along an axis.

    Args:
      x: An array.
      axis: The axis.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.log_softmax(mx.array([[200.0, 0.0]])).tolist()
      [[0.0, -200.0]]
    """
    return x - mx.logsumexp(x, axis=axis, keepdims=True)


def step(x: mx.array, threshold: float = 0.0):
    """1 where ``x >= threshold``, else 0.

    Args:
      x: An array.
      threshold: The threshold.

    Returns:
      array: int32, of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.step(mx.array([-1.0, 0.0, 2.0])).tolist()
      [0, 1, 1]
    """
    return mx.where(x >= threshold, 1, 0)


def tanh(x):
    """The hyperbolic tangent.

    Args:
      x: An array.

    Returns:
      array: Of the shape of `x`.

    Example:
      >>> import narrows.nn as nn
      >>> nn.tanh(mx.array([0.0, 100.0])).tolist()
      [0.0, 1.0]
    """
    return mx.tanh(x)


def glu(x: mx.array, axis: int = -1) -> mx.array:
    """``a * sigmoid(b)``, where `a` and `b` are the halves of `x` along an axis.

    Args:
      x: An array, of even size along the axis.
      axis: The axis.

    Returns:
      array: Of the shape of `x`, but half as long along the axis.

    Raises:
      ValueError: The size along the axis is odd.

    Example:
      >>> import narrows.nn as nn
      >>> nn.glu(mx.array([6.0, 0.0])).tolist()
      [3.0]
    """
    a, b = mx.split(x, 2, axis=axis)
    return a * mx.sigmoid(b)
