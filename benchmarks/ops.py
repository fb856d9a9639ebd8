"""Speed of single operations beside PyTorch's and NumPy's.

    python benchmarks/ops.py
    python benchmarks/ops.py --peer-python other/.venv/bin/python --peers torch numpy mlx

All libraries use their default number of threads and take turns, case by case. Where a peer can
also write into a given array, both ways are timed and the faster counts.
"""

import alternate

N = 2**26
SHAPES = {
    "matmul 1024^3": [(1024, 1024), (1024, 1024)],
    "matmul 4096x4096x64": [(4096, 64), (64, 4096)],
    "matmul 4096x64x4096": [(4096, 4096), (4096, 64)],
    "softmax 4096^2": [(4096, 4096)],
    "add 2^26": [(N,), (N,)],
    "exp 2^26": [(N,)],
    "sum 2^26": [(N,)],
    "sum 4096^2 axis 0": [(4096, 4096)],
    "sum 4096^2 axis 1": [(4096, 4096)],
    "cumsum 4096^2 axis 0": [(4096, 4096)],
    "cumsum 4096^2 axis 1": [(4096, 4096)],
    "cumsum 2^22 axis 0": [(2**22,)],
    "add transposed 4096^2": [(4096, 4096), (4096, 4096)],
    "add every other of 2^26": [(N,), (N,)],
    "add row to 4096^2": [(4096, 4096), (4096,)],
    "add column to 4096^2": [(4096, 4096), (4096, 1)],
    "NumPy's float32 4096^2": [(4096, 4096)],
    "NumPy's float64 4096^2": [(4096, 4096)],
    "NumPy's transposed 4096^2": [(4096, 4096)],
}


def of_numpy(name: str):
    """What the cases named so make a float32 array of."""
    import numpy as np

    dtype = np.float64 if "float64" in name else np.float32
    x = np.random.default_rng(0).random(SHAPES[name][0], dtype)
    return x.T if "transposed" in name else x


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX."""
    if name.startswith("NumPy"):
        x = of_numpy(name)
        return [lambda: mx.eval(mx.array(x))]
    inputs = [mx.random.uniform(shape=shape) for shape in SHAPES[name]]
    mx.eval(inputs)
    kind = name.split()[0]
    if kind == "matmul":
        return [lambda: mx.eval(inputs[0] @ inputs[1])]
    if kind == "softmax":
        return [lambda: mx.eval(mx.softmax(inputs[0], axis=-1))]
    if kind == "exp":
        return [lambda: mx.eval(mx.exp(inputs[0]))]
    if kind == "cumsum":
        return [lambda: mx.eval(mx.cumsum(inputs[0], axis=int(name[-1])))]
    if "axis" in name:
        axis = int(name[-1])
        return [lambda: mx.eval(mx.sum(inputs[0], axis=axis))]
    if kind == "sum":
        return [lambda: mx.eval(mx.sum(inputs[0]))]
    if "transposed" in name:
        return [lambda: mx.eval(inputs[0].T + inputs[1])]
    if "every other" in name:
        return [lambda: mx.eval(inputs[0][::2] + inputs[1][::2])]
    return [lambda: mx.eval(inputs[0] + inputs[1])]


def torch_case(name: str) -> list:
    import torch

    torch.set_grad_enabled(False)
    if name.startswith("NumPy"):
        x = torch.from_numpy(of_numpy(name))
        result = torch.empty(x.shape)
        return [lambda: torch.empty(x.shape).copy_(x), lambda: result.copy_(x)]
    inputs = [torch.rand(shape) for shape in SHAPES[name]]
    kind = name.split()[0]
    if kind == "matmul":
        return both_ways(lambda **out: torch.matmul(*inputs, **out))
    if kind == "softmax":
        return both_ways(lambda **out: torch.softmax(inputs[0], -1, **out))
    if kind == "exp":
        return both_ways(lambda **out: torch.exp(inputs[0], **out))
    if kind == "cumsum":
        return both_ways(lambda **out: torch.cumsum(inputs[0], int(name[-1]), **out))
    if "axis" in name:
        return [lambda: torch.sum(inputs[0], int(name[-1]))]
    if kind == "sum":
        return [lambda: torch.sum(inputs[0])]
    if "transposed" in name:
        inputs[0] = inputs[0].T
    if "every other" in name:
        inputs = [x[::2] for x in inputs]
    return both_ways(lambda **out: torch.add(*inputs, **out))


def numpy_case(name: str) -> list:
    import numpy as np

    if name.startswith("NumPy"):
        x = of_numpy(name)
        result = np.empty(x.shape, np.float32)
        return [lambda: x.astype(np.float32, order="C"), lambda: np.copyto(result, x)]
    inputs = [np.random.default_rng(0).random(shape, np.float32) for shape in SHAPES[name]]
    kind = name.split()[0]
    if kind == "matmul":
        return both_ways(lambda **out: np.matmul(*inputs, **out))
    if kind == "softmax":
        return []
    if kind == "exp":
        return both_ways(lambda **out: np.exp(inputs[0], **out))
    if kind == "cumsum":
        return both_ways(lambda **out: np.cumsum(inputs[0], int(name[-1]), **out))
    if "axis" in name:
        return [lambda: np.sum(inputs[0], axis=int(name[-1]))]
    if kind == "sum":
        return [lambda: np.sum(inputs[0])]
    if "transposed" in name:
        inputs[0] = inputs[0].T
    if "every other" in name:
        inputs = [x[::2] for x in inputs]
    return both_ways(lambda **out: np.add(*inputs, **out))


def both_ways(operation) -> list:
    """With a fresh result for each call, and with one that is written again and again."""
    result = operation()
    return [operation, lambda: operation(out=result)]


def make_case_for(library: str):
    return alternate.cases_of(
        library, array_module_case, {"torch": torch_case, "numpy": numpy_case}
    )


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, SHAPES, make_case_for, rounds=7, at_least=0.2, unit="ms")
