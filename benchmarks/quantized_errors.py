"""Errors of products with 4-bit matrices, beside those of a product in float32.

    python benchmarks/quantized_errors.py

Each figure is the root of the mean square of the difference to the product in float64, of the same
quantized numbers, divided by that of the products. "heavy tails" are numbers of Student's
distribution with 3 degrees of freedom: a few are very large. The first table is of integers of 16
bits, the default; the second of 24 bits with NARROWS_EXACT=1. "float32" is NumPy's product of the
same numbers. "8 bits" rounds numbers of `x` to eight bits, as other programs do.
"""

import os
import subprocess
import sys

import numpy as np

SHAPE, GROUP = (1024, 4096), 64
ROWS = {"decode, 1 row": 1, "8 rows": 8, "prefill, 64 rows": 64}


def numbers(kind: str, *shape: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) if kind == "normal" else rng.standard_t(3, shape)
    return x.astype(np.float32)


def rounded(x: np.ndarray, most: float) -> np.ndarray:
    """Integers relative to the largest magnitude of a group, as numbers."""
    groups = x.reshape(-1, GROUP).astype(np.float64)
    steps = np.abs(groups).max(-1, keepdims=True) / most
    return (np.rint(groups / steps) * steps).reshape(x.shape)


def error(found: np.ndarray, expected: np.ndarray) -> str:
    return f"{np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean()):10.1e}"


def print_table() -> None:
    import narrows.core as mx

    mx.set_default_device(mx.cpu)
    print(f"{'':34}{'narrows':>10}{'float32':>10}{'8 bits':>10}")
    for kind in ("normal", "heavy tails"):
        parts = mx.quantize(mx.array(numbers(kind, *SHAPE, seed=1)), group_size=GROUP, bits=4)
        w = np.array(mx.dequantize(*parts, group_size=GROUP, bits=4))
        for name, rows in ROWS.items():
            x = numbers(kind, rows, SHAPE[1], seed=2)
            expected = x.astype(np.float64) @ w.T.astype(np.float64)
            product = mx.quantized_matmul(mx.array(x), *parts, group_size=GROUP, bits=4)
            figures = [np.array(product), x @ w.T, rounded(x, 127) @ w.T.astype(np.float64)]
            cells = "".join(error(figure, expected) for figure in figures)
            print(f"{kind + ', ' + name:34}{cells}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print_table()
    else:
        for exact in ("0", "1"):
            print(f"NARROWS_EXACT={exact}", flush=True)
            environment = {**os.environ, "NARROWS_EXACT": exact}
            subprocess.run([sys.executable, __file__, "table"], env=environment, check=True)
