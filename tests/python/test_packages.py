"""Packages from PyPI that use MLX compute on narrows what they compute on MLX.

data/mlx_packages.json has what package_programs.py prints with MLX 0.32.4. Packages that are not
installed are left out: docs/mlx.md says which versions these were, and how they are installed.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
EXPECTED = json.loads((HERE / "data/mlx_packages.json").read_text())


def compare(found, expected, where):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name, value in expected.items():
            compare(found[name], value, f"{where}: {name}")
    elif np.asarray(expected).dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=where)
    else:
        assert found == expected, where


@pytest.mark.parametrize("package", list(EXPECTED))
def test_package_computes_what_it_computes_in_mlx(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    program = [sys.executable, "-m", "narrows.mlx", str(HERE / "package_programs.py"), package]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    compare(json.loads(done.stdout.splitlines()[-1]), EXPECTED[package], package)
