"""narrows.array_api has the names, parameters, dtypes and values of the array API standard.

NumPy's own namespace follows the standard too, so values are compared with it.
"""

import inspect
import math
import pathlib

import narrows.array_api as xp
import narrows.core as mx
import numpy as np
import pytest
from support import NUMPY, TOLERANCE, name_of, to_numpy

LINES = (pathlib.Path(__file__).parent / "data/array_api.txt").read_text().splitlines()[1:]
INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
REAL = ["float32", "float64"]
COMPLEX = ["complex64"]
KINDS = {
    "numeric": INTEGERS + REAL + COMPLEX,
    "real": INTEGERS + REAL,
    "floating": REAL + COMPLEX,
    "real floating": REAL,
    "complex": COMPLEX,
    "integer": INTEGERS,
    "bool": ["bool"],
    "integer or bool": [*INTEGERS, "bool"],
    "any": [*INTEGERS, *REAL, *COMPLEX, "bool"],
}


def found(name):
    owner = xp
    for part in name.split("."):
        owner = getattr(owner, part)
    return owner


@pytest.mark.parametrize("line", LINES)
def test_names_and_parameters(line):
    name, bracket, _ = line.partition("(")
    if not bracket:
        assert found(name) is None if name == "newaxis" else found(name) is not None
        return
    listed = inspect.signature(found(name)).parameters.values()
    plain = inspect.Signature([p.replace(annotation=p.empty) for p in listed])
    assert f"{name}{plain}" == line
    assert found(name).__doc__ and found(name).__name__ == name.rpartition(".")[2]


def test_all_names_are_listed():
    listed = {line.partition("(")[0] for line in LINES}
    members = {"fft.": xp.fft, "linalg.": xp.linalg}
    names = {prefix + name for prefix, m in members.items() for name in m.__all__}
    assert names | set(xp.__all__) == listed | {"fft", "linalg"}


def values(dtype, seed=0, shape=(3, 4), low=1, high=5):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    made = rng.integers(low, high, shape) if dtype in INTEGERS else rng.uniform(low, high, shape)
    if dtype in COMPLEX:
        made = made + 1j * rng.uniform(-1, 1, shape)
    return made.astype(dtype)


def narrow(a):
    return mx.array(a, dtype=getattr(mx, {"bool": "bool_"}.get(a.dtype.name, a.dtype.name)))


def check(actual, expected, dtype=True, scale=4):
    """Equal values, and dtypes: NumPy's complex128 and default integers are narrower here."""
    if isinstance(expected, (tuple, list)):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected):
            check(one, other, dtype, scale)
        return
    assert isinstance(actual, mx.array) and actual.shape == expected.shape
    if dtype:
        assert name_of(actual.dtype).rstrip("_") == expected.dtype.name
    tolerance = scale * TOLERANCE.get(actual.dtype, 0)
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=tolerance, atol=tolerance)


UNARY = {
    "numeric": "abs negative positive sign square real conj isfinite isinf isnan round",
    "real": "ceil floor trunc",
    "floating": "asin asinh acos atan cos cosh exp expm1 log log10 log1p log2 reciprocal sin "
    "sinh sqrt tan tanh acosh atanh",
    "complex": "imag",
    "real floating": "signbit",
    "bool": "logical_not",
    "integer or bool": "bitwise_invert",
}
BINARY = {
    "numeric": "add subtract multiply pow",
    "real": "floor_divide remainder greater greater_equal less less_equal maximum minimum",
    "floating": "divide",
    "real floating": "atan2 copysign hypot logaddexp nextafter",
    "any": "equal not_equal",
    "bool": "logical_and logical_or logical_xor",
    "integer or bool": "bitwise_and bitwise_or bitwise_xor",
    "integer": "bitwise_left_shift bitwise_right_shift",
}
ELEMENTWISE = {
    name: (kind, arity)
    for arity, table in ((1, UNARY), (2, BINARY))
    for kind, names in table.items()
    for name in names.split()
}
SCALED = {"asin": 5, "acos": 5, "atanh": 6}  # functions of [-1, 1]


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_elementwise_functions(name):
    kind, arity = ELEMENTWISE[name]
    for dtype in KINDS[kind]:
        arrays = [values(dtype, seed) for seed in range(arity)]
        if dtype in REAL and name not in SCALED and name != "acosh":
            arrays[0][0] = [-1.5, 0.0, -0.0, 7.5]
            arrays[-1][1] = [-2.5, 0.0, -0.0, 2.5]
        if name in SCALED:
            arrays = [a / SCALED[name] for a in arrays]
        expected = getattr(np, name)(*(a.astype(dtype) for a in arrays))
        actual = getattr(xp, name)(*(narrow(a.astype(dtype)) for a in arrays))
        check(actual, expected)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_dtypes_that_functions_refuse(name):
    kind, arity = ELEMENTWISE[name]
    for dtype in set(KINDS["any"]) - set(KINDS[kind]):
        with pytest.raises(TypeError, match=rf"\[{name}\] dtype {dtype}"):
            getattr(xp, name)(*[narrow(values(dtype))] * arity)
    with pytest.raises(TypeError, match=rf"\[{name}\]"):
        getattr(xp, name)(*[1.5] * arity)


