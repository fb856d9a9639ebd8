"""Libraries that follow the array API standard take arrays of narrows. Skipped without them."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import narrows.array_api as xp
import pytest
from support import name_of
from test_array_api import ELEMENTWISE, KINDS, narrow, values

HERE = pathlib.Path(__file__).parent
PACKAGES = {"compat": "array_api_compat", "scipy": "scipy", "sklearn": "sklearn"}


def needs_package(name):
    lacking = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(lacking, reason=f"without {name}")


@pytest.mark.parametrize(
    "library", [pytest.param(lib, marks=needs_package(name)) for lib, name in PACKAGES.items()]
)
def test_libraries(library):
    finished = subprocess.run(
        [sys.executable, HERE / "array_api_libraries.py", library],
        env=os.environ | {"SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    outcomes = json.loads(finished.stdout.splitlines()[-1])
    assert outcomes and {name: text for name, text in outcomes.items() if text} == {}


def dtype_or_error(function, arrays):
    try:
        return name_of(function(*arrays).dtype).rpartition(".")[2].rstrip("_")
    except TypeError:
        return "TypeError"


@needs_package("array_api_strict")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_dtypes_are_those_of_the_strict_namespace(name):
    """For each pair of dtypes the same dtype, or an error in both."""
    import array_api_strict as strict

    for first in KINDS["any"]:
        for second in KINDS["any"] if ELEMENTWISE[name][1] == 2 else [first]:
            if {first, second} == {"float64", "complex64"}:
                continue  # complex128
            made = [values(dtype, shape=(2,)) for dtype in (first, second)][: ELEMENTWISE[name][1]]
            found = dtype_or_error(getattr(xp, name), [narrow(a) for a in made])
            expected = getattr(strict, name)
            try:
                result = expected(*(strict.asarray(a) for a in made))
                wanted = str(result.dtype).rpartition(".")[2]
            except TypeError:
                wanted = "TypeError"
            assert found == wanted, (first, second)
