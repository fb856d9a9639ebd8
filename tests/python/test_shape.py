import narrows.core as mx
import numpy as np
import pytest
from support import assert_close, name_of

X = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
A = mx.array(X)
V = np.arange(5, dtype=np.float32)
M = np.arange(6, dtype=np.float32).reshape(2, 3)
SAME = [
    ("reshape", lambda: mx.reshape(A, (4, -1)), lambda: X.reshape(4, -1)),
    ("reshape view", lambda: mx.reshape(A.T, (12, 2)), lambda: X.T.reshape(12, 2)),
    ("reshape method", lambda: A.reshape(4, 6), lambda: X.reshape(4, 6)),
    ("reshape tuple", lambda: A.reshape((4, 6)), lambda: X.reshape(4, 6)),
    ("flatten", lambda: A.flatten(), lambda: X.reshape(-1)),
    ("flatten axes", lambda: mx.flatten(A, 1, 2), lambda: X.reshape(2, 12)),
    ("unflatten", lambda: mx.unflatten(A, 2, (2, -1)), lambda: X.reshape(2, 3, 2, 2)),
    ("transpose", lambda: mx.transpose(A), lambda: X.T),
    ("transpose axes", lambda: A.transpose(2, 0, 1), lambda: X.transpose(2, 0, 1)),
    ("permute_dims", lambda: mx.permute_dims(A, (1, 0, 2)), lambda: X.transpose(1, 0, 2)),
    ("swapaxes", lambda: A.swapaxes(0, -1), lambda: X.swapaxes(0, -1)),
    ("moveaxis", lambda: A.moveaxis(0, 2), lambda: np.moveaxis(X, 0, 2)),
    ("matrix_transpose", lambda: mx.matrix_transpose(A), lambda: X.swapaxes(1, 2)),
    ("expand_dims", lambda: mx.expand_dims(A, (0, 3)), lambda: np.expand_dims(X, (0, 3))),
    ("squeeze", lambda: mx.squeeze(A[:1]), lambda: X[:1].squeeze()),
    ("squeeze axis", lambda: A[:1].squeeze(0), lambda: X[:1].squeeze(0)),
    ("diagonal", lambda: A.diagonal(1, 1, 2), lambda: X.diagonal(1, 1, 2)),
    ("diag", lambda: mx.diag(mx.array(V), 1), lambda: np.diag(V, 1)),
    ("diag matrix", lambda: mx.array(M).diag(-1), lambda: np.diag(M, -1)),
    ("flip", lambda: mx.flip(A), lambda: np.flip(X)),
    ("flip axis", lambda: mx.flip(A, (0, 2)), lambda: np.flip(X, (0, 2))),
    ("broadcast_to", lambda: mx.broadcast_to(mx.array(V), (3, 5)),
     lambda: np.broadcast_to(V, (3, 5))),
    ("contiguous", lambda: mx.contiguous(A.T), lambda: X.T),
    ("concatenate", lambda: mx.concatenate([A, A], 1), lambda: np.concatenate([X, X], 1)),
    ("concatenate flat", lambda: mx.concat([A, mx.array(V)], None),
     lambda: np.concatenate([X, V], None)),
    ("stack", lambda: mx.stack([A, A], -1), lambda: np.stack([X, X], -1)),
    ("repeat", lambda: mx.repeat(A, 2, 1), lambda: np.repeat(X, 2, 1)),
    ("repeat flat", lambda: mx.repeat(A, 3), lambda: np.repeat(X, 3)),
    ("tile", lambda: mx.tile(A, (2, 1, 1, 2)), lambda: np.tile(X, (2, 1, 1, 2))),
    ("roll", lambda: mx.roll(A, 5), lambda: np.roll(X, 5)),
    ("roll axes", lambda: mx.roll(A, (1, -2), (0, 2)), lambda: np.roll(X, (1, -2), (0, 2))),
    ("pad", lambda: mx.pad(A, 1, constant_values=2), lambda: np.pad(X, 1, constant_values=2)),
    ("pad pairs", lambda: mx.pad(A, [(0, 1), (2, 0), (0, 0)]),
     lambda: np.pad(X, [(0, 1), (2, 0), (0, 0)])),
    ("pad edge", lambda: mx.pad(A, (1, 2), mode="edge"), lambda: np.pad(X, (1, 2), mode="edge")),
    ("as_strided", lambda: mx.as_strided(A, (3, 2), (1, 2), 1),
     lambda: np.lib.stride_tricks.as_strided(X.reshape(-1)[1:], (3, 2), (4, 8))),
    ("tri", lambda: mx.tri(3, 4, 1), lambda: np.tri(3, 4, 1)),
    ("tril", lambda: mx.tril(A, -1), lambda: np.tril(X, -1)),
    ("triu", lambda: mx.triu(A, 1), lambda: np.triu(X, 1)),
    ("eye", lambda: mx.eye(3, 4, k=1), lambda: np.eye(3, 4, k=1)),
    ("arange", lambda: mx.arange(10, 1, -3), lambda: np.arange(10, 1, -3)),
    ("arange float", lambda: mx.arange(0, 1, 0.3), lambda: np.arange(0, 1, 0.3)),
    ("linspace", lambda: mx.linspace(0, 1, 7), lambda: np.linspace(0, 1, 7)),
    ("full", lambda: mx.full((2, 3), mx.array([1, 2, 3])), lambda: np.full((2, 3), [1, 2, 3])),
    ("clip", lambda: mx.clip(A, 3, 7), lambda: np.clip(X, 3, 7)),
    ("round", lambda: mx.round(A / 7, 2), lambda: np.round(X / np.float32(7), 2)),
    ("diff", lambda: mx.diff(A * A, 2), lambda: np.diff(X * X, 2)),
    ("trace", lambda: mx.trace(A, 0, 1, 2), lambda: np.trace(X, 0, 1, 2)),
    ("trunc", lambda: mx.trunc(mx.array([-1.5, 1.5])), lambda: np.array([-1.0, 1.0])),
    ("degrees", lambda: mx.degrees(A), lambda: np.degrees(X)),
    ("isclose", lambda: mx.isclose(A, A + 1e-7), lambda: np.isclose(X, X + np.float32(1e-7))),
]  # fmt: skip


