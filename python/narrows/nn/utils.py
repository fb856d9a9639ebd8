"""Transformations of functions that use a model's parameters."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.utils import tree_map

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


def average_gradients(
    gradients: Any,
    group: mx.distributed.Group | None = None,
    all_reduce_size: int = 32 << 20,
    communication_stream: mx.Stream | None = None,
) -> Any:
    """The mean of gradients over the processes of a group.

    Args:
      gradients: A tree of arrays.
      group: The processes; None: all.
      all_reduce_size: Ignored: each array is summed by itself.
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

    def mean(gradient: mx.array) -> mx.array:
        total = mx.distributed.all_sum(gradient, group=group, stream=communication_stream)
        return total / count

    return tree_map(mean, gradients)