def test_special_values_of_composed_functions():
    tiny, inf, nan = 1e-45, math.inf, math.nan
    pairs = [(0.0, 1.0), (0.0, -1.0), (-0.0, 0.0), (1.0, inf), (inf, 0.0), (-1.0, -inf)]
    pairs += [(nan, 1.0), (1.0, nan), (tiny, 0.0), (-tiny, 1.0), (inf, inf), (3e38, 3e38)]
    for dtype in ("float32", "float64"):
        a, b = np.array(pairs, dtype=dtype).T
        for name in ("nextafter", "hypot", "copysign"):
            with np.errstate(all="ignore"):
                expected = getattr(np, name)(a, b)
            actual = to_numpy(getattr(xp, name)(narrow(a), narrow(b)))
            if name == "hypot":
                np.testing.assert_allclose(actual, expected, rtol=1e-6)
            else:
                np.testing.assert_array_equal(actual, expected)
                defined = ~np.isnan(expected)
                np.testing.assert_array_equal(
                    np.signbit(actual)[defined], np.signbit(expected)[defined]
                )


def test_numbers_beside_arrays():
    a = {
        k: narrow(values(k)) for k in ("bool", "uint8", "int32", "float32", "float64", "complex64")
    }
    right = [("uint8", 2), ("int32", 2), ("float32", 2), ("float32", 1.5), ("float64", 1.5)]
    right += [("complex64", 1j), ("complex64", 1.5), ("complex64", 2)]
    for dtype, number in right:
        assert (
            xp.add(a[dtype], number).dtype == xp.multiply(number, a[dtype]).dtype == a[dtype].dtype
        )
    assert xp.add(a["float32"], 1j).dtype == mx.complex64
    assert xp.logical_and(a["bool"], True).dtype == mx.bool_
    wrong = [("bool", 1), ("uint8", True), ("uint8", 1.5), ("int32", 1j), ("float64", 1j)]
    for dtype, number in wrong:
        with pytest.raises(TypeError, match="beside|complex"):
            xp.equal(a[dtype], number)
    with pytest.raises(TypeError):
        xp.less(a["float32"], 1j)
    with pytest.raises(TypeError):
        xp.add(a["float32"], "1")


@pytest.mark.parametrize("first", KINDS["any"])
def test_promotion(first):
    for second in KINDS["any"]:
        a, b = getattr(xp, first), getattr(xp, second)
        kinds = ["bool" if k == "bool" else k.strip("u0123468") for k in (first, second)]
        same = (
            kinds[0] == kinds[1] or {*kinds} == {"int", "uint"} or {*kinds} <= {"float", "complex"}
        )
        try:
            expected = np.result_type(first, second).name if same else None
        except TypeError:
            expected = None
        signed_beside_uint64 = "uint64" in (first, second) and expected == "float64"
        if expected is None or signed_beside_uint64 or expected == "complex128":
            with pytest.raises(TypeError):
                xp.result_type(a, b)
            assert not xp.can_cast(a, b)
            with pytest.raises(TypeError):
                xp.concat([narrow(values(first)), narrow(values(second))])
            continue
        assert name_of(xp.result_type(a, b)).rstrip("_") == expected
        assert xp.can_cast(a, b) == (expected == second)
        both = xp.stack([narrow(values(first)), narrow(values(second))])
        assert name_of(both.dtype).rstrip("_") == expected


