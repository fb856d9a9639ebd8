import re

import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, FLOATING, NUMPY, from_numpy, name_of, to_numpy

NAN, INF = float("nan"), float("inf")
AXES = [None, 0, 1, -1]
VIEWS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: a.T,
    "strided": lambda a: a[:, ::2, ::-1],
    "broadcast": lambda a: a[:, :1],
}
SHAPE = (3, 8, 21)
# Lengths at which rows are sorted in other ways: by comparisons, by bytes, by all threads, on GPUs
# in one block, in two and in more.
LENGTHS = [1, 2, 3, 16, 17, 31, 33, 64, 65, 100, 127, 129]
LENGTHS += [300, 1000, 1024, 1025, 2049, 5000, 70_001]


def values(dtype, shape, seed=0):
    """With ties, and with the numbers that have no natural place."""
    rng = np.random.default_rng(seed)
    if dtype in FLOATING or dtype == mx.complex64:
        special = np.array([0.0, -0.0, NAN, -NAN, INF, -INF, 1e-40, -1e-40, 3.0])
        x = np.where(rng.random(shape) < 0.5, rng.normal(size=shape), rng.choice(special, shape))
        if dtype == mx.complex64:
            real = np.where(rng.random(shape) < 0.5, np.round(x), x)
            result = real.astype(np.complex64)
            result.imag = rng.choice([0.0, -0.0, 1.0, NAN, -INF], shape)
            return result
        return to_numpy(from_numpy(x.astype(NUMPY[dtype]), dtype))
    if dtype == mx.bool_:
        return rng.random(shape) < 0.4
    limits = np.iinfo(NUMPY[dtype])
    x = rng.integers(limits.min, limits.max, shape, NUMPY[dtype], endpoint=True)
    return np.where(rng.random(shape) < 0.5, x, rng.choice(x.reshape(-1)[:9], shape))


