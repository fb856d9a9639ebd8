"""Linear layers that the processes of a group share, and functions that make them."""

import math
from collections.abc import Callable

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_last_dimension
from narrows.nn.layers.fully_sharded import FullyShardedModule, fully_shard
from narrows.nn.layers.linear import Linear
from narrows.nn.layers.quantized import _Quantized
from narrows.utils import tree_map_with_path

# The layers are in narrows.nn, too.
__all__ = [
    "FullyShardedModule",
    "fully_shard",
    "shard_inplace",
    "shard_linear",
    "sum_gradients",
]

_SHARDINGS = ("all-to-sharded", "sharded-to-all")


def sum_gradients(group: mx.distributed.Group) -> Callable:
    """A function that gives back its argument and sums its gradient over the group.

    Args:
      group: The processes.

    Returns:
      Callable: The function, of one array.

    Example:
      >>> from narrows.nn.layers.distributed import sum_gradients
      >>> sum_gradients(mx.distributed.init())(mx.array([1, 2])).tolist()
      [1, 2]
    """
    if group.size() == 1:
        return lambda x: x

    @mx.custom_function
    def identity(x):
        return x

    @identity.vjp
    def identity_vjp(x, cotangent, _):
        return mx.distributed.all_sum(cotangent, group=group)

    return identity


def _share(
    weight: mx.array, axis: int, segments: int | list, group: mx.distributed.Group
) -> mx.array:
    """What this process has of a weight: its part of each segment along the axis."""
    count, size = group.size(), weight.shape[axis]
    parts = mx.split(weight, segments, axis=axis)
    for part in parts:
        if part.shape[axis] % count:
            raise ValueError(
                f"[shard] a part of {part.shape[axis]} of the {size} along axis {axis} of a weight "
                f"of shape {weight.shape}, expected a multiple of the group's {count} processes"
            )
    shares = [mx.split(part, count, axis=axis)[group.rank()] for part in parts]
    return mx.contiguous(mx.concatenate(shares, axis=axis))


def _sharded_axis(sharding: str, path: str, weight: mx.array) -> int | None:
    """The axis along which a parameter is shared; None: every process has it whole."""
    if sharding == "all-to-sharded":
        return max(weight.ndim - 2, 0)
    return None if path.rpartition(".")[2] == "bias" else weight.ndim - 1


def _sharded(
    parameters: dict, sharding: str | Callable, segments: int | list, group: mx.distributed.Group
) -> dict:
    def share(path: str, weight: mx.array) -> mx.array:
        if callable(sharding):
            answer = sharding(path, weight)
            axis, parts = answer if isinstance(answer, tuple) else (answer, segments)
        else:
            axis, parts = _sharded_axis(sharding, path, weight), segments
        return weight if axis is None else _share(weight, axis, parts, group)

    return tree_map_with_path(share, parameters)


def _check_sharding(op: str, sharding: str | Callable) -> None:
    if not callable(sharding) and sharding not in _SHARDINGS:
        raise ValueError(f"[{op}] sharding {sharding!r}, expected one of {', '.join(_SHARDINGS)}")


def shard_inplace(
    module: Module,
    sharding: str | Callable,
    *,
    segments: int | list = 1,
    group: mx.distributed.Group | None = None,
) -> None:
    """Leaves a module what this process has of its parameters.

    Args:
      module: The module, which is changed. It computes with its share and does not communicate.
      sharding: ``"all-to-sharded"``: outputs are shared; ``"sharded-to-all"``: inputs are; or a
        function of the path and the parameter that gives the axis, the axis with its segments, or
        None for what every process has whole.
      segments: How many parts along the axis are shared each by itself, or where they begin.
      group: The processes; None: all.

    Raises:
      ValueError: An unknown sharding, or sizes that the processes cannot share.

    Example:
      >>> import narrows.nn as nn
      >>> from narrows.nn.layers.distributed import shard_inplace
      >>> layer = nn.Linear(4, 2)
      >>> shard_inplace(layer, "all-to-sharded")  # alone: everything
      >>> layer.weight.shape
      (2, 4)
    """
    _check_sharding("shard_inplace", sharding)
    group = group or mx.distributed.init()
    module.update(_sharded(module.parameters(), sharding, segments, group))


