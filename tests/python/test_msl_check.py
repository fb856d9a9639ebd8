"""The check of kernels with clang reports planted mistakes and accepts what is right."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None and shutil.which("clang++-19") is None,
    reason="neither ziglang (in the extra check) nor clang++-19 is installed",
)

KERNEL = """#include "{kernels}/common.h"

#include "{kernels}/softmax.h"

METAL_FUNC float first_of(device const float* values) {{
  return values[0];
}}

kernel void twice(
    device const float* in [[buffer(0)]],
    device float* out [[buffer(1)]],
    constant RowParams& p [[buffer(2)]],
    uint i [[thread_position_in_grid]]) {{
  THREADGROUP_ARRAY(float, shared, [32]);
  shared[i % 32] = first_of(in);
  if (i < p.rows) {{
    out[i] = 2.0f * in[i] + shared[0];
  }}
}}
REGISTER_KERNEL(twice)
"""


def check(directory: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = directory / "planted.metal"
    path.write_text(text)
    command = [sys.executable, str(ROOT / "tools/msl_check/check.py"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def planted(old: str = "", new: str = "") -> str:
    text = KERNEL.format(kernels=ROOT / "metal_kernels")
    assert old in text
    return text.replace(old, new, 1) if old else text


def test_accepts_a_kernel(tmp_path: Path) -> None:
    result = check(tmp_path, planted())
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("device const float* values", "const float* values"),
        ("device const float* values", "threadgroup const float* values"),
        ("device float* out", "constant float* out"),
        ("device float* out", "threadgroup float* out"),
        ("constant RowParams& p", "RowParams& p"),
        ("2.0f * in[i]", "2.0 * in[i]"),
        ("float first_of", "double first_of"),
        ("[[thread_position_in_grid]]", "[[thread_place_in_grid]]"),
        ("shared[0]", "shared.missing"),
        ("out[i] = 2.0f", "thread float* t = in; out[i] = *t + 2.0f"),
        ("out[i] = 2.0f", "auto f = [](float x) { return x; }; out[i] = f(1.0f) + 2.0f"),
    ],
)
def test_reports_a_planted_mistake(tmp_path: Path, old: str, new: str) -> None:
    result = check(tmp_path, planted(old, new))
    assert result.returncode == 1, result.stdout
