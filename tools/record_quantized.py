"""Records what MLX's quantize() gives, for tests/python/test_quantized.py.

`python tools/record_quantized.py` writes tests/python/data/quantized.npz: matrices, and codes,
scales, biases and dequantized numbers for every mode, number of bits and group size. Wants mlx and
numpy; the tests want neither MLX nor this script.
"""

import pathlib

import mlx.core as mx
import numpy as np

FILE = pathlib.Path(__file__).parents[1] / "tests/python/data/quantized.npz"
DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
AFFINE = [("affine", bits, size) for bits in (1, 2, 3, 4, 5, 6, 8) for size in (32, 64, 128)]
FLOATS = [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)]


def matrix() -> np.ndarray:
    """Groups of ordinary numbers, of one sign, of one number, of zeros, and with large ones."""
    random = np.random.default_rng(3)
    w = random.normal(size=(4, 256))
    w[1] = np.abs(w[1]) + np.repeat([0, 0.5], 128)
    w[2, :128] = 0
    w[2, 128:] = -2.5
    w[3] *= np.exp(3 * random.normal(size=256))
    return w.astype(np.float32)


def as_numpy(a: mx.array) -> np.ndarray:
    return np.array(a.astype(mx.float32) if a.dtype in DTYPES.values() else a)


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    recorded = {"w": matrix()}
    for mode, bits, size in AFFINE + FLOATS:
        for name, dtype in DTYPES.items():
            if dtype != mx.float32 and size == 128:
                continue
            how = {"group_size": size, "bits": bits, "mode": mode}
            parts = mx.quantize(mx.array(recorded["w"]).astype(dtype), **how)
            key = f"{mode}/{bits}/{size}/{name}"
            for kind, part in zip(("codes", "scales", "biases"), parts, strict=False):
                recorded[f"{key}/{kind}"] = as_numpy(part)
            recorded[f"{key}/numbers"] = as_numpy(mx.dequantize(*parts, **how, dtype=mx.float32))
    recorded["fp8"] = as_numpy(mx.from_fp8(mx.arange(256).astype(mx.uint8), mx.float32))
    np.savez_compressed(FILE, **recorded)
