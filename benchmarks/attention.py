"""Speed of attention beside PyTorch's.

    python benchmarks/attention.py
    python benchmarks/attention.py --peer-python other/.venv/bin/python --peers torch mlx

All use their default number of threads and take turns, case by case. The last cases decode one
token over a part of a larger cache.
"""

import alternate
import numpy as np

# name: (heads, heads of keys, queries, keys, size, causal, with gradients)
CASES = {
    "32x2048x64 causal": (32, 32, 2048, 2048, 64, True, False),
    "32x2048x64 causal, gradients": (32, 32, 2048, 2048, 64, True, True),
    "8x8192x64": (8, 8, 8192, 8192, 64, False, False),
    "8x8192x64, gradients": (8, 8, 8192, 8192, 64, False, True),
    "1x8192x64, gradients": (1, 1, 8192, 8192, 64, False, True),
    "decode 32x1x64, 8x4096 keys": (32, 8, 1, 4096, 64, False, False),
    "decode 8x1x128, 1x65536 keys": (8, 1, 1, 65536, 128, False, False),
}
SPARE = 512  # rows of the cache behind the used ones


def inputs_of(name: str):
    """Queries, and keys and values in a cache that is longer, all of NumPy."""
    heads, key_heads, queries, keys, size, _, _ = CASES[name]
    rng = np.random.default_rng(0)
    spare = SPARE if queries == 1 else 0
    q = rng.standard_normal((1, heads, queries, size), np.float32)
    k = rng.standard_normal((1, key_heads, keys + spare, size), np.float32)
    v = rng.standard_normal((1, key_heads, keys + spare, size), np.float32)
    return q, k, v


def array_module_case(name: str, mx) -> list:
    """For narrows and MLX."""
    keys, causal, gradients = CASES[name][3], CASES[name][5], CASES[name][6]
    q, k, v = [mx.array(a) for a in inputs_of(name)]
    mx.eval(q, k, v)
    scale = q.shape[-1] ** -0.5
    mask = "causal" if causal else None

    def forward(q, k, v):
        k, v = k[:, :, :keys], v[:, :, :keys]
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)

    if not gradients:
        return [lambda: mx.eval(forward(q, k, v))]
    step = mx.value_and_grad(lambda *x: forward(*x).sum(), (0, 1, 2))
    return [lambda: mx.eval(step(q, k, v))]


def torch_case(name: str) -> list:
    import torch

    keys, causal, gradients = CASES[name][3], CASES[name][5], CASES[name][6]
    q, k, v = [torch.from_numpy(a).requires_grad_(gradients) for a in inputs_of(name)]
    shared = q.shape[1] != k.shape[1]

    def forward():
        return torch.nn.functional.scaled_dot_product_attention(
            q, k[:, :, :keys], v[:, :, :keys], is_causal=causal, enable_gqa=shared
        )

    if not gradients:
        return [forward]

    def step():
        q.grad = k.grad = v.grad = None
        forward().sum().backward()

    return [step]


def make_case_for(library: str):
    return alternate.cases_of(library, array_module_case, {"torch": torch_case})


if __name__ == "__main__":
    alternate.run_cases(__file__, __doc__, CASES, make_case_for, rounds=5, at_least=0.1, unit="ms")
