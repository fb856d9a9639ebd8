"""Every row of the table of elementwise operations, for every dtype and layout, against NumPy."""

import math
from statistics import NormalDist
from typing import NamedTuple

import narrows.core as mx
import numpy as np
import pytest
from support import (
    BOOL,
    COMPLEX,
    DTYPES,
    FLOATING,
    NUMPY,
    SIGNED,
    TOLERANCE,
    UNSIGNED,
    assert_close,
    from_numpy,
    name_of,
    to_numpy,
)

KERNELS = {
    "any": DTYPES,
    "numeric": UNSIGNED + SIGNED + FLOATING + COMPLEX,
    "real": BOOL + UNSIGNED + SIGNED + FLOATING,
    "inexact": FLOATING + COMPLEX,
    "floating": FLOATING,
    "integral": BOOL + UNSIGNED + SIGNED,
    "boolean": BOOL,
}


def erfinv(x):
    inverse = NormalDist().inv_cdf
    return np.vectorize(lambda v: inverse((v + 1) / 2) / math.sqrt(2), otypes=[np.float64])(x)


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def sign(x):
    if np.iscomplexobj(x):
        magnitude = np.abs(x)
        return np.where(magnitude == 0, 0, x / np.where(magnitude == 0, 1, magnitude))
    return np.sign(x) if x.dtype != np.bool_ else x


def integer_power(a, b):
    if a.dtype == np.bool_:
        return a | ~b
    return np.power(a, b)


def greater(a, b):
    if np.iscomplexobj(a):
        return (a.real > b.real) | ((a.real == b.real) & (a.imag > b.imag))
    return a > b


def floor_divide(a, b):
    if a.dtype == np.bool_:
        return a & b
    return np.floor_divide(a, b)


def remainder(a, b):
    if a.dtype == np.bool_:
        return np.zeros_like(a & b)
    return np.remainder(a, b)


def shift(function):
    def apply(a, b):
        if a.dtype == np.bool_:
            return function(a.astype(np.int32), b.astype(np.int32)).astype(np.bool_)
        return function(a, b)

    return apply


def maximum(a, b):
    return np.where(greater(a, b), a, b)


def minimum(a, b):
    return np.where(greater(a, b), b, a)


def subtract(a, b):
    return a ^ b if a.dtype == np.bool_ else a - b


def infinite(sign):
    return lambda x: np.equal(x, sign * np.inf)


REFERENCE = {
    "isneginf": infinite(-1),
    "isposinf": infinite(1),
    "abs": np.abs,
    "bitwise_invert": np.invert,
    "conjugate": lambda x: x if x.dtype == np.bool_ else np.conjugate(x),
    "ceil": lambda x: x if x.dtype.kind in "biu" else np.ceil(x),
    "floor": lambda x: x if x.dtype.kind in "biu" else np.floor(x),
    "rint": lambda x: x if x.dtype.kind in "biu" else np.rint(x),
    "erf": erf,
    "erfinv": erfinv,
    "imag": np.imag,
    "real": np.real,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sign": sign,
    "square": lambda x: x * x,
    "subtract": subtract,
    "power": lambda a, b: integer_power(a, b) if a.dtype.kind in "biu" else np.power(a, b),
    "floor_divide": floor_divide,
    "remainder": remainder,
    "left_shift": shift(np.left_shift),
    "right_shift": shift(np.right_shift),
    "greater": greater,
    "greater_equal": lambda a, b: greater(a, b) | (a == b),
    "less": lambda a, b: greater(b, a),
    "less_equal": lambda a, b: greater(b, a) | (a == b),
    "maximum": maximum,
    "minimum": minimum,
    "logaddexp": lambda a, b: np.log(np.exp(a) + np.exp(b)),
}

# Where the real functions are defined and well conditioned: low, high.
DOMAIN = {
    "arccos": (-0.9, 0.9),
    "arccosh": (1.2, 5.0),
    "arcsin": (-0.9, 0.9),
    "arctanh": (-0.8, 0.8),
    "erfinv": (-0.9, 0.9),
    "log": (0.2, 0.8),
    "log10": (0.2, 0.8),
    "log2": (0.2, 0.8),
    "log1p": (-0.5, 3.0),
    "reciprocal": (0.3, 3.0),
    "rsqrt": (0.3, 3.0),
    "sqrt": (0.0, 9.0),
    "tan": (-1.2, 1.2),
    "power": (0.4, 2.0),
    "divide": (0.3, 3.0),
    "floor_divide": (0.3, 3.0),
    "remainder": (0.3, 3.0),
    "logaddexp": (0.5, 2.0),
}
# Rounding of the last digit changes these results by a whole step.
STEPS = {"ceil", "floor", "rint", "floor_divide", "sign"}
# Reduced precision is a multiple of one rounding for these.
LOOSE = {"tan": 3, "power": 6, "logaddexp": 3, "arccosh": 3, "remainder": 8, "arctanh": 2}