def test_result_type_of_numbers():
    assert xp.result_type(mx.ones((2,)), 1, mx.float64) == mx.float64
    assert xp.result_type(mx.int8, 2) == mx.int8
    for wrong in [(), (1,), (mx.int8, 1.5), (mx.bool_, mx.int8)]:
        with pytest.raises(TypeError):
            xp.result_type(*wrong)


A = values("float32", 1, (2, 3, 4))
INT = values("int32", 2, (2, 3, 4))
V = np.array([3, 1, 2, 1, 3], dtype="int32")
B = values("bool", 3, (2, 3))
# Calls of both namespaces, with arrays that are given, and how a dtype of NumPy counts here.
CALLS = {
    "sum": (lambda n, a, i: n.sum(a, axis=(0, 2), keepdims=True), A, INT),
    "sum dtype": (lambda n, a, i: n.sum(i, dtype=n.float64), A, INT),
    "prod": (lambda n, a, i: n.prod(a, axis=1), A, INT),
    "cumulative_sum": (lambda n, a, i: n.cumulative_sum(a, axis=1, include_initial=True), A, INT),
    "cumulative_prod": (lambda n, a, i: n.cumulative_prod(a, axis=-1), A, INT),
    "max": (lambda n, a, i: (n.max(i), n.min(a, axis=1), n.mean(a, axis=(1,))), A, INT),
    "std": (lambda n, a, i: (n.std(a, axis=1, correction=1), n.var(a)), A, INT),
    "var": (lambda n, a, i: n.var(a, axis=(0, 1), correction=0.5, keepdims=True), A, INT),
    "all": (lambda n, a, i: (n.all(a, axis=1), n.any(i, keepdims=True)), A, INT),
    "diff": (lambda n, a, i: n.diff(a, axis=1, n=2, prepend=a[:, :1], append=a[:, :2]), A, INT),
    "where": (lambda n, a, b: (n.where(b, a[..., 0], 2.0), n.where(b, 1.0, a[..., 1])), A, B),
    "clip": (lambda n, a, i: (n.clip(i, 2, None), n.clip(a, max=a[0])), A, INT),
    "sort": (lambda n, a, i: (n.sort(i), n.flip(n.sort(i, axis=0), axis=0)), A, INT),
    "concat": (lambda n, a, i: (n.concat([a, a], axis=None), n.concat((a, a), axis=1)), A, INT),
    "stack": (lambda n, a, i: (n.stack([a, a], axis=-1), *n.unstack(i, axis=1)), A, INT),
    "expand_dims": (lambda n, a, i: (n.expand_dims(a, axis=-1), n.squeeze(a[:1], axis=0)), A, INT),
    "moveaxis": (lambda n, a, i: (n.moveaxis(a, (0, 1), (-1, 0)), n.moveaxis(a, 2, 0)), A, INT),
    "permute": (lambda n, a, i: (n.permute_dims(a, (2, 0, 1)), n.matrix_transpose(a)), A, INT),
    "flip": (lambda n, a, i: (n.flip(a), n.flip(a, axis=(0, 1))), A, INT),
    "roll": (lambda n, a, i: (n.roll(a, 5), n.roll(a, (1, -1), axis=(0, 2))), A, INT),
    "repeat": (lambda n, a, i: (n.repeat(a, 2, axis=1), n.repeat(a, 2)), A, INT),
    "repeats": (lambda n, a, v: n.repeat(v, v), A, V),
    "tile": (lambda n, a, i: (n.tile(a, (2, 1, 3, 1)), n.reshape(a, (4, -1))), A, INT),
    "take": (lambda n, a, v: n.take(a, v[1:], axis=-1), A, V),
    "take_along_axis": (lambda n, a, i: n.take_along_axis(a, i % 3, axis=1), A, INT),
    "broadcast": (lambda n, a, i: n.broadcast_arrays(a, i[:, :1], i[0, 0]), A, INT),
    "broadcast_to": (lambda n, a, i: n.broadcast_to(a, (2, 2, 3, 4)), A, INT),
    "tri": (lambda n, a, i: (n.tril(a, k=1), n.triu(i, k=-1)), A, INT),
    "meshgrid": (lambda n, a, v: n.meshgrid(v, v[:2], indexing="ij"), A, V),
    "matmul": (
        lambda n, a, i: (n.matmul(a, a.mT), n.matmul(i, i.mT), n.matmul(i[0], i[0, 0])),
        A,
        INT,
    ),
    "matmul vectors": (lambda n, a, v: (n.matmul(v, v), n.matmul(v[:3], v[:3, None])), A, V),
    "tensordot": (lambda n, a, i: n.tensordot(i, i, axes=((0, 2), (0, 2))), A, INT),
    "tensordot axes": (lambda n, a, i: n.tensordot(a, a[:, 0].T, axes=1), A, INT),
    "vecdot": (lambda n, a, i: (n.vecdot(a, a, axis=-2), n.vecdot(i, i)), A, INT),
    "complex vecdot": (lambda n, a, i: n.vecdot(n.multiply(a, 1j), n.add(a, 1j)), A, INT),
    "cross": (lambda n, a, i: n.linalg.cross(a[..., :3], a[..., 1:]), A, INT),
    "outer": (lambda n, a, v: n.linalg.outer(v, v), A, V),
    "diagonal": (lambda n, a, i: (n.linalg.diagonal(a, offset=1), n.linalg.trace(a)), A, INT),
    "matrix_norm": (lambda n, a, i: n.linalg.matrix_norm(a, ord="nuc", keepdims=True), A, INT),
    "vector_norm": (
        lambda n, a, i: [
            n.linalg.vector_norm(a, ord=p, axis=(0, 1)) for p in (0, 1, 2, 3, math.inf)
        ],
        A,
        INT,
    ),
    "svdvals": (lambda n, a, i: n.linalg.svdvals(a), A, INT),
    "pinv": (lambda n, a, i: (n.linalg.pinv(a), n.linalg.pinv(a, rtol=0.5)), A, INT),
    "fft": (lambda n, a, i: n.fft.rfft(a, n=5, axis=1, norm="ortho"), A, INT),
    "fftn": (lambda n, a, i: n.fft.rfftn(a, axes=(0, 2)), A, INT),
    "hfft": (
        lambda n, a, i: (n.fft.hfft(n.add(a, 1j), n=6), n.fft.ihfft(a, norm="forward")),
        A,
        INT,
    ),
    "fftshift": (lambda n, a, i: (n.fft.fftshift(a), n.fft.ifftshift(i, axes=1)), A, INT),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name, on_cpu):
    call, *arrays = CALLS[name]
    expected = call(np, *arrays)
    check(call(xp, *map(narrow, arrays)), expected, scale=20)


