"""Speed of convolutions, their gradients and pooling beside PyTorch's.

    python benchmarks/convolution.py
    python benchmarks/convolution.py --peer-python other/.venv/bin/python --peers torch mlx

All libraries use their default number of threads and take turns, case by case. Inputs are channels
last in all of them (PyTorch: channels_last, the layout that its own code prefers).
"""

import importlib

import alternate
import numpy as np

# name: batch, size, input channels, output channels, filter, stride, padding, groups
SHAPES = {
    "32x32x32x64 3x3": (32, 32, 64, 64, 3, 1, 1, 1),
    "ResNet-50 first": (8, 224, 3, 64, 7, 2, 3, 1),
    "depthwise 56x56x64": (16, 56, 64, 64, 3, 1, 1, 64),
    "ResNet-20 first": (32, 32, 3, 16, 3, 1, 1, 1),
    "ResNet-20 16": (32, 32, 16, 16, 3, 1, 1, 1),
    "ResNet-20 16 to 32": (32, 32, 16, 32, 3, 2, 1, 1),
    "ResNet-20 32": (32, 16, 32, 32, 3, 1, 1, 1),
    "ResNet-20 32 to 64": (32, 16, 32, 64, 3, 2, 1, 1),
    "ResNet-20 64": (32, 8, 64, 64, 3, 1, 1, 1),
    "points 28x28x256 to 64": (8, 28, 256, 64, 1, 1, 0, 1),
}
KINDS = ["forward", "input grad", "weight grad"]
# name: batch, size, channels, window, stride
POOLS = {"2x2 of 32x32x32x64": (32, 32, 64, 2, 2), "3x3 of 32x56x56x64": (32, 56, 64, 3, 2)}
POOL_KINDS = [f"{kind} pool{how}" for kind in ("max", "average") for how in ("", " grad")]
CASES = [f"{kind} {shape}" for shape in SHAPES for kind in KINDS]
CASES += [f"{kind} {shape}" for shape in POOLS for kind in POOL_KINDS]


def numbers(*shape) -> np.ndarray:
    return np.random.default_rng(len(shape)).random(shape, np.float32)


def case_of(name: str) -> tuple:
    """What is computed, and the sizes."""
    for kinds, shapes in ((KINDS, SHAPES), (POOL_KINDS, POOLS)):
        for kind in sorted(kinds, key=len, reverse=True):
            if name.startswith(kind + " ") and name[len(kind) + 1 :] in shapes:
                return kind, shapes[name[len(kind) + 1 :]]
    raise ValueError(name)


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX."""
    nn = importlib.import_module(mx.__name__.replace("core", "nn"))
    kind, sizes = case_of(name)
    if "pool" in kind:
        batch, size, channels, window, stride = sizes
        layer = (nn.MaxPool2d if kind.startswith("max") else nn.AvgPool2d)(window, stride)
        x = mx.array(numbers(batch, size, size, channels))
        g = mx.array(numbers(*layer(x).shape))
        mx.eval(x, g)
        if kind.endswith("grad"):
            return [lambda: mx.eval(mx.vjp(layer, [x], [g])[1])]
        return [lambda: mx.eval(layer(x))]
    batch, size, inputs, outputs, kernel, stride, padding, groups = sizes
    x = mx.array(numbers(batch, size, size, inputs))
    w = mx.array(numbers(outputs, kernel, kernel, inputs // groups))

    def forward(x, w):
        return mx.conv2d(x, w, stride, padding, 1, groups)

    g = mx.array(numbers(*forward(x, w).shape))
    mx.eval(x, w, g)
    if kind == "forward":
        return [lambda: mx.eval(forward(x, w))]
    if kind == "input grad":
        return [lambda: mx.eval(mx.vjp(lambda x: forward(x, w), [x], [g])[1])]
    return [lambda: mx.eval(mx.vjp(lambda w: forward(x, w), [w], [g])[1])]


def torch_case(name: str) -> list:
    import torch

    def last(a):
        return torch.tensor(a).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    kind, sizes = case_of(name)
    if "pool" in kind:
        batch, size, channels, window, stride = sizes
        x = last(numbers(batch, size, size, channels))
        pool = torch.nn.functional.max_pool2d
        if not kind.startswith("max"):
            pool = torch.nn.functional.avg_pool2d
        if not kind.endswith("grad"):
            return [lambda: pool(x, window, stride)]
        x.requires_grad_()
        y = pool(x, window, stride)
        g = torch.ones_like(y)
        return [lambda: torch.autograd.grad(y, x, g, retain_graph=True)]
    batch, size, inputs, outputs, kernel, stride, padding, groups = sizes
    x = last(numbers(batch, size, size, inputs))
    w = last(numbers(outputs, kernel, kernel, inputs // groups))
    y = torch.nn.functional.conv2d(x, w, None, stride, padding, 1, groups)
    g = torch.ones_like(y)
    mask = [kind == "input grad", kind == "weight grad", False]

    def gradient():
        return torch.ops.aten.convolution_backward(
            g, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, mask
        )

    if kind == "forward":
        return [lambda: torch.nn.functional.conv2d(x, w, None, stride, padding, 1, groups)]
    return [gradient]


def make_case_for(library: str):
    return alternate.cases_of(
        library, array_module_case, {"torch": torch_case, "numpy": lambda name: []}
    )


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, CASES, make_case_for, rounds=5, at_least=0.2, unit="ms")