def integers(name, dtype, shape, rng):
    if dtype == mx.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    low, high = (-9, 10) if dtype in SIGNED else (0, 19)
    if name in {"power", "left_shift", "right_shift"}:
        low, high = 0, 4
    if name in {"floor_divide", "remainder"}:
        low = 1
    return rng.integers(low, high, shape).astype(NUMPY[dtype])


def inputs(name, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    if dtype not in FLOATING + COMPLEX:
        return integers(name, dtype, shape, rng)
    low, high = DOMAIN.get(name, (-2.0, 2.0))
    values = rng.uniform(low, high, shape)
    if dtype in COMPLEX:
        values = values + 1j * rng.uniform(0.1, 0.9, shape)
    # What the dtype can hold, so that both sides start from the same numbers.
    return to_numpy(from_numpy(values.astype(NUMPY[dtype]), dtype))


# Arrays of one shape, seen through different strides: (a function of narrows and NumPy arrays
# alike, shape of what it is applied to).
LAYOUTS = {
    "contiguous": (lambda a: a, (5, 7)),
    "large": (lambda a: a, (67, 131)),
    "strided": (lambda a: a[1::2, ::3], (10, 21)),
    "reversed": (lambda a: a[::-1, ::-1], (5, 7)),
    "transposed": (lambda a: a.T, (7, 5)),
    "row": (lambda a: a[:1], (2, 7)),
    "column": (lambda a: a[:, 1:2], (5, 2)),
    "empty": (lambda a: a[:0], (2, 7)),
    "scalar": (lambda a: a[0, 0], (1, 1)),
}
PAIRS = [(name, name) for name in LAYOUTS] + [
    ("contiguous", "transposed"),
    ("contiguous", "row"),
    ("column", "row"),
    ("strided", "column"),
    ("transposed", "scalar"),
    ("row", "empty"),
]


def wide(values):
    """Floating-point inputs in the widest type, so that the reference rounds once."""
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    return values.astype(np.complex128) if values.dtype.kind == "c" else values


def operand_values(values, operands):
    if operands == "logical":
        return values.astype(np.bool_)
    if operands == "floating" and values.dtype.kind in "biu":
        return values.astype(np.float64)
    return wide(values)


def expected_dtype(row, dtype):
    if row.result == "boolean" or row.operands == "logical":
        return mx.bool_
    if row.operands == "floating" and dtype not in FLOATING + COMPLEX:
        return mx.float32
    return mx.float32 if row.result == "real" and dtype in COMPLEX else dtype


def check(row, dtype, arrays, values):
    name = row.name
    reference = REFERENCE.get(name) or getattr(np, name)
    with np.errstate(all="ignore"):
        expected = reference(*[operand_values(v, row.operands) for v in values])
    actual = getattr(mx, name)(*arrays)
    assert actual.dtype == expected_dtype(row, dtype)
    if name in STEPS and actual.dtype in TOLERANCE and row.arity == 2:
        mismatch = np.abs(to_numpy(actual) - expected) > 1e-3
        assert mismatch.sum() <= mismatch.size * 0.02
        return
    assert_close(actual, expected, scale=LOOSE.get(name, 1))


class Row(NamedTuple):
    name: str
    arity: int
    operands: str
    result: str
    kernels: str


ROWS = [Row(*row) for row in mx._elementwise_table()]


def is_defined(row, dtype):
    if row.operands == "logical":
        return True
    converted = mx.float32 if row.operands == "floating" and dtype in DTYPES[:9] else dtype
    return converted in KERNELS[row.kernels]


def has_domain(row, dtype):
    """Integers and bool lie outside of the domain of these functions."""
    return dtype in FLOATING + COMPLEX or row.operands != "floating" or row.name not in DOMAIN


CASES = [
    pytest.param(row, dtype, id=f"{row.name}-{name_of(dtype)}")
    for row in ROWS
    for dtype in DTYPES
    if is_defined(row, dtype) and has_domain(row, dtype)
]


@pytest.mark.parametrize("row, dtype", CASES)
def test_values(row, dtype):
    if row.arity == 1:
        for view, shape in LAYOUTS.values():
            values = inputs(row.name, dtype, shape, seed=1)
            check(row, dtype, [view(from_numpy(values, dtype))], [np.asarray(view(values))])
        return
    for first, second in PAIRS:
        a = inputs(row.name, dtype, LAYOUTS[first][1], seed=1)
        b = inputs(row.name, dtype, LAYOUTS[second][1], seed=2)
        views = LAYOUTS[first][0], LAYOUTS[second][0]
        check(
            row,
            dtype,
            [views[0](from_numpy(a, dtype)), views[1](from_numpy(b, dtype))],
            [np.asarray(views[0](a)), np.asarray(views[1](b))],
        )


@pytest.mark.parametrize(
    "row, dtype",
    [
        pytest.param(row, dtype, id=f"{row.name}-{name_of(dtype)}")
        for row in ROWS
        for dtype in DTYPES
        if not is_defined(row, dtype)
    ],
)
def test_undefined_dtypes_are_refused(row, dtype):
    a = mx.ones((2,), dtype)
    with pytest.raises(ValueError, match=rf"\[{row.name}\]"):
        getattr(mx, row.name)(*[a] * row.arity)


@pytest.mark.parametrize("row", [row for row in ROWS if row.arity == 2], ids=lambda row: row.name)
def test_shapes_that_do_not_broadcast(row):
    a, b = mx.ones((2, 3), mx.int32), mx.ones((4,), mx.int32)
    with pytest.raises(ValueError, match=row.name):
        getattr(mx, row.name)(a, b)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum"])
def test_chains_reuse_memory_correctly(name):
    x = np.linspace(1, 2, 1000, dtype=np.float32)
    a, expected = mx.array(x), x
    for _ in range(20):
        a = getattr(mx, name)(a, mx.array(x[::-1]))
        expected = getattr(np, name)(expected, x[::-1])
    assert_close(a, expected, scale=20)


@pytest.mark.parametrize("to", DTYPES, ids=name_of)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_astype(dtype, to):
    values = np.array([0, 1, 2, 3, 100])
    a = from_numpy(values, mx.int64).astype(dtype)
    expected = to_numpy(a)
    if to == mx.bool_:
        expected = expected != 0
    elif dtype in COMPLEX and to not in COMPLEX:
        expected = expected.real
    assert a.astype(to).dtype == to
    np.testing.assert_array_equal(to_numpy(a.astype(to)), expected.astype(NUMPY[to]))


def test_special_values():
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], np.float32)
    a = mx.array(x)
    for name in ["isnan", "isinf", "isfinite", "isposinf", "isneginf"]:
        np.testing.assert_array_equal(to_numpy(getattr(mx, name)(a)), getattr(np, name)(x))
    with np.errstate(all="ignore"):
        for name in ["exp", "log", "sqrt", "tanh", "sin", "abs", "negative", "floor"]:
            assert_close(getattr(mx, name)(a), getattr(np, name)(x))
        for name in ["maximum", "minimum", "add", "divide", "power"]:
            assert_close(getattr(mx, name)(a[:, None], a), getattr(np, name)(x[:, None], x))