# The same where NumPy's dtype is another: of indices, of sums of small integers.
OTHER_DTYPES = {
    "argmax": (lambda n, a: n.argmax(a, axis=1), "int64"),
    "argmin": (lambda n, a: n.argmin(a, keepdims=True), "int64"),
    "argsort": (lambda n, a: n.argsort(a, axis=0, stable=True), "int64"),
    "count_nonzero": (lambda n, a: n.count_nonzero(n.sign(a - 2), axis=1), "int64"),
    "nonzero": (lambda n, a: n.nonzero(a - 2)[1], "int64"),
    "searchsorted": (lambda n, a: n.searchsorted(n.sort(a[0, 0]), a[1, 0], side="right"), "int64"),
    "sorter": (
        lambda n, a: n.searchsorted(a[0, 0], a[1, 0], sorter=n.argsort(a[0, 0], stable=True)),
        "int64",
    ),
    "int8 sum": (lambda n, a: n.sum(n.astype(a, n.int8), axis=0), "int32"),
    "uint8 prod": (lambda n, a: n.prod(n.astype(a, n.uint8), axis=0), "uint32"),
    "int16 cumulative": (lambda n, a: n.cumulative_sum(n.astype(a, n.int16), axis=1), "int32"),
    "trace": (lambda n, a: n.linalg.trace(n.astype(a, n.int8)), "int32"),
    "matrix_rank": (lambda n, a: n.linalg.matrix_rank(n.astype(a, n.float32)), "int64"),
}


