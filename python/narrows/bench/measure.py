"""Runs workloads in processes of their own, orders and peers taking turns."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .workloads import WORKLOADS
from .workloads.base import Options, Phase

ORDERS = ("memory", "1", "10", "20", "50", "unlimited")
# What a Python must be able to import for a peer; and the workloads that the peer has.
PEERS = {
    "mlx": ("mlx.core", tuple(WORKLOADS)),
    "torch": ("torch", ("cast", "transformer", "resnet", "quantize")),
    "llama.cpp": ("llama_cpp, gguf", ("llm",)),
}
# A peer whose round takes longer than this runs once.
LONG_ROUND_SECONDS = 10


class WorkerError(Exception):
    """A workload failed; the text says why."""


class Worker:
    """A process of worker.py."""

    def __init__(self, python: str, request: dict, environment: dict | None = None) -> None:
        script = str(Path(__file__).with_name("worker.py"))
        self.process = subprocess.Popen(
            [python, script, json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            said = self.process.stderr.read().strip().splitlines()
            raise WorkerError(said[-1] if said else f"its process ended with status {status}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, **request) -> dict:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Row:
    """What was measured of one order, or of one peer."""

    rounds: list[dict] = field(default_factory=list)
    planned: dict | None = None

    @property
    def peak(self) -> int:
        """Of the rounds that are timed, and of that which was planned, in bytes."""
        rounds = self.rounds + ([self.planned] if self.planned else [])
        return max(found["peak"] for found in rounds)

    @property
    def predicted(self) -> int | None:
        return self.planned["predicted"] if self.planned else None

    def phase(self, name: str) -> Phase:
        """The median of the rounds."""
        phases = [found["phases"][name] for found in self.rounds]
        return Phase(phases[0][0], statistics.median(seconds for _, seconds in phases))


@dataclass
class Result:
    """A workload's rows: by order for narrows, by name for peers, MLX's peaks by width."""

    workload: str
    scale: str
    device: str
    orders: dict[str, Row]
    peers: dict[str, Row] = field(default_factory=dict)
    mlx_peaks: dict[str, int] = field(default_factory=dict)

    def as_data(self) -> dict:
        """For JSON: numbers in bytes and seconds, or work in a second."""
        workload = WORKLOADS[self.workload]

        def row(found: Row) -> dict:
            speeds = {name: workload.speed(found.phase(name)) for name in found.rounds[0]["phases"]}
            return {"peak": found.peak, "predicted": found.predicted, "speeds": speeds}

        return {
            "workload": self.workload,
            "scale": self.scale,
            "device": self.device,
            "unit": workload.unit,
            "orders": {order: row(found) for order, found in self.orders.items()},
            "peers": {name: row(found) for name, found in self.peers.items()},
            "mlx_peaks": self.mlx_peaks,
            "published": {order: list(pair) for order, pair in workload.published.items()},
        }


def can_import(python: str, modules: str) -> bool:
    command = [python, "-c", f"import {modules}"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def find_peers(names: Iterable[str], pythons: dict[str, str]) -> dict[str, str]:
    """The peers that are installed, each with its Python."""
    found = {}
    for name in names:
        python = pythons.get(name, sys.executable)
        if can_import(python, PEERS[name][0]):
            found[name] = python
        elif name in pythons:
            raise WorkerError(f"[bench] {python} cannot import {PEERS[name][0]}")
    return found


class Measurement:
    """One workload, in narrows' orders and in the peers that have it."""

    def __init__(self, name: str, device: str, options: Options, progress) -> None:
        self.name, self.device, self.options = name, device, options
        self.progress = progress

    def start(self, library: str, python: str, environment: dict | None = None) -> Worker:
        self.progress.set_description(f"{self.name}, {library}: prepare")
        request = {
            "library": library,
            "workload": self.name,
            "device": self.device,
            "options": vars(self.options),
        }
        worker = Worker(python, request, environment)
        try:
            worker.answer()
        except BaseException:
            worker.close()
            raise
        self.progress.update()
        return worker

    def round(self, worker: Worker, title: str, **request) -> dict:
        self.progress.set_description(f"{self.name}, {title}")
        answer = worker.ask(**request)
        self.progress.update()
        return answer

    def run(self, orders: list[str], peers: dict[str, str], rounds: int) -> Result:
        """Plans every order once, then times orders and peers in turns."""
        workers: dict[str, Worker] = {}
        rows = {order: Row() for order in orders}
        peer_rows: dict[str, Row] = {}
        try:
            for name, python in {"narrows": sys.executable, **peers}.items():
                workers[name] = self.start(name, python)
            own = workers["narrows"]
            for order, row in rows.items():
                row.planned = self.round(own, f"plan, {order}", order=order, planned=True)
            for turn in range(rounds):
                for order, row in rows.items():
                    found = self.round(own, order, order=order, planned=False)
                    row.rounds.append(found)
                for name in peers:
                    row = peer_rows.setdefault(name, Row())
                    if turn and is_long(row.rounds[0]):
                        self.progress.update()
                        continue
                    found = self.round(workers[name], name, order="memory", planned=False)
                    row.rounds.append(found)
        finally:
            for worker in workers.values():
                worker.close()
        return Result(self.name, self.options.scale, self.device, rows, peer_rows)

    def mlx_peaks(self, python: str, widths: list[str]) -> dict[str, int]:
        """MLX's peak for each width, which it takes from the environment of a process."""
        peaks = {}
        for width in widths:
            value = str(2**31 - 1) if width == "unlimited" else width
            worker = self.start("mlx", python, {"MLX_BFS_MAX_WIDTH": value})
            try:
                found = self.round(worker, f"mlx, width {width}", order=width, planned=False)
                peaks[width] = found["peak"]
            finally:
                worker.close()
        return peaks


def is_long(found: dict) -> bool:
    return sum(seconds for _, seconds in found["phases"].values()) > LONG_ROUND_SECONDS


def measure(
    names: list[str],
    *,
    device: str,
    options: Options,
    orders: list[str],
    peers: dict[str, str],
    rounds: int,
    mlx_widths: bool,
) -> Iterable[Result | tuple[str, WorkerError]]:
    """Each workload's result, or its name with what went wrong, as soon as it is there."""
    from tqdm import tqdm

    widths = [order for order in orders if order != "memory"] if mlx_widths else []
    for name in names:
        able = {peer: python for peer, python in peers.items() if name in PEERS[peer][1]}
        total = (1 + len(able)) + len(orders) + rounds * (len(orders) + len(able))
        total += 2 * len(widths) if "mlx" in able else 0
        with tqdm(total=total, unit="run", file=sys.stderr, leave=False) as progress:
            measurement = Measurement(name, device, options, progress)
            try:
                result = measurement.run(orders, able, rounds)
                if "mlx" in able:
                    result.mlx_peaks = measurement.mlx_peaks(able["mlx"], widths)
            except WorkerError as error:
                yield name, error
                continue
        yield result
