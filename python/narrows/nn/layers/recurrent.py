"""Recurrent layers: RNN, GRU and LSTM."""

import math
from collections.abc import Callable

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_array, check_last_dimension


class _Recurrent(Module):
    """What the recurrent layers share."""

    def _uniform(self, *shape: int) -> mx.array:
        bound = 1 / math.sqrt(self.hidden_size)
        return mx.random.uniform(-bound, bound, shape)

    def _projected(
        self, x: mx.array, weight: mx.array, bias: mx.array | None, **states: mx.array | None
    ) -> mx.array:
        """``x @ weight.T + bias`` of all steps at once, after a check of all shapes."""
        check_array(self, x)
        if x.ndim < 2:
            raise ValueError(
                f"[{type(self).__name__}] input of shape {x.shape}, "
                f"expected (..., length, {weight.shape[1]})"
            )
        check_last_dimension(self, x, weight.shape[1])
        for name, state in states.items():
            expected = (*x.shape[:-2], self.hidden_size)
            if state is not None and state.shape not in (expected, (self.hidden_size,)):
                raise ValueError(
                    f"[{type(self).__name__}] {name} of shape {state.shape}, expected {expected}"
                )
        return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)

    def _steps(self, projected: mx.array) -> list[mx.array]:
        """The steps of (..., length, size), each (..., size).

        They are taken apart at once, since the gradient of a slice is as large as the whole.
        """
        return list(mx.unstack(projected, axis=-2)) if projected.shape[-2] > 0 else []

    def _stacked(self, steps: list, x: mx.array) -> mx.array:
        """What each step gave, as (..., length, hidden_size)."""
        if steps:
            return mx.stack(steps, axis=-2)
        return mx.zeros((*x.shape[:-2], 0, self.hidden_size), x.dtype)


class RNN(_Recurrent):
    """``h = nonlinearity(Wxh @ x + Whh @ h + bias)`` for each step of a sequence.

    Takes sequences (..., length, input_size). Parameters: ``Wxh`` (hidden_size, input_size),
    ``Whh`` (hidden_size, hidden_size) and ``bias`` (hidden_size,), at first uniform in
    ±1/√hidden_size.

    Called with the sequences and, optionally, the state ``hidden`` (..., hidden_size) to begin
    with, it gives the states after each step, (..., length, hidden_size).

    Args:
      input_size: The size of the input's last dimension.
      hidden_size: The size of the state.
      bias: Whether there is a bias.
      nonlinearity: A function of an array; default: `mx.tanh`.

    Raises:
      ValueError: `nonlinearity` is no function, or an input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.RNN(3, 4)(mx.ones((2, 5, 3))).shape
      (2, 5, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Callable | None = None,
    ):
        super().__init__()
        nonlinearity = mx.tanh if nonlinearity is None else nonlinearity
        if not callable(nonlinearity):
            raise ValueError(f"[RNN] nonlinearity {nonlinearity!r}, expected a function")
        self.nonlinearity = nonlinearity
        self.hidden_size = hidden_size
        self.Wxh = self._uniform(hidden_size, input_size)
        self.Whh = self._uniform(hidden_size, hidden_size)
        self.bias = self._uniform(hidden_size) if bias else None

    def _extra_repr(self) -> str:
        function = getattr(self.nonlinearity, "__name__", self.nonlinearity)
        return (
            f"input_dims={self.Wxh.shape[1]}, hidden_size={self.hidden_size}, "
            f"nonlinearity={function}, bias={self.bias is not None}"
        )

    def __call__(self, x: mx.array, hidden: mx.array | None = None) -> mx.array:
        projected = self._projected(x, self.Wxh, self.bias, hidden=hidden)
        recurrent_weight = self.Whh.T
        states = []
        for total in self._steps(projected):
            if hidden is not None:
                total = total + hidden @ recurrent_weight
            hidden = self.nonlinearity(total)
            states.append(hidden)
        return self._stacked(states, x)


class GRU(_Recurrent):
    """Gated recurrent units.

    For each step: ``r = σ(Wr @ x + br + Ur @ h)``, ``z = σ(Wz @ x + bz + Uz @ h)``,
    ``n = tanh(Wn @ x + bn + r * (Un @ h + bhn))``, and ``h = (1 - z) * n + z * h``.

    Takes sequences (..., length, input_size). Parameters: ``Wx`` (3 * hidden_size, input_size),
    the rows of Wr, Wz and Wn; ``Wh`` (3 * hidden_size, hidden_size), those of Ur, Uz and Un; ``b``
    (3 * hidden_size,) and ``bhn`` (hidden_size,). At first all are uniform in ±1/√hidden_size.

    Called with the sequences and, optionally, the state ``hidden`` (..., hidden_size) to begin
    with, it gives the states after each step, (..., length, hidden_size).

    Args:
      input_size: The size of the input's last dimension.
      hidden_size: The size of the state.
      bias: Whether there are biases.

    Raises:
      ValueError: An input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.GRU(3, 4)(mx.ones((2, 5, 3))).shape
      (2, 5, 4)
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True):
        super().__init__()
        self.hidden_size = hidden_size
        self.Wx = self._uniform(3 * hidden_size, input_size)
        self.Wh = self._uniform(3 * hidden_size, hidden_size)
        self.b = self._uniform(3 * hidden_size) if bias else None
        self.bhn = self._uniform(hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, "
            f"bias={self.b is not None}"
        )

    def __call__(self, x: mx.array, hidden: mx.array | None = None) -> mx.array:
        projected = self._projected(x, self.Wx, self.b, hidden=hidden)
        recurrent_weight = self.Wh.T
        gates_end = [2 * self.hidden_size]
        states = []
        for total in self._steps(projected):
            gate, candidate = mx.split(total, gates_end, axis=-1)
            recurrent = self.bhn
            if hidden is not None:
                products, recurrent = mx.split(hidden @ recurrent_weight, gates_end, axis=-1)
                gate = gate + products
                if self.bhn is not None:
                    recurrent = recurrent + self.bhn
            reset, update = mx.split(mx.sigmoid(gate), 2, axis=-1)
            if recurrent is not None:
                candidate = candidate + reset * recurrent
            new = (1 - update) * mx.tanh(candidate)
            hidden = new if hidden is None else new + update * hidden
            states.append(hidden)
        return self._stacked(states, x)


