"""Times cases in several libraries in turn, each library in a process of its own.

A library's threads may spin for a while after its work; a process of its own for each, of which
one works at a time, keeps the libraries out of each other's way. Peers are optional: one that
cannot be imported is left out with a note.
"""

import argparse
import json
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

IMPORTS = {
    "narrows": "narrows.core",
    "mlx": "mlx.core",
    "torch": "torch",
    "numpy": "numpy",
}


# What a library needs longer for it does not do.
MOST_SECONDS = 120


class Worker:
    """A process that runs `script --serve LIBRARY` and times cases on request."""

    def __init__(self, python: str, script: str, library: str):
        self.library = library
        self.command = [python, script, "--serve", library]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def restart(self) -> None:
        self.process.kill()
        self.close()
        self.start()

    def ask(self, **request):
        """The answer; TimeoutError if there is none in time."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        # An answer is one line, so nothing is left in the reader's buffer.
        if not select.select([self.process.stdout], [], [], MOST_SECONDS)[0]:
            raise TimeoutError(f"{self.library} did not answer in {MOST_SECONDS} s")
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {self.library} ended")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def can_import(python: str, module: str) -> bool:
    command = [python, "-c", f"import {module}"]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def start_workers(script: str, libraries: list[str], peer_python: str) -> list[Worker]:
    """Workers for narrows and for those of `libraries` that are installed."""
    workers = []
    for library in ["narrows", *libraries]:
        python = sys.executable if library == "narrows" else peer_python
        if can_import(python, IMPORTS[library]):
            workers.append(Worker(python, script, library))
        elif library == "narrows":
            sys.exit("narrows is not installed: make install")
        else:
            print(f"{library} is not installed: left out")
    return workers


def seconds_per_call(
    call: Callable[[], object], at_least: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Mean time of a call over as many as fill `at_least` seconds."""
    calls, total = 0, 0.0
    batch = 1
    while total < at_least:
        start = clock()
        for _ in range(batch):
            call()
        total += clock() - start
        calls += batch
        batch *= 2
    return total / calls


def serve(make_case: Callable[[str], list[Callable[[], object]]]) -> None:
    """A worker's loop. make_case(name) gives the ways in which the library can do the case (none
    if it cannot); the fastest counts."""
    ways: list = []
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            ways = make_case(request["prepare"])
            for way in ways:
                way()
            answer = bool(ways)
        else:
            clock = getattr(time, request["clock"])
            answer = min(seconds_per_call(way, request["at_least"], clock) for way in ways)
        print(json.dumps(answer), flush=True)


def time_case(
    workers: list[Worker],
    case: str,
    rounds: int,
    at_least: float,
    clock: str = "perf_counter",
    choose: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """{library: seconds per call}, measured in turns: what `choose` takes of the rounds, by a clock
    of the module `time`. A library that does not answer in time is left out."""
    times = {}
    able = []
    for worker in workers:
        if answer_in_time(worker, case, prepare=case):
            able.append(worker)
            times[worker.library] = []
    for _ in range(rounds):
        for worker in list(able):
            seconds = answer_in_time(worker, case, at_least=at_least, clock=clock)
            if seconds is None:
                able.remove(worker)
                del times[worker.library]
            else:
                times[worker.library].append(seconds)
            time.sleep(0.2)  # for threads that spin after their work
    return {library: choose(values) for library, values in times.items()}


def answer_in_time(worker: Worker, case: str, **request):
    """The worker's answer. If it takes too long, nothing, and the worker starts anew."""
    try:
        return worker.ask(**request)
    except TimeoutError as error:
        if worker.library == "narrows":
            raise
        print(f"{case}: {error}: left out")
        worker.restart()
        return None


def print_header(libraries: list[str], unit: str, width: int = 28) -> None:
    columns = [f"{library + ' ' + unit:>12}" for library in libraries]
    header = f"{'case':<{width}}" + "".join(columns) + f"{'narrows speed':>16}"
    print(header)
    print("-" * len(header))


def print_row(
    case: str, times: dict[str, float], libraries: list[str], scale: float, width: int = 28
) -> None:
    """Times, and how fast narrows is relative to the fastest peer (more than 1: faster)."""
    columns = [
        f"{times[library] * scale:12.3f}" if library in times else f"{'-':>12}"
        for library in libraries
    ]
    peers = {library: seconds for library, seconds in times.items() if library != "narrows"}
    if peers:
        best = min(peers, key=peers.get)
        ratio = f"{peers[best] / times['narrows']:7.2f} x {best}"
    else:
        ratio = "-"
    print(f"{case:<{width}}" + "".join(columns) + f"{ratio:>16}", flush=True)


def cases_of(
    library: str, of_array_module: Callable, peers: dict[str, Callable]
) -> Callable[[str], list]:
    """make_case for a library: narrows and MLX share one function, which takes the module, too."""
    if library in peers:
        return peers[library]
    if library == "narrows":
        import narrows.core as mx
    else:
        import mlx.core as mx

        mx.set_default_device(mx.cpu)
    return lambda name: of_array_module(name, mx)


def run_cases(
    script: str,
    description: str,
    cases: Iterable[str],
    make_case_for: Callable[[str], Callable],
    *,
    rounds: int,
    at_least: float,
    unit: str,
) -> None:
    """The program of a benchmark: a row for each case, narrows beside its peers, in turns."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="*", default=["torch", "numpy"], help="also: mlx")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has them")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(make_case_for(options.serve))
        return
    workers = start_workers(script, options.peers, options.peer_python)
    libraries = [worker.library for worker in workers]
    print(f"float32, median of {options.rounds} rounds in turns")
    print_header(libraries, unit)
    for case in cases:
        if options.only in case:
            times = time_case(workers, case, options.rounds, at_least)
            print_row(case, times, libraries, scale={"ms": 1e3, "us": 1e6}[unit])
    for worker in workers:
        worker.close()
