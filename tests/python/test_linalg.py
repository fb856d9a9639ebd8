"""Linear algebra against NumPy: factors, solutions, eigenvalues, norms."""

import narrows.core as mx
import numpy as np
import pytest
from support import NUMPY, from_numpy, name_of, to_numpy

L = mx.linalg
DTYPES = [mx.float32, mx.float64, mx.complex64]
EPSILON = {mx.float32: 1.2e-7, mx.float64: 2.3e-16, mx.complex64: 1.2e-7}
BATCHES = [(), (3,), (2, 1, 2), (0,), (70,)]
by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=name_of)


def matrix(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    if dtype == mx.complex64:
        values = values + 1j * rng.normal(size=shape)
    return values.astype(NUMPY[dtype])


def adjoint(a):
    return np.conj(np.swapaxes(a, -1, -2))


def positive(shape, dtype, seed=0):
    a = matrix(shape, dtype, seed)
    return (a @ adjoint(a) + shape[-1] * np.eye(shape[-1])).astype(a.dtype)


def well_conditioned(shape, dtype, seed=0):
    a = matrix(shape, dtype, seed)
    return (a + 2 * shape[-1] * np.eye(*shape[-2:])).astype(a.dtype)


def check(actual, expected, dtype, size=8, scale=None):
    """Within some rounding errors of the largest element."""
    found = to_numpy(actual) if isinstance(actual, mx.array) else actual
    assert found.shape == np.shape(expected), (found.shape, np.shape(expected))
    if found.size:
        scale = scale if scale is not None else max(1, np.abs(expected).max())
        tolerance = 60 * size * EPSILON[dtype] * scale
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


LAYOUTS = {
    "plain": lambda a: a,
    "transposed": lambda a: mx.swapaxes(mx.contiguous(mx.swapaxes(a, -1, -2)), -1, -2),
    "strided": lambda a: mx.repeat(a, 2, axis=-1)[..., ::2],
}


@by_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_square_matrices(n, layout, dtype):
    """Functions of one matrix that NumPy has, too."""
    rows = [
        (L.inv, np.linalg.inv, well_conditioned),
        (L.cholesky, np.linalg.cholesky, positive),
        (lambda a: L.cholesky(a, upper=True), lambda a: adjoint(np.linalg.cholesky(a)), positive),
        (L.eigvalsh, np.linalg.eigvalsh, positive),
        (lambda a: L.cholesky_inv(L.cholesky(a)), np.linalg.inv, positive),
        (lambda a: L.cholesky_inv(L.cholesky(a, True), True), np.linalg.inv, positive),
        (L.pinv, np.linalg.pinv, well_conditioned),
        (L.tri_inv, lambda a: np.linalg.inv(np.tril(a)), well_conditioned),
        (lambda a: L.tri_inv(a, True), lambda a: np.linalg.inv(np.triu(a)), well_conditioned),
    ]
    for batch in BATCHES:
        for ours, theirs, make in rows:
            a = make((*batch, n, n), dtype)
            result = ours(LAYOUTS[layout](from_numpy(a, dtype)))
            check(result, theirs(a), dtype, n)
            assert result.dtype == (
                mx.float32 if ours is L.eigvalsh and dtype == mx.complex64 else dtype
            )


@by_dtype
@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_determinants(n, dtype):
    for batch in BATCHES:
        a = matrix((*batch, n, n), dtype)
        expected = np.linalg.det(a)
        found = L.det(from_numpy(a, dtype))
        assert found.dtype == dtype
        scale = np.abs(expected).max() if expected.size else 1
        check(found, expected, dtype, n * 4, scale)
        sign, logarithm = L.slogdet(from_numpy(a, dtype))
        theirs = np.linalg.slogdet(a)
        check(sign, theirs[0], dtype, n * 4)
        check(logarithm, theirs[1], dtype, n * 4)


def test_determinants_of_other_matrices():
    zeros = mx.zeros((2, 3, 3))
    assert L.det(zeros).tolist() == [0, 0]
    sign, logarithm = L.slogdet(zeros)
    assert sign.tolist() == [0, 0] and logarithm.tolist() == [-np.inf, -np.inf]
    assert L.det(mx.zeros((0, 0))).item() == 1
    assert [x.item() for x in L.slogdet(mx.zeros((0, 0)))] == [1, 0]
    integers = L.det(mx.array([[1, 2], [3, 4]]))
    assert integers.dtype == mx.float32 and integers.item() == pytest.approx(-2)
    for dtype in (mx.float16, mx.bfloat16):
        assert L.det(mx.eye(3, dtype=dtype) * 2).item() == 8
        assert L.det(mx.eye(3, dtype=dtype)).dtype == dtype
        assert [x.dtype for x in L.slogdet(mx.eye(3, dtype=dtype))] == [dtype] * 2


@by_dtype
@pytest.mark.parametrize(
    "a_batch, b_shape",
    [
        ((), (5,)),
        ((), (5, 1)),
        ((), (5, 7)),
        ((3,), (3, 5, 2)),
        ((3,), (5,)),
        ((3,), (5, 2)),
        ((), (3, 5, 2)),
        ((2, 1), (4, 5, 2)),
        ((0,), (5, 2)),
        ((), (5, 0)),
    ],
)
def test_solutions(a_batch, b_shape, dtype):
    a, b = well_conditioned((*a_batch, 5, 5), dtype), matrix(b_shape, dtype, 1)
    ours = [from_numpy(x, dtype) for x in (a, b)]
    as_matrix = b[:, None] if b.ndim == 1 else b
    rows = [
        (L.solve(*ours), a),
        (L.solve_triangular(*ours), np.tril(a)),
        (L.solve_triangular(*ours, upper=True), np.triu(a)),
    ]
    for found, of in rows:
        expected = np.linalg.solve(of, as_matrix)
        check(found, expected[..., 0] if b.ndim == 1 else expected, dtype)


def test_pivoting():
    a = np.array([[0, 2, 1], [1, 0, 0], [3, 0, 1e-3]], np.float32)
    b = np.arange(6, dtype=np.float32).reshape(3, 2)
    check(L.solve(mx.array(a), mx.array(b)), np.linalg.solve(a, b), mx.float32, 3)


SHAPES = [(1, 1), (4, 4), (6, 3), (3, 6), (1, 5), (5, 1), (40, 33)]


@by_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_lu(shape, dtype):
    k = min(shape)
    for batch in BATCHES:
        a = matrix((*batch, *shape), dtype)
        rows, lower, upper = L.lu(from_numpy(a, dtype))
        assert rows.shape == (*batch, shape[0]) and rows.dtype == mx.uint32
        assert lower.shape == (*batch, shape[0], k) and upper.shape == (*batch, k, shape[1])
        lower, upper, rows = (to_numpy(x) for x in (lower, upper, rows))
        assert (np.triu(lower, 1) == 0).all() and (np.tril(upper, -1) == 0).all()
        assert (np.abs(np.diagonal(lower, 0, -2, -1)) == 1).all()
        permuted = np.take_along_axis(lower, rows[..., None].astype(np.int64), -2)
        check(permuted @ upper, a, dtype, max(shape))
        factors, pivots = L.lu_factor(from_numpy(a, dtype))
        assert pivots.shape == (*batch, k) and pivots.dtype == mx.uint32
        found = to_numpy(factors)
        assert (np.triu(found[..., :k, :]) == upper).all()
        assert (np.tril(found[..., :, :k], -1) == np.tril(lower, -1)).all()
        flat, swaps = a.reshape(-1, *shape), to_numpy(pivots).reshape(-1, k)
        products = (lower @ upper).reshape(-1, *shape)
        for one, swap, product in zip(flat, swaps, products):
            one = one.copy()
            for i, j in enumerate(swap):
                one[[i, j]] = one[[j, i]]
            check(product, one, dtype, max(shape))


@by_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_qr(shape, dtype):
    k = min(shape)
    for batch in BATCHES:
        a = matrix((*batch, *shape), dtype)
        q, r = (to_numpy(x) for x in L.qr(from_numpy(a, dtype)))
        assert q.shape == (*batch, shape[0], k) and r.shape == (*batch, k, shape[1])
        assert (np.tril(r, -1) == 0).all()
        check(q @ r, a, dtype, max(shape))
        check(adjoint(q) @ q, np.broadcast_to(np.eye(k), (*batch, k, k)), dtype, k)


@by_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_svd(shape, dtype):
    m, n = shape
    k = min(shape)
    for batch in BATCHES:
        a = matrix((*batch, *shape), dtype)
        u, s, vt = L.svd(from_numpy(a, dtype))
        assert s.dtype == (mx.float32 if dtype == mx.complex64 else dtype)
        expected = np.linalg.svd(a, compute_uv=False)
        check(s, expected, dtype, m + n)
        check(L.svd(from_numpy(a, dtype), compute_uv=False), expected, dtype, m + n)
        u, s, vt = (to_numpy(x) for x in (u, s, vt))
        assert u.shape == (*batch, m, m) and vt.shape == (*batch, n, n)
        check((u[..., :k] * s[..., None, :]) @ vt[..., :k, :], a, dtype, m + n)
        for x in (u, adjoint(vt)):
            size = x.shape[-1]
            identity = np.broadcast_to(np.eye(size), (*batch, size, size))
            check(adjoint(x) @ x, identity, dtype, size)
        check(L.pinv(from_numpy(a, dtype)), np.linalg.pinv(a), dtype, 400)


@by_dtype
@pytest.mark.parametrize("uplo", "LUlu")
@pytest.mark.parametrize("n", [1, 3, 30])
def test_hermitian_eigenvalues(n, uplo, dtype):
    for batch in BATCHES:
        a = matrix((*batch, n, n), dtype)  # the other triangle is not read
        half = np.tril(a, -1) if uplo in "Ll" else np.triu(a, 1)
        diagonal = np.real(np.diagonal(a, 0, -2, -1))
        whole = half + adjoint(half) + np.eye(n) * diagonal[..., None, :]
        values, vectors = L.eigh(from_numpy(a, dtype), uplo)
        expected = np.linalg.eigvalsh(whole)
        check(values, expected, dtype, n)
        check(L.eigvalsh(from_numpy(a, dtype), UPLO=uplo), expected, dtype, n)
        values, vectors = to_numpy(values), to_numpy(vectors)
        check(whole @ vectors, vectors * values[..., None, :], dtype, 4 * n)
        identity = np.broadcast_to(np.eye(n), (*batch, n, n))
        check(adjoint(vectors) @ vectors, identity, dtype, n)


@by_dtype
@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_eigenvalues(n, dtype):
    for batch in BATCHES:
        a = matrix((*batch, n, n), dtype, 5)
        values, vectors = L.eig(from_numpy(a, dtype))
        assert values.dtype == vectors.dtype == mx.complex64
        values, vectors = to_numpy(values), to_numpy(vectors)
        assert values.shape == (*batch, n) and vectors.shape == (*batch, n, n)
        product = (a @ vectors).astype(np.complex64)
        check(product, vectors * values[..., None, :], mx.float32, 10 * n)
        lengths = np.linalg.norm(vectors, axis=-2)
        check(lengths, np.ones(lengths.shape), mx.float32)
        alone = to_numpy(L.eigvals(from_numpy(a, dtype)))
        for one, other in zip(alone.reshape(-1, n), values.reshape(-1, n)):
            distances = np.abs(one[:, None] - other[None, :])
            assert (distances.min(0) < 1e-3).all() and (distances.min(1) < 1e-3).all()


def test_empty_matrices():
    a = mx.zeros((0, 0))
    for function in (L.inv, L.cholesky, L.pinv, L.eigvals, L.eigvalsh, L.tri_inv):
        assert function(a).shape in [(0, 0), (0,)]
    assert [x.shape for x in L.qr(mx.zeros((3, 0)))] == [(3, 0), (0, 0)]
    assert [x.shape for x in L.lu(mx.zeros((0, 3)))] == [(0,), (0, 0), (0, 3)]
    u, s, vt = L.svd(mx.zeros((2, 3, 0)))
    assert (s.shape, vt.shape) == ((2, 0), (2, 0, 0)) and u.tolist() == [np.eye(3).tolist()] * 2
    assert to_numpy(L.lu(mx.zeros((2, 0)))[0]).tolist() == [0, 1]
    assert L.solve(a, mx.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(bad):
    """LAPACK's iterations need not end for these."""
    a = mx.array([[1.0, bad], [bad, 1.0]])
    results = [*L.eigh(a), *L.eig(a), *L.svd(a), L.eigvals(a), L.eigvalsh(a), L.svd(a, False)]
    assert all(np.isnan(to_numpy(x)).all() for x in results)
    both = mx.stack([a, mx.eye(2)])
    assert L.eigvalsh(both)[1].tolist() == [1, 1]


WRONG_VALUES = {
    "inv": (lambda: L.inv(mx.zeros((2, 2))), "singular"),
    "solve": (lambda: L.solve(mx.ones((2, 2)), mx.ones((2,))), "singular"),
    "in a batch": (lambda: L.inv(mx.stack([mx.eye(2), mx.zeros((2, 2))] * 40)), "singular"),
    "cholesky": (lambda: L.cholesky(-mx.eye(2)), "leading 1 rows and columns"),
    "second": (lambda: L.cholesky(mx.array([[1.0, 2.0], [2.0, 1.0]])), "leading 2 rows"),
    "tri_inv": (lambda: L.tri_inv(mx.array([[1.0, 0], [1, 0]])), r"element \(1, 1\)"),
    "triangular": (
        lambda: L.solve_triangular(mx.zeros((1, 1)), mx.ones((1,))),
        r"element \(0, 0\)",
    ),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_values_that_have_no_result(name):
    make, message = WRONG_VALUES[name]
    result = make()
    after = result + 1
    for _ in range(2):  # nothing is broken by it
        with pytest.raises(ValueError, match=rf"\[linalg\.\w+\] .*{message}"):
            mx.eval(after)
    assert L.inv(mx.eye(2)).tolist() == [[1, 0], [0, 1]]


SQUARE = "inv tri_inv cholesky cholesky_inv det slogdet eig eigh eigvals eigvalsh".split()
ANY = ["lu", "lu_factor", "qr", "svd", "pinv"]


@pytest.mark.parametrize("name", SQUARE + ANY)
def test_wrong_arguments(name):
    function = getattr(L, name)
    with pytest.raises(ValueError, match=rf"\[linalg.{name}\] array of shape \(3,\)"):
        function(mx.ones((3,)))
    if name in SQUARE:
        with pytest.raises(ValueError, match=rf"\[linalg.{name}\] array of shape \(2, 3\), expec"):
            function(mx.ones((2, 3)))
    if "det" not in name:
        for dtype in (mx.int32, mx.float16, mx.bool_):
            with pytest.raises(ValueError, match=rf"\[linalg.{name}\] dtype {name_of(dtype)[:4]}"):
                function(mx.ones((2, 2), dtype=dtype))


OTHER_ERRORS = [
    (lambda: L.solve(mx.ones((2, 3)), mx.ones((2,))), r"\[linalg.solve\] array of shape \(2, 3\)"),
    (lambda: L.solve(mx.ones((2, 2)), mx.ones((3,))), r"right sides of shape \(3,\)"),
    (lambda: L.solve(mx.ones((2, 2)), mx.array(1.0)), r"right sides of shape \(\)"),
    (lambda: L.solve(mx.ones((2, 2, 2)), mx.ones((3, 2, 1))), "broadcast"),
    (lambda: L.solve(mx.ones((2, 2), dtype=mx.int32), mx.ones((2,), dtype=mx.int32)), "int32"),
    (lambda: L.eigh(mx.eye(2), "X"), r"\[linalg.eigh\] UPLO 'X', expected 'L' or 'U'"),
    (lambda: L.norm(mx.ones((2, 2)), 3), r"order 3 of matrices"),
    (lambda: L.norm(mx.ones((2, 2)), "x"), r"order 'x' along 2 axes"),
    (lambda: L.norm(mx.ones((2,)), "fro"), r"order 'fro' along 1 axes"),
    (lambda: L.norm(mx.ones((2, 2, 2)), 1), "3 axes"),
    (lambda: L.norm(mx.ones((2, 2, 2)), axis=[0, 1, 2]), "3 axes"),
    (lambda: L.norm(mx.array(1.0), 1), "0 axes"),
    (lambda: L.norm(mx.ones((2, 2)), axis=[0, 0]), "axes|axis|repeated"),
    (lambda: L.cross(mx.ones((4,)), mx.ones((4,))), r"array of shape \(4,\) and axis -1"),
]


@pytest.mark.parametrize("number", range(len(OTHER_ERRORS)))
def test_other_errors(number):
    call, message = OTHER_ERRORS[number]
    with pytest.raises(ValueError, match=message):
        call()


ORDERS = [None, 0, 1, -1, 2, -2, 3, 0.5, -1.5, np.inf, -np.inf]
MATRIX_ORDERS = [None, 1, -1, 2, -2, np.inf, -np.inf, "fro", "nuc"]


@pytest.mark.parametrize("dtype", [*DTYPES, mx.float16, mx.int32], ids=name_of)
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms(keepdims, dtype):
    kind = NUMPY[dtype]
    a = (matrix((3, 4, 5), dtype if dtype in DTYPES else mx.float32) * 4).astype(kind)
    x = from_numpy(a, dtype)
    b = a.astype(np.float64 if kind != np.complex64 else kind)
    rows = [(x, b, order, axis) for order in ORDERS for axis in (0, -1, 1)]
    rows += [(x, b, order, axis) for order in MATRIX_ORDERS for axis in ((0, 1), (2, 0), (-1, -2))]
    rows += [(x[0, 0], b[0, 0], order, None) for order in ORDERS]
    rows += [(x[0], b[0], order, None) for order in MATRIX_ORDERS]
    for ours, theirs, order, axis in rows:
        found = L.norm(ours, order, axis=axis, keepdims=keepdims)
        with np.errstate(divide="ignore"):
            expected = np.linalg.norm(theirs, order, axis, keepdims)
        assert found.dtype == {mx.int32: mx.float32, mx.complex64: mx.float32}.get(dtype, dtype)
        tolerance = 3e-3 if dtype == mx.float16 else 1e-4 if dtype != mx.float64 else 1e-10
        np.testing.assert_allclose(to_numpy(found), expected, rtol=tolerance, atol=tolerance)
    whole = L.norm(x, keepdims=keepdims)
    assert whole.shape == ((1, 1, 1) if keepdims else ())
    np.testing.assert_allclose(to_numpy(whole).item(), np.linalg.norm(b.ravel()), rtol=3e-3)
    assert L.norm(mx.array(-3.0)).item() == 3


def test_cross():
    rng = np.random.default_rng(0)
    for a_shape, b_shape, axis in [
        ((3,), (3,), -1),
        ((4, 3), (3,), -1),
        ((3, 4), (3, 4), 0),
        ((2, 1, 3), (5, 3), -1),
        ((4, 3, 2), (4, 3, 2), 1),
    ]:
        a, b = rng.normal(size=a_shape), rng.normal(size=b_shape)
        found = L.cross(mx.array(a), mx.array(b), axis=axis)
        np.testing.assert_allclose(to_numpy(found), np.cross(a, b, axis=axis), rtol=1e-4, atol=1e-5)
    two = L.cross(mx.array([1, 2]), mx.array([3, 4]))
    assert two.tolist() == [0, 0, -2] and two.dtype == mx.int32
    assert L.cross(mx.array([1.0, 2.0]), mx.array([3.0, 4.0, 5.0])).tolist() == [10, -5, -2]


@by_dtype
def test_vmap(dtype):
    a, b = positive((4, 2, 3, 3), dtype), matrix((4, 3, 2), dtype)
    x, y = from_numpy(a, dtype), from_numpy(b, dtype)
    one = [
        *(L.inv, L.cholesky, L.det, L.eigvalsh, L.eigvals, L.pinv, L.norm),
        *(lambda m: L.svd(m)[1], lambda m: L.qr(m)[1], lambda m: L.eigh(m)[0]),
        *(lambda m: L.lu(m)[2], lambda m: L.lu_factor(m)[0], lambda m: L.slogdet(m)[1]),
    ]
    for function in one:
        found = mx.vmap(function, in_axes=1, out_axes=0)(x)
        expected = mx.stack([function(x[:, i]) for i in range(2)])
        check(found, to_numpy(expected), dtype)
    for function in (L.solve, L.solve_triangular):
        for axes in [(1, None), (None, 0)]:
            inputs = (x, y) if axes[0] == 1 else (x[0, 0], y)
            found = mx.vmap(function, in_axes=axes)(*inputs)
            slices = [
                [
                    v if axis is None else mx.take(v, mx.array(i), axis)
                    for v, axis in zip(inputs, axes)
                ]
                for i in range(found.shape[0])
            ]
            check(found, to_numpy(mx.stack([function(*s) for s in slices])), dtype)


def difference(function, a, direction):
    h = 1e-5
    high, low = (to_numpy(function(from_numpy(a + d * direction, mx.float64))) for d in (h, -h))
    return (high - low) / (2 * h)


def weighted(arrays):
    """A number that depends on all elements, and not on signs of vectors."""
    total = mx.array(0.0, dtype=mx.float64)
    for i, a in enumerate(arrays if isinstance(arrays, tuple) else (arrays,)):
        weights = from_numpy(matrix(a.shape, mx.float64, 10 + i), mx.float64)
        total = total + (weights * a).sum()
    return total


def projection(columns):
    return columns @ mx.conj(mx.swapaxes(columns, -1, -2))


def vectors_of(svd, k):
    """What of all singular vectors does not depend on how they are chosen."""
    u, s, vt = svd
    v = mx.conj(mx.swapaxes(vt, -1, -2))
    first = [projection(x[..., :1]) for x in (u, v)]
    further = [projection(x[..., k:]) for x in (u, v) if x.shape[-1] > k]
    return (s, *first, *further, u[..., :k] @ (s[..., None] ** 2 * vt[..., :k, :]))


DERIVATIVES = {
    "inv": (L.inv, well_conditioned, (2, 3, 3)),
    "tri_inv": (L.tri_inv, well_conditioned, (3, 3)),
    "tri_inv upper": (lambda a: L.tri_inv(a, True), well_conditioned, (3, 3)),
    "cholesky_inv": (L.cholesky_inv, well_conditioned, (3, 3)),
    "det": (L.det, well_conditioned, (2, 3, 3)),
    "slogdet": (L.slogdet, well_conditioned, (2, 3, 3)),
    "solve": (lambda a: L.solve(a, a[..., :2] * 2), well_conditioned, (2, 3, 3)),
    "solve_triangular": (
        lambda a: L.solve_triangular(a, a[..., :2] * 2, upper=True),
        well_conditioned,
        (3, 3),
    ),
    "qr tall": (L.qr, matrix, (2, 5, 3)),
    "qr square": (L.qr, matrix, (3, 3)),
    "qr wide": (L.qr, matrix, (3, 5)),
    "svd": (L.svd, matrix, (2, 3, 3)),
    "singular values": (lambda a: L.svd(a, compute_uv=False), matrix, (2, 4, 3)),
    "only s": (lambda a: L.svd(a)[1], matrix, (3, 5)),
    "lu": (lambda a: L.lu(a)[1:], matrix, (2, 3, 3)),
    "lu tall": (lambda a: L.lu(a)[1:], matrix, (5, 3)),
    "lu wide": (lambda a: L.lu(a)[1:], matrix, (2, 3, 5)),
    "only l": (lambda a: L.lu(a)[1], matrix, (4, 4)),
    "lu_factor": (lambda a: L.lu_factor(a)[0], matrix, (2, 3, 3)),
    "lu_factor tall": (lambda a: L.lu_factor(a)[0], matrix, (5, 3)),
    "lu_factor wide": (lambda a: L.lu_factor(a)[0], matrix, (3, 5)),
    "svd tall": (lambda a: vectors_of(L.svd(a), 3), matrix, (2, 5, 3)),
    "svd wide": (lambda a: vectors_of(L.svd(a), 2), matrix, (2, 4)),
    "pinv": (L.pinv, matrix, (4, 3)),
    "norm": (lambda a: L.norm(a, 2), matrix, (3, 4)),
    "nuc": (lambda a: L.norm(a, "nuc"), matrix, (3, 4)),
    "cross": (lambda a: L.cross(a, a[::-1]), matrix, (2, 3)),
    # Functions of Hermitian matrices, which read one triangle.
    "cholesky": (lambda a: L.cholesky(a @ a.T + 3 * mx.eye(3, dtype=a.dtype)), matrix, (3, 3)),
    "cholesky upper": (
        lambda a: L.cholesky(a @ a.T + 3 * mx.eye(3, dtype=a.dtype), True),
        matrix,
        (3, 3),
    ),
    "eigh": (lambda a: L.eigh(a @ a.T), matrix, (3, 3)),
    "eigvalsh": (lambda a: L.eigvalsh(a @ a.T, "U"), matrix, (3, 3)),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name, on_cpu):
    function, make, shape = DERIVATIVES[name]
    a, direction = make(shape, mx.float64, 3), matrix(shape, mx.float64, 4)

    def total(x):
        return weighted(function(x))

    expected = difference(total, a, direction)
    x, d = from_numpy(a, mx.float64), from_numpy(direction, mx.float64)
    backward = (mx.grad(total)(x) * d).sum().item()
    if name != "only s":  # the change of the other two is not defined
        forward = mx.jvp(total, [x], [d])[1][0].item()
        assert forward == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert backward == pytest.approx(expected, rel=1e-6, abs=1e-7)
    # And of the derivative.
    gradient = mx.grad(lambda x: (mx.grad(total)(x) * d).sum())(x)
    second = difference(lambda x: (mx.grad(total)(x) * d).sum(), a, direction)
    assert (gradient * d).sum().item() == pytest.approx(second, rel=1e-4, abs=1e-4)


COMPLEX = {
    "inv": (L.inv, well_conditioned),
    "solve": (lambda a: L.solve(a, a[..., :2] * 2), well_conditioned),
    "det": (L.det, well_conditioned),
    "slogdet": (L.slogdet, well_conditioned),
    "singular values": (lambda a: L.svd(a, compute_uv=False), matrix),
    "cholesky": (lambda a: L.cholesky(a @ mx.conj(a).T + 3 * mx.eye(3)), matrix),
    "eigvalsh": (lambda a: L.eigvalsh(a @ mx.conj(a).T), matrix),
    "lu": (lambda a: L.lu(a)[1:], well_conditioned),
    "lu_factor": (lambda a: L.lu_factor(a)[0], well_conditioned),
    "qr": (L.qr, well_conditioned),
    "qr wide": (lambda a: L.qr(mx.concatenate([a, a * a], -1)), well_conditioned),
    "qr tall": (lambda a: L.qr(mx.concatenate([a, a * a], -2)), well_conditioned),
    "svd": (lambda a: vectors_of(L.svd(a), 3), matrix),
    "svd tall": (lambda a: vectors_of(L.svd(a[:, :2]), 2), matrix),
    "svd wide": (lambda a: vectors_of(L.svd(a[:2]), 2), matrix),
    "eig": (L.eig, matrix),
    "eigvals": (L.eigvals, matrix),
    "eig of real matrices": (lambda a: L.eig(mx.real(a)), matrix),
    "eigvals of real matrices": (lambda a: L.eigvals(mx.real(a)), matrix),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_derivatives(name, on_cpu):
    function, make = COMPLEX[name]
    a, d = make((3, 3), mx.complex64, 3), matrix((3, 3), mx.complex64, 4)

    def total(x):
        results = function(x)
        sums = [
            mx.real(mx.array(matrix(r.shape, mx.complex64, 20 + i)) * r).sum()
            for i, r in enumerate(results if isinstance(results, tuple) else (results,))
        ]
        return sum(sums[1:], sums[0])

    h = 1e-2
    high, low = (total(mx.array((a + step * d).astype(np.complex64))).item() for step in (h, -h))
    expected = (high - low) / (2 * h)
    forward = mx.jvp(total, [mx.array(a)], [mx.array(d)])[1][0].item()
    gradient = to_numpy(mx.grad(total)(mx.array(a)))
    backward = np.real(np.conj(gradient) * d).sum()
    scale = max(1, abs(expected))
    assert forward == pytest.approx(expected, abs=2e-2 * scale)
    assert backward == pytest.approx(forward, abs=1e-3 * scale)


def test_derivatives_of_derivatives_of_eigenvalues(on_cpu):
    a = mx.array(matrix((3, 3), mx.float32, 3))
    d = mx.array(matrix((3, 3), mx.float32, 4))

    def change(x):
        return (mx.grad(lambda x: mx.real(L.eigvals(x) ** 3).sum())(x) * d).sum()

    # The sum of the cubes is the trace of a^3.
    expected = 6 * mx.trace(a @ d @ d).item()
    assert mx.jvp(change, [a], [d])[1][0].item() == pytest.approx(expected, rel=1e-3)


def test_rows_of_factors_have_no_change():
    a, d = mx.array(matrix((3, 3), mx.float32, 3)), mx.ones((3, 3))
    for function in (L.lu, L.lu_factor):
        for found in mx.jvp(function, [a], [d])[1]:
            if found.dtype == mx.uint32:
                assert not mx.any(found).item()
    for function in (lambda a: L.lu(a)[0], lambda a: L.lu_factor(a)[1]):
        gradient = mx.grad(lambda a, f=function: f(a).astype(mx.float32).sum())(a)
        assert not mx.any(gradient).item()


@pytest.mark.parametrize(
    "function",
    [
        *(L.inv, L.cholesky, lambda a: L.cholesky(a, True), L.det, L.slogdet, L.qr, L.svd, L.lu),
        *(lambda a: L.svd(a, compute_uv=False), L.eigh, lambda a: L.eigvalsh(a, "U"), L.eig),
        *(L.eigvals, L.lu_factor, L.pinv, lambda a: L.norm(a, 2, axis=(1, 2)), L.tri_inv),
        L.cholesky_inv,
    ],
)
def test_export_and_compile(function, tmp_path):
    a = from_numpy(positive((2, 3, 3), mx.float32), mx.float32)
    expected = function(a)
    expected = expected if isinstance(expected, tuple) else (expected,)
    path = str(tmp_path / "f.nrw")
    mx.export_function(path, function, a)
    compiled = mx.compile(function)(a)
    compiled = compiled if isinstance(compiled, tuple) else (compiled,)
    for found, again, x in zip(mx.import_function(path)(a), compiled, expected):
        assert to_numpy(found).tobytes() == to_numpy(again).tobytes() == to_numpy(x).tobytes()


def test_memory_is_planned(memory, on_cpu):
    """The peak is the predicted one: scratch is part of the plan."""
    rng = np.random.default_rng(0)
    for shape, function in [
        ((200, 200), L.inv),
        ((200, 100), lambda a: L.svd(a)[1]),
        ((64, 30, 30), lambda a: L.eigh(a)[0]),
        ((300, 300), lambda a: L.solve(a, a + 1)),
        ((200, 200), L.det),
    ]:
        a = mx.array(rng.normal(size=shape))
        mx.eval(a)
        result = function(a)
        peak = mx.plan(result).predicted_peak
        memory.reset_peak_memory()
        mx.eval(result)
        assert memory.get_peak_memory() == peak
