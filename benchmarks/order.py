"""Peak memory, time and parallelism by order: width 1, 10, 20, 50, unlimited, and memory.

    python benchmarks/order.py                        # CPU: peak and time of each order
    python benchmarks/order.py --waves                # no work: peak and waves, 16 steps at once
    python benchmarks/order.py --workloads cast mlp --rounds 9

Workloads are made of plain operations. Times are medians over rounds in which the orders take
turns. A wave is a set of at most 16 steps, successive in the order, of which none needs another;
views take no part. Fewer waves leave a parallel device less idle.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ORDERS = ["1", "10", "20", "50", "unlimited", "memory"]
UNLIMITED = 1 << 40
CONCURRENCY = 16


def order_scope(mx, order):
    if order == "memory":
        return mx.order_policy("memory")
    return mx.bfs_max_width(UNLIMITED if order == "unlimited" else int(order))


# ---- workloads: each returns a function that records a graph and returns its outputs


def cast(mx, scale):
    return lambda: [mx.zeros((4096, 128), mx.int64).astype(mx.int8) for _ in range(1000)]


def weights(mx, *shapes):
    arrays = [mx.full(shape, 1 / shape[0]) for shape in shapes]
    mx.eval(arrays)
    return arrays


def mlp(mx, scale):
    """Forward and hand-written backward, the weights replaced by updated ones."""
    width, layers, batch = 512 * scale, 8, 1024
    ws = weights(mx, *[(width, width)] * layers)
    (x0,) = weights(mx, (batch, width))

    def record():
        x, kept = x0, []
        for w in ws:
            kept.append(x)
            x = mx.maximum(x @ w, 0)
        g, updated = x / batch, []
        for w, a in zip(reversed(ws), reversed(kept), strict=True):
            updated.append(w - 1e-4 * (mx.transpose(a) @ g))
            g = (g @ mx.transpose(w)) * (a > 0)
        return updated

    return record


def residual(mx, scale):
    width, layers, batch = 256 * scale, 16, 1024
    ws = weights(mx, *[(width, width)] * (2 * layers))
    (x0,) = weights(mx, (batch, width))

    def record():
        x, kept = x0, []
        for i in range(layers):
            hidden = mx.tanh(x @ ws[2 * i])
            kept.append((x, hidden))
            x = x + hidden @ ws[2 * i + 1]
        g, gradients = x / batch, []
        for i in reversed(range(layers)):
            a, hidden = kept[i]
            gradients.append(mx.transpose(hidden) @ g)
            inner = (g @ mx.transpose(ws[2 * i + 1])) * (1 - hidden * hidden)
            gradients.append(mx.transpose(a) @ inner)
            g = g + inner @ mx.transpose(ws[2 * i])
        return gradients

    return record


def decode(mx, scale):
    """One token: all caches are outputs, updated out of place."""
    d, hidden, length, layers = 512 * scale, 2048 * scale, 512, 12
    parts = weights(mx, *[(d, d), (d, d), (d, d), (d, hidden), (d, hidden), (hidden, d)] * layers)
    caches = weights(mx, *[(length, d)] * (2 * layers))
    (x0,) = weights(mx, (1, d))

    def record():
        x, outputs = x0, []
        for i in range(layers):
            q, k, o, up, gate, down = parts[6 * i : 6 * i + 6]
            keys = mx.concatenate([caches[2 * i][1:], x @ k])
            values = mx.concatenate([caches[2 * i + 1][1:], x])
            outputs += [keys, values]
            scores = mx.softmax((x @ q) @ mx.transpose(keys), axis=-1)
            x = x + (scores @ values) @ o
            x = x + ((x @ up) * mx.sigmoid(x @ gate)) @ down
        return [x, *outputs]

    return record


def reductions(mx, scale):
    """200 arrays are cast and scaled by their rows' ranges, as in quantization."""

    def record():
        outputs = []
        for i in range(200):
            w = mx.full((256 * (1 + i % 4), 1024), 0.5, mx.float16).astype(mx.float32)
            lowest = mx.min(w, axis=-1, keepdims=True)
            step = (mx.max(w, axis=-1, keepdims=True) - lowest) / 15
            outputs += [((w - lowest) / (step + 1)).astype(mx.int8), step, lowest]
        return outputs

    return record


