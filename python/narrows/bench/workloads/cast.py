"""1000 arrays of int64 become int8 in one evaluation: cheap in depth, dear in breadth."""

from .base import Library, Options, Run, Workload


class Cast(Workload):
    name = "cast"
    summary = "1000 × zeros((4096, 128), int64) → int8, in one evaluation"
    unit = "s"
    shown_phase = "cast"
    shows_seconds = True
    published = {
        "1": (None, 689),
        "10": (None, 729),
        "50": (None, 792),
        "unlimited": (None, 4251),
    }

    def __init__(self, library: Library, options: Options) -> None:
        self.mx = library.mx

    def round(self, run: Run) -> None:
        mx = self.mx
        with run.phase("cast", 1):
            arrays = [mx.zeros((4096, 128), mx.int64) for _ in range(1000)]
            arrays = [x.astype(mx.int8) for x in arrays]
            run.evaluate(arrays)
