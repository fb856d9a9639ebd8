"""Speed of sorting and selection beside PyTorch's and NumPy's.

    python benchmarks/sorting.py
    python benchmarks/sorting.py --peer-python other/.venv/bin/python --peers torch numpy mlx

All libraries use their default number of threads and take turns, case by case. Where a peer has
several functions for a case the fastest counts. argsort is stable here, and need not be in the
peers; PyTorch gives elements and places at once.
"""

import alternate
import numpy as np

# name: shape of the array
CASES = {
    "sort 1M": (1_000_000,),
    "sort 1M int32": (1_000_000,),
    "sort 4M": (4_000_000,),
    "argsort 4M": (4_000_000,),
    "sort rows 4096 x 1024": (4096, 1024),
    "argsort rows 4096 x 1024": (4096, 1024),
    "sort rows 1000 x 1000": (1000, 1000),
    "argsort 1M": (1_000_000,),
    "argsort rows 1000 x 1000": (1000, 1000),
    "sort rows 100k x 16": (100_000, 16),
    "topk 50 of 1M": (1_000_000,),
    "topk 50 of rows 1000 x 1000": (1000, 1000),
    "topk 50 of 4M": (4_000_000,),
    "topk 50 of rows 4096 x 32000": (4096, 32_000),
    "partition 1M": (1_000_000,),
    "partition 4M": (4_000_000,),
    "partition rows 100k x 16": (100_000, 16),
    "median of rows 4096 x 1024": (4096, 1024),
}


def input_of(name: str):
    x = np.random.default_rng(0).standard_normal(CASES[name], np.float32)
    return x.view(np.int32) if name.endswith("int32") else x


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX."""
    x = mx.array(input_of(name))
    mx.eval(x)
    if name.startswith("sort"):
        return [lambda: mx.eval(mx.sort(x))]
    if name.startswith("argsort"):
        return [lambda: mx.eval(mx.argsort(x))]
    if name.startswith("topk"):
        return [lambda: mx.eval(mx.topk(x, 50))]
    if name.startswith("partition"):
        return [lambda: mx.eval(mx.partition(x, x.shape[-1] // 2))]
    return [lambda: mx.eval(mx.median(x, axis=-1))]


def torch_case(name: str) -> list:
    import torch

    torch.set_grad_enabled(False)
    x = torch.from_numpy(input_of(name))
    if name.startswith("sort"):
        return [lambda: torch.sort(x), lambda: torch.sort(x, stable=True)]
    if name.startswith("argsort"):
        return [lambda: torch.argsort(x), lambda: torch.argsort(x, stable=True)]
    if name.startswith("topk"):
        return [lambda: torch.topk(x, 50), lambda: torch.topk(x, 50, sorted=False)]
    if name.startswith("partition"):
        return []
    return [lambda: torch.median(x, -1)]


def numpy_case(name: str) -> list:
    x = input_of(name)
    if name.startswith("sort"):
        return [lambda: np.sort(x)]
    if name.startswith("argsort"):
        return [lambda: np.argsort(x), lambda: np.argsort(x, kind="stable")]
    if name.startswith("topk"):
        return [lambda: np.partition(x, -50)[..., -50:]]
    if name.startswith("partition"):
        return [lambda: np.partition(x, x.shape[-1] // 2)]
    return [lambda: np.median(x, -1)]


def make_case_for(library: str):
    return alternate.cases_of(
        library, array_module_case, {"torch": torch_case, "numpy": numpy_case}
    )


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, CASES, make_case_for, rounds=5, at_least=0.2, unit="ms")