@pytest.mark.parametrize("name, ours, theirs", SAME, ids=[row[0] for row in SAME])
def test_same_as_numpy(name, ours, theirs):
    assert_close(ours(), theirs())


# Many times the array, of several sizes, and where the mirrors begin and end.
@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
@pytest.mark.parametrize("width", [(40, 0), (0, 41), (57, 58), (1000, 3)], ids=str)
def test_padding_with_many_mirrors(mode, width):
    for n in (2, 3, 5):
        x = np.arange(2.0 * n, dtype=np.float32).reshape(2, n)
        widths = ((0, 0), width)
        assert np.array_equal(mx.pad(mx.array(x), widths, mode=mode), np.pad(x, widths, mode))
        padded = mx.pad(mx.array(x), (width, (0, 0)), mode=mode)
        assert np.array_equal(padded, np.pad(x, (width, (0, 0)), mode))
        counts = mx.grad(lambda a, widths=widths: mx.pad(a, widths, mode=mode).sum())(mx.array(x))
        places = np.pad(np.arange(n), width, mode)
        assert np.array_equal(counts, np.tile(np.bincount(places, minlength=n), (2, 1)))


def test_padding_with_more_mirrors_than_memory_holds(memory):
    memory.set_memory_limit(1 << 28, strict=True)
    before = mx.get_pending_nodes()
    padded = [mx.pad(mx.ones(3), 2**40, mode=mode) for mode in ("reflect", "symmetric", "edge")]
    assert mx.get_pending_nodes() - before < 100
    for a in padded:
        with pytest.raises(MemoryError, match="cannot allocate"):
            mx.eval(a)


