"""A process that runs one workload in one library, as it is asked to: a line of JSON is a request,
a line of JSON the answer. It runs by its path, in whichever Python has the library.

    python worker.py '{"library": "mlx", "workload": "cast", "device": "cpu", "options": {}}'
"""

import importlib.util
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

UNLIMITED = 2**31 - 1


def load_package():
    """The package that this file is in, under a name of its own: narrows need not be installed."""
    directory = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        "narrows_bench", directory / "__init__.py", submodule_search_locations=[str(directory)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = package
    spec.loader.exec_module(package)
    return package


def order_scope(mx, order: str):
    """Evaluation in an order: "memory", or a width. MLX has its width from the environment."""
    if not hasattr(mx, "order_policy"):
        return nullcontext()
    if order == "memory":
        return mx.order_policy("memory")
    return mx.bfs_max_width(UNLIMITED if order == "unlimited" else int(order))


class ArrayWorker:
    """A workload in narrows or MLX."""

    def __init__(self, request: dict) -> None:
        from narrows_bench.workloads import WORKLOADS
        from narrows_bench.workloads.base import Library, Options

        library = Library(request["library"], request["device"])
        self.mx = library.mx
        self.workload = WORKLOADS[request["workload"]](library, Options(**request["options"]))

    def answer(self, request: dict) -> dict:
        """Runs a round: {"order": ..., "planned": whether each evaluation's plan is asked for}."""
        from narrows_bench.workloads.base import PlannedRun, Run

        mx = self.mx
        run = PlannedRun(mx) if request["planned"] else Run(mx)
        with order_scope(mx, request["order"]):
            mx.synchronize()
            mx.clear_cache()
            mx.reset_peak_memory()
            self.workload.round(run)
            mx.synchronize()
            peak = mx.get_peak_memory()
        phases = {name: [phase.amount, phase.seconds] for name, phase in run.phases.items()}
        return {"peak": peak, "phases": phases, "predicted": getattr(run, "predicted", None)}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    load_package()
    request = json.loads(sys.argv[1])

    def reply(answer: dict) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        if request["library"] in ("narrows", "mlx"):
            worker = ArrayWorker(request)
        else:
            from narrows_bench import peers

            worker = peers.make(request)
        reply({"ready": True})
        for line in sys.stdin:
            reply(worker.answer(json.loads(line)))
    except Exception as error:  # the parent says which workload it was
        reply({"error": f"{type(error).__name__}: {error}"})
        raise


if __name__ == "__main__":
    main()
