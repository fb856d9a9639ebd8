"""Modules of which each process of a group keeps a share of every parameter."""

from collections.abc import Callable
from typing import Any

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.utils import tree_flatten, tree_unflatten

__all__ = ["FullyShardedModule", "fully_shard"]


def _share(path: str, parameter: mx.array, group: mx.distributed.Group) -> mx.array:
    """This process's part of a parameter along its first axis."""
    count = group.size()
    if parameter.ndim == 0 or parameter.shape[0] % count:
        raise ValueError(
            f"[FullyShardedModule] {path} of shape {parameter.shape}, expected a first axis that "
            f"is a multiple of the group's {count} processes"
        )
    return mx.contiguous(mx.split(parameter, count)[group.rank()])


def _whole(group: mx.distributed.Group, dtype: mx.Dtype | None) -> Callable:
    """A function that makes the whole parameter of the shares. Its gradient is the mean of the
    processes' gradients, of which each process gets its share."""

    def gathered(share):
        return mx.distributed.all_gather(share.astype(dtype or share.dtype), group=group)

    if group.size() == 1:
        return gathered
    function = mx.custom_function(gathered)

    @function.vjp
    def gathered_vjp(share, cotangent, _):
        total = mx.distributed.sum_scatter(cotangent.astype(share.dtype), group=group)
        return total / group.size()

    return function


class FullyShardedModule(Module):
    """A module of which each process keeps, and trains, a share of every parameter.

    A call gathers the parameters, and computes with the whole module. The gradient of a share is
    the mean over the processes, as after `average_gradients()`; optimizers keep the state of the
    share only. Parameters: those of the module, below ``module``; of each, this process's part
    along the first axis.

    Args:
      module: The module, the same in all processes. It is changed. Modules inside of it that are
        fully sharded stay as they are.
      group: The processes; None: all.
      compute_dtype: The dtype that floating-point parameters have in calls; None: their own.

    Raises:
      ValueError: The first axis of a parameter is no multiple of the number of processes.

    Example:
      >>> import narrows.nn as nn
      >>> nn.FullyShardedModule(nn.Linear(4, 2))(mx.ones((3, 4))).shape
      (3, 2)
    """

    def __init__(
        self,
        module: Module,
        group: mx.distributed.Group | None = None,
        compute_dtype: mx.Dtype | None = None,
    ):
        super().__init__()
        self._group = group or mx.distributed.init()  # an underscore: no parameter
        self._dtype = compute_dtype
        self._paths = _own_paths(module)
        self.module = module
        if self._group.size() > 1:
            self._put({path: self._share(path, value) for path, value in self._values().items()})

    def _share(self, path: str, parameter: mx.array) -> mx.array:
        return _share(path, parameter, self._group)

    def _values(self) -> dict[str, mx.array]:
        values = dict(tree_flatten(self.module.parameters()))
        return {path: values[path] for path in self._paths}

    def _put(self, values: dict[str, mx.array]) -> None:
        if values:
            self.module.update(tree_unflatten(list(values.items())))

    def _with_whole(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """Calls the function while the module has its whole parameters."""
        shares = self._values()
        whole = {}
        for path, share in shares.items():
            floats = mx.issubdtype(share.dtype, mx.floating)
            whole[path] = _whole(self._group, self._dtype if floats else None)(share)
        self._put(whole)
        try:
            return function(*args, **kwargs)
        finally:
            # What the module has changed itself, such as means of batches, is shared again.
            for path, value in self._values().items():
                if value is not whole[path]:
                    shares[path] = self._share(path, value.astype(shares[path].dtype))
            self._put(shares)

    def _extra_repr(self) -> str:
        return f"num_sharded_params={len(self._paths)}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_whole(self.module, args, kwargs)

    def as_linear(self, *args: Any, **kwargs: Any) -> Any:
        """Calls `as_linear()` of the module, which an `Embedding` has.

        Args:
          *args: The arguments.
          **kwargs: Arguments by name.

        Returns:
          Any: What the module's function gives.

        Example:
          >>> import narrows.nn as nn
          >>> nn.FullyShardedModule(nn.Embedding(4, 2)).as_linear(mx.ones((1, 2))).shape
          (1, 4)
        """
        return self._with_whole(self.module.as_linear, args, kwargs)


def _own_paths(module: Module) -> list[str]:
    """The paths of parameters that are not in a fully sharded module already."""
    inside = [
        f"{path}." if path else ""
        for path, part in module.named_modules()
        if isinstance(part, FullyShardedModule)
    ]
    paths = [path for path, _ in tree_flatten(module.parameters())]
    return [path for path in paths if not path.startswith(tuple(inside))]


def fully_shard(
    module: Module,
    *,
    group: mx.distributed.Group | None = None,
    compute_dtype: mx.Dtype | None = None,
) -> Module:
    """A module whose parameters are shared out to the processes of a group.

    Args:
      module: The module, which is changed.
      group: The processes; None: all.
      compute_dtype: The dtype that floating-point parameters have in calls; None: their own.

    Returns:
      Module: A `FullyShardedModule`; the module itself in a group of one, or if it has no
      parameters of its own.

    Raises:
      ValueError: The first axis of a parameter is no multiple of the number of processes.

    Example:
      >>> import narrows.nn as nn
      >>> nn.fully_shard(nn.Linear(4, 2))
      Linear(input_dims=4, output_dims=2, bias=True)
    """
    group = group or mx.distributed.init()
    if group.size() == 1 or not _own_paths(module):
        return module
    return FullyShardedModule(module, group, compute_dtype)
