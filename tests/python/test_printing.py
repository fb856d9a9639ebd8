import array
import reprlib

import narrows.core as mx
import pytest

NAN, INF = float("nan"), float("inf")

TEXTS = [
    (lambda: mx.array(1), "array(1, dtype=int32)"),
    (lambda: mx.array(True), "array(True, dtype=bool)"),
    (lambda: mx.arange(6), "array([0, 1, 2, 3, 4, 5], dtype=int32)"),
    (lambda: mx.arange(7), "array([0, 1, 2, ..., 4, 5, 6], dtype=int32)"),
    (lambda: mx.zeros((0,)), "array([], dtype=float32)"),
    (lambda: mx.zeros((0, 2)), "array([], dtype=float32)"),
    (lambda: mx.zeros((2, 0)), "array([[],\n       []], dtype=float32)"),
    (lambda: mx.zeros((1, 0, 2)), "array([[]], dtype=float32)"),
    (lambda: mx.array([NAN, INF, -INF, -0.0]), "array([nan, inf, -inf, -0], dtype=float32)"),
    (
        lambda: mx.array([1e10, 1e-10, 123456, 0.1, 1 / 3, 1e6]),
        "array([1e+10, 1e-10, 123456, 0.1, 0.333333, 1e+06], dtype=float32)",
    ),
    (
        lambda: mx.array([1e10, 1 / 3, 3.14159], mx.bfloat16),
        "array([9.99922e+09, 0.333984, 3.14062], dtype=bfloat16)",
    ),
    (
        lambda: mx.array([1 + 2j, 1 - 2j, -0.5j, complex(NAN, INF)]),
        "array([1+2j, 1-2j, -0-0.5j, nan+infj], dtype=complex64)",
    ),
    (lambda: mx.array([2**63 - 1]), "array([9223372036854775807], dtype=int64)"),
    (lambda: mx.array([1, 200], mx.uint8), "array([1, 200], dtype=uint8)"),
    (lambda: mx.arange(4).reshape(2, 2).T, "array([[0, 2],\n       [1, 3]], dtype=int32)"),
    (
        lambda: mx.arange(8).reshape(2, 2, 2),
        "array([[[0, 1],\n        [2, 3]],\n       [[4, 5],\n        [6, 7]]], dtype=int32)",
    ),
    (
        lambda: mx.arange(14).reshape(7, 2),
        "array([[0, 1],\n       [2, 3],\n       [4, 5],\n       ...,\n       [8, 9],\n"
        "       [10, 11],\n       [12, 13]], dtype=int32)",
    ),
]


@pytest.mark.parametrize("make, text", TEXTS, ids=lambda value: str(value)[:20])
def test_repr(make, text):
    assert repr(make()) == text and str(make()) == text


def test_format():
    assert f"{mx.array(1.5)}" == "1.5" and f"{mx.array(1.5):.3f}" == "1.500"
    assert f"{mx.array(3):5d}" == "    3" and f"{mx.array([1, 2])}" == repr(mx.array([1, 2]))
    with pytest.raises(TypeError):
        f"{mx.array([1.5]):.3f}"
    with pytest.raises(ValueError):
        f"{mx.array(1.5):d}"


def test_precision():
    a = mx.array([1.23456, 100000.5, 1e10, 1e-9])
    with mx.printoptions(precision=3):
        assert mx.get_printoptions().precision == 3
        assert repr(a) == "array([1.235, 100000.500, 10000000000.000, 0.000], dtype=float32)"
        assert repr(mx.array([123456])) == "array([123456], dtype=int32)"
        with mx.printoptions(precision=0):
            assert repr(mx.array([1.5, 2.5])) == "array([2, 2], dtype=float32)"
        assert repr(mx.array([1.5 + 1j])) == "array([1.500+1.000j], dtype=complex64)"
    assert mx.get_printoptions().precision == -1
    mx.set_printoptions(precision=500)
    assert len(repr(mx.array([3e38]))) > 530
    mx.set_printoptions()
    assert repr(mx.array([1.5])) == "array([1.5], dtype=float32)"


def test_reprlib_shows_arrays():
    """pytest shows values with it."""
    assert reprlib.repr(mx.array([1.0, 2.0])) == "array([1, 2], dtype=float32)"
    assert reprlib.repr({"a": mx.array(3)}) == "{'a': array(3, dtype=int32)}"
    assert "..." in reprlib.repr(mx.arange(100))
    assert reprlib.repr(array.array("i", [1, 2])) == "array('i', [1, 2])"
