"""Layers, losses and first values of parameters: ``import narrows.nn as nn``."""

from narrows.nn import init, losses  # noqa: F401
from narrows.nn.layers import *  # noqa: F403
from narrows.nn.layers import __all__ as _layers
from narrows.nn.utils import average_gradients, value_and_grad

__all__ = [*_layers, "average_gradients", "value_and_grad"]
