"""The libraries of the package beside those of other packages in one process."""

import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys

import narrows.core as mx
import pytest

PACKAGE = pathlib.Path(mx.__file__).parent
LIBRARIES = sorted(p for p in PACKAGE.rglob("*.so*") if p.is_file())

# What narrows' libraries may export, as the compiler writes it: names of narrows, and the engine
# that runs its GPU kernels on the host.
OWN = {
    "core": re.compile(r"PyInit_core"),
    "libnarrows": re.compile(r"_Z(T[A-Z]|GV)?Z?N[VKRO]*(7narrows|9metal_emu)"),
    "libnarrows_cuda": re.compile(r"narrows_cuda_backend"),
}
# libgomp keeps its name on purpose: a process that has one already must not get a second pool.
SHARED = {"libgomp.so.1"}

needs_binutils = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("nm") or not shutil.which("readelf"),
    reason="needs nm and readelf",
)


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def own_libraries():
    found = {path.name.split(".")[0]: path for path in LIBRARIES}
    return {name: found[name] for name in OWN if name in found}


def test_libraries_are_found():
    assert "core" in own_libraries()


@needs_binutils
@pytest.mark.parametrize("name", own_libraries())
def test_exports_are_narrows_own(name):
    lines = output_of("nm", "-D", "--defined-only", str(own_libraries()[name])).splitlines()
    symbols = [line.split()[-1] for line in lines]
    assert symbols
    assert [s for s in symbols if not OWN[name].match(s)] == []


@needs_binutils
@pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: path.name)
def test_names_are_narrows_own(path):
    section = output_of("readelf", "-d", str(path))
    names = re.findall(r"\(SONAME\).*\[(.*)\]", section)
    if path.name.startswith("core."):
        return  # a module that Python loads by its path
    assert names == [path.name]
    assert path.name in SHARED or path.name.startswith("libnarrows")


WORK = {  # package: what is done with it
    "narrows.core": """
import narrows.core as mx
x = mx.ones((200, 200))
assert (x @ x).sum().item() == 8e6
assert (x.astype(mx.float64) @ x.astype(mx.float64)).sum().item() == 8e6
for error, bad in [
    (ValueError, lambda: mx.ones((2, 3)) @ mx.ones((2, 3))),
    (IndexError, lambda: mx.ones(2)[5]),
    (MemoryError, lambda: mx.eval(mx.ones((2**44,)) + mx.ones((2**44,)))),
]:
    try:
        bad()
    except error:
        continue
    raise AssertionError(error)
assert repr(mx.array([1.5])) == "array([1.5], dtype=float32)"
""",
    "numpy": """
import numpy as np
y = np.ones((200, 200))
assert (y @ y).sum() == 8e6
np.linalg.svd(y)
try:
    np.ones((2, 3)) @ np.ones((2, 3))
except ValueError:
    pass
""",
    "scipy": """
import numpy, scipy.linalg, scipy.fft
scipy.linalg.lu(numpy.ones((50, 50)))
scipy.fft.fft(numpy.ones(1000))
""",
    "torch": """
import torch
z = torch.ones(200, 200)
assert (z @ z).sum().item() == 8e6
try:
    torch.ones(2, 3) @ torch.ones(2, 3)
except RuntimeError as error:
    assert "shape" in str(error)
assert "1." in repr(z[:2, :2])
""",
}


@pytest.mark.parametrize("first", [True, False], ids=["narrows first", "narrows last"])
@pytest.mark.parametrize("peer", [name for name in WORK if name != "narrows.core"])
def test_works_beside(peer, first):
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    names = ["narrows.core", peer] if first else [peer, "narrows.core"]
    program = "\n".join([f"import {name}" for name in names] + [WORK[name] for name in names * 2])
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
