"""The tables of docs/differences.md show what narrows gives."""

import math
import pathlib
import re

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
import numpy as np
import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "differences.md"
ROW = re.compile(r"^\| `(?P<expression>[^|]+)` \| `(?P<expected>[^|]+)` \| [^|]+ \| [^|]+ \|$")
ROWS = [match.groups() for match in map(ROW.match, PAGE.read_text().splitlines()) if match]
NAMES = {"mx": mx, "nn": nn, "optim": optim, "np": np, "math": math}


def test_every_row_is_read():
    assert len(ROWS) == sum(line.startswith("| `") for line in PAGE.read_text().splitlines()) > 20


@pytest.mark.parametrize("expression, expected", ROWS)
def test_narrows_column(expression, expected):
    value = eval(expected, {**NAMES, "__builtins__": __builtins__})
    if isinstance(value, type):
        with pytest.raises(value):
            mx.eval(eval(expression, NAMES))
        return
    found = eval(expression, NAMES)
    found = found.tolist() if isinstance(found, mx.array) else found
    assert found == value or (value != value and found != found)


def test_contiguity_through_dlpack():
    """What is handed out keeps its strides; what comes in is copied in row-major order."""
    a = mx.arange(24).reshape(4, 6)
    views = [a, a.T, a[::2], a[:, 1:3], a[::-1], a[:, :1], mx.broadcast_to(a[:1], (3, 6))]
    for view in views:
        mx.eval(view)
        out = np.from_dlpack(view)
        assert out.strides == memoryview(view).strides
        assert out.flags.c_contiguous == memoryview(view).c_contiguous
        assert out.tolist() == view.tolist()
        for make in (mx.array, mx.asarray, mx.from_dlpack):
            back = memoryview(make(out))
            assert back.c_contiguous and back.tolist() == view.tolist()
            assert back.strides == np.ascontiguousarray(out).strides