# From empty arrays, whose other dimensions may be any.
TOO_LARGE = {
    "sum": lambda: mx.sum(mx.zeros((2**62, 0)), 1),
    "all": lambda: mx.all(mx.zeros((2**62, 0)), 1),
    "matmul": lambda: mx.matmul(mx.zeros((2**40, 0)), mx.zeros((0, 2**40))),
    "det": lambda: mx.linalg.det(mx.zeros((2**62, 0, 0)), stream=mx.cpu),
    "slogdet": lambda: mx.linalg.slogdet(mx.zeros((2**62, 0, 0)), stream=mx.cpu),
    "pad": lambda: mx.pad(mx.zeros((2**62, 0)), ((0, 0), (0, 1))),
    "fft": lambda: mx.fft.fft(mx.zeros((2**61, 0)), 3),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_results_with_more_elements_than_can_be_counted(name):
    with pytest.raises(ValueError, match="more elements than"):
        TOO_LARGE[name]()


def test_several_outputs():
    for ours, theirs in [
        (mx.split(A, 2, axis=2), np.split(X, 2, axis=2)),
        (A.split([1, 2], axis=1), np.split(X, [1, 2], axis=1)),
        (mx.unstack(A, axis=1), [X[:, i] for i in range(3)]),
        (mx.meshgrid(mx.array(V), mx.array(V[:2])), np.meshgrid(V, V[:2])),
        (mx.broadcast_arrays(A, mx.array(X[:1])), np.broadcast_arrays(X, X[:1])),
        (mx.divmod(A, 5), np.divmod(X, np.float32(5))),
    ]:
        assert len(ours) == len(theirs)
        for a, x in zip(ours, theirs, strict=True):
            assert_close(a, x)


def test_at_least():
    assert mx.atleast_1d(mx.array(1)).shape == (1,)
    assert [a.shape for a in mx.atleast_2d(mx.array(1), mx.ones((3,)))] == [(1, 1), (1, 3)]
    assert mx.atleast_3d(mx.ones((2, 3))).shape == (2, 3, 1)
    assert mx.broadcast_shapes((1, 2), (3, 1)) == (3, 2)


def test_view_of_bytes():
    assert mx.array([1, 256], mx.int16).view(mx.uint8).tolist() == [1, 0, 0, 1]
    assert mx.array([1.0]).view(mx.int32).item() == 0x3F800000


def test_defaults_of_creation():
    assert mx.zeros(3).dtype == mx.float32 and mx.zeros((2,), None).dtype == mx.float32
    assert mx.full((2,), True).dtype == mx.bool_ and mx.full(2, 1.5).dtype == mx.float32
    assert mx.arange(3).dtype == mx.int32 and mx.arange(3.0).dtype == mx.float32
    assert mx.arange(stop=3).tolist() == [0, 1, 2] and mx.arange(2**40, 2**40 + 1).size == 1
    assert mx.full_like(mx.array([1, 2]), 1.5).dtype == mx.int32
    assert mx.zeros_like(A).shape == A.shape and mx.ones_like(A, mx.int8).dtype == mx.int8
    assert mx.array_equal(mx.identity(2), mx.eye(2)).item() is True
    assert mx.allclose(A, A).item() is True


INF = float("inf")
NAN = float("nan")
NUMBERS = [getattr(mx, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
NUMBERS += [mx.float16, mx.bfloat16, mx.float32, mx.float64, mx.complex64]
ARANGES = [
    ((3,), [0, 1, 2]),
    ((5, 2, -2), [5, 3]),
    ((3, 3), []),
    ((5, 0), []),
    # A step beyond the end, however large.
    ((0, 3, 1e300), [0]),
    ((0, 3, INF), [0]),
    ((3, 0, -INF), [3]),
    ((0, 3, -INF), []),
    ((3, 0, INF), []),
    ((0, 0, INF), []),
]


@pytest.mark.parametrize("dtype", NUMBERS, ids=name_of)
@pytest.mark.parametrize("bounds, expected", ARANGES)
def test_arange_of_every_dtype(bounds, expected, dtype):
    x = mx.arange(*bounds, dtype=dtype)
    assert x.tolist() == expected and x.dtype == dtype


@pytest.mark.parametrize("bounds", [(0, INF), (-INF, 0), (0, 3, NAN), (NAN, 3), (0, INF, INF)])
def test_arange_without_a_length(bounds):
    for dtype in [mx.int32, mx.float32, mx.complex64, None]:
        with pytest.raises(ValueError, match="arange"):
            mx.arange(*bounds, dtype=dtype)


def test_arange_of_complex_fractions():
    assert mx.arange(0.0, 1.5, 0.5, dtype=mx.complex64).tolist() == [0, 0.5, 1]
    with pytest.raises(ValueError, match="bool"):
        mx.arange(3, dtype=mx.bool_)
