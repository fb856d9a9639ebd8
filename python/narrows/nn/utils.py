"""Transformations of functions that use a model's parameters."""

from collections.abc import Callable
from functools import wraps
from itertools import accumulate
from typing import Any

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.utils import tree_flatten, tree_unflatten

__all__ = [
    "average_gradients",
    "checkpoint",
    "value_and_grad",
]


def value_and_grad(model: Module, fn: Callable) -> Callable:
    """A function that gives the value of `fn` and its gradient for the model's parameters.

    Args:
      model: The model whose trainable parameters are differentiated for.
      fn: A function that uses the model and gives a scalar, or a tuple with a scalar in front.

    Returns:
      Callable: A function of the same arguments that gives the value of `fn` and a tree of
      gradients, as ``model.trainable_parameters()``.

    Raises:
      ValueError: Called where `fn` gives no scalar.

    Example:
      >>> import narrows.nn as nn
      >>> model = nn.Linear(2, 1, bias=False)
      >>> step = nn.value_and_grad(model, lambda x: model(x).sum())
      >>> value, gradient = step(mx.array([[1.0, 2.0]]))
      >>> gradient["weight"].tolist()
      [[1.0, 2.0]]
    """

    def with_parameters(parameters, *args, **kwargs):
        model.update(parameters)
        return fn(*args, **kwargs)

    function = mx.value_and_grad(with_parameters)

    @wraps(fn)
    def wrapped(*args, **kwargs):
        return function(model.trainable_parameters(), *args, **kwargs)

    return wrapped


def checkpoint(module: Module, fn: Callable | None = None) -> Callable:
    """A function whose intermediate values are computed again for gradients, not kept.

    Args:
      module: The module whose trainable parameters the function uses.
      fn: A function of arrays; default: calling the module.

    Returns:
      Callable: The function, which needs less memory under `value_and_grad()`, and more time.

    Example:
      >>> import narrows.nn as nn
      >>> from narrows.nn.utils import checkpoint
      >>> model = nn.Linear(2, 3)
      >>> checkpoint(model)(mx.ones((1, 2))).shape
      (1, 3)
    """
    fn = module.__call__ if fn is None else fn

    @wraps(fn)
    def wrapped(*args, **kwargs):
        def with_parameters(parameters, *args, **kwargs):
            # If the module kept these, it and the graph that calls this function would hold each
            # other for as long as the graph is not evaluated.
            own = module.trainable_parameters()
            module.update(parameters)
            try:
                return fn(*args, **kwargs)
            finally:
                module.update(own)

        return mx.checkpoint(with_parameters)(module.trainable_parameters(), *args, **kwargs)

    return wrapped


def _buckets(gradients: list[mx.array], most_bytes: int) -> list[list[int]]:
    """Places of gradients that are summed together: of one dtype, in their order, of at least
    `most_bytes` bytes but for the last ones."""
    buckets: list[list[int]] = []
    open_buckets: dict[mx.Dtype, list[int]] = {}
    sizes: dict[mx.Dtype, int] = {}
    for place, gradient in enumerate(gradients):
        dtype = gradient.dtype
        if dtype not in open_buckets:
            open_buckets[dtype] = []
            buckets.append(open_buckets[dtype])
            sizes[dtype] = 0
        open_buckets[dtype].append(place)
        sizes[dtype] += gradient.nbytes
        if sizes[dtype] >= most_bytes:
            del open_buckets[dtype]
    return buckets


def average_gradients(
    gradients: Any,
    group: mx.distributed.Group | None = None,
    all_reduce_size: int = 32 << 20,
    communication_stream: mx.Stream | None = None,
) -> Any:
    """The mean of gradients over the processes of a group.

    Small gradients are summed together: one long array takes less time than many short ones.

    Args:
      gradients: A tree of arrays, of the same form in all processes.
      group: The processes; None: all.
      all_reduce_size: Gradients of one dtype are put together until they have that many bytes. 0 or
        less: each is summed by itself.
      communication_stream: The stream to communicate on.

    Returns:
      Any: A tree of the same form.

    Example:
      >>> from narrows.nn.utils import average_gradients
      >>> average_gradients({"weight": mx.array([1, 2])})["weight"].tolist()
      [1, 2]
    """
    group = group or mx.distributed.init()
    count = group.size()
    if count == 1:
        return gradients

    def total(x: mx.array) -> mx.array:
        return mx.distributed.all_sum(x, group=group, stream=communication_stream)

    paths = tree_flatten(gradients)
    arrays = [gradient for _, gradient in paths]
    means = list(arrays)
    for bucket in _buckets(arrays, all_reduce_size):
        if len(bucket) == 1:
            means[bucket[0]] = total(arrays[bucket[0]]) / count
            continue
        joined = total(mx.concatenate([arrays[place].reshape(-1) for place in bucket])) / count
        ends = list(accumulate(arrays[place].size for place in bucket))
        for place, part in zip(bucket, mx.split(joined, ends[:-1]), strict=True):
            means[place] = part.reshape(arrays[place].shape)
    return tree_unflatten([(path, mean) for (path, _), mean in zip(paths, means, strict=True)])
