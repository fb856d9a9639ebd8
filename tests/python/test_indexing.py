import narrows.core as mx
import numpy as np
import pytest
from support import assert_close

X = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
INDICES = [
    0, -1, ..., None, (), (0, 1), (0, 1, 2), (..., 0), (0, ...), (0, ..., 1), np.s_[1:],
    np.s_[::-1], np.s_[:, ::2], np.s_[:, ::-2, 1:-1], np.s_[0:10], np.s_[5:2], np.s_[-1:-9:-1],
    np.s_[:, None, 0], np.s_[None, ..., None], np.s_[..., 3:0:-1], np.s_[1, :, None, -1],
    np.s_[1:1], np.s_[:, 1:2, 3], np.int64(1), np.s_[2**70 :],
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_get(index):
    assert_close(mx.array(X)[index], X[index])
    y = np.arange(4 * 5 * 6, dtype=np.float32).reshape(6, 5, 4)
    assert_close(mx.array(y).T[index], y.T[index])


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_set(index):
    a, b, x = mx.array(X), mx.array(X), X.copy()
    kept = a
    a[index] = 7
    x[index] = 7
    assert kept is a
    assert_close(a, x)
    value = np.random.default_rng(0).normal(size=x[index].shape).astype(np.float32)
    b[index] = mx.array(value)
    x = X.copy()
    x[index] = value
    assert_close(b, x)


def test_bounds_of_slices_that_are_arrays():
    a = mx.arange(6)
    assert a[mx.array(1) : mx.array(5, mx.uint8) : mx.array(2)].tolist() == [1, 3]
    a[: mx.array(1) + 1] = 9
    assert a.tolist() == [9, 9, 2, 3, 4, 5]
    for bound in (mx.array([1]), mx.array(1.0), mx.array(True), 1.5):
        with pytest.raises(ValueError, match="a slice has a bound"):
            a[:bound]


def test_set_converts_and_broadcasts():
    a = mx.zeros((2, 3), mx.int32)
    a[:] = mx.array([1.7, 2.2, 3.9])
    assert a.tolist() == [[1, 2, 3], [1, 2, 3]]
    a[0] = np.array([5, 6, 7])
    a[1:] = mx.array([[9]])
    assert a.tolist() == [[5, 6, 7], [9, 9, 9]]
    with pytest.raises(ValueError):
        a[0] = mx.array([1, 2])


def test_set_does_not_change_other_arrays():
    a = mx.array([1, 2, 3])
    view, copied = a[1:], a + 0
    b = a * 1
    a[1] = 10
    assert view.tolist() == [2, 3] and copied.tolist() == [1, 2, 3] and b.tolist() == [1, 2, 3]
    assert a.tolist() == [1, 10, 3]


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
@pytest.mark.parametrize("index", [0, np.s_[:, 1], np.s_[::-1, ..., ::2], ...], ids=str)
def test_at(name, index):
    a, x = mx.array(X), X.copy()
    result = getattr(a.at[index], name)(2)
    x[index] = getattr(np, name)(x[index], np.float32(2))
    assert_close(result, x)
    assert_close(a, X)


def test_at_converts_the_value():
    assert mx.array([1, 3]).at[1].multiply(2.5).tolist() == [1, 6]
    with pytest.raises(ValueError, match="at"):
        mx.array([1]).at.add(1)
