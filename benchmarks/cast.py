"""Peak memory and time of a graph that is cheap in depth and dear in breadth.

1000 arrays zeros((4096, 128), int64) are cast to int8 and evaluated in one call, in the memory
order, which is the default, and for several values of the width limit, each run in a fresh process:

    python benchmarks/cast.py --plot build/cast.png
    python benchmarks/cast.py --orders memory --peer mlx.core      # times against a peer

Each operation by itself cannot peak below 524.3 MB (the outputs) plus 4.2 MB (one intermediate);
fused, there are no intermediates in any order. Both are run.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPE = (4096, 128)
ORDERS = ["memory", "1", "10", "20", "50", "unlimited"]  # numbers are widths
# Peak MB of MLX at these widths, as published for an Apple M3 Max.
PUBLISHED_MLX = {"1": 689, "10": 729, "50": 792, "unlimited": 4251}
# More than the nodes of the graph: breadth-first to the end.
UNLIMITED = str(2**31 - 1)


def run_once(module: str, count: int, with_plan: bool) -> dict:
    """The benchmark itself, in this process, in the order that the environment says."""
    import importlib

    mx = importlib.import_module(module)
    if module == "mlx.core":
        mx.set_default_device(mx.cpu)
    mx.reset_peak_memory()
    start = time.perf_counter()
    arrays = [mx.zeros(SHAPE, mx.int64) for _ in range(count)]
    arrays = [x.astype(mx.int8) for x in arrays]
    recorded = time.perf_counter()
    result = {}
    if with_plan:
        plan = mx.plan(*arrays)
        result = {"predicted": plan.predicted_peak, "live": list(plan.live_bytes)}
        del plan
    planned = time.perf_counter()
    mx.eval(arrays)
    end = time.perf_counter()
    return result | {
        "peak": mx.get_peak_memory(),
        "seconds": (recorded - start) + (end - planned),
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def environment_of(order: str) -> dict:
    """That of a process which is to evaluate in this order."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_BFS_MAX_WIDTH")}
    environment["NARROWS_ORDER"] = "memory" if order == "memory" else "width"
    if order != "memory":
        environment["MLX_BFS_MAX_WIDTH"] = UNLIMITED if order == "unlimited" else order
    return environment


