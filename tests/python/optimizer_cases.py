"""What the tests of optimizers share: options, parameters and gradients."""

import narrows.core as mx
import numpy as np

# Two or more sets of options for each optimizer.
CASES = [
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.05}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    ("RMSprop", {"learning_rate": 0.01, "eps": 1e-3}),
    ("RMSprop", {"learning_rate": 0.01, "alpha": 0.9, "eps": 1e-2}),
    ("Adagrad", {"learning_rate": 0.1, "eps": 1e-3}),
    ("Adagrad", {"learning_rate": 0.1, "eps": 1e-2}),
    ("AdaDelta", {"learning_rate": 1.0, "eps": 1e-3}),
    ("AdaDelta", {"learning_rate": 0.5, "rho": 0.8, "eps": 1e-2}),
    ("Adam", {"learning_rate": 0.01, "eps": 1e-3}),
    ("Adam", {"learning_rate": 0.01, "betas": [0.8, 0.9], "eps": 1e-2}),
    ("Adam", {"learning_rate": 0.01, "eps": 1e-2, "bias_correction": True}),
    ("Adam", {"learning_rate": 0.01, "betas": (0.0, 0.9), "eps": 1e-2, "bias_correction": True}),
    ("AdamW", {"learning_rate": 0.01, "eps": 1e-3}),
    ("AdamW", {"learning_rate": 0.01, "eps": 1e-2, "weight_decay": 0.1, "bias_correction": True}),
    ("Adamax", {"learning_rate": 0.01}),
    ("Adamax", {"learning_rate": 0.01, "betas": [0.8, 0.9], "eps": 1e-2}),
    ("Lion", {"learning_rate": 0.01}),
    ("Lion", {"learning_rate": 0.01, "betas": [0.8, 0.9], "weight_decay": 0.1}),
    ("Muon", {"learning_rate": 0.01}),
    (
        "Muon",
        {
            "learning_rate": 0.01,
            "momentum": 0.9,
            "weight_decay": 0.1,
            "nesterov": False,
            "ns_steps": 3,
        },
    ),
    ("Adafactor", {}),
    ("Adafactor", {"warmup_init": True}),
    ("Adafactor", {"scale_parameter": False, "clip_threshold": 0.5}),
    ("Adafactor", {"beta_1": 0.9, "weight_decay": 0.1}),
    (
        "Adafactor",
        {"learning_rate": 0.05, "relative_step": False, "decay_rate": -0.5, "eps": (1e-3, 1e-1)},
    ),
    ("Adafactor", {"learning_rate": 0.05}),
]

SHAPES = {"w": (4, 3), "x": (2, 3, 4), "b": (5,), "s": (), "kernel": (3, 2, 2, 2), "wide": (2, 6)}


def case_id(case):
    name, options = case
    return " ".join([name, *(f"{key}={value}" for key, value in options.items())])


def drawn(generator, dtype):
    """A number for each element of each parameter, as float64 and as arrays of a dtype."""
    numbers = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
    arrays = {name: mx.array(value, dtype) for name, value in numbers.items()}
    rounded = {name: np.array(a.astype(mx.float64), np.float64) for name, a in arrays.items()}
    return rounded, arrays
