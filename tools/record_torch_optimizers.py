"""Writes tests/python/data/torch_optimizers.json: what PyTorch's optimizers make of parameters.

    python tools/record_torch_optimizers.py  # with torch 2.13.0 installed

The tests compare narrows' optimizers with it, where both have the same formula. PyTorch differs in
Adamax (which it corrects for bias), in Muon's weight decay, and has no Lion.
"""

import json
import pathlib

import torch

STEPS = 5
SHAPES = {"w": (4, 3), "tall": (5, 2), "b": (5,)}
FILE = pathlib.Path(__file__).parents[1] / "tests/python/data/torch_optimizers.json"

CORRECTED = {"bias_correction": True}
# narrows' optimizer and options, and PyTorch's where they are called otherwise. `lr` is in both.
CASES = [
    ("SGD", {"lr": 0.1}, {}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05}, {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}, {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, {}),
    ("RMSprop", {"lr": 0.01}, {}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3}, {}),
    ("Adagrad", {"lr": 0.1, "eps": 1e-8}, {}),
    ("AdaDelta", {"lr": 1.0, "rho": 0.8, "eps": 1e-3}, {}),
    ("Adam", {"lr": 0.01} | CORRECTED, {}),
    ("Adam", {"lr": 0.01, "betas": [0.8, 0.9], "eps": 1e-2} | CORRECTED, {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1} | CORRECTED, {}),
    ("Muon", {"lr": 0.02, "weight_decay": 0.0}, {}),
    ("Muon", {"lr": 0.02, "weight_decay": 0.0, "momentum": 0.8, "nesterov": False}, {}),
    ("Adafactor", {}, {"lr": 1e-2}),
    ("Adafactor", {"decay_rate": -0.5, "clip_threshold": 1.25}, {"beta2_decay": -0.5, "d": 1.25}),
]
TORCH_NAMES = {"AdaDelta": "Adadelta"}
ONLY_NARROWS = {"bias_correction", "decay_rate", "clip_threshold"}


def numbers(generator, shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64).float().double()


def values(optimizer, options, parameters, gradients):
    """The parameters after each step."""
    parameters = {k: torch.nn.Parameter(v.clone()) for k, v in parameters.items()}
    matrices_only = optimizer is torch.optim.Muon
    used = {k: p for k, p in parameters.items() if p.ndim == 2 or not matrices_only}
    instance = optimizer(used.values(), **options)
    steps = []
    for step in gradients:
        for name, parameter in used.items():
            parameter.grad = step[name].clone()
        instance.step()
        steps.append({name: p.detach().tolist() for name, p in used.items()})
    return steps


def main():
    generator = torch.Generator().manual_seed(5)
    parameters = {name: numbers(generator, shape) for name, shape in SHAPES.items()}
    gradients = [
        {name: numbers(generator, shape) for name, shape in SHAPES.items()} for _ in range(STEPS)
    ]
    cases = []
    for name, options, torch_options in CASES:
        both = {k: v for k, v in options.items() if k not in ONLY_NARROWS} | torch_options
        optimizer = getattr(torch.optim, TORCH_NAMES.get(name, name))
        steps = values(optimizer, both, parameters, gradients)
        cases.append({"optimizer": name, "options": options, "steps": steps})
    listed = {
        "parameters": {k: v.tolist() for k, v in parameters.items()},
        "gradients": [{k: v.tolist() for k, v in step.items()} for step in gradients],
        "cases": cases,
    }
    FILE.write_text(json.dumps(listed) + "\n")


if __name__ == "__main__":
    main()