def test_infinite_complex_numbers():
    inf, nan = np.inf, np.nan
    parts = [
        (inf, 0),
        (inf, -0.0),
        (-inf, 0),
        (0, inf),
        (inf, inf),
        (-inf, 1),
        (inf, nan),
        (nan, inf),
    ]
    a = mx.array([complex(*p) for p in parts], dtype=mx.complex64)
    assert mx.isposinf(a).tolist() == [True, True] + [False] * 6
    assert mx.isneginf(a).tolist() == [False, False, True] + [False] * 5
    assert mx.isposinf(mx.array([[True], [False]])).tolist() == [[False], [False]]


def test_integer_division_by_zero_is_zero():
    a = mx.array([1, 0, -5])
    assert (a // 0).tolist() == [0, 0, 0]


def test_where():
    condition = np.array([[True], [False]])
    x, y = np.arange(3, dtype=np.float32), np.float32(7)
    result = mx.where(mx.array(condition), mx.array(x), 7)
    assert_close(result, np.where(condition, x, y))
    assert mx.where(mx.array([1, 0]), mx.array([1, 2], mx.float16), 2.5).dtype == mx.float16
    assert mx.where(True, 1, 2).item() == 1
    assert mx.where(mx.array(True), mx.array([1, 2], mx.int8), mx.array([0.5])).dtype == mx.float32
