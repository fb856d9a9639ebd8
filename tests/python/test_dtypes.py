import pickle

import narrows.core as mx
import numpy as np
import pytest
from support import COMPLEX, DTYPES, FLOATING, NUMPY, SIGNED, UNSIGNED, name_of


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_identity(dtype):
    assert isinstance(dtype, mx.Dtype)
    assert dtype == mx.zeros((), dtype).dtype
    assert {dtype: 1}[mx.zeros((), dtype).dtype] == 1
    assert pickle.loads(pickle.dumps(dtype)) == dtype
    assert dtype != "float32" and dtype != 1 and dtype is not None
    if dtype != mx.bfloat16:
        assert dtype.size == np.dtype(NUMPY[dtype]).itemsize


def test_repr():
    assert repr(mx.float32) == "narrows.core.float32"
    assert repr(mx.bool_) == "narrows.core.bool"
    assert mx.bfloat16.size == 2


def test_categories():
    for dtype in UNSIGNED + SIGNED:
        assert mx.issubdtype(dtype, mx.integer) and mx.issubdtype(dtype, mx.number)
        assert not mx.issubdtype(dtype, mx.inexact)
    for dtype in FLOATING:
        assert mx.issubdtype(dtype, mx.floating) and mx.issubdtype(dtype, mx.inexact)
    for dtype in COMPLEX:
        assert mx.issubdtype(dtype, mx.complexfloating) and not mx.issubdtype(dtype, mx.floating)
    assert mx.issubdtype(mx.bool_, mx.generic) and not mx.issubdtype(mx.bool_, mx.number)
    assert mx.issubdtype(mx.floating, mx.inexact) and not mx.issubdtype(mx.inexact, mx.floating)
    assert mx.issubdtype(mx.float32, mx.float32) and not mx.issubdtype(mx.floating, mx.float32)
    with pytest.raises(ValueError, match="issubdtype"):
        mx.issubdtype(1, mx.float32)


def test_isdtype():
    assert mx.isdtype(mx.float32, "real floating")
    assert mx.isdtype(mx.uint8, "unsigned integer") and mx.isdtype(mx.int8, "signed integer")
    assert mx.isdtype(mx.int8, ("bool", "integral")) and mx.isdtype(mx.int8, mx.int8)
    assert not mx.isdtype(mx.bool_, "numeric") and mx.isdtype(mx.complex64, "complex floating")
    with pytest.raises(ValueError, match="isdtype"):
        mx.isdtype(mx.float32, "real")
    with pytest.raises(ValueError, match="isdtype"):
        mx.isdtype(mx.float32, 3)


@pytest.mark.parametrize("dtype", [mx.float16, mx.float32, mx.float64], ids=name_of)
def test_finfo(dtype):
    actual, expected = mx.finfo(dtype), np.finfo(NUMPY[dtype])
    for name in ["bits", "min", "max", "eps", "smallest_normal"]:
        assert getattr(actual, name) == getattr(expected, name)
    assert actual.dtype == dtype


def test_finfo_of_others():
    assert mx.finfo(mx.bfloat16).max == 3.3895313892515355e38
    assert mx.finfo(mx.bfloat16).eps == 0.0078125
    assert mx.finfo(mx.complex64).dtype == mx.float32
    with pytest.raises(ValueError, match="finfo"):
        mx.finfo(mx.int32)


@pytest.mark.parametrize("dtype", UNSIGNED + SIGNED, ids=name_of)
def test_iinfo(dtype):
    actual, expected = mx.iinfo(dtype), np.iinfo(NUMPY[dtype])
    assert (actual.min, actual.max) == (expected.min, expected.max)


def test_iinfo_of_others():
    for dtype in [mx.bool_, mx.float32]:
        with pytest.raises(ValueError, match="iinfo"):
            mx.iinfo(dtype)


def test_promotion():
    assert mx.result_type(mx.int32, mx.float16) == mx.float16
    assert mx.result_type(mx.array(1), mx.float16, mx.bfloat16) == mx.float32
    assert mx.result_type(mx.uint8, mx.int8) == mx.int16
    assert mx.result_type(mx.uint64, mx.int8) == mx.float32
    assert mx.result_type(mx.float64, mx.complex64) == mx.complex64
    assert mx.can_cast(mx.int32, mx.float32) and not mx.can_cast(mx.float32, mx.int32)
    assert mx.can_cast(mx.array(1), mx.float32)
    for bad in [(), (1,)]:
        with pytest.raises(ValueError, match="result_type"):
            mx.result_type(*bad)


@pytest.mark.parametrize("a", DTYPES, ids=name_of)
@pytest.mark.parametrize("b", DTYPES, ids=name_of)
def test_operations_promote(a, b):
    assert (mx.zeros((2,), a) + mx.zeros((2,), b)).dtype == mx.result_type(a, b)
    assert mx.result_type(a, b) == mx.result_type(b, a)
