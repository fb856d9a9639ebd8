"""Speed of linear algebra and of einsum() beside PyTorch's and NumPy's.

    python benchmarks/linalg.py
    python benchmarks/linalg.py --peer-python other/.venv/bin/python --peers torch numpy mlx

All libraries use their default number of threads and take turns. Matrices are float32.
"""

import alternate
import numpy as np

FUNCTIONS = ["inv", "solve", "cholesky", "det", "qr", "svd", "eigvalsh", "eigh", "eigvals"]
SHAPES = {"16^2": (16, 16), "2000 of 8^2": (2000, 8, 8), "300^2": (300, 300)}
LARGE = {"svd": 512, "eigh": 512, "solve": 1024}
CASES = {f"{name} {size}": (name, shape) for name in FUNCTIONS for size, shape in SHAPES.items()}
CASES |= {f"{name} {n}^2": (name, (n, n)) for name, n in LARGE.items()}
CASES["einsum bhqd,bhkd->bhqk"] = ("bhqd,bhkd->bhqk", (4, 8, 512, 64))
CASES["einsum bqhd,bkhd->bhqk"] = ("bqhd,bkhd->bhqk", (4, 128, 8, 64))
CASES["einsum ij,jk,kl->il"] = ("ij,jk,kl->il", (400, 400))


def input_of(name: str) -> np.ndarray:
    function, shape = CASES[name]
    a = np.random.default_rng(0).normal(size=shape)
    if function in FUNCTIONS:
        a = a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])
    return a.astype(np.float32)


def call_of(name: str, linalg, einsum, a):
    function = CASES[name][0]
    if function == "solve":
        return lambda: linalg.solve(a, a)
    if function in FUNCTIONS:
        return lambda: getattr(linalg, function)(a)
    return lambda: einsum(function, *[a] * (function.count(",") + 1))


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX, whose functions run on its CPU."""
    mx.set_default_device(mx.cpu)
    a = mx.array(input_of(name))
    mx.eval(a)
    call = call_of(name, mx.linalg, mx.einsum, a)
    return [lambda: mx.eval(call())]


def torch_case(name: str) -> list:
    import torch

    torch.set_grad_enabled(False)
    return [call_of(name, torch.linalg, torch.einsum, torch.from_numpy(input_of(name)))]


def numpy_case(name: str) -> list:
    def einsum(subscripts, *arrays):
        return np.einsum(subscripts, *arrays, optimize=True)

    return [call_of(name, np.linalg, einsum, input_of(name))]


def make_case_for(library: str):
    return alternate.cases_of(
        library, array_module_case, {"torch": torch_case, "numpy": numpy_case}
    )


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, CASES, make_case_for, rounds=3, at_least=0.1, unit="us")
