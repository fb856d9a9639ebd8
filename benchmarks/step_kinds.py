"""Where a workload's time goes: seconds, bytes and operations by kind of step, beside what the
machine can do at most.

    python benchmarks/step_kinds.py resnet
    NARROWS_NUM_THREADS=1 python benchmarks/step_kinds.py transformer --rounds 5

Bytes are those of operands and results, as if each was moved once. The machine's limits are
measured first: products of 1024 x 1024 float32 matrices, and sums of two arrays that are larger
than caches. A share of 1 would be a step as fast as the narrower of both limits allows.
"""

import argparse
import json
import math
import re
import time
from collections import defaultdict

import narrows.core as mx
from narrows.bench.workloads import WORKLOADS
from narrows.bench.workloads.base import Library, Options, Run

BITS = {"bool": 8, "complex64": 64}


def shape_of(text: str) -> tuple[list[int], int]:
    """The sizes and the bytes of "(2, 3) float32"."""
    sizes, _, dtype = text.rpartition(" ")
    shape = [int(n) for n in re.findall(r"\d+", sizes)]
    bits = BITS.get(dtype) or int(re.search(r"\d+$", dtype).group())
    return shape, math.prod(shape) * bits // 8


def operations_of(name: str, inputs: list, outputs: list) -> int:
    """Multiplications and additions of products, convolutions and attention; 0 for other steps."""
    shapes = [shape for shape, _ in [*inputs, *outputs]]
    if name in ("matmul", "addmm", "quantized_matmul"):
        return 2 * math.prod(outputs[0][0]) * shapes[0][-1]
    if name.startswith("scaled_dot_product_attention"):
        query, key, value = shapes[:3]
        scores = 2 * math.prod(query[:-1]) * key[-2]  # all of them, even if a mask hides some
        if name.endswith("gradient"):
            return scores * (3 * query[-1] + 2 * value[-1])
        return scores * (query[-1] + value[-1])
    # Where y and the filters stand.
    arrays = {
        "convolution": (2, 1),
        "convolution_input_gradient": (0, 1),
        "convolution_weight_gradient": (1, 2),
    }.get(name)
    if arrays is None:
        return 0
    y, w = (shapes[i] for i in arrays)
    return 2 * math.prod(y) * math.prod(w[1:])


def bytes_of(name: str, inputs: list, outputs: list) -> int:
    """Bytes that a step reads and writes. Of a table it reads the rows that it returns."""
    written = sum(size for _, size in outputs)
    read = sum(size for _, size in (inputs[1:] if name == "gather" else inputs))
    return read + (2 * written if name == "gather" else written)


def seconds_of(call, rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def limits() -> tuple[float, float]:
    """Operations and bytes in a second."""
    a = mx.random.normal((1024, 1024))
    b = mx.random.normal((1 << 24,))
    c = mx.random.normal((1 << 24,))
    mx.eval(a, b, c)
    product = seconds_of(lambda: mx.eval(a @ a))
    total = seconds_of(lambda: mx.eval(b + c))
    return 2 * 1024**3 / product, 3 * b.nbytes / total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", choices=["small", "full"], default="small")
    options = parser.parse_args()
    mx.disable_compile()  # a compiled function would be one step
    workload = WORKLOADS[options.workload](Library("narrows", "cpu"), Options(options.scale))
    workload.round(Run(mx))
    most_operations, most_bytes = limits()
    best = None
    for _ in range(options.rounds):
        with mx.profile() as profile:
            start = time.perf_counter()
            workload.round(Run(mx))
            seconds = time.perf_counter() - start
        if best is None or seconds < best[0]:
            best = seconds, profile.to_json()
    seconds, text = best
    kinds = defaultdict(lambda: [0, 0.0, 0, 0])
    for event in json.loads(text)["traceEvents"]:
        if event["ph"] != "X":
            continue
        inputs, outputs = (
            [shape_of(a) for a in event["args"][key]] for key in ("inputs", "outputs")
        )
        kind = kinds[event["name"]]
        kind[0] += 1
        kind[1] += event["dur"] / 1e6
        kind[2] += bytes_of(event["name"], inputs, outputs)
        kind[3] += operations_of(event["name"], inputs, outputs)
    print(
        f"{options.workload}: {seconds:.4f} s a round; at most {most_operations / 1e9:.0f} GF/s "
        f"and {most_bytes / 1e9:.1f} GB/s"
    )
    print(f"{'kind':<28}{'steps':>7}{'ms':>9}{'% time':>8}{'MB':>9}{'GFLOP':>8}{'share':>7}")
    rows = sorted(kinds.items(), key=lambda item: -item[1][1])
    inside = sum(kind[1] for kind in kinds.values())
    for name, (count, spent, size, work) in rows:
        if spent < 0.002 * seconds:
            continue
        least = max(size / most_bytes, work / most_operations)
        print(
            f"{name:<28}{count:7d}{spent * 1e3:9.2f}{100 * spent / seconds:8.1f}{size / 1e6:9.1f}"
            f"{work / 1e9:8.2f}{least / spent:7.2f}"
        )
    print(f"outside of steps (recording, planning): {1e3 * (seconds - inside):.2f} ms")


if __name__ == "__main__":
    main()
