"""Another build of narrows beside this one, in turns: cases of latency.py, ops.py, fusion.py.

python benchmarks/compare.py ../before/.venv/bin/python
python benchmarks/compare.py ../before/.venv/bin/python --scripts ops.py --only matmul
NARROWS_NUM_THREADS=1 python benchmarks/compare.py ../before/.venv/bin/python --thread-time

A row says how long a call takes in both, and the ratio: less than 1 where this build is slower.
With --thread-time it is the calling thread's processor time, the least of the rounds: for machines
that others use, too.
"""

import argparse
import statistics
import sys
from pathlib import Path

import alternate
import fusion
import latency
import ops

CASES = {
    "latency.py": list(latency.make_case_for("narrows")),
    "ops.py": list(ops.SHAPES),
    "fusion.py": list(fusion.CASES),
}


def compare(script: str, case: str, options: argparse.Namespace) -> float:
    """Prints the row of a case and returns how fast this build is, relative to the other."""
    path = str(Path(__file__).with_name(script))
    workers = [
        alternate.Worker(python, path, "narrows") for python in (options.before, sys.executable)
    ]
    for worker, name in zip(workers, ("before", "now")):
        worker.library = name
    how = ("thread_time", min) if options.thread_time else ("perf_counter", statistics.median)
    times = alternate.time_case(workers, case, options.rounds, options.at_least, *how)
    for worker in workers:
        worker.close()
    ratio = times["before"] / times["now"]
    columns = "".join(f"{seconds * 1e3:12.4f} ms" for seconds in times.values())
    print(f"{script[:-3] + ': ' + case:<40}{columns}{ratio:8.3f}", flush=True)
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", help="a Python that has the other build")
    parser.add_argument("--scripts", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--at-least", type=float, default=0.1, help="seconds a round")
    parser.add_argument("--thread-time", action="store_true", help="not wall time")
    options = parser.parse_args()
    chosen = "least processor time" if options.thread_time else "median"
    print(f"{chosen} of {options.rounds} rounds in turns: before, now, before / now")
    for script in options.scripts:
        for case in CASES[script]:
            if options.only in case:
                compare(script, case, options)


if __name__ == "__main__":
    main()