def shard_linear(
    module: Module,
    sharding: str,
    *,
    segments: int | list = 1,
    group: mx.distributed.Group | None = None,
) -> Module:
    """A layer that computes what a linear layer does, together with the other processes.

    Args:
      module: A `Linear` or `QuantizedLinear`.
      sharding: ``"all-to-sharded"``: every process has the input and a share of the output;
        ``"sharded-to-all"``: a share of the input and the output.
      segments: How many parts of the weight are shared each by itself, or where they begin.
      group: The processes; None: all.

    Returns:
      Module: The layer.

    Raises:
      ValueError: An unknown sharding, or sizes that the processes cannot share.
      TypeError: Another layer.

    Example:
      >>> import narrows.nn as nn
      >>> from narrows.nn.layers.distributed import shard_linear
      >>> shard_linear(nn.Linear(4, 2), "sharded-to-all")
      ShardedToAllLinear(input_dims=4, output_dims=2, bias=True)
    """
    if sharding not in _SHARDINGS:
        _check_sharding("shard_linear", str(sharding))
    to_sharded = sharding == "all-to-sharded"
    if isinstance(module, _Quantized):
        kind = QuantizedAllToShardedLinear if to_sharded else QuantizedShardedToAllLinear
        return kind.from_quantized_linear(module, segments=segments, group=group)
    if not isinstance(module, Linear):
        raise TypeError(
            f"[shard_linear] a {type(module).__name__}, expected a Linear or a QuantizedLinear"
        )
    kind = AllToShardedLinear if to_sharded else ShardedToAllLinear
    return kind.from_linear(module, segments=segments, group=group)


class _Shared(Module):
    """What linear layers of a group share: the group, and which axis of the weight it shares."""

    _sharding: str

    def _set_group(self, group: mx.distributed.Group | None) -> None:
        self._group = group or mx.distributed.init()  # an underscore: no parameter

    def _shared_dims(self, op: str, dims: int) -> int:
        count = self._group.size()
        if dims % count:
            raise ValueError(
                f"[{type(self).__name__}] {op} {dims}, expected a multiple of the group's "
                f"{count} processes"
            )
        return dims // count

    def _dims(self, input_dims: int, output_dims: int) -> tuple[int, int]:
        """The input's and the output's size in this process."""
        if self._sharding == "all-to-sharded":
            return input_dims, self._shared_dims("output_dims", output_dims)
        return self._shared_dims("input_dims", input_dims), output_dims

    def _take_share(self, layer: Module, segments: int | list) -> None:
        self.update(_sharded(layer.parameters(), self._sharding, segments, self._group), False)

    def _shown_dims(self, inputs: int, outputs: int) -> str:
        count = self._group.size()
        if self._sharding == "all-to-sharded":
            outputs *= count
        else:
            inputs *= count
        return f"input_dims={inputs}, output_dims={outputs}, bias={'bias' in self}"

    def _result(self, x: mx.array, product: Callable) -> mx.array:
        if self._sharding == "all-to-sharded":
            y = product(sum_gradients(self._group)(x))
        else:
            y = mx.distributed.all_sum(product(x), group=self._group)
        return y + self["bias"] if "bias" in self else y


class _SharedLinear(_Shared):
    """A shared layer whose weight is not quantized."""

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group: mx.distributed.Group | None = None,
    ):
        super().__init__()
        self._set_group(group)
        bound = math.sqrt(1.0 / input_dims)
        inputs, outputs = self._dims(input_dims, output_dims)
        self.weight = mx.random.uniform(-bound, bound, (outputs, inputs))
        if bias:
            self.bias = mx.random.uniform(-bound, bound, (outputs,))

    @classmethod
    def from_linear(
        cls,
        linear_layer: Module,
        *,
        segments: int | list = 1,
        group: mx.distributed.Group | None = None,
    ) -> "_SharedLinear":
        """This process's share of a `Linear`.

        Args:
          linear_layer: The layer, the same in all processes.
          segments: How many parts of the weight are shared each by itself, or where they begin.
          group: The processes; None: all.

        Returns:
          Module: The layer of this class.

        Raises:
          ValueError: Sizes that the processes cannot share.

        Example:
          >>> import narrows.nn as nn
          >>> nn.AllToShardedLinear.from_linear(nn.Linear(4, 2)).weight.shape
          (2, 4)
        """
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer._set_group(group)
        for name in linear_layer.parameters():
            layer[name] = linear_layer[name]
        layer._take_share(linear_layer, segments)
        return layer

    def _extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return self._shown_dims(inputs, outputs)

    def __call__(self, x: mx.array) -> mx.array:
        check_last_dimension(self, x, self.weight.shape[1])
        return self._result(x, lambda x: x @ self["weight"].T)


class AllToShardedLinear(_SharedLinear):
    """A `Linear` of which each process computes a share of the outputs.

    Every process has the input (..., input_dims) and gets (..., output_dims / processes).
    Parameters: ``weight`` (output_dims / processes, input_dims) and ``bias``
    (output_dims / processes,), at first uniform in ±1/√input_dims.

    Args:
      input_dims: The size of the input's last dimension.
      output_dims: The size of the whole output's last dimension.
      bias: Whether there is a bias.
      group: The processes; None: all.

    Raises:
      ValueError: The processes cannot share the output, or an input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.AllToShardedLinear(4, 2)(mx.ones((3, 4))).shape
      (3, 2)
    """

    _sharding = "all-to-sharded"


