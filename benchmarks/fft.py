"""Speed of Fourier transforms beside PyTorch's and NumPy's.

    python benchmarks/fft.py
    python benchmarks/fft.py --peer-python other/.venv/bin/python --peers torch numpy mlx

All libraries use their default number of threads and take turns, case by case. Numbers are
complex64, float32 for real transforms.
"""

import alternate
import numpy as np

# name: (function, shape)
CASES = {
    "fft 2^20": ("fft", (1 << 20,)),
    "fft2 1000 x 1000": ("fft2", (1000, 1000)),
    "fft rows 4096 x 1024": ("fft", (4096, 1024)),
    "fft rows 100k x 16": ("fft", (100_000, 16)),
    "rfft 100003 (prime)": ("rfft", (100_003,)),
    "rfft 2^20": ("rfft", (1 << 20,)),
    "rfft rows 4096 x 1024": ("rfft", (4096, 1024)),
    "irfft rows 4096 x 1024": ("irfft", (4096, 513)),
}


def input_of(name: str):
    function, shape = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32)
    return x if function == "rfft" else (x + 1j * rng.standard_normal(shape, np.float32))


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX."""
    x = mx.array(input_of(name))
    mx.eval(x)
    function = getattr(mx.fft, CASES[name][0])
    return [lambda: mx.eval(function(x))]


def torch_case(name: str) -> list:
    import torch

    torch.set_grad_enabled(False)
    x = torch.from_numpy(input_of(name))
    function = getattr(torch.fft, CASES[name][0])
    return [lambda: function(x)]


def numpy_case(name: str) -> list:
    x = input_of(name)
    function = getattr(np.fft, CASES[name][0])
    return [lambda: function(x)]


def make_case_for(library: str):
    return alternate.cases_of(
        library, array_module_case, {"torch": torch_case, "numpy": numpy_case}
    )


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, CASES, make_case_for, rounds=5, at_least=0.2, unit="ms")
