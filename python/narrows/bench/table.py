"""The table of a workload: speed and peak of every order, what is published, and the peers."""

from .measure import Result
from .workloads import WORKLOADS

MB = 1e6


def megabytes(count: float | None) -> str:
    return "-" if count is None else f"{count / MB:.1f}"


def shown(value: float | None) -> str:
    """A speed with about three digits."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def columns(cells: list[str], widths: list[int]) -> str:
    first, *others = [f"{cell:>{width}}" for cell, width in zip(cells, widths)]
    return f"{cells[0]:<{widths[0]}}" + "".join(others) if first else ""


def rows_of(result: Result) -> list[list[str]]:
    """A row for each order and peer: name, speeds, peak, predicted, published and MLX's peak."""
    workload = WORKLOADS[result.workload]
    phases = phases_of(result)
    rows = []
    for order, row in result.orders.items():
        speed, peak = workload.published.get(order, (None, None))
        cells = [order if order == "memory" else f"width {order}"]
        cells += [shown(workload.speed(row.phase(phase))) for phase in phases]
        cells += [megabytes(row.peak), megabytes(row.predicted)]
        cells += [shown(speed), "-" if peak is None else f"{peak:.0f}"]
        if result.mlx_peaks:
            cells.append(megabytes(result.mlx_peaks.get(order)))
        rows.append(cells)
    for name, row in result.peers.items():
        cells = [name]
        cells += [shown(workload.speed(row.phase(phase))) for phase in phases]
        resident = name != "mlx" and result.device == "cpu"
        cells += [megabytes(row.peak) + "*" * resident, "", "", ""]
        rows.append(cells + [""] * bool(result.mlx_peaks))
    return rows


def phases_of(result: Result) -> list[str]:
    """The shown phase first, then the others that were timed."""
    shown_phase = WORKLOADS[result.workload].shown_phase
    first = next(iter(result.orders.values()))
    others = [phase for phase in first.rounds[0]["phases"] if phase != shown_phase]
    return [shown_phase, *others]


def differences(result: Result) -> list[str]:
    """Orders whose measured peak is not the predicted one."""
    return [
        f"{order}: measured {row.peak}, predicted {row.predicted} bytes"
        for order, row in result.orders.items()
        if row.peak != row.predicted
    ]


def table(result: Result, rounds: int) -> str:
    workload = WORKLOADS[result.workload]
    phases = phases_of(result)
    header = ["order", *(f"{phase} {workload.unit}" for phase in phases)]
    header += ["peak MB", "predicted", f"M3 Max {workload.unit}", "MB"]
    header += ["MLX MB"] * bool(result.mlx_peaks)
    rows = rows_of(result)
    widths = [max(len(cell) for cell in column) + 2 for column in zip(header, *rows)]
    title = f"{result.workload}: {workload.summary}"
    lines = [
        title,
        f"({result.scale}, {result.device}, median of {rounds}; M3 Max: published for MLX, full)",
        columns(header, widths),
        "-" * sum(widths),
        *(columns(row, widths) for row in rows),
    ]
    if any(cell.endswith("*") for row in rows for cell in row):
        lines.append("* resident memory of the process")
    found = differences(result)
    lines.append("predicted ≠ measured: " + "; ".join(found) if found else "predicted = measured")
    return "\n".join(lines)


def summary(results: list[Result]) -> str:
    """One table of all workloads, in Markdown: peak and speed of every order."""
    orders = list(dict.fromkeys(order for result in results for order in result.orders))
    names = [order if order in ("memory", "unlimited") else f"width {order}" for order in orders]
    lines = ["| peak MB (speed) | " + " | ".join(names) + " | predicted = measured |"]
    lines.append("|---" * (len(orders) + 2) + "|")
    for result in results:
        workload = WORKLOADS[result.workload]
        cells = [f"{result.workload} ({workload.unit})"]
        for order in orders:
            row = result.orders.get(order)
            speed = row and shown(workload.speed(row.phase(workload.shown_phase)))
            cells.append(f"{megabytes(row.peak)} ({speed})" if row else "-")
        cells.append("no" if differences(result) else "yes")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