class ShardedToAllLinear(_SharedLinear):
    """A `Linear` of which each process has a share of the inputs.

    A process has (..., input_dims / processes) and gets (..., output_dims). Parameters: ``weight``
    (output_dims, input_dims / processes) and ``bias`` (output_dims,), at first uniform in
    ±1/√input_dims.

    Args:
      input_dims: The size of the whole input's last dimension.
      output_dims: The size of the output's last dimension.
      bias: Whether there is a bias.
      group: The processes; None: all.

    Raises:
      ValueError: The processes cannot share the input, or an input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.ShardedToAllLinear(4, 2)(mx.ones((3, 4))).shape
      (3, 2)
    """

    _sharding = "sharded-to-all"


class _SharedQuantizedLinear(_Shared, _Quantized):
    """A shared layer whose weight is quantized."""

    def __init__(
        self,
        input_dims: int,
        output_dims: int,
        bias: bool = True,
        group_size: int = 64,
        bits: int = 4,
        mode: str = "affine",
        group: mx.distributed.Group | None = None,
    ):
        super().__init__()
        self._set_group(group)
        bound = math.sqrt(1.0 / input_dims)
        inputs, outputs = self._dims(input_dims, output_dims)
        weight = mx.random.uniform(-bound, bound, (outputs, inputs))
        self._set_weight(weight, group_size, bits, mode)
        if bias:
            self.bias = mx.zeros((outputs,))
        self.freeze()

    @classmethod
    def from_quantized_linear(
        cls,
        quantized_linear_layer: Module,
        *,
        segments: int | list = 1,
        group: mx.distributed.Group | None = None,
    ) -> "_SharedQuantizedLinear":
        """This process's share of a `QuantizedLinear`.

        Args:
          quantized_linear_layer: The layer, the same in all processes.
          segments: How many parts of the weight are shared each by itself, or where they begin.
          group: The processes; None: all.

        Returns:
          Module: The layer of this class.

        Raises:
          ValueError: Sizes that the processes cannot share.

        Example:
          >>> import narrows.nn as nn
          >>> layer = nn.QuantizedLinear(64, 8)
          >>> nn.QuantizedAllToShardedLinear.from_quantized_linear(layer).weight.shape
          (8, 8)
        """
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer._set_group(group)
        for name in ("group_size", "bits", "mode"):
            setattr(layer, name, getattr(quantized_linear_layer, name))
        for name in quantized_linear_layer.parameters():
            layer[name] = quantized_linear_layer[name]
        layer._take_share(quantized_linear_layer, segments)
        return layer.freeze()

    def _extra_repr(self) -> str:
        shown = self._shown_dims(self._input_dims, self.weight.shape[0])
        return f"{shown}, {self._settings_shown()}"

    def __call__(self, x: mx.array) -> mx.array:
        return self._result(x, self._product)


class QuantizedAllToShardedLinear(_SharedQuantizedLinear):
    """A `QuantizedLinear` of which each process computes a share of the outputs.

    Every process has the input (..., input_dims) and gets (..., output_dims / processes). The
    parameters are frozen: a share of those of a `QuantizedLinear`.

    Args:
      input_dims: The size of the input's last dimension.
      output_dims: The size of the whole output's last dimension.
      bias: Whether there is a bias.
      group_size: How many weights share a scale.
      bits: Bits of a weight.
      mode: How weights are quantized, as for `mx.quantize`.
      group: The processes; None: all.

    Raises:
      ValueError: The sizes do not fit, or an input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.QuantizedAllToShardedLinear(64, 8)(mx.ones((3, 64))).shape
      (3, 8)
    """

    _sharding = "all-to-sharded"


class QuantizedShardedToAllLinear(_SharedQuantizedLinear):
    """A `QuantizedLinear` of which each process has a share of the inputs.

    A process has (..., input_dims / processes) and gets (..., output_dims). The parameters are
    frozen: a share of those of a `QuantizedLinear`.

    Args:
      input_dims: The size of the whole input's last dimension.
      output_dims: The size of the output's last dimension.
      bias: Whether there is a bias.
      group_size: How many weights share a scale.
      bits: Bits of a weight.
      mode: How weights are quantized, as for `mx.quantize`.
      group: The processes; None: all.

    Raises:
      ValueError: The sizes do not fit, or an input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.QuantizedShardedToAllLinear(64, 8)(mx.ones((3, 64))).shape
      (3, 8)
    """

    _sharding = "sharded-to-all"
