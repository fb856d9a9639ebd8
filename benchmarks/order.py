"""Peak memory, time and parallelism by order: width 1, 10, 20, 50, unlimited, and memory.

    python benchmarks/order.py                        # CPU: peak and time of each order
    python benchmarks/order.py --waves                # no work: peak and waves, 16 steps at once
    python benchmarks/order.py --workloads cast mlp --rounds 9 --device gpu

Workloads: workloads.py. Times are medians over rounds in which the orders take
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

from workloads import WORKLOADS

ORDERS = ["1", "10", "20", "50", "unlimited", "memory"]
UNLIMITED = 1 << 40
CONCURRENCY = 16


def order_scope(mx, order):
    if order == "memory":
        return mx.order_policy("memory")
    return mx.bfs_max_width(UNLIMITED if order == "unlimited" else int(order))


# ---- measuring, in one process for each workload


def measure(name: str, scale: int, rounds: int, device: str, fuse: bool) -> dict:
    import narrows.core as mx

    mx.set_default_device(getattr(mx, device))
    mx.set_fusion(fuse)
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
    made_in, shows = {}, {}  # by array: the wave that makes it, and the array that it is a view of
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


def measure_waves(name: str, scale: int, fuse: bool) -> dict:
    import narrows.core as mx

    mx.set_fusion(fuse)
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
    command += ["--rounds", str(options.rounds), "--device", options.device]
    command += ["--waves"] * options.waves + ["--no-fusion"] * options.no_fusion
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
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--no-fusion", action="store_true", help="each operation is a step")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        if options.waves:
            rows = measure_waves(options.measure, options.scale, not options.no_fusion)
        else:
            rows = measure(
                options.measure,
                options.scale,
                options.rounds,
                options.device,
                not options.no_fusion,
            )
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
