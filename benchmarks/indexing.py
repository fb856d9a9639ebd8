"""Speed of reading and writing by arrays of indices beside PyTorch's and NumPy's.

    python benchmarks/indexing.py
    python benchmarks/indexing.py --peer-python other/.venv/bin/python --peers torch numpy mlx

All libraries use their default number of threads and take turns, case by case. Where a peer has
several functions for a case the fastest counts. Indices are int32 here, int64 for PyTorch and
NumPy, which convert others.
"""

import alternate
import numpy as np

ROWS, WIDTH, MANY = 100_000, 128, 4_000_000

# name: (shape of the array, how many indices, along which axis)
CASES = {
    "gather rows 100k of 128": ((ROWS, WIDTH), (ROWS,)),
    "gather columns 4096^2": ((4096, 4096), (4096,)),
    "gather 4M of 4M": ((MANY,), (MANY,)),
    "gather 4M pairs of 2000^2": ((2000, 2000), (MANY,)),
    "take_along_axis 4096^2": ((4096, 4096), (4096, 4096)),
    "scatter add rows 100k of 128": ((ROWS, WIDTH), (ROWS,)),
    "scatter add rows into 1000": ((1000, WIDTH), (ROWS,)),
    "scatter add 4M into 4M": ((MANY,), (MANY,)),
    "scatter add 4M into 1000": ((1000,), (MANY,)),
    "put_along_axis 4096^2": ((4096, 4096), (4096, 4096)),
    "assign rows 100k of 128": ((ROWS, WIDTH), (ROWS,)),
    "assign by mask 16M": ((16_000_000,), ()),
    "read by mask 4M": ((MANY,), ()),
    "x[3]": ((64, 64), ()),
    "x[3:9]": ((64, 64), ()),
}


def inputs_of(name: str):
    """The array, two arrays of indices, updates, all of NumPy."""
    shape, count = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.random(shape, np.float32)
    axis = 1 if "axis" in name or "columns" in name else 0
    index = rng.integers(0, shape[axis], count)
    second = rng.integers(0, shape[-1], count)
    rows = name.startswith(("scatter", "assign rows")) and len(shape) == 2
    updates = rng.random((*count, shape[1]) if rows else count, np.float32)
    return x, index, second, updates


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX."""
    x, index, second, updates = inputs_of(name)
    i, j = mx.array(index, mx.int32), mx.array(second, mx.int32)
    x, updates = mx.array(x), mx.array(updates)
    mask = x < 0.5
    mx.eval(x, i, j, updates, mask)

    # Fresh arrays, that updates may overwrite.
    def assigned(where, value):
        y = x + 0
        y[where] = value
        return mx.eval(y)

    if name.startswith("gather rows"):
        return [lambda: mx.eval(x[i])]
    if name.startswith("gather columns"):
        return [lambda: mx.eval(x[:, i])]
    if "pairs" in name:
        return [lambda: mx.eval(x[i, j])]
    if name.startswith("gather"):
        return [lambda: mx.eval(x[i])]
    if name.startswith("take_along"):
        return [lambda: mx.eval(mx.take_along_axis(x, i, 1))]
    if name.startswith("scatter add"):
        return [lambda: mx.eval((x + 0).at[i].add(updates))]
    if name.startswith("put_along"):
        return [lambda: mx.eval(mx.put_along_axis(x + 0, i, updates, 1))]
    if name.startswith("assign rows"):
        return [lambda: assigned(i, updates)]
    if name.startswith("assign by mask"):
        return [lambda: assigned(mask, 0.0)]
    if name.startswith("read by mask"):
        return [lambda: mx.eval(x[mask])] if mx.__name__ != "mlx.core" else []
    if name == "x[3]":
        return [lambda: x[3]]
    return [lambda: x[3:9]]


def torch_case(name: str) -> list:
    import torch

    torch.set_grad_enabled(False)
    x, i, j, updates = [torch.from_numpy(a) for a in inputs_of(name)]
    mask = x < 0.5
    y = x.clone()

    def assigned(where, value):
        z = x.clone()
        z[where] = value
        return z

    if name.startswith("gather rows"):
        return [
            lambda: x[i],
            lambda: torch.index_select(x, 0, i),
            lambda: torch.index_select(x, 0, i, out=y),
        ]
    if name.startswith("gather columns"):
        return [lambda: x[:, i], lambda: torch.index_select(x, 1, i)]
    if "pairs" in name:
        return [lambda: x[i, j]]
    if name.startswith("gather"):
        return [lambda: x[i], lambda: torch.take(x, i), lambda: torch.gather(x, 0, i)]
    if name.startswith("take_along"):
        return [lambda: torch.gather(x, 1, i)]
    if name.startswith("scatter add") and x.ndim == 2:
        return [lambda: x.clone().index_add_(0, i, updates),
                lambda: x.clone().index_put_((i,), updates, accumulate=True)]  # fmt: skip
    if name.startswith("scatter add"):
        return [lambda: x.clone().index_add_(0, i, updates),
                lambda: x.clone().scatter_add_(0, i, updates)]  # fmt: skip
    if name.startswith("put_along"):
        return [lambda: x.clone().scatter_(1, i, updates)]
    if name.startswith("assign rows"):
        return [lambda: assigned(i, updates), lambda: x.clone().index_copy_(0, i, updates)]
    if name.startswith("assign by mask"):
        return [lambda: assigned(mask, 0.0), lambda: x.clone().masked_fill_(mask, 0.0)]
    if name.startswith("read by mask"):
        return [lambda: x[mask], lambda: torch.masked_select(x, mask)]
    if name == "x[3]":
        return [lambda: x[3]]
    return [lambda: x[3:9]]


def numpy_case(name: str) -> list:
    x, i, j, updates = inputs_of(name)
    mask = x < 0.5
    if name.startswith("gather rows"):
        return [lambda: x[i], lambda: np.take(x, i, 0)]
    if name.startswith("gather columns"):
        return [lambda: x[:, i], lambda: np.take(x, i, 1)]
    if "pairs" in name:
        return [lambda: x[i, j]]
    if name.startswith("gather"):
        return [lambda: x[i], lambda: np.take(x, i)]
    if name.startswith("take_along"):
        return [lambda: np.take_along_axis(x, i, 1)]
    if name.startswith("read by mask"):
        return [lambda: x[mask]]
    if name == "x[3]":
        return [lambda: x[3]]
    return [lambda: x[3:9]] if name == "x[3:9]" else []


def make_case_for(library: str):
    return alternate.cases_of(
        library, array_module_case, {"torch": torch_case, "numpy": numpy_case}
    )


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, CASES, make_case_for, rounds=5, at_least=0.1, unit="us")
