"""Runs the tests while every n-th allocation fails: make test-faults.

    python tools/run_with_faults.py BUILD [N ...]

In the C++ tests and the Python tests nothing but MemoryError may be the reason of a failure; none
may crash, hang, or leave memory or pending work behind. See tests/cpp/test_faults.cpp and
tests/python/faults.py.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PERIODS = [3, 7, 31, 101]
SECONDS = 1800  # for one run of one program
# Tests that cannot be run so, and why.
EXCLUDED_CPP = [
    "*Thread*:*threads*",  # what a thread of the test raises ends the process
]


def is_excused(message: str) -> bool:
    """Whether a failure says that an allocation failed."""
    return "cannot allocate" in message and "LEFT" not in message


def judge(report: dict) -> tuple[int, int, list[str]]:
    """How many tests ran, how many failed with MemoryError only, and what is wrong with others."""
    tests = excused = 0
    wrong = []
    for suite in report["testsuites"]:
        for test in suite["testsuite"]:
            tests += test["result"] == "COMPLETED"
            failures = [f["failure"] for f in test.get("failures", [])]
            blamed = any(is_excused(f) for f in failures)
            left = [f for f in failures if "LEFT" in f]
            excused += blamed
            if left or (failures and not blamed):
                text = "\n".join(left or failures)
                wrong.append(f"{suite['name']}.{test['name']}: {text}")
    return tests, excused, wrong


def run_cpp(program: Path, period: int) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "report.json"
        run = subprocess.run(
            [program, f"--gtest_output=json:{output}", "--gtest_filter=-" + ":".join(EXCLUDED_CPP)],
            env={**os.environ, "NARROWS_FAIL_ALLOCATION_EVERY": str(period)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if run.returncode not in (0, 1) or not output.exists():
            print(
                f"{program.name}, every {period}: ended with {run.returncode}\n{run.stdout[-4000:]}"
            )
            print(run.stderr[-4000:])
            return False
        tests, excused, wrong = judge(json.loads(output.read_text()))
    failed = [line for line in run.stdout.splitlines() if "failed on purpose" in line][-1:]
    print(f"{program.name}, every {period}: {tests} tests, {excused} MemoryError; {failed}")
    print("\n".join(wrong), flush=True)
    return not wrong


def run_python(build: Path, period: int) -> bool:
    paths = [str(build / "python"), str(ROOT / "tests/python"), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "faults"]
    run = subprocess.run(
        [*command, f"--fail-allocation-every={period}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        timeout=SECONDS,
        check=False,
    )
    return run.returncode == 0


def main() -> int:
    build = Path(sys.argv[1])
    good = True
    for period in [int(n) for n in sys.argv[2:]] or PERIODS:
        for name in ["cpp/narrows_tests", "kernels/narrows_kernel_tests"]:
            if (build / "tests" / name).exists():
                good &= run_cpp(build / "tests" / name, period)
        good &= run_python(build, period)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
