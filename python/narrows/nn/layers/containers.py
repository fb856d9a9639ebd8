"""Sequential: layers one after the other."""

from narrows.nn.layers.base import Module


class Sequential(Module):
    """Calls layers one after the other, each with the result of the one before.

    Args:
      *modules: The layers: modules, or functions of one array. They are in the list ``layers``.

    Example:
      >>> import narrows.core as mx
      >>> import narrows.nn as nn
      >>> nn.Sequential(nn.Linear(4, 8), nn.relu, nn.Linear(8, 2))(mx.ones((3, 4))).shape
      (3, 2)
    """

    def __init__(self, *modules):
        super().__init__()
        self.layers = list(modules)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
