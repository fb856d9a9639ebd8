"""Time to save and load 1 GB, as ratios to writing and reading the bytes plainly.

    python benchmarks/files.py
    python benchmarks/files.py --bytes 100000000 --directory /dev/shm --rounds 5

Plainly: os.write() and fsync(), and readinto() of a bytearray that was written before. Cases take
turns; what is shown is the median of the ratios of each round. A ratio above 1 is slower than the
plain bytes.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time

import narrows.core as mx
import numpy as np

ARRAYS = 16


def timed(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def write_plainly(path, data) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view[: 32 << 20]) :]
    os.fsync(descriptor)
    os.close(descriptor)


def read_plainly(path, buffer) -> None:
    with open(path, "rb", buffering=0) as file:
        view = memoryview(buffer)
        while view:
            view = view[file.readinto(view) :]


def load(path) -> None:
    loaded = mx.load(path)
    mx.eval(list(loaded.values()) if isinstance(loaded, dict) else loaded)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=10**9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory")
    options = parser.parse_args()
    count = options.bytes // 4 // ARRAYS
    data = np.random.default_rng(0).integers(0, 2**31, count * ARRAYS, dtype=np.int32)
    arrays = {f"w{i}": mx.array(part) for i, part in enumerate(data.reshape(ARRAYS, -1))}
    whole = mx.array(data)
    buffer = bytearray(data.nbytes)
    save = {
        "npy": lambda path: mx.save(path, whole),
        "npz": lambda path: mx.savez(path, **arrays),
        "safetensors": lambda path: mx.save_safetensors(path, arrays),
        "gguf": lambda path: mx.save_gguf(path, arrays),
    }
    ratios = {}
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        plain = pathlib.Path(directory) / "plain"
        for _ in range(options.rounds):
            for fmt, function in save.items():
                path = pathlib.Path(directory) / f"a.{fmt}"
                written = timed(lambda: write_plainly(plain, data))
                ratios.setdefault(("save", fmt), []).append(timed(lambda: function(path)) / written)
                read = timed(lambda: read_plainly(plain, buffer))
                ratios.setdefault(("load", fmt), []).append(timed(lambda: load(path)) / read)
                path.unlink()
    for (what, fmt), found in sorted(ratios.items()):
        print(f"{what} {fmt:12} {statistics.median(found):.2f}")


if __name__ == "__main__":
    main()
