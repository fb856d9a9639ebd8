"""Speed of quantized numbers beside PyTorch, which composes them of its operations, and MLX.

    python benchmarks/quantized.py
    python benchmarks/quantized.py --peer-python other/.venv/bin/python --peers torch mlx

All libraries use their default number of threads and take turns, case by case. PyTorch runs its
operations one by one. It has no product with codes of this layout that it runs on CPUs: where a
case is a product, its column is the product with the same matrix as bfloat16 or float32, whichever
is faster. What bounds a product with one row is reading the codes: "copy" reads as many bytes.
"""

import alternate
import numpy as np

# name: (shape of the matrix, rows of x)
MATRIX, LARGE = (2048, 8192), (8192, 8192)
CASES = {
    "quantize 4 bit float32": (LARGE, 0),
    "quantize 4 bit bfloat16": (LARGE, 0),
    "quantize 8 bit float32": (LARGE, 0),
    "quantize 3 bit float32": (LARGE, 0),
    "dequantize 4 bit float32": (LARGE, 0),
    "dequantize 4 bit bfloat16": (LARGE, 0),
    "product 4 bit, 1 row": (LARGE, 1),
    "product 4 bit, 1 row, bf16": (LARGE, 1),
    "product 8 bit, 1 row": (LARGE, 1),
    "product 3 bit, 1 row": (LARGE, 1),
    "product 6 bit, 1 row": (LARGE, 1),
    "product 2 bit, 1 row": (LARGE, 1),
    "product 5 bit, 1 row": (LARGE, 1),
    "product 8 bit, 1 row, bf16": (LARGE, 1),
    "product mxfp4, 1 row": (LARGE, 1),
    "product mxfp8, 1 row": (LARGE, 1),
    "product nvfp4, 1 row": (LARGE, 1),
    "product 4 bit, 1 row, x @ w": (LARGE, 1),
    "product 4 bit, 4 rows": (MATRIX, 4),
    "product 4 bit, 8 rows": (MATRIX, 8),
    "product 4 bit, 16 rows": (MATRIX, 16),
    "product 4 bit, 128 rows": (MATRIX, 128),
    "product 4 bit, 512 rows": (MATRIX, 512),
    "product 4 bit, 512 rows, bf16": (MATRIX, 512),
    "product 8 bit, 128 rows": (MATRIX, 128),
    "product mxfp8, 128 rows": (MATRIX, 128),
    "product 4 bit, 128 rows, x @ w": (MATRIX, 128),
    "experts 4 bit, 1 row of 64": ((8, 1024, 1024), 1),
}


def settings_of(name: str):
    """Options of quantize(), and whether numbers are bfloat16."""
    for mode in ("mxfp4", "mxfp8", "nvfp4"):
        if mode in name:
            return {"mode": mode}, "bf" in name
    bits = int(name.partition(" bit")[0].rsplit(" ", 1)[-1])
    return {"group_size": 64, "bits": bits}, "bf" in name


def inputs_of(name: str):
    shape, rows = CASES[name]
    rng = np.random.default_rng(0)
    w = rng.random(shape, np.float32) - 0.5
    inner = shape[-2] if "x @ w" in name else shape[-1]
    return w, rng.random((rows, inner), np.float32) - 0.5


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX."""
    how, is_half = settings_of(name)
    w, x = [mx.array(a).astype(mx.bfloat16 if is_half else mx.float32) for a in inputs_of(name)]
    mx.eval(w, x)
    if name.startswith("quantize"):
        return [lambda: mx.eval(mx.quantize(w, **how))]
    parts = mx.quantize(w, **how)
    mx.eval(parts)
    if name.startswith("dequantize"):
        return [lambda: mx.eval(mx.dequantize(*parts, **how))]
    if name.startswith("experts"):
        experts = mx.array([[i % 8] for i in range(64)])
        x = mx.broadcast_to(x, (64, 1, *x.shape))
        return [lambda: mx.eval(mx.gather_qmm(x, *parts, rhs_indices=experts, **how))]
    transpose = "x @ w" not in name
    return [lambda: mx.eval(mx.quantized_matmul(x, *parts, transpose=transpose, **how))]


def torch_case(name: str) -> list:
    import torch

    torch.set_grad_enabled(False)
    how, is_half = settings_of(name)
    bits = how.get("bits", 4)
    w, x = [torch.from_numpy(a) for a in inputs_of(name)]
    if is_half:
        w, x = w.bfloat16(), x.bfloat16()
    most = 2**bits - 1
    shifts = torch.arange(0, 32, bits, dtype=torch.int32) if 32 % bits == 0 else None

    def quantized():
        groups = w.view(-1, 64)
        low, high = torch.aminmax(groups, dim=1, keepdim=True)
        scales = ((high - low) / most).clamp(min=1e-7)
        codes = ((groups - low) / scales).round_().clamp_(0, most).to(torch.int32)
        if shifts is None:
            return codes, scales, low
        words = (codes.view(-1, 32 // bits) << shifts).sum(1, dtype=torch.int32)
        return words, scales, low

    def dequantized():
        values = ((parts[0][:, None] >> shifts) & most).view(-1, 64).to(w.dtype)
        return torch.addcmul(parts[2], values, parts[1])

    if name.startswith("quantize"):
        return [quantized]
    if name.startswith("dequantize"):
        parts = quantized()
        return [dequantized]
    if name.startswith("experts"):
        experts = torch.tensor([i % 8 for i in range(64)])
        x = x.expand(64, *x.shape)
        return [lambda: torch.stack([x[i] @ w[e].T for i, e in enumerate(experts.tolist())])]
    matrix = w if "x @ w" in name else w.T
    half, x_half = matrix.bfloat16(), x.bfloat16()
    return [lambda: x @ matrix, lambda: x_half @ half]


def numpy_case(name: str) -> list:
    """The bound of products with one row: as many bytes read as the codes have."""
    if ", 1 row" not in name or name.startswith("experts"):
        return []
    shape, _ = CASES[name]
    how, _ = settings_of(name)
    bits = how.get("bits", 8 if how.get("mode") == "mxfp8" else 4)
    codes = np.ones(shape[0] * shape[1] * bits // 64, np.uint64)
    return [codes.max]


def make_case_for(library: str):
    return alternate.cases_of(
        library, array_module_case, {"torch": torch_case, "numpy": numpy_case}
    )


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, CASES, make_case_for, rounds=5, at_least=0.2, unit="ms")
