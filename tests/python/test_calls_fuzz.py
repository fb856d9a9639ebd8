"""Random calls of all functions: a result or an exception of the right kind, and no crash."""

import json
import pathlib
import subprocess
import sys

import pytest
from call_cases import callables

CALLS = 3000


def test_functions_of_all_modules_are_called():
    names = set(callables())
    some = "matmul array.at_least einsum fast.rope fast.metal_kernel linalg.svd fft.rfft xp.abs"
    some += " random.multivariate_normal xp.linalg.pinv array.to_device take grad operator.getitem"
    assert set(some.split()) - names == {"array.at_least"}  # which does not exist
    assert len(names) > 500


@pytest.mark.parametrize("seed", range(2))
def test_random_calls(seed):
    code = f"import json, call_cases; print(json.dumps(call_cases.fuzz_calls({seed}, {CALLS})))"
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=pathlib.Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    outcomes = json.loads(finished.stdout.splitlines()[-1])
    assert sum(outcomes.values()) == CALLS and outcomes["result"] > CALLS // 4
