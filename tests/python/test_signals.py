"""Signals during library calls: no generated code may run where a signal's frame damages memory."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from signal_cases import CASES

HERE = pathlib.Path(__file__).parent
LIMIT = 120  # seconds, for a child that hangs


def environment():
    """That of a child whose heap glibc checks, as far as this machine has its checks."""
    checks = dict(os.environ, MALLOC_CHECK_="3", MALLOC_PERTURB_="85")
    checks["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    library = "libc_malloc_debug.so.0"
    probe = subprocess.run(
        [sys.executable, "-c", ""],
        env=dict(checks, LD_PRELOAD=library),
        capture_output=True,
        text=True,
    )
    if probe.returncode == 0 and not probe.stderr:
        checks["LD_PRELOAD"] = library
    return checks


@pytest.mark.skipif(sys.platform != "linux", reason="glibc checks its heap")
@pytest.mark.parametrize("name", CASES)
def test_signals_damage_nothing(name):
    child = subprocess.Popen(
        [sys.executable, str(HERE / "signal_cases.py"), name],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + LIMIT
    try:
        ready = child.stdout.readline()
        while child.poll() is None and time.monotonic() < end:
            if ready:
                child.send_signal(signal.SIGINT)
            time.sleep(0.002)
    finally:
        child.kill()
    _, errors = child.communicate()
    assert child.returncode == 0, errors
