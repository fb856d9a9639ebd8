"""The picture of all workloads: peaks and speeds by order."""

from pathlib import Path

from .measure import Result
from .workloads import WORKLOADS

OWN = "#1f5fa8"
PUBLISHED = "#d95f02"
MLX = "#2a9d3a"
MB = 1e6


def short(order: str) -> str:
    return {"unlimited": "∞"}.get(order, order)


def draw_peaks(axes, result: Result) -> None:
    """Measured peaks, what was predicted, and the course that is published for MLX."""
    orders = list(result.orders)
    heights = [row.peak / MB for row in result.orders.values()]
    predicted = [row.predicted / MB for row in result.orders.values()]
    bars = axes.bar(range(len(orders)), heights, 0.62, color=OWN, label="narrows, measured")
    axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7.5, color=OWN)
    axes.plot(predicted, "_", color="black", markersize=17, label="narrows, predicted")
    published = WORKLOADS[result.workload].published
    if "1" in result.orders and "1" in published:
        # Published for another size: by how much each width needs more than width 1.
        scale = heights[orders.index("1")] / published["1"][1]
        found = [(i, published[o][1] * scale) for i, o in enumerate(orders) if o in published]
        label = "published for MLX, as a multiple of width 1"
        axes.plot(*zip(*found), "D", color=PUBLISHED, markersize=5, label=label, zorder=3)
    if result.mlx_peaks:
        found = [(orders.index(o), peak / MB) for o, peak in result.mlx_peaks.items()]
        axes.plot(*zip(*found), "o", color=MLX, markersize=5, label="MLX, measured", zorder=3)
    axes.set_title(result.workload, fontweight="bold")
    axes.set_ylim(0, 1.12 * max(axes.get_ylim()[1], max(heights)))


def draw_speeds(axes, result: Result) -> None:
    workload = WORKLOADS[result.workload]
    rows = {short(order): row for order, row in result.orders.items()} | result.peers
    heights = [workload.speed(row.phase(workload.shown_phase)) for row in rows.values()]
    colors = [OWN] * len(result.orders) + [MLX] * len(result.peers)
    bars = axes.bar(range(len(rows)), heights, 0.62, color=colors)
    axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7.5)
    better = "lower is better" if workload.shows_seconds else "higher is better"
    axes.set_ylabel(f"{workload.unit} ({better})", fontsize=8.5)
    axes.set_ylim(0, 1.15 * max(heights))
    axes.set_xticks(range(len(rows)), list(rows), fontsize=8)


def save(results: list[Result], path: Path) -> None:
    """Writes the picture; the suffix says its format."""
    import matplotlib

    matplotlib.use("Agg")
    # Letters stay letters in an SVG: a tenth of the bytes.
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        2,
        len(results),
        figsize=(3.6 * len(results) + 0.6, 6.2),
        layout="constrained",
        squeeze=False,
        height_ratios=[1.25, 1],
    )
    for column, result in enumerate(results):
        peaks, speeds = axes[:, column]
        draw_peaks(peaks, result)
        draw_speeds(speeds, result)
        peaks.set_xticks(range(len(result.orders)), [short(o) for o in result.orders], fontsize=8)
        speeds.set_xlabel("order: by memory, or a width", fontsize=8.5)
        for each in (peaks, speeds):
            each.spines[["top", "right"]].set_visible(False)
            each.tick_params(axis="y", labelsize=8)
    axes[0, 0].set_ylabel("peak MB", fontsize=8.5)
    entries = {}
    for each in axes[0]:
        handles, labels = each.get_legend_handles_labels()
        entries |= dict(zip(labels, handles))
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=4, frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
