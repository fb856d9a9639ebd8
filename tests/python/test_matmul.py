import narrows.core as mx
import numpy as np
import pytest
from support import NUMPY, assert_close, from_numpy, name_of, to_numpy

SHAPES = [
    ((3, 4), (4, 5)),
    ((64, 70), (70, 33)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((4,), (4,)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (6, 4, 5)),
    ((1, 4), (4, 1)),
    ((0, 4), (4, 5)),
    ((3, 0), (0, 5)),
]
DTYPES = [mx.float16, mx.bfloat16, mx.float32, mx.float64, mx.complex64]


def numbers(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    x = x + 1j * rng.normal(size=shape) if dtype == mx.complex64 else x
    a = from_numpy(x.astype(NUMPY[dtype]), dtype)
    return a, to_numpy(a)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("a_shape, b_shape", SHAPES, ids=str)
def test_matmul(a_shape, b_shape, dtype):
    a, x = numbers(a_shape, dtype, 0)
    b, y = numbers(b_shape, dtype, 1)
    kind = np.complex128 if dtype == mx.complex64 else np.float64
    expected = x.astype(kind) @ y.astype(kind)
    assert (a @ b).dtype == dtype
    assert_close(a @ b, expected, scale=12)


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=name_of)
def test_layouts(dtype):
    a, x = numbers((40, 30), dtype, 0)
    b, y = numbers((40, 50), dtype, 1)
    for ours, theirs in [
        (a.T @ b, x.T @ y),
        (b.T @ a, y.T @ x),
        (a[::2].T @ b[::2], x[::2].T @ y[::2]),
        (a[:, ::-1].T @ b, x[:, ::-1].T @ y),
        (mx.broadcast_to(a[:1], (40, 30)).T @ b, np.broadcast_to(x[:1], (40, 30)).T @ y),
    ]:
        assert_close(ours, theirs.astype(np.float64), scale=30)


def test_products():
    a, x = numbers((3, 4), mx.float32, 0)
    b, y = numbers((4, 5), mx.float32, 1)
    c, z = numbers((5,), mx.float32, 2)
    assert_close(mx.addmm(c, a, b, 0.5, 2.0), 0.5 * (x @ y) + 2 * z, scale=5)
    assert_close(mx.inner(a, a), np.inner(x, x), scale=5)
    assert_close(mx.outer(a, b), np.outer(x, y), scale=5)
    assert_close(mx.tensordot(a, b, 1), np.tensordot(x, y, 1), scale=5)
    assert_close(mx.tensordot(a, b, [[1], [0]]), x @ y, scale=5)
    assert_close(mx.kron(a, b), np.kron(x, y), scale=5)
    assert_close(mx.vecdot(a, a), (x * x).sum(-1), scale=5)