def order_of(x, axis):
    """The stable order with NaN last, whatever its parts are."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    if x.dtype.kind == "c":
        # NumPy orders complex NaNs among themselves.
        nan = np.isnan(x)
        keys = [np.where(nan, 0, x.imag), np.where(nan, 0, x.real), nan]
        return np.lexsort(keys, axis=axis)
    return np.argsort(x, axis=axis, kind="stable")


def in_order(x, axis):
    order = order_of(x, axis)
    return np.take_along_axis(x.reshape(-1) if axis is None else x, order, axis or 0)


def assert_same_elements(actual, expected, dtype):
    """The same bits, but for the signs and payloads of NaNs that have gone through NumPy."""
    actual = to_numpy(actual)
    np.testing.assert_array_equal(actual, expected)
    if dtype in FLOATING:
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_sort_and_argsort(dtype, view):
    x = values(dtype, SHAPE)
    a, x = VIEWS[view](from_numpy(x, dtype)), VIEWS[view](x)
    for axis in AXES:
        order = mx.argsort(a, axis)
        assert order.dtype == mx.uint32
        np.testing.assert_array_equal(order, order_of(x, axis))
        result = mx.sort(a, axis=axis)
        assert result.dtype == dtype
        assert_same_elements(result, in_order(x, axis), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_lengths(dtype):
    for length in LENGTHS:
        x = values(dtype, (2, length), seed=length)
        for rows in [x[:1], x]:
            a = from_numpy(rows, dtype)
            np.testing.assert_array_equal(mx.argsort(a), order_of(rows, -1))
            assert_same_elements(mx.sort(a), in_order(rows, -1), dtype)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32, mx.float64], ids=name_of)
def test_the_bits_of_elements_stay(dtype):
    size = {mx.float16: np.uint16, mx.bfloat16: np.uint16, mx.float32: np.uint32}.get(dtype)
    word = size or np.uint64
    raw = np.random.default_rng(1).integers(0, np.iinfo(word).max, 3000, word)
    raw[::7] = 0
    raw[::5] = word(1) << word(8 * raw.itemsize - 1)
    a = mx.array(raw).view(dtype)
    order = mx.argsort(a)
    unsigned = {2: mx.uint16, 4: mx.uint32, 8: mx.uint64}[raw.itemsize]
    expected = raw[np.array(order)]
    np.testing.assert_array_equal(mx.sort(a).view(unsigned), expected)


def test_many_rows_and_equal_bytes():
    x = (np.arange(5000 * 40) * 7919 % 1000).astype(np.int32).reshape(5000, 40)
    np.testing.assert_array_equal(mx.sort(mx.array(x)), np.sort(x))
    np.testing.assert_array_equal(mx.argsort(mx.array(x), 0), np.argsort(x, 0, kind="stable"))
    same = np.full(100_000, 3.5, np.float32)
    np.testing.assert_array_equal(mx.argsort(mx.array(same)), np.arange(100_000))
    np.testing.assert_array_equal(mx.sort(mx.array(same)), same)


# name: integers below 2^24, in an order or with repetitions
PATTERNS = {
    "ascending": lambda n, rng: np.arange(n),
    "descending": lambda n, rng: np.arange(n)[::-1],
    "up and down": lambda n, rng: np.minimum(np.arange(n), np.arange(n)[::-1]),
    "equal": lambda n, rng: np.full(n, 7),
    "the lowest often": lambda n, rng: np.maximum(rng.integers(-(2**20), 50, n), 0),
    "the highest often": lambda n, rng: np.minimum(rng.integers(0, 2**20, n), 50),
    "three values": lambda n, rng: rng.integers(0, 3, n),
    "any": lambda n, rng: rng.integers(0, 2**24, n),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", [mx.float32, mx.int32, mx.uint32, mx.int64], ids=name_of)
def test_patterns(pattern, dtype):
    for length in [7, 8, 9, 33, 64, 65, 129, 1500, 2049, 5000, 140_000]:
        x = PATTERNS[pattern](length, np.random.default_rng(length))
        x = np.ascontiguousarray(x).astype(np.int64)
        a = mx.array(x).astype(dtype)
        expected = np.sort(x)
        np.testing.assert_array_equal(to_numpy(mx.sort(a)), expected)
        np.testing.assert_array_equal(mx.argsort(a), np.argsort(x, kind="stable"))
        for kth in {0, length // 3, length - 1}:
            for part in [mx.partition(a, kth), a[mx.argpartition(a, kth)]]:
                part = to_numpy(part)
                np.testing.assert_array_equal(part[kth], expected[kth])
                np.testing.assert_array_equal(np.sort(part[:kth]), expected[:kth])
                np.testing.assert_array_equal(np.sort(part[kth:]), expected[kth:])


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_partitions(dtype):
    x = values(dtype, SHAPE, seed=3)
    a = from_numpy(x, dtype)
    for axis in AXES:
        expected = in_order(x, axis)
        length = expected.shape[axis or 0]
        for kth in [0, length // 2, length - 1, -1, -length]:
            part = mx.partition(a, kth, axis)
            places = np.array(mx.argpartition(a, kth, axis))
            assert part.dtype == dtype and part.shape == expected.shape
            chosen = np.take_along_axis(x.reshape(-1) if axis is None else x, places, axis or 0)
            k = kth % length
            for result in [to_numpy(part), chosen]:
                low, middle, high = np.split(result, [k, k + 1], axis or 0)
                wanted = np.split(expected, [k, k + 1], axis or 0)
                np.testing.assert_array_equal(middle, wanted[1])
                np.testing.assert_array_equal(in_order(low, axis or 0), wanted[0])
                np.testing.assert_array_equal(in_order(high, axis or 0), wanted[2])


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_topk(dtype):
    for shape, axis in [((3, 200), -1), ((200, 3), 0), ((2, 70_000), -1), ((4, 30), None)]:
        x = values(dtype, shape, seed=4)
        a = from_numpy(x, dtype)
        expected = in_order(x, axis)
        along = axis or 0
        for k in [0, 1, 7, expected.shape[along] // 2, expected.shape[along]]:
            top = mx.topk(a, k, axis)
            wanted = np.split(expected, [expected.shape[along] - k], along)[1]
            assert top.shape == wanted.shape and top.dtype == dtype
            np.testing.assert_array_equal(in_order(to_numpy(top), along), wanted)


def test_topk_of_ascending_descending_and_equal_rows():
    n = 100_000
    for x in [np.arange(n), np.arange(n)[::-1], np.full(n, 2), np.arange(n) % 3]:
        a = mx.array(x.astype(np.float32))
        np.testing.assert_array_equal(mx.sort(mx.topk(a, 40)), np.sort(x)[-40:])
        rows = mx.broadcast_to(a[:5000], (8, 5000))
        np.testing.assert_array_equal(
            mx.sort(mx.topk(rows, 40)), np.broadcast_to(np.sort(x[:5000])[-40:], (8, 40))
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_median(dtype):
    x = values(dtype, (3, 4, 5), seed=5)
    x = np.nan_to_num(x, posinf=9.0, neginf=-9.0) if x.dtype.kind in "fc" else x
    x = x if x.dtype.kind in "fcb" else x % 100
    a = from_numpy(x, dtype)
    result = dtype if dtype in [*FLOATING, mx.complex64] else mx.float32
    wide = x.astype(np.complex128 if dtype == mx.complex64 else np.float64)
    for axis in [None, 0, 1, (0, 2), (-1, 0), (0, 1, 2)]:
        for keepdims in [False, True]:
            actual = mx.median(a, axis, keepdims)
            expected = np.median(wide, axis=axis, keepdims=keepdims)
            assert actual.dtype == result and actual.shape == expected.shape
            np.testing.assert_allclose(to_numpy(actual), expected, rtol=1e-2, atol=1e-2)


def test_median_of_special_numbers():
    assert np.isnan(mx.median(mx.array([1.0, NAN, 2.0])).item())
    np.testing.assert_array_equal(mx.median(mx.array([[1.0, NAN], [2.0, 5.0]]), axis=1), [NAN, 3.5])
    assert mx.median(mx.array([3e38, 3e38])).item() == np.float32(3e38)
    assert mx.median(mx.array([-INF, 1, INF])).item() == 1
    assert mx.median(mx.array(3)).item() == 3.0
    assert mx.median(mx.zeros((0, 3)), axis=1).shape == (0,)
    np.testing.assert_array_equal(
        mx.median(mx.arange(6).reshape(2, 3), axis=()), [[0, 1, 2], [3, 4, 5]]
    )


def test_empty_and_scalar():
    for function in [mx.sort, mx.argsort]:
        assert function(mx.zeros((0,))).shape == (0,)
        assert function(mx.zeros((3, 0)), axis=0).shape == (3, 0)
        assert function(mx.array(3.0), axis=None).shape == (1,)
    assert mx.topk(mx.zeros((0, 4)), 2).shape == (0, 2)
    assert mx.topk(mx.zeros((0,)), 0).shape == (0,)
    assert mx.argpartition(mx.array(5), 0, axis=None).tolist() == [0]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: mx.sort(mx.array(3.0)), IndexError, "[sort] axis -1"),
        (lambda: mx.argsort(mx.zeros((2, 3)), 2), IndexError, "[argsort] axis 2"),
        (lambda: mx.partition(mx.zeros(5), 5), ValueError, "[partition] kth 5 of 5 elements"),
        (lambda: mx.argpartition(mx.zeros(5), -6), ValueError, "[argpartition] kth -6"),
        (lambda: mx.partition(mx.zeros(0), 0), ValueError, "[partition] kth 0 of 0"),
        (lambda: mx.topk(mx.zeros(5), 6), ValueError, "[topk] k 6 of 5 elements"),
        (lambda: mx.topk(mx.zeros(5), -1), ValueError, "[topk] k -1"),
        (lambda: mx.topk(mx.zeros((5, 5)), 1, 4), IndexError, "[topk] axis 4"),
        (lambda: mx.median(mx.zeros(0)), ValueError, "[median] no elements"),
        (lambda: mx.median(mx.zeros((2, 2)), (0, 0)), ValueError, "[median]"),
        (lambda: mx.median(mx.zeros((2, 2)), 2), IndexError, "[median] axis 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_gradients_go_where_the_elements_came_from():
    a = mx.array([[3.0, 1.0, 2.0], [5.0, 6.0, 4.0]])
    weights = mx.array([1.0, 10.0, 100.0])
    gradient = mx.grad(lambda x: mx.sum(mx.sort(x) * weights))(a)
    assert gradient.tolist() == [[100, 1, 10], [10, 100, 1]]
    assert mx.grad(lambda x: mx.sum(mx.topk(x, 2)))(a).tolist() == [[1, 0, 1], [1, 1, 0]]
    assert mx.grad(lambda x: mx.partition(x, 1)[0, 1])(a).tolist() == [[0, 0, 1], [0, 0, 0]]
    assert mx.grad(mx.median)(a).tolist() == [[0.5, 0, 0], [0, 0, 0.5]]
    assert mx.grad(lambda x: mx.sum(mx.argsort(x).astype(mx.float32) * x))(a).tolist() == (
        mx.argsort(a).tolist()
    )
    _, tangents = mx.jvp(mx.sort, [a], [mx.arange(6.0).reshape(2, 3)])
    assert tangents[0].tolist() == [[1, 2, 0], [5, 3, 4]]