@pytest.mark.parametrize("name", OTHER_DTYPES)
def test_calls_with_dtypes_of_their_own(name, on_cpu):
    call, dtype = OTHER_DTYPES[name]
    actual = call(xp, narrow(INT))
    assert name_of(actual.dtype) == dtype
    np.testing.assert_array_equal(to_numpy(actual), call(np, INT))


def test_descending_order_is_stable():
    a = narrow(V)
    assert xp.argsort(a, descending=True).tolist() == [0, 4, 2, 1, 3]
    assert xp.sort(a, descending=True).tolist() == [3, 3, 2, 1, 1]
    zeros = xp.sort(mx.array([-0.0, 0.0]), descending=True)
    assert np.signbit(to_numpy(zeros)).tolist() == [True, False]


@pytest.mark.parametrize("dtype", KINDS["any"])
def test_sets(dtype):
    a = values(dtype, 5, (4, 3))
    found = xp.unique_all(narrow(a))
    expected = np.unique_all(a)
    check(found.values, expected.values)
    for name in ("indices", "inverse_indices", "counts"):
        assert getattr(found, name).dtype == mx.int64
        np.testing.assert_array_equal(to_numpy(getattr(found, name)), getattr(expected, name))
    check(xp.unique_values(narrow(a)), expected.values)
    assert xp.unique_counts(narrow(a))._fields == ("values", "counts")
    assert xp.unique_inverse(narrow(a))._fields == ("values", "inverse_indices")


def test_sets_of_odd_arrays():
    assert [len(part) for part in xp.unique_all(mx.zeros((0,)))] == [0, 0, 0, 0]
    found = xp.unique_all(mx.array([math.nan, 0.0, -0.0, math.nan]))
    assert found.counts.tolist() == [2, 1, 1] and found.indices.tolist() == [1, 0, 3]
    assert xp.unique_inverse(mx.array(3)).inverse_indices.shape == ()


SQUARE = values("float32", 7, (2, 4, 4)) + 8 * np.eye(4, dtype="float32")


def test_linear_algebra(on_cpu):
    a = narrow(SQUARE)
    symmetric = SQUARE @ SQUARE.swapaxes(-1, -2)
    for name in ("det", "inv", "slogdet"):
        check(getattr(xp.linalg, name)(a), getattr(np.linalg, name)(SQUARE), scale=50)
    check(xp.linalg.cholesky(narrow(symmetric)), np.linalg.cholesky(symmetric), scale=50)
    check(xp.linalg.eigvalsh(narrow(symmetric)), np.linalg.eigvalsh(symmetric), scale=100)
    assert xp.linalg.eigh(a)._fields == ("eigenvalues", "eigenvectors")
    for b in (SQUARE[0, :, 0], SQUARE[..., :2]):
        check(xp.linalg.solve(a, narrow(b)), np.linalg.solve(SQUARE, b), scale=50)
    for n in (0, 1, 5, -2):
        expected = np.linalg.matrix_power(SQUARE.astype("float64"), n)
        actual = xp.linalg.matrix_power(a.astype(mx.float64), n)
        np.testing.assert_allclose(to_numpy(actual), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("shape", [(2, 5, 3), (3, 5), (4, 4)])
def test_factors(shape, dtype, on_cpu):
    m, n, k = *shape[-2:], min(shape[-2:])
    a = narrow(values(dtype, 8, shape))

    def close(found):
        return np.testing.assert_allclose(to_numpy(found), to_numpy(a), rtol=1e-4, atol=1e-4)

    for mode, rows in (("reduced", k), ("complete", m)):
        q, r = xp.linalg.qr(a, mode=mode)
        assert q.shape[-2:] == (m, rows) and r.shape[-2:] == (rows, n)
        close(q @ r)
        identity = np.broadcast_to(np.eye(rows), (*shape[:-2], rows, rows))
        np.testing.assert_allclose(to_numpy(mx.conj(q.mT) @ q), identity, atol=1e-5)
    for full in (True, False):
        u, s, vh = xp.linalg.svd(a, full_matrices=full)
        assert u.shape[-1] == (m if full else k) and vh.shape[-2] == (n if full else k)
        close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :])


