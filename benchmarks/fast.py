"""Speed of norms, rope and cross entropy beside PyTorch's, whose rope is written in its operations.

    python benchmarks/fast.py
    python benchmarks/fast.py --peer-python other/.venv/bin/python --peers torch mlx

All use their default number of threads and take turns, case by case. Indices are int32 here and
int64 for PyTorch.
"""

import alternate
import numpy as np

ROWS, COLUMNS = 4096, 4096
CLASSES = 32000
HEADS, LENGTH, SIZE = 32, 2048, 64

CASES = [
    "layer_norm 4096^2",
    "layer_norm 4096^2, gradients",
    "rms_norm 4096^2",
    "rms_norm 4096^2, gradients",
    "cross_entropy 4096x32000",
    "cross_entropy 4096x32000, gradient",
    "rope 32x2048x64",
    "rope 32x2048x64, gradient",
]


def inputs_of(name: str) -> list:
    """Arrays of NumPy: what has gradients, then the rest."""
    rng = np.random.default_rng(0)
    if name.startswith("cross_entropy"):
        logits = rng.standard_normal((ROWS, CLASSES), np.float32)
        return [logits, rng.integers(0, CLASSES, ROWS)]
    if name.startswith("rope"):
        return [rng.standard_normal((1, HEADS, LENGTH, SIZE), np.float32)]
    vectors = [rng.standard_normal(COLUMNS, np.float32) for _ in range(2)]
    x = rng.standard_normal((ROWS, COLUMNS), np.float32)
    return [x, *vectors] if name.startswith("layer_norm") else [x, vectors[0]]


def learned_count(name: str) -> int:
    return {"layer_norm": 3, "rms_norm": 2}.get(name.split()[0], 1)


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX, which has no such cross_entropy."""
    arrays = [mx.array(a, mx.int32 if a.dtype == np.int64 else mx.float32) for a in inputs_of(name)]
    mx.eval(arrays)

    def cross_entropy(logits, targets):
        if hasattr(mx.fast, "cross_entropy"):
            return mx.fast.cross_entropy(logits, targets)
        score = mx.take_along_axis(logits, targets[:, None], -1).squeeze(-1)
        return mx.logsumexp(logits, -1) - score

    forward = {
        "layer_norm": lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5),
        "rms_norm": lambda x, w: mx.fast.rms_norm(x, w, 1e-5),
        "cross_entropy": cross_entropy,
        "rope": lambda x: mx.fast.rope(
            x, SIZE, traditional=False, base=10000.0, scale=1.0, offset=0
        ),
    }[name.split()[0]]
    if "gradient" not in name:
        return [lambda: mx.eval(forward(*arrays))]
    step = mx.value_and_grad(lambda *x: forward(*x).sum(), tuple(range(learned_count(name))))
    return [lambda: mx.eval(step(*arrays))]


def torch_case(name: str) -> list:
    import torch
    from torch.nn import functional

    arrays = [torch.from_numpy(a) for a in inputs_of(name)]
    gradients = "gradient" in name
    learned = arrays[: learned_count(name)]
    for a in learned:
        a.requires_grad_(gradients)

    def rope(x):
        frequencies = 10000.0 ** (-torch.arange(0, SIZE, 2) / SIZE)
        theta = torch.arange(LENGTH)[:, None] * frequencies
        c, s = torch.cos(theta), torch.sin(theta)
        left, right = x[..., : SIZE // 2], x[..., SIZE // 2 :]
        return torch.cat([left * c - right * s, right * c + left * s], -1)

    forward = {
        "layer_norm": lambda x, w, b: functional.layer_norm(x, (COLUMNS,), w, b, 1e-5),
        "rms_norm": lambda x, w: functional.rms_norm(x, (COLUMNS,), w, 1e-5),
        "cross_entropy": lambda x, t: functional.cross_entropy(x, t, reduction="none"),
        "rope": rope,
    }[name.split()[0]]
    if not gradients:
        return [lambda: forward(*arrays)]

    def step():
        for a in learned:
            a.grad = None
        forward(*arrays).sum().backward()

    return [step]


def make_case_for(library: str):
    return alternate.cases_of(library, array_module_case, {"torch": torch_case})


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, CASES, make_case_for, rounds=5, at_least=0.1, unit="ms")