def attention(mx, scale):
    d, heads, length, layers = 256 * scale, 8, 256, 6
    parts = weights(mx, *[(d, d), (d, d), (d, d), (d, d), (d, 4 * d), (4 * d, d)] * layers)
    (x0,) = weights(mx, (length, d))

    def record():
        def split(a):
            return mx.transpose(mx.reshape(a, (length, heads, d // heads)), (1, 0, 2))

        x = x0
        for i in range(layers):
            q, k, v, o, up, down = parts[6 * i : 6 * i + 6]
            scores = split(x @ q) @ mx.transpose(split(x @ k), (0, 2, 1))
            mixed = mx.softmax(scores * (d // heads) ** -0.5, axis=-1) @ split(x @ v)
            x = x + mx.reshape(mx.transpose(mixed, (1, 0, 2)), (length, d)) @ o
            x = x + mx.tanh(x @ up) @ down
        return [x]

    return record


WORKLOADS = {f.__name__: f for f in [cast, mlp, residual, decode, reductions, attention]}


# ---- measuring, in a process of its own for each workload


def measure(name: str, scale: int, rounds: int) -> dict:
    import narrows.core as mx

    record = WORKLOADS[name](mx, scale)
    times = {order: [] for order in ORDERS}
    peaks = {}
    for _ in range(rounds):
        for order in ORDERS:
            outputs = record()
            with order_scope(mx, order):
                mx.reset_peak_memory()
                start = time.perf_counter()
                mx.eval(outputs)
                times[order].append(time.perf_counter() - start)
            peaks[order] = mx.get_peak_memory()
            del outputs
    return {o: {"peak": peaks[o], "seconds": statistics.median(times[o])} for o in ORDERS}


def count_waves(plan: dict) -> int:
    made_in, shows = {}, {}  # by array: the wave that makes it; what it is a view of
    kinds = {row["name"]: row["kind"] for row in plan["arrays"]}
    wave, in_wave = 1, 0
    for step in plan["steps"]:
        inputs = [shows.get(name, name) for name in step["inputs"]]
        if kinds[step["outputs"][0]] == "view":
            for name in step["outputs"]:
                shows[name] = inputs[0]
            continue
        if in_wave == CONCURRENCY or any(made_in.get(name) == wave for name in inputs):
            wave, in_wave = wave + 1, 0
        in_wave += 1
        for name in step["outputs"]:
            made_in[name] = wave
    return wave


def measure_waves(name: str, scale: int) -> dict:
    import narrows.core as mx

    record = WORKLOADS[name](mx, scale)
    rows = {}
    for order in ORDERS:
        outputs = record()
        with order_scope(mx, order):
            plan = json.loads(mx.plan(outputs).to_json())
        rows[order] = {"peak": plan["predicted_peak"], "waves": count_waves(plan)}
    return rows


def run_apart(name: str, options) -> dict:
    environment = dict(os.environ)
    if options.waves:
        environment["NARROWS_BACKEND"] = "null"
    command = [sys.executable, __file__, "--measure", name, "--scale", str(options.scale)]
    command += ["--rounds", str(options.rounds)] + (["--waves"] if options.waves else [])
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--waves", action="store_true", help="on the null backend")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=int, default=2, help="of matrix sizes")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        if options.waves:
            rows = measure_waves(options.measure, options.scale)
        else:
            rows = measure(options.measure, options.scale, options.rounds)
        print(json.dumps(rows))
        return
    second = "waves" if options.waves else "ms"
    print(f"peak MB / {second}\n{'':12}" + "".join(f"{order:>18}" for order in ORDERS))
    for name in options.workloads:
        cells = []
        for row in run_apart(name, options).values():
            value = f"{row['waves']}" if options.waves else f"{row['seconds'] * 1e3:.1f}"
            cells.append(f"{row['peak'] / 1e6:.1f} / {value}")
        print(f"{name:12}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