def test_creation():
    check(xp.arange(5), np.arange(5, dtype="int32"))
    check(xp.arange(1, 2, 0.25), np.arange(1, 2, 0.25, dtype="float32"))
    check(xp.arange(3, dtype=xp.uint8), np.arange(3, dtype="uint8"))
    check(xp.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype="float32"))
    check(xp.linspace(0, 1, 5, dtype=xp.float64), np.linspace(0, 1, 5))
    check(xp.linspace(0, 1 + 2j, 3, endpoint=False), np.linspace(0, 1 + 2j, 3, False, dtype="c8"))
    check(xp.eye(2, 3, k=1), np.eye(2, 3, 1, dtype="float32"))
    like = mx.ones((2, 1), dtype=mx.int8)
    for name in ("zeros", "ones"):
        check(getattr(xp, name)((2, 3)), getattr(np, name)((2, 3), "float32"))
        check(getattr(xp, name + "_like")(like), getattr(np, name)((2, 1), "int8"))
    assert (
        xp.empty(3, dtype=xp.int16).dtype == xp.empty_like(like, dtype=xp.int16).dtype == mx.int16
    )
    for value, dtype in ((True, mx.bool_), (1, mx.int32), (1.5, mx.float32), (1j, mx.complex64)):
        assert xp.full((2,), value).dtype == xp.asarray([value]).dtype == dtype
    assert xp.full_like(like, 3).tolist() == [[3], [3]]
    assert xp.zeros((2,), device=mx.cpu).device == mx.cpu


def test_arrays_of_other_libraries():
    a = np.arange(3.0)
    assert xp.asarray(a).dtype == mx.float64  # narrows.core makes float32 of it
    assert xp.asarray(a, dtype=xp.float32).dtype == mx.float32
    assert xp.asarray(mx.ones((2,))).dtype == mx.float32
    assert xp.from_dlpack(a).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ValueError):
        xp.asarray(a, copy=False)
    with pytest.raises(BufferError):
        xp.from_dlpack(a, copy=False)
    b = mx.ones((2,))
    assert xp.from_dlpack(b, copy=False).tolist() == xp.asarray(b, copy=True).tolist() == [1, 1]
    back = np.from_dlpack(b, device="cpu", copy=True)
    assert back.flags.writeable and back.tolist() == [1.0, 1.0]
    assert xp.from_dlpack(b, device=mx.cpu).device == mx.cpu


def test_astype():
    assert xp.astype(mx.array([1.5]), xp.int32, copy=False).tolist() == [1]
    assert xp.astype(mx.array([0, 2]), xp.bool).tolist() == [False, True]
    with pytest.raises(TypeError, match="complex"):
        xp.astype(mx.array([1j]), xp.float32)
    with pytest.raises(TypeError, match="dtype"):
        xp.astype(mx.array([1]), "float32")
    assert xp.finfo(mx.ones((1,), dtype=mx.complex64)).eps == xp.finfo(xp.float32).eps
    assert xp.iinfo(mx.array([1], dtype=mx.int8)).max == 127
    for wrong in (lambda: xp.finfo(xp.int8), lambda: xp.iinfo(xp.float32), lambda: xp.finfo(3)):
        with pytest.raises(TypeError):
            wrong()
    assert xp.isdtype(xp.uint8, ("bool", "unsigned integer"))


def test_namespace_of_arrays():
    a = mx.ones((2,))
    assert a.__array_namespace__() is xp
    assert a.__array_namespace__(api_version="2022.12") is xp
    with pytest.raises(ValueError, match="2030.12"):
        a.__array_namespace__(api_version="2030.12")
    assert xp.__array_api_version__ == "2024.12"
    assert a.device == (a + 1).device == mx.default_device()
    assert a.to_device(mx.cpu).device == mx.cpu and a.to_device(mx.cpu).tolist() == [1, 1]
    with pytest.raises(ValueError):
        a.to_device(mx.cpu, stream=1)


