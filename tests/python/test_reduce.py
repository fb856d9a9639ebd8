import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, FLOATING, NUMPY, assert_close, from_numpy, name_of, to_numpy

AXES = [None, 0, 1, -1, (0, 1), (0, 2), (), (2, 0, 1)]
VIEWS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: a.T,
    "strided": lambda a: a[:, ::2, ::-1],
    "broadcast": lambda a: a[:, :1],
}
SHAPE = (3, 8, 21)


def values(dtype, seed=0):
    rng = np.random.default_rng(seed)
    if dtype in FLOATING or dtype == mx.complex64:
        x = rng.uniform(0.5, 1.5, SHAPE)
        x = x + 1j * rng.uniform(0, 1, SHAPE) if dtype == mx.complex64 else x
        return to_numpy(from_numpy(x.astype(NUMPY[dtype]), dtype))
    return rng.integers(0, 3, SHAPE).astype(NUMPY[dtype])


def wide(x):
    return x.astype(np.float64) if x.dtype.kind == "f" else x


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("name", ["sum", "min", "max", "all", "any", "mean", "var"])
def test_reductions(name, dtype, view):
    x, a = VIEWS[view](values(dtype)), VIEWS[view](from_numpy(values(dtype), dtype))
    for axis in AXES:
        for keepdims in [False, True]:
            expected = getattr(np, name)(wide(x), axis=axis, keepdims=keepdims)
            actual = getattr(mx, name)(a, axis=axis, keepdims=keepdims)
            if actual.dtype not in [*FLOATING, mx.complex64] and name == "sum":
                expected = expected.astype(NUMPY[actual.dtype])
            assert_close(actual, expected, scale=20)
            assert getattr(a, name)(axis, keepdims).shape == expected.shape


def test_result_dtypes():
    for dtype, expected in [
        (mx.bool_, mx.int32),
        (mx.int8, mx.int32),
        (mx.uint8, mx.uint32),
        (mx.int64, mx.int64),
        (mx.float16, mx.float16),
        (mx.complex64, mx.complex64),
    ]:
        assert mx.sum(mx.ones((2,), dtype)).dtype == expected
    assert mx.mean(mx.ones((2,), mx.int8)).dtype == mx.float32
    assert mx.argmax(mx.ones((2,))).dtype == mx.uint32


def test_prod_and_moments():
    x = np.random.default_rng(0).uniform(0.5, 1.5, (5, 6)).astype(np.float32)
    a = mx.array(x)
    assert_close(mx.prod(a, axis=1), x.prod(axis=1), scale=10)
    for ddof in [0, 1]:
        assert_close(a.var(0, ddof=ddof), x.var(0, ddof=ddof), scale=10)
        assert_close(mx.std(a, ddof=ddof), x.std(ddof=ddof), scale=10)
        assert_close(a.std(correction=ddof), x.std(ddof=ddof), scale=10)
    low, high = mx.minmax(a, axis=0)
    assert_close(low, x.min(0))
    assert_close(high, x.max(0))
    assert mx.count_nonzero(mx.array([0, 1, 2])).item() == 2


@pytest.mark.parametrize("name", ["argmin", "argmax"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_arg_reductions(name, axis):
    x = np.random.default_rng(1).integers(0, 50, (7, 33)).astype(np.float32)
    for view in [lambda a: a, lambda a: a.T, lambda a: a[::-2, ::3]]:
        expected = getattr(np, name)(view(x), axis=axis)
        assert_close(getattr(mx, name)(view(mx.array(x)), axis=axis), expected)


def test_no_elements():
    empty = mx.zeros((0, 3))
    assert mx.sum(empty).item() == 0 and mx.prod(empty).item() == 1
    assert mx.all(empty).item() is True and mx.any(empty).item() is False
    assert mx.sum(empty, axis=1).shape == (0,) and mx.max(empty, axis=1).shape == (0,)
    assert np.isnan(mx.mean(empty).item())
    for apply in [mx.min, mx.max, mx.argmin, mx.argmax]:
        with pytest.raises(ValueError):
            apply(empty)


def test_nan_wins():
    a = mx.array([1.0, float("nan"), 3.0])
    assert np.isnan(mx.max(a).item()) and np.isnan(mx.min(a).item())
    assert mx.argmax(a).item() == 1 and mx.argmin(a).item() == 1


def test_large_sums_are_accurate():
    x = np.random.default_rng(2).uniform(0, 1, 1_000_003).astype(np.float32)
    assert_close(mx.sum(mx.array(x)), x.astype(np.float64).sum(), scale=2)
    half = mx.ones((5000,), mx.float16)
    assert mx.sum(half).item() == 5000 and mx.mean(half).item() == 1


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_scans(reverse, inclusive, axis):
    x = np.random.default_rng(3).uniform(0.5, 1.5, (6, 9)).astype(np.float32)
    options = {"axis": axis, "reverse": reverse, "inclusive": inclusive}
    kept = 0 if axis is None else axis
    flat = x.reshape(-1) if axis is None else x

    def scan(ufunc, start):
        y = np.flip(flat, kept) if reverse else flat
        total = ufunc.accumulate(y.astype(np.float64), axis=kept)
        if not inclusive:
            total = np.roll(total, 1, axis=kept)
            total[(slice(None),) * kept + (0,)] = start
        return np.flip(total, kept) if reverse else total

    a = mx.array(x)
    assert_close(mx.cumsum(a, **options), scan(np.add, 0), scale=10)
    assert_close(a.cumprod(**options), scan(np.multiply, 1), scale=10)
    assert_close(mx.cummax(a, **options), scan(np.maximum, -np.inf))
    assert_close(mx.cummin(a, **options), scan(np.minimum, np.inf))
    assert_close(mx.logcumsumexp(a, **options), scan(np.logaddexp, -np.inf), scale=10)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_softmax(axis):
    x = np.random.default_rng(4).normal(size=(6, 90)).astype(np.float32) * 20
    for view in [lambda a: a, lambda a: a.T]:
        y = view(x).astype(np.float64)
        e = np.exp(y - y.max(axis=axis, keepdims=True))
        total = e.sum(axis=axis, keepdims=True)
        a = view(mx.array(x))
        assert_close(mx.softmax(a, axis=axis), e / total, scale=5)
        expected = np.log(e.sum(axis=axis)) + y.max(axis=axis)
        assert_close(mx.logsumexp(a, axis=axis), expected, scale=5)
    assert mx.softmax(mx.array([1, 2])).dtype == mx.float32
