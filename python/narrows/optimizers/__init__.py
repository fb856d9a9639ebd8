"""Optimizers, learning rate schedules, and the clipping of gradients.

``import narrows.optimizers as optim``.
"""

from narrows.optimizers.adafactor import Adafactor
from narrows.optimizers.adam import Adam, Adamax, AdamW
from narrows.optimizers.adaptive import AdaDelta, Adagrad, RMSprop
from narrows.optimizers.clipping import clip_grad_norm
from narrows.optimizers.momentum import SGD, Lion
from narrows.optimizers.multi_optimizer import MultiOptimizer
from narrows.optimizers.muon import Muon
from narrows.optimizers.optimizer import Optimizer
from narrows.optimizers.schedulers import (
    cosine_decay,
    exponential_decay,
    join_schedules,
    linear_schedule,
    step_decay,
)

__all__ = [
    "SGD",
    "AdaDelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "MultiOptimizer",
    "Muon",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
    "cosine_decay",
    "exponential_decay",
    "join_schedules",
    "linear_schedule",
    "step_decay",
]