def test_info():
    info = xp.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"] and info.capabilities()["data-dependent shapes"]
    assert info.default_device() in info.devices() and mx.cpu in info.devices()
    assert info.default_dtypes() == {
        "real floating": xp.asarray(1.5).dtype,
        "complex floating": xp.asarray(1j).dtype,
        "integral": xp.asarray(1).dtype,
        "indexing": xp.argmax(xp.ones((2,))).dtype,
    }
    assert set(info.dtypes()) == set(KINDS["any"])
    assert set(info.dtypes(kind=("bool", "real floating"))) == {"bool", "float32", "float64"}
    assert "float64" not in info.dtypes(device=mx.Device(mx.gpu, 0))
    for name, dtype in info.dtypes().items():
        assert dtype == getattr(xp, name) and np.dtype(NUMPY[dtype]).name == name


def wrong_calls():
    a, i = mx.ones((2, 3)), mx.ones((2,), dtype=mx.int32)
    yield ValueError, lambda: xp.cumulative_sum(a)
    yield ValueError, lambda: xp.cumulative_prod(mx.array(1))
    yield ValueError, lambda: xp.nonzero(mx.array(1))
    yield ValueError, lambda: xp.squeeze(a, axis=0)
    yield IndexError, lambda: xp.expand_dims(a, axis=4)
    yield IndexError, lambda: xp.moveaxis(a, 0, 3)
    yield ValueError, lambda: xp.moveaxis(a, (0, 1), (0,))
    yield ValueError, lambda: xp.moveaxis(a, (0, 0), (0, 1))
    yield ValueError, lambda: xp.repeat(i, mx.array([1, 2, 3]))
    yield ValueError, lambda: xp.repeat(i, mx.array([1, -2]))
    yield ValueError, lambda: xp.take(a, i)
    yield ValueError, lambda: xp.take(a, i[None], axis=0)
    yield TypeError, lambda: xp.take(a, a[0], axis=0)
    yield ValueError, lambda: xp.meshgrid(i, a[0])
    yield ValueError, lambda: xp.vecdot(a, a, axis=0)
    yield ValueError, lambda: xp.vecdot(a, a[:, :2])
    yield ValueError, lambda: xp.matmul(a, mx.array(1.0))
    yield ValueError, lambda: xp.matmul(mx.array(1), i)
    yield TypeError, lambda: xp.matmul(a, mx.ones((3,), dtype=mx.int32))
    yield ValueError, lambda: xp.tensordot(a, a, axes=3)
    yield ValueError, lambda: xp.tensordot(a, a, axes=1)
    yield ValueError, lambda: xp.matrix_transpose(i)
    yield TypeError, lambda: xp.where(i, a, a)
    yield TypeError, lambda: xp.sum(mx.array([True]))
    yield TypeError, lambda: xp.mean(i)
    yield TypeError, lambda: xp.std(mx.array([1j]))
    yield TypeError, lambda: xp.sort(mx.array([1j]))
    yield TypeError, lambda: xp.abs([1.0])
    yield TypeError, lambda: xp.linspace(0, 1j, 3, dtype=xp.float32)
    yield ValueError, lambda: xp.linalg.cross(a[:, :2], a[:, :2])
    yield ValueError, lambda: xp.linalg.outer(a, a)
    yield ValueError, lambda: xp.linalg.det(mx.ones((2,)))
    yield ValueError, lambda: xp.linalg.qr(a, mode="raw")
    yield ValueError, lambda: xp.linalg.matrix_power(a, 2)
    yield TypeError, lambda: xp.linalg.inv(mx.ones((2, 2), dtype=mx.int32))
    yield TypeError, lambda: xp.fft.rfft(mx.array([1j]))
    yield TypeError, lambda: xp.fft.fft(i)
    yield ValueError, lambda: xp.fft.hfft(a, norm="other")
    yield ValueError, lambda: xp.fft.fftn(a, s=(1, 2), axes=(0,))
    yield TypeError, lambda: xp.fft.fftfreq(4, dtype=xp.int32)


@pytest.mark.parametrize("number", range(len(list(wrong_calls()))))
def test_wrong_calls(number):
    error, call = list(wrong_calls())[number]
    with pytest.raises(error):
        mx.eval(call())


def test_frequencies():
    for n in (1, 4, 5):
        check(xp.fft.fftfreq(n, d=0.5, dtype=xp.float64), np.fft.fftfreq(n, 0.5))
        check(xp.fft.rfftfreq(n), np.fft.rfftfreq(n).astype("float32"))