def run_fresh(
    module: str,
    order: str,
    count: int,
    fused: bool,
    with_plan: bool = False,
    python: str = sys.executable,
) -> dict:
    """run_once() in a new process."""
    environment = environment_of(order)
    environment["NARROWS_FUSION"] = "1" if fused else "0"
    command = [python, __file__, "--once", module, "--count", str(count)]
    done = subprocess.run(
        command + ["--with-plan"] * with_plan,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def title(variant: tuple[str, bool]) -> str:
    return variant[0] + " fused" * variant[1]


def measure(
    orders: list[str], peer: str | None, peer_python: str, count: int, repeats: int
) -> dict:
    """Runs every order with and without fusion, taking turns: {(order, fused): its figures}. A
    peer's order is its name."""
    from tqdm import tqdm

    # One more run of each order asks for its plan; timed runs do nothing beside the job.
    variants = [(order, fused) for order in orders for fused in (False, True)]
    turns = [(variant, "narrows.core", sys.executable) for variant in variants]
    if peer:
        turns.append(((peer, False), peer, peer_python))
    runs = {variant: [] for variant, _, _ in turns}
    planned = {}
    with tqdm(total=len(turns) * repeats + len(variants), unit="run", file=sys.stderr) as bar:
        for variant in variants:
            bar.set_description("plan, " + title(variant))
            planned[variant] = run_fresh("narrows.core", variant[0], count, variant[1], True)
            bar.update()
        for _ in range(repeats):
            for variant, module, python in turns:
                bar.set_description(title(variant))
                order = "memory" if module == peer else variant[0]  # a peer's default
                runs[variant].append(run_fresh(module, order, count, variant[1], python=python))
                bar.update()
        bar.set_description("done")
    summary = {}
    for name, results in runs.items():
        summary[name] = {
            "peak": max(r["peak"] for r in results),
            "seconds": statistics.median(r["seconds"] for r in results),
            "rss": statistics.median(r["rss"] for r in results),
            "predicted": planned.get(name, {}).get("predicted"),
            "live": planned.get(name, {}).get("live"),
        }
    return summary


def print_table(summary: dict, peer: str | None, count: int, repeats: int) -> None:
    print(
        f"\ncast: {count} x zeros({SHAPE}, int64) -> int8, eval all; median of {repeats}, "
        "MB = 10^6 bytes"
    )
    header = f"{'order':>16} {'peak MB':>9} {'predicted':>9} {'seconds':>8} {'RSS MB':>8}"
    print(header)
    print("-" * len(header))
    for variant, row in summary.items():
        predicted = "-" if row["predicted"] is None else f"{row['predicted'] / 1e6:.1f}"
        print(
            f"{title(variant):>16} {row['peak'] / 1e6:9.1f} {predicted:>9} "
            f"{row['seconds']:8.3f} {row['rss'] / 1e6:8.0f}"
        )
    for variant in [("memory", False), ("memory", True)]:
        if peer and variant in summary:
            ratio = summary[variant]["seconds"] / summary[(peer, False)]["seconds"]
            print(f"time, narrows {title(variant)} / {peer}: {ratio:.2f}")


# How the two ways of running are told apart everywhere in the plot.
FUSED = {"color": "#d95f02", "label": "fused"}
APART = {"color": "#1f5fa8", "label": "each operation by itself"}
MB = 1e6


def draw_bars(axes, summary: dict, orders: list[str], figure: str, scale: float) -> None:
    """Two bars for each order: without and with fusion."""
    for shift, fused, style in ((-0.2, False, APART), (0.2, True, FUSED)):
        heights = [summary[(order, fused)][figure] / scale for order in orders]
        bars = axes.bar([i + shift for i in range(len(orders))], heights, 0.36, **style)
        digits = "%.0f" if max(heights) > 100 else "%.2f"
        axes.bar_label(bars, fmt=digits, padding=2, fontsize=7.5, color=style["color"])
    axes.set_xticks(range(len(orders)), orders)
    axes.set_xlabel("order: by memory, or a width")
    axes.spines[["top", "right"]].set_visible(False)


def draw_peaks(axes, summary: dict, orders: list[str]) -> None:
    """Measured peaks, with what was predicted and what is published for MLX."""
    draw_bars(axes, summary, orders, "peak", MB)
    for shift, fused in ((-0.2, False), (0.2, True)):
        predicted = [summary[(order, fused)]["predicted"] / MB for order in orders]
        where = [i + shift for i in range(len(orders))]
        axes.plot(where, predicted, "_", color="black", markersize=15, label="predicted")
    published = [(i, PUBLISHED_MLX[o]) for i, o in enumerate(orders) if o in PUBLISHED_MLX]
    if published:
        label = "published for MLX\n(Apple M3 Max)"
        axes.plot(*zip(*published), "D", color="#2a9d3a", markersize=6, label=label, zorder=3)
    for i, value in published:
        beside = {"xytext": (7, -3), "textcoords": "offset points", "fontsize": 7.5}
        axes.annotate(str(value), (i, value), color="#2a9d3a", **beside)
    axes.set(title="peak memory", ylabel="MB (logarithmic)", yscale="log", ylim=(400, 7000))
    axes.set_yticks([500, 1000, 2000, 4000], ["500", "1000", "2000", "4000"])
    axes.minorticks_off()


def draw_live(axes, summary: dict, orders: list[str]) -> None:
    """Bytes live over the run: shades of one colour without fusion, dashes of another with it."""
    from matplotlib import colormaps

    shades = colormaps["YlGnBu"]
    for i, order in enumerate(orders):
        name = "by memory" if order == "memory" else f"width {order}"
        for fused in (False, True):
            live = summary[(order, fused)]["live"]
            done = [100 * (step + 1) / len(live) for step in range(len(live))]
            if fused:
                style = {"color": FUSED["color"], "linestyle": (0, (3, 2)), "linewidth": 2.4}
            else:
                shade = shades(1.0 - 0.68 * i / len(orders))
                style = {"color": shade, "linewidth": 1.2, "label": name}
            axes.plot(
                done, [max(b, 1) / MB for b in live], zorder=3 if fused else 2 - 0.1 * i, **style
            )
    axes.plot([], [], "--", color=FUSED["color"], linewidth=2.4, label="fused, every order")
    axes.set(title="bytes live while it runs", xlabel="% of the steps done", ylabel="MB")
    axes.set(yscale="log", ylim=(2, 7000))
    axes.spines[["top", "right"]].set_visible(False)


def legend_outside(axes, **where) -> None:
    handles = dict(zip(*reversed(axes.get_legend_handles_labels())))  # one entry for each label
    axes.legend(handles.values(), handles.keys(), frameon=False, fontsize=8.5, **where)


def save_plot(summary: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    orders = list(dict.fromkeys(o for (o, _), row in summary.items() if row["live"] is not None))
    figure, (peaks, seconds, live) = plt.subplots(
        1, 3, figsize=(17, 5.2), layout="constrained", width_ratios=[1.3, 1, 1.2]
    )
    draw_peaks(peaks, summary, orders)
    draw_bars(seconds, summary, orders, "seconds", 1)
    seconds.set(title="time", ylabel="s")
    draw_live(live, summary, orders)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13)}
    legend_outside(peaks, ncols=4, columnspacing=1.2, **below)
    legend_outside(seconds, ncols=2, **below)
    title = "each operation by itself:"
    legend_outside(live, loc="center left", bbox_to_anchor=(1.0, 0.5), title=title)
    figure.suptitle("1000 int64 arrays of 4 MB, cast to int8 and evaluated in one call")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"plot: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orders", nargs="+", default=ORDERS, metavar="ORDER")
    parser.add_argument("--count", type=int, default=1000, help="how many arrays")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", metavar="MODULE", help="time another module, such as mlx.core")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has it")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="write a plot there")
    parser.add_argument("--once", metavar="MODULE", help=argparse.SUPPRESS)
    parser.add_argument("--with-plan", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(run_once(options.once, options.count, options.with_plan)))
        return
    summary = measure(
        options.orders, options.peer, options.peer_python, options.count, options.repeats
    )
    print_table(summary, options.peer, options.count, options.repeats)
    if options.plot:
        save_plot(summary, options.plot)


if __name__ == "__main__":
    main()
