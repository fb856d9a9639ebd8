"""What workloads share: the library that they use, their options, and how a round is run."""

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class Library:
    """MLX's modules, of narrows or of MLX."""

    def __init__(self, name: str, device: str) -> None:
        self.name = name
        self.mx = importlib.import_module(name + ".core")
        self.mx.set_default_device(getattr(self.mx, device))
        self.device = device

    def __getattr__(self, module: str) -> Any:
        return importlib.import_module(f"{self.name}.{module}")


@dataclass
class Options:
    """What the user asked for, beside the workload's name."""

    scale: str = "small"
    cifar: str | None = None
    model: str | None = None

    @property
    def is_full(self) -> bool:
        return self.scale == "full"


@dataclass
class Phase:
    """A part of a round that is timed: so much work in so many seconds."""

    amount: float
    seconds: float


@dataclass
class Run:
    """Evaluates what a round records, and times its phases."""

    mx: Any
    phases: dict[str, Phase] = field(default_factory=dict)

    def evaluate(self, *outputs: Any) -> None:
        self.mx.eval(*outputs)

    def start(self, *outputs: Any) -> None:
        self.mx.async_eval(*outputs)

    @contextmanager
    def phase(self, name: str, amount: float) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.phases[name] = Phase(amount, time.perf_counter() - start)


@dataclass
class PlannedRun(Run):
    """Asks for the plan of each evaluation before it, and keeps the highest peak of all."""

    predicted: int = 0

    def evaluate(self, *outputs: Any) -> None:
        plan = self.mx.plan(*outputs)
        # That of the default device, whose memory the counters speak of, too.
        device = self.mx.default_device()
        peak = plan.predicted_peaks.get(device, plan.predicted_peak)
        self.predicted = max(self.predicted, peak)
        del plan
        self.mx.eval(*outputs)

    def start(self, *outputs: Any) -> None:
        self.evaluate(*outputs)


class Workload:
    """One of the five. A round is what is repeated; orders of evaluation take turns in rounds."""

    name: str
    summary: str
    unit: str
    # The phase that the table shows, and whether it shows seconds or work in a second.
    shown_phase: str
    shows_seconds = False
    # What is published for MLX on an Apple M3 Max, at full scale: {order: (speed, peak in MB)}.
    published: dict[str, tuple[float | None, float]] = {}

    def __init__(self, library: Library, options: Options) -> None:
        raise NotImplementedError

    def round(self, run: Run) -> None:
        raise NotImplementedError

    @classmethod
    def speed(cls, phase: Phase) -> float:
        return phase.seconds if cls.shows_seconds else phase.amount / phase.seconds