class LSTM(_Recurrent):
    """Long short-term memory.

    For each step: ``i = σ(Wi @ x + Ui @ h + bi)``, ``f = σ(Wf @ x + Uf @ h + bf)``,
    ``g = tanh(Wg @ x + Ug @ h + bg)``, ``o = σ(Wo @ x + Uo @ h + bo)``, ``c = f * c + i * g`` and
    ``h = o * tanh(c)``.

    Takes sequences (..., length, input_size). Parameters: ``Wx`` (4 * hidden_size, input_size),
    the rows of Wi, Wf, Wg and Wo; ``Wh`` (4 * hidden_size, hidden_size), those of Ui, Uf, Ug and
    Uo; and ``bias`` (4 * hidden_size,). At first all are uniform in ±1/√hidden_size.

    Called with the sequences and, optionally, the states ``hidden`` and ``cell`` (...,
    hidden_size) to begin with, it gives the states h and the cells c after each step, both
    (..., length, hidden_size).

    Args:
      input_size: The size of the input's last dimension.
      hidden_size: The size of the state.
      bias: Whether there is a bias.

    Raises:
      ValueError: An input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> hidden, cell = nn.LSTM(3, 4)(mx.ones((2, 5, 3)))
      >>> hidden.shape, cell.shape
      ((2, 5, 4), (2, 5, 4))
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True):
        super().__init__()
        self.hidden_size = hidden_size
        self.Wx = self._uniform(4 * hidden_size, input_size)
        self.Wh = self._uniform(4 * hidden_size, hidden_size)
        self.bias = self._uniform(4 * hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, "
            f"bias={self.bias is not None}"
        )

    def __call__(
        self, x: mx.array, hidden: mx.array | None = None, cell: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        projected = self._projected(x, self.Wx, self.bias, hidden=hidden, cell=cell)
        recurrent_weight = self.Wh.T
        states, cells = [], []
        for total in self._steps(projected):
            if hidden is not None:
                total = total + hidden @ recurrent_weight
            i, f, g, o = mx.split(total, 4, axis=-1)
            new = mx.sigmoid(i) * mx.tanh(g)
            cell = new if cell is None else mx.sigmoid(f) * cell + new
            hidden = mx.sigmoid(o) * mx.tanh(cell)
            states.append(hidden)
            cells.append(cell)
        return self._stacked(states, x), self._stacked(cells, x)
