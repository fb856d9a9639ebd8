import re

import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, NUMPY, from_numpy, name_of, to_numpy

NAN = float("nan")


def some(dtype, count, seed=0):
    rng = np.random.default_rng(seed)
    if dtype == mx.bool_:
        return rng.random(count) < 0.5
    x = rng.integers(0, 30, count).astype(NUMPY[dtype])
    return x + 1j * rng.integers(0, 3, count).astype(np.float32) if dtype == mx.complex64 else x


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_searchsorted(dtype, side):
    for length in [1, 2, 3, 7, 8, 40, 1000]:
        x, v = np.sort(some(dtype, length)), some(dtype, (4, 30), 1)
        places = mx.searchsorted(from_numpy(x, dtype), from_numpy(v, dtype), side=side)
        assert places.dtype == mx.uint32
        np.testing.assert_array_equal(places, np.searchsorted(x, v, side))


def test_searchsorted_of_special_numbers():
    a = mx.array([1.0, 2.0, 2.0, 3.0, NAN, NAN])
    v = mx.array([NAN, 2.0, -1.0, 4.0])
    assert mx.searchsorted(a, v).tolist() == [4, 1, 0, 4]
    assert mx.searchsorted(a, v, "right").tolist() == [6, 3, 0, 4]
    assert mx.searchsorted(mx.array([-0.0, 0.0]), mx.array([0.0, -0.0])).tolist() == [0, 0]
    assert mx.searchsorted(mx.array([1, 2, 3]), mx.array([1.5, 2.0])).tolist() == [1, 1]
    assert mx.searchsorted(mx.array([1, 2], mx.uint8), mx.array([300, -1])).tolist() == [2, 0]
    assert mx.searchsorted(mx.array([]), mx.array([[2.0]])).tolist() == [[0]]
    assert mx.searchsorted(mx.array([1, 2]), mx.array(2)).item() == 1
    assert mx.vmap(lambda x: mx.searchsorted(a, x))(v).tolist() == [4, 1, 0, 4]


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("shape", [(1,), (60,), (4, 5)], ids=str)
def test_unique(dtype, shape):
    x = some(dtype, shape)
    a = from_numpy(x, dtype)
    expected, index, inverse, counts = np.unique(x, True, True, True)
    n = len(expected)
    found = mx.unique(a, n, True, True, True)
    assert [f.dtype for f in found] == [dtype, mx.uint32, mx.uint32, mx.int32]
    np.testing.assert_array_equal(to_numpy(found[0]), expected)
    np.testing.assert_array_equal(found[1], index)
    np.testing.assert_array_equal(found[2], inverse.reshape(shape))
    np.testing.assert_array_equal(found[3], counts)
    np.testing.assert_array_equal(to_numpy(mx.unique(a, n)), expected)
    # Longer: the first one again. Shorter: the smallest.
    longer = mx.unique(a, n + 2, return_counts=True)
    np.testing.assert_array_equal(to_numpy(longer[0]), np.append(expected, [expected[0]] * 2))
    assert longer[1].tolist() == [*counts, 0, 0]
    np.testing.assert_array_equal(to_numpy(mx.unique(a, max(0, n - 1))), expected[:-1])


def test_unique_of_other_sizes():
    a = mx.array([2, 1, 2, 3, 1])
    found = [x.tolist() for x in mx.unique(a, 2, True, True, True)]
    assert found == [[1, 2], [1, 0], [1, 0, 1, 1, 0], [2, 2]]
    found = [x.tolist() for x in mx.unique(a, 0, True, True, True)]
    assert found == [[], [], [0, 0, 0, 0, 0], []]
    found = [x.tolist() for x in mx.unique(a, 5, True, True, True, 7)]
    assert found == [[1, 2, 3, 7, 7], [1, 0, 3, 1, 1], [1, 0, 1, 2, 0], [2, 2, 1, 0, 0]]
    found = [x.tolist() for x in mx.unique(mx.zeros(0), 3, True, True, True, fill_value=5)]
    assert found == [[5, 5, 5], [0, 0, 0], [], [0, 0, 0]]
    assert mx.unique(mx.zeros(0), 0).tolist() == []
    assert [x.tolist() for x in mx.unique(mx.array(3), 2, return_inverse=True)] == [[3, 3], 0]


def test_unique_of_special_numbers():
    values, index, inverse, counts = mx.unique(
        mx.array([NAN, 1.0, NAN, -0.0, 0.0]), 6, True, True, True
    )
    np.testing.assert_array_equal(values, [-0.0, 1.0, NAN, NAN, -0.0, -0.0])
    assert np.signbit(values[0].item())
    assert index.tolist() == [3, 1, 0, 2, 3, 3]
    assert inverse.tolist() == [2, 1, 3, 0, 0]
    assert counts.tolist() == [2, 1, 1, 1, 0, 0]


def test_gradient_of_unique():
    a = mx.array([2.0, 1.0, 2.0])
    gradient = mx.grad(lambda x: mx.sum(mx.unique(x, 2) * mx.array([1.0, 10.0])))(a)
    assert gradient.tolist() == [10, 1, 0]


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: mx.searchsorted(mx.zeros((1, 2)), mx.zeros(1)),
            "[searchsorted] a sorted sequence",
        ),
        (lambda: mx.searchsorted(mx.array(1), mx.zeros(1)), "[searchsorted] a sorted sequence"),
        (lambda: mx.searchsorted(mx.zeros(1), mx.zeros(1), "top"), "[searchsorted] side 'top'"),
        (lambda: mx.unique(mx.zeros(2), -1), "[unique] size -1"),
        (lambda: mx.unique(mx.zeros(2), 3, fill_value=mx.zeros(2)), "[unique] a fill value"),
        (lambda: mx.unique(mx.zeros(0), 1), "[unique] an empty array"),
        (lambda: mx.unique(mx.zeros(2, mx.uint8), 3, fill_value=300), "300"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
