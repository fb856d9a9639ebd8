"""A layer for each activation function."""

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_last_dimension
from narrows.nn.layers.functions import (
    celu,
    elu,
    gelu,
    gelu_approx,
    gelu_fast_approx,
    glu,
    hard_shrink,
    hard_tanh,
    hardswish,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    prelu,
    relu,
    relu2,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    step,
    tanh,
)


class Sigmoid(Module):
    """The layer of `sigmoid()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Sigmoid()(mx.ones((2, 3))), nn.sigmoid(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return sigmoid(x)


class ReLU(Module):
    """The layer of `relu()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.ReLU()(mx.ones((2, 3))), nn.relu(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return relu(x)


class ReLU2(Module):
    """The layer of `relu2()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.ReLU2()(mx.ones((2, 3))), nn.relu2(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return relu2(x)


class ReLU6(Module):
    """The layer of `relu6()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.ReLU6()(mx.ones((2, 3))), nn.relu6(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return relu6(x)


class SiLU(Module):
    """The layer of `silu()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.SiLU()(mx.ones((2, 3))), nn.silu(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return silu(x)


class SELU(Module):
    """The layer of `selu()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.SELU()(mx.ones((2, 3))), nn.selu(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return selu(x)


class Mish(Module):
    """The layer of `mish()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Mish()(mx.ones((2, 3))), nn.mish(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return mish(x)


class Hardswish(Module):
    """The layer of `hardswish()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Hardswish()(mx.ones((2, 3))), nn.hardswish(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return hardswish(x)


class HardTanh(Module):
    """The layer of `hard_tanh()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.HardTanh()(mx.ones((2, 3))), nn.hard_tanh(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return hard_tanh(x)


class LogSigmoid(Module):
    """The layer of `log_sigmoid()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.LogSigmoid()(mx.ones((2, 3))), nn.log_sigmoid(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return log_sigmoid(x)


class Softplus(Module):
    """The layer of `softplus()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Softplus()(mx.ones((2, 3))), nn.softplus(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return softplus(x)


class Softsign(Module):
    """The layer of `softsign()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Softsign()(mx.ones((2, 3))), nn.softsign(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return softsign(x)


class Tanh(Module):
    """The layer of `tanh()`.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Tanh()(mx.ones((2, 3))), nn.tanh(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return tanh(x)


class Softmax(Module):
    """The layer of `softmax()`, along the last axis.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Softmax()(mx.ones((2, 3))), nn.softmax(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return softmax(x)


class Softmin(Module):
    """The layer of `softmin()`, along the last axis.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Softmin()(mx.ones((2, 3))), nn.softmin(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return softmin(x)


class LogSoftmax(Module):
    """The layer of `log_softmax()`, along the last axis.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.LogSoftmax()(mx.ones((2, 3))), nn.log_softmax(mx.ones((2, 3)))).item()
      True
    """

    def __call__(self, x: mx.array) -> mx.array:
        return log_softmax(x)


class LeakyReLU(Module):
    """The layer of `leaky_relu()`.

    Args:
      negative_slope: What negative numbers are multiplied by.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.LeakyReLU()(mx.ones((2, 4))), nn.leaky_relu(mx.ones((2, 4)))).item()
      True
    """

    def __init__(self, negative_slope=0.01):
        super().__init__()
        self._negative_slope = negative_slope

    def __call__(self, x: mx.array) -> mx.array:
        return leaky_relu(x, self._negative_slope)


class ELU(Module):
    """The layer of `elu()`.

    Args:
      alpha: What the negative part is multiplied by.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.ELU()(mx.ones((2, 4))), nn.elu(mx.ones((2, 4)))).item()
      True
    """

    def __init__(self, alpha=1.0):
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: mx.array) -> mx.array:
        return elu(x, self._alpha)


class CELU(Module):
    """The layer of `celu()`.

    Args:
      alpha: What the negative part is stretched by in both directions.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.CELU()(mx.ones((2, 4))), nn.celu(mx.ones((2, 4)))).item()
      True
    """

    def __init__(self, alpha=1.0):
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: mx.array) -> mx.array:
        return celu(x, self._alpha)


class HardShrink(Module):
    """The layer of `hard_shrink()`.

    Args:
      lambd: The distance from zero from which on numbers are kept.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.HardShrink()(mx.ones((2, 4))), nn.hard_shrink(mx.ones((2, 4)))).item()
      True
    """

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def __call__(self, x: mx.array) -> mx.array:
        return hard_shrink(x, self.lambd)


class Softshrink(Module):
    """The layer of `softshrink()`.

    Args:
      lambd: How far numbers are moved towards zero.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Softshrink()(mx.ones((2, 4))), nn.softshrink(mx.ones((2, 4)))).item()
      True
    """

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def __call__(self, x: mx.array) -> mx.array:
        return softshrink(x, self.lambd)


class Step(Module):
    """The layer of `step()`.

    Args:
      threshold: The lowest number that becomes 1.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.Step()(mx.ones((2, 4))), nn.step(mx.ones((2, 4)))).item()
      True
    """

    def __init__(self, threshold: float = 0.0):
        super().__init__()
        self.threshold = threshold

    def __call__(self, x: mx.array) -> mx.array:
        return step(x, self.threshold)


class GLU(Module):
    """The layer of `glu()`.

    Args:
      axis: The axis that is halved.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.GLU()(mx.ones((2, 4))), nn.glu(mx.ones((2, 4)))).item()
      True
    """

    def __init__(self, axis: int = -1):
        super().__init__()
        self.axis = axis

    def __call__(self, x: mx.array) -> mx.array:
        return glu(x, self.axis)


class PReLU(Module):
    """The layer of `prelu()`.

    Parameter: ``weight`` (num_parameters,), what negative numbers are multiplied by.

    Args:
      num_parameters: 1, or the size of the input's last dimension.
      init: The first value of the parameters.

    Example:
      >>> import narrows.nn as nn
      >>> nn.PReLU()(mx.array([-1.0, 2.0])).tolist()
      [-0.25, 2.0]
    """

    def __init__(self, num_parameters=1, init=0.25):
        super().__init__()
        self.weight = mx.full((num_parameters,), init)

    def __call__(self, x: mx.array) -> mx.array:
        if self.weight.size > 1:
            check_last_dimension(self, x, self.weight.size)
        return prelu(x, self.weight)


class GELU(Module):
    """The layer of `gelu()` or of an approximation of it.

    Args:
      approx: ``"none"`` for `gelu()`, ``"precise"`` or ``"tanh"`` for `gelu_approx()`, ``"fast"``
        for `gelu_fast_approx()`.

    Raises:
      ValueError: `approx` is something else.

    Example:
      >>> import narrows.nn as nn
      >>> mx.array_equal(nn.GELU("fast")(mx.ones((2,))), nn.gelu_fast_approx(mx.ones((2,)))).item()
      True
    """

    def __init__(self, approx="none"):
        super().__init__()
        if approx not in _GELU:
            known = ", ".join(map(repr, _GELU))
            raise ValueError(f"[GELU] approx {approx!r}, expected one of {known}")
        self._approx = approx

    def __call__(self, x: mx.array) -> mx.array:
        return _GELU[self._approx](x)


_GELU = {"none": gelu, "precise": gelu_approx, "tanh": gelu_approx, "fast": gelu_fast_approx}
