"""How training and decoding scale to many GPUs, on paper: the tables of docs/scaling.md.

    python benchmarks/scaling.py

Nothing is measured here. The model has a latency and a bandwidth for each kind of link.
"""

import math
from dataclasses import dataclass

IN_A_MACHINE = 8  # GPUs


@dataclass(frozen=True)
class Link:
    latency: float  # seconds for a message
    bandwidth: float  # bytes a second, in one direction


# 80 % of what the links can carry. Latencies are assumptions.
NVLINK = Link(3e-6, 0.8 * 450e9)
NETWORK = Link(10e-6, 0.8 * 50e9)
MEETING = 5e-6  # seconds in which rank 0 answers one process before an operation


def ring(processes: int, count: float, link: Link) -> float:
    """Seconds of all_sum in a ring: everyone sends its part to the next one, twice around."""
    return 2 * (processes - 1) * (link.latency + count / processes / link.bandwidth)


def tree(processes: int, count: float, link: Link) -> float:
    """Up a binary tree and down again, in the number of pieces that takes the least time."""
    depth = math.ceil(math.log2(processes)) if processes > 1 else 0
    if not depth:
        return 0.0

    def seconds(pieces: int) -> float:
        return 2 * (depth + pieces - 1) * (link.latency + count / pieces / link.bandwidth)

    return min(seconds(1 << i) for i in range(16))


def flat(processes: int, count: float) -> float:
    """One ring of all GPUs: its slowest link counts."""
    return ring(processes, count, NVLINK if processes <= IN_A_MACHINE else NETWORK)


def levels(processes: int, count: float) -> float:
    """Scatter within machines, sum between them (each GPU its part), gather within machines."""
    inside = min(processes, IN_A_MACHINE)
    machines = processes // inside
    part = count / inside
    between = min(ring(machines, part, NETWORK), tree(machines, part, NETWORK))
    return ring(inside, count, NVLINK) + (between if machines > 1 else 0.0)


def step(compute: float, count: float, buckets: int, processes: int, all_sum, overlaps: bool):
    """Seconds of a step. The backward pass, two thirds of it, makes the buckets one by one."""
    each = all_sum(processes, count / buckets)
    if not overlaps:
        return compute + buckets * each
    end = 0.0
    for i in range(buckets):
        ready = compute / 3 + (i + 1) / buckets * compute * 2 / 3
        end = max(end, ready) + each
    return max(end, compute)


SIZES = (8, 16, 64, 256, 512, 1024)


def training(name: str, compute: float, count: float, buckets: int) -> None:
    print(f"\n{name}: {compute} s, {count / 1e9:.2f} GB of gradients, {buckets} buckets\n")
    head = ["GPUs", "all_sum, one ring", "by levels", "one after the other"]
    head += ["overlapped, one ring", "overlapped, by levels", "meetings"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for processes in SIZES:
        sums = [buckets * f(processes, count / buckets) for f in (flat, levels)]
        cells = [f"{seconds:.3f} s" for seconds in sums]
        for all_sum, overlaps in ((levels, False), (flat, True), (levels, True)):
            seconds = step(compute, count, buckets, processes, all_sum, overlaps)
            cells.append(f"{100 * compute / seconds:.0f} %")
        cells.append(f"{1e3 * buckets * processes * MEETING:.1f} ms")
        print(f"| {processes:,} | " + " | ".join(cells) + " |")


def decoding(name: str, weights: float, layers: int, dims: int, memory: float) -> None:
    print(f"\n{name}: {weights / 1e9:.1f} GB of weights, {layers} layers of {dims}\n")
    print("| GPUs | reading weights | sums | tokens/s | speed-up |\n|---|---|---|---|---|")
    alone = weights / memory
    for processes in (1, 2, 4, 8, 16):
        each = 0.0
        if processes > 1:
            link = NVLINK if processes <= IN_A_MACHINE else NETWORK
            each = min(ring(processes, 2 * dims, link), tree(processes, 2 * dims, link))
        sums = 2 * layers * each
        total = weights / processes / memory + sums
        print(
            f"| {processes} | {1e3 * weights / processes / memory:.2f} ms | {1e3 * sums:.2f} ms "
            f"| {1 / total:.0f} | {alone / total:.2f} |"
        )


def main() -> None:
    # python -m narrows.bench transformer --scale full on one H200: 8.5 steps a second.
    training("The transformer workload", 0.118, 0.69e9, 22)
    training("A billion parameters in bfloat16", 0.5, 2e9, 60)
    training("The same in 8 buckets", 0.5, 2e9, 8)
    decoding("A model of 1 billion parameters in bfloat16", 2.5e9, 16, 2048, 0.8 * 4.8e12)
    decoding("A model of 70 billion parameters in bfloat16", 140e9, 80, 8192, 0.8 * 4.8e12)


if __name__ == "__main__":
    main()
