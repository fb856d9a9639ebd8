"""The checks in tools/ find mistakes planted in a small tree, and nothing in a clean one."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"

CLEAN = {
    "cpp/narrows/core/shape.h": "",
    "cpp/narrows/runtime/backend.h": '#include "narrows/core/shape.h"\n',
    "cpp/narrows/record/node.h": '#include "narrows/runtime/backend.h"\n#include <vector>\n',
    "cpp/narrows/ops/reduce.h": '#include "narrows/record/node.h"\n',
    "cpp/narrows/ops/reduce.cpp": '#include "reduce.h"\n#include "metal_kernels/limits.h"\n',
    "cpp/narrows/transforms/vjp.h": '#include "narrows/ops/reduce.h"\n',
    "cpp/narrows/backend/cpu/backend.h": '#include "narrows/runtime/backend.h"\n',
    "cpp/narrows/backend/null/backend.h": '#include "narrows/runtime/backend.h"\n',
    "cpp/narrows/registry.cpp": '#include "narrows/backend/cpu/backend.h"\n',
    "cpp/narrows/narrows.h": '#include "narrows/transforms/vjp.h"\n',
    "metal_kernels/limits.h": "#include <cstdint>\n",
    "metal_kernels/elementwise.def": "\n",
    "cpp/narrows/core/kernel_id.h": '#include "metal_kernels/elementwise.def"\n',
    "metal_kernels/unary.metal": '#include "limits.h"\n',
    "python/bindings/module.cpp": '#include "narrows/narrows.h"\n#include <Python.h>\n',
}


def run(tool: str, root: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, TOOLS / tool, root], capture_output=True, text=True, check=False
    )


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plant(tmp_path, CLEAN)
    return tmp_path


def test_layers_accept_a_clean_tree(tree: Path) -> None:
    result = run("check_layers.py", tree)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("cpp/narrows/core/dtype.h", '"narrows/runtime/backend.h"'),
        ("cpp/narrows/core/dtype.h", "<narrows/runtime/backend.h>"),
        ("cpp/narrows/core/dtype.h", '"../record/node.h"'),
        ("cpp/narrows/core/dtype.h", '"metal_kernels/limits.h"'),
        ("cpp/narrows/core/table.def", '"narrows/ops/reduce.h"'),
        ("cpp/narrows/runtime/event.cpp", '"narrows/record/node.h"'),
        ("cpp/narrows/plan/plan.cpp", '"narrows/ops/reduce.h"'),
        ("cpp/narrows/plan/plan.cpp", '"narrows/backend/cpu/backend.h"'),
        ("cpp/narrows/ops/matmul.cpp", '"narrows/backend/cpu/backend.h"'),
        ("cpp/narrows/ops/matmul.cpp", '"narrows/transforms/vjp.h"'),
        ("cpp/narrows/ops/matmul.cpp", '"narrows/narrows.h"'),
        ("cpp/narrows/io/gguf.cpp", '"narrows/transforms/vjp.h"'),
        ("cpp/narrows/backend/cpu/gemm.cpp", '"narrows/record/node.h"'),
        ("cpp/narrows/backend/cpu/gemm.cpp", '"narrows/backend/null/backend.h"'),
        ("cpp/narrows/narrows.h", '"narrows/backend/cpu/backend.h"'),
        ("metal_kernels/elementwise.def", '"metal_kernels/limits.h"'),
        ("metal_kernels/copy.metal", '"narrows/core/shape.h"'),
        ("metal_kernels/copy.metal", '"somewhere/else.h"'),
        ("python/bindings/array.cpp", '"narrows/backend/cpu/backend.h"'),
        ("cpp/narrows/extras/new.h", "<vector>"),
        ("cpp/narrows/stray.cpp", "<vector>"),
    ],
)
def test_layers_find_a_forbidden_include(tree: Path, path: str, include: str) -> None:
    plant(tree, {path: f"#pragma once\n  #  include {include}\n"})
    result = run("check_layers.py", tree)
    assert result.returncode == 1
    assert f"{path}:" in result.stdout


def test_file_sizes(tree: Path) -> None:
    plant(
        tree,
        {
            "cpp/narrows/core/fine.h": "\n" * 500,
            "cpp/narrows/core/smell.h": "\n" * 800,
            "cpp/narrows/core/table.def": "\n" * 5000,
        },
    )
    result = run("check_file_sizes.py", tree)
    assert result.returncode == 0, result.stdout
    assert "smell.h: warning: 800 lines" in result.stdout
    assert "fine.h" not in result.stdout
    assert "table.def" not in result.stdout

    plant(tree, {"tests/python/test_long.py": "\n" * 801})
    result = run("check_file_sizes.py", tree)
    assert result.returncode == 1
    assert "test_long.py: error: 801 lines" in result.stdout
