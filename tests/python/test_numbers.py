"""Python's numbers as elements: out of a dtype's range they are refused, at every door alike."""

import math

import narrows.core as mx
import numpy as np
import pytest
from support import SIGNED, UNSIGNED, name_of

UINT8 = mx.array([1, 2], mx.uint8)


def set_item(a, n):
    a = a + 0
    a[0] = n
    return a


# Where a number becomes an element: the array that it makes of n, as uint8.
DOORS = {
    "array": lambda n: mx.array(n, mx.uint8),
    "list": lambda n: mx.array([1, n], mx.uint8),
    "nested list": lambda n: mx.array([[n], [1]], mx.uint8),
    "mixed list": lambda n: mx.array([UINT8, [1, n]], mx.uint8),
    "asarray": lambda n: mx.asarray(n, mx.uint8),
    "full": lambda n: mx.full((2,), n, mx.uint8),
    "full_like": lambda n: mx.full_like(UINT8, n),
    "add": lambda n: UINT8 + n,
    "radd": lambda n: n + UINT8,
    "maximum": lambda n: mx.maximum(UINT8, n),
    "equal": lambda n: UINT8 == n,
    "less": lambda n: UINT8 < n,
    "where": lambda n: mx.where(mx.array([True]), UINT8, n),
    "clip": lambda n: mx.clip(UINT8, 0, n),
    "pad": lambda n: mx.pad(UINT8, 1, constant_values=n),
    "set item": lambda n: set_item(UINT8, n),
    "at": lambda n: UINT8.at[0].add(n),
    "arange start": lambda n: mx.arange(n, n + 1, dtype=mx.uint8),
    "arange end": lambda n: mx.arange(n, n - 3, -1, dtype=mx.uint8),
    "linspace": lambda n: mx.linspace(n, n, 2, dtype=mx.uint8),
    "linspace of one": lambda n: mx.linspace(n, 0, 1, dtype=mx.uint8),
}


@pytest.mark.parametrize("door", DOORS)
def test_integers_that_do_not_fit(door):
    DOORS[door](255), DOORS[door](2)
    for n in [256, 300, -1, 2**40, -(2**40), 2**62]:
        with pytest.raises(ValueError, match="does not fit in uint8"):
            DOORS[door](n)
    for n in [2**64, -(2**70)]:
        with pytest.raises(ValueError, match="does not fit in"):
            DOORS[door](n)


@pytest.mark.parametrize("dtype", UNSIGNED + SIGNED, ids=name_of)
def test_ends_of_the_range(dtype):
    info = mx.iinfo(dtype)
    for n in [info.min, info.max]:
        for a in [mx.array(n, dtype), mx.array([n], dtype), mx.full((2,), n, dtype)]:
            assert a.dtype == dtype and a.reshape(-1)[0].item() == n
        assert (mx.zeros((1,), dtype) + n).item() == n
    for n in [info.min - 1, info.max + 1]:
        for make in [
            lambda n: mx.array(n, dtype),
            lambda n: mx.array([n], dtype),
            lambda n: mx.full((2,), n, dtype),
            lambda n: mx.zeros((1,), dtype) + n,
        ]:
            with pytest.raises(ValueError, match=f"{n} does not fit in {name_of(dtype)}"):
                make(n)


FLOAT_DOORS = ["array", "list", "nested list", "mixed list", "asarray", "full", "full_like"]


@pytest.mark.parametrize("door", FLOAT_DOORS + ["linspace", "linspace of one"])
def test_floats_that_do_not_fit_in_integers(door):
    for n in [0.0, 255.9, -0.9]:
        assert DOORS[door](n).dtype == mx.uint8
    for n in [256.0, -1.0, 1e300, math.inf, -math.inf, math.nan]:
        with pytest.raises(ValueError, match="does not fit in uint8"):
            DOORS[door](n)
    with pytest.raises(ValueError, match="does not fit in int64"):
        mx.array(2.0**63, mx.int64)
    assert mx.array(-(2.0**63), mx.int64).item() == -(2**63)
    assert mx.array(2.0**63, mx.uint64).item() == 2**63


def test_floats_round_and_bools_take_anything():
    assert mx.array(1e300).item() == math.inf and mx.array(70000, mx.float16).item() == math.inf
    assert mx.array(2**200, mx.float64).item() == 2.0**200
    assert (mx.ones((1,)) + 2**70).item() == 2.0**70
    with pytest.raises(ValueError, match="does not fit in float32"):
        mx.array(10**400, mx.float32)
    for n in [300, 2**70, -1, 0.5, math.nan]:
        assert mx.array(n, mx.bool_).item() is True
    with pytest.raises(ValueError, match="fit"):
        mx.array(300 + 1j, mx.uint8)


def test_integers_of_other_libraries():
    for n in [np.int64(300), np.array(300), np.int8(-1), np.uint64(2**63)]:
        with pytest.raises(ValueError, match="does not fit in uint8"):
            UINT8 + n
    assert (UINT8 + np.int64(3)).tolist() == [4, 5]


def test_arange_checks_elements_only():
    assert mx.arange(0, 300, 100, dtype=mx.uint8).tolist() == [0, 100, 200]
    assert mx.arange(300, 0, dtype=mx.uint8).tolist() == []
    assert mx.arange(250, 256, dtype=mx.uint8).tolist() == [250, 251, 252, 253, 254, 255]
    assert mx.arange(0.5, 300.0, 100.0, dtype=mx.uint8).shape == (3,)
    for bad in [(0, 301, 100), (0.0, 301.0, 100.0), (-1, 2), (2, -2, -1), (1e30, 2e30, 1e30)]:
        with pytest.raises(ValueError, match="does not fit in uint8"):
            mx.arange(*bad, dtype=mx.uint8)
    assert mx.linspace(0, 300, 3, False, dtype=mx.uint8).tolist() == [0, 100, 200]
