import copy
import gc
import pickle
import warnings
import weakref

import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, assert_close, from_numpy, name_of, to_numpy

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}
BITWISE = {
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators(symbol):
    apply = OPERATORS[symbol]
    x, y = np.array([1.5, 2, -3], np.float32), np.array([2, 2, 2], np.float32)
    with np.errstate(all="ignore"):
        assert_close(apply(mx.array(x), mx.array(y)), apply(x, y))
        assert_close(apply(mx.array(x), 2), apply(x, np.float32(2)))
        assert_close(apply(2, mx.array(np.abs(x))), apply(np.float32(2), np.abs(x)))


@pytest.mark.parametrize("symbol", BITWISE)
def test_bitwise_operators(symbol):
    apply = BITWISE[symbol]
    x, y = np.array([1, 6, 12], np.int32), np.array([1, 2, 3], np.int32)
    assert_close(apply(mx.array(x), mx.array(y)), apply(x, y))
    assert_close(apply(mx.array(x), 3), apply(x, 3))


def test_unary_operators():
    a = mx.array([1, -2])
    assert (-a).tolist() == [-1, 2] and (+a).tolist() == [1, -2]
    assert abs(a).tolist() == [1, 2] and (~a).tolist() == [-2, 1]
    assert (~mx.array([True, False])).tolist() == [False, True]
    assert (mx.ones((2, 3)) @ mx.ones((3,))).tolist() == [3, 3]


@pytest.mark.parametrize("symbol", [*BITWISE, "+", "-", "*", "//", "%", "**"])
def test_in_place_keeps_the_object(symbol):
    names = {"a": mx.array([5, 6, 7])}
    names["b"] = names["a"]
    exec(f"a {symbol}= 2", names)
    assert names["a"] is names["b"]
    apply = {**OPERATORS, **BITWISE}[symbol]
    assert names["b"].tolist() == apply(np.array([5, 6, 7]), 2).tolist()


def test_division_in_place():
    a = mx.array([1.0, 2.0])
    a /= 2
    assert a.tolist() == [0.5, 1.0]
    b = mx.array([1, 2])
    with pytest.raises(ValueError, match="divide"):
        b /= 2


SCALARS = [
    (mx.int32, 1, mx.int32),
    (mx.int32, 1.5, mx.float32),
    (mx.uint8, 1.5, mx.float32),
    (mx.float16, 1.5, mx.float16),
    (mx.bfloat16, 2, mx.bfloat16),
    (mx.bool_, 1, mx.int32),
    (mx.bool_, True, mx.bool_),
    (mx.uint8, True, mx.uint8),
    (mx.float16, 1j, mx.complex64),
    (mx.int8, np.int64(1), mx.int8),
    (mx.float16, np.float32(1), mx.float16),
    (mx.int32, np.float64(1.5), mx.float32),
]


@pytest.mark.parametrize("dtype, number, expected", SCALARS, ids=str)
def test_numbers_take_the_dtype_of_the_array(dtype, number, expected):
    a = mx.ones((2,), dtype)
    assert (a + number).dtype == expected
    assert mx.add(number, a).dtype == expected


@pytest.mark.parametrize(
    "dtype, number", [(mx.uint8, 300), (mx.uint8, -1), (mx.int8, 200), (mx.int32, 2**40)]
)
def test_integers_that_do_not_fit(dtype, number):
    with pytest.raises(ValueError, match=rf"\[add\] {number} does not fit in"):
        mx.ones((2,), dtype) + number


def test_numpy_operands():
    a = mx.array([1, 2], mx.float16)
    assert (a + np.array([1.0, 2.0])).dtype == mx.float16
    assert (mx.array([1, 2]) + np.array([1, 2])).tolist() == [2, 4]
    assert (mx.array([1, 2]) + np.array([0.5, 0.5])).tolist() == [1.5, 2.5]


def test_other_operands():
    a = mx.array([1, 2])
    for other in ["x", [1, 2], object()]:
        with pytest.raises(ValueError, match="add"):
            a + other
        assert (a == other) is False and (a != other) is True
    with pytest.raises(TypeError):
        a + None


class Wrapper:
    def __mlx_array__(self):
        return mx.array([1, 2])


def test_objects_that_make_arrays():
    assert (mx.array([1, 2]) + Wrapper()).tolist() == [2, 4]
    assert mx.array(Wrapper()).tolist() == [1, 2]
    assert mx.exp(Wrapper()).dtype == mx.float32


def test_facts():
    a = mx.zeros((2, 3), mx.int16)
    assert a.shape == (2, 3) and a.ndim == 2 and a.size == 6
    assert a.itemsize == 2 and a.nbytes == 12 and a.dtype == mx.int16
    assert a.T.shape == (3, 2) and mx.zeros((2, 3, 4)).mT.shape == (2, 4, 3)
    c = mx.array([1 + 2j])
    assert c.real.tolist() == [1.0] and c.imag.tolist() == [2.0]
    with pytest.raises(ValueError):
        _ = mx.array([1]).mT


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_numbers(dtype):
    a = mx.array(1, dtype)
    assert a.item() == 1 and a.tolist() == 1 and bool(a) is True
    assert complex(a) == 1 + 0j
    if dtype == mx.complex64:
        for convert in [int, float]:
            with pytest.raises(TypeError):
                convert(a)
    else:
        assert int(a) == 1 and float(a) == 1.0
    x = np.arange(12).reshape(3, 4) % 2
    assert from_numpy(x, dtype).T[::-1].tolist() == x.T[::-1].astype(to_numpy(a).dtype).tolist()


def test_numbers_of_several_elements():
    a = mx.array([1, 2])
    for convert in [bool, int, float, complex, lambda a: a.item()]:
        with pytest.raises(ValueError, match="item"):
            convert(a)


def test_index():
    assert [1, 2, 3][mx.array(1)] == 2
    for bad in [mx.array(1.0), mx.array([1])]:
        with pytest.raises(TypeError, match="index"):
            [1, 2, 3][bad]


def test_iteration():
    a = mx.array([[1, 2], [3, 4]])
    assert len(a) == 2 and [row.tolist() for row in a] == [[1, 2], [3, 4]]
    assert 1 in mx.array([1, 2])
    for apply in [len, iter]:
        with pytest.raises(TypeError):
            apply(mx.array(1))


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_copies(dtype):
    a = mx.array([[0, 1], [1, 0]], dtype).T
    for b in [copy.copy(a), copy.deepcopy(a), pickle.loads(pickle.dumps(a))]:
        assert b is not a and b.dtype == dtype and b.tolist() == a.tolist()
    b = copy.copy(a)
    b += 1
    assert a.tolist() == mx.array([[0, 1], [1, 0]], dtype).T.tolist()


def test_hash_and_references():
    a, b = mx.array(1), mx.array(1)
    assert len({a: 1, b: 2}) == 2 and hash(a) == hash(a)
    reference = weakref.ref(a)
    assert reference() is a
    del a
    gc.collect()
    assert reference() is None


def test_namespace():
    assert mx.array(1).__array_namespace__().__name__ == "narrows.array_api"
    with pytest.raises(ValueError):
        mx.array(1).__array_namespace__("2030.12")


def test_objects_without_an_array():
    empty = mx.array.__new__(mx.array)
    assert mx.eval(empty) is None
    for use in [repr, memoryview, lambda a: a + 1, lambda a: mx.array([1]) + a, mx.exp]:
        with pytest.raises((TypeError, ValueError, BufferError)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            use(empty)
