import re
import subprocess
import sys

import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, FLOATING, NUMPY, from_numpy, name_of

# All small ones, and lengths of each way: stages of all radices, chirps of primes, rows that are
# taken by columns with few and many roots, and by chirps; even and odd.
LENGTHS = [*range(1, 40), 49, 64, 97, 121, 128, 169, 210, 243, 254, 255, 256, 257, 258]
LENGTHS += [289, 384, 509, 625, 1000, 1001, 1021, 1024, 2018, 4096, 10_007, 20_014, 30_030]
# The factors of the last two are made in the scratch of the call.
LONG = [36_000, 65_536, 100_003, 131_072, 200_006, 3**11, 700_001, 1_400_002]
NORMS = ["backward", "ortho", "forward"]
INVERSE = {"fft": "ifft", "rfft": "irfft"}


def numbers(shape, kind="complex", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    x = x + 1j * rng.normal(size=shape) if kind == "complex" else x
    return x.astype(np.complex64 if kind == "complex" else np.float32)


def wide(x):
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def assert_near(actual, expected, tolerance=6e-7):
    """By the error of all elements together: each has a part of that of every other."""
    actual = np.array(actual)
    assert actual.shape == expected.shape
    kind = np.complex64 if expected.dtype.kind == "c" else np.float32
    assert actual.dtype == kind
    size = np.linalg.norm(expected)
    assert np.linalg.norm(actual - expected) <= tolerance * max(size, 1e-30)


@pytest.mark.parametrize("rows", [1, 3, 35])
def test_lengths(rows):
    for n in LENGTHS if rows < 35 else LENGTHS[::3]:
        x = numbers((rows, n), seed=n)
        assert_near(mx.fft.fft(mx.array(x)), np.fft.fft(wide(x)))
        assert_near(mx.fft.ifft(mx.array(x)), np.fft.ifft(wide(x)))
        r = x.real.copy()
        assert_near(mx.fft.rfft(mx.array(r)), np.fft.rfft(wide(r)))
        half = x[:, : n // 2 + 1]
        assert_near(mx.fft.irfft(mx.array(half), n), np.fft.irfft(wide(half), n))


@pytest.mark.parametrize("n", LONG)
def test_long_rows(n):
    x = numbers((1, n), seed=n)
    assert_near(mx.fft.fft(mx.array(x)), np.fft.fft(wide(x)))
    assert_near(mx.fft.ifft(mx.array(x)), np.fft.ifft(wide(x)))
    r = x.real.copy()
    assert_near(mx.fft.rfft(mx.array(r)), np.fft.rfft(wide(r)))
    half = x[:, : n // 2 + 1]
    assert_near(mx.fft.irfft(mx.array(half), n), np.fft.irfft(wide(half), n))


def test_a_million_elements():
    x = numbers(2**20)
    assert_near(mx.fft.fft(mx.array(x)), np.fft.fft(wide(x)), 1e-6)


def test_a_long_real_row():
    x = numbers(9 << 20, "real")
    half = mx.fft.rfft(mx.array(x))
    assert_near(half, np.fft.rfft(wide(x)), 1e-6)
    assert_near(mx.fft.irfft(half), wide(x), 1e-6)


def test_several_rows_share_what_is_made_for_the_call():
    x = numbers((3, 700_001))
    assert_near(mx.fft.fft(mx.array(x)), np.fft.fft(wide(x)))


@pytest.mark.parametrize("n", [1 << 20, 600_011, 700_001])
def test_peaks(n, on_cpu):
    transformed = mx.fft.fft(mx.array(numbers(n)))
    planned = mx.plan(transformed).predicted_peak
    mx.reset_peak_memory()
    mx.eval(transformed)
    assert mx.get_peak_memory() == planned


BEYOND_MEMORY = """
import re, sys
import narrows.core as mx
mx.set_memory_limit(1 << 28, strict=True)
calls = []
for n in [2**31, 2**31 - 1, 2 * (2**31 - 1), 2**40, 2**40 - 87]:
    calls += [f(mx.zeros(3), n) for f in (mx.fft.fft, mx.fft.ifft, mx.fft.rfft, mx.fft.irfft)]
    calls.append(mx.fft.fft(mx.zeros((3, 2)), n, axis=0))
calls.append(mx.fft.stft(mx.zeros(3), 2**31, win_length=3, pad_mode="constant"))
for call in calls:
    try:
        mx.eval(call)
    except MemoryError:
        continue
    sys.exit("no MemoryError")
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_is_made_for_lengths_beyond_memory():
    finished = subprocess.run([sys.executable, "-c", BEYOND_MEMORY], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) < 300_000  # KB, with Python


@pytest.mark.parametrize("shape", [(3, 8, 21), (2, 5, 3), (1, 100, 17), (4, 257, 2), (2, 31, 40)])
def test_other_axes(shape):
    x = numbers(shape)
    for axis in [0, 1, -2]:
        assert_near(mx.fft.fft(mx.array(x), axis=axis), np.fft.fft(wide(x), axis=axis))
        assert_near(mx.fft.ifft(mx.array(x), axis=axis), np.fft.ifft(wide(x), axis=axis))
        r = x.real.copy()
        assert_near(mx.fft.rfft(mx.array(r), axis=axis), np.fft.rfft(wide(r), axis=axis))
        for n in [2 * (shape[axis] - 1), 2 * shape[axis] - 1]:
            if n > 0:
                expected = np.fft.irfft(wide(x), n, axis=axis)
                assert_near(mx.fft.irfft(mx.array(x), n, axis=axis), expected)


def test_long_columns():
    x = numbers((2, 8200, 3))
    assert_near(mx.fft.fft(mx.array(x), axis=1), np.fft.fft(wide(x), axis=1))
    assert_near(mx.fft.rfft(mx.array(x.real), axis=1), np.fft.rfft(wide(x.real), axis=1))
    assert_near(mx.fft.irfft(mx.array(x), axis=1), np.fft.irfft(wide(x), axis=1))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
def test_lengths_and_norms(name, norm):
    x = numbers((4, 10), "real" if name == "rfft" else "complex")
    for n in [None, 1, 2, 7, 10, 16, 25]:
        for axis in [-1, 0]:
            if (name, n, axis) == ("irfft", None, 0) and x.shape[0] < 2:
                continue
            actual = getattr(mx.fft, name)(mx.array(x), n, axis, norm)
            assert_near(actual, getattr(np.fft, name)(wide(x), n, axis, norm), 2e-6)


CALLS = [
    {},
    {"s": (4, 5), "axes": (0, 1)},
    {"s": (9, 2), "axes": (-1, 0)},
    {"axes": (1,)},
    {"axes": (2, 0, 1)},
    {"s": (3,), "axes": (2,)},
]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
def test_several_axes(name, call, norm):
    x = numbers((4, 6, 5), "real" if name == "rfftn" else "complex")
    expected = getattr(np.fft, name)(wide(x), **call, norm=norm)
    assert_near(getattr(mx.fft, name)(mx.array(x), **call, norm=norm), expected, 2e-6)


@pytest.mark.parametrize("name", ["fft2", "ifft2", "rfft2", "irfft2"])
def test_two_axes(name):
    x = numbers((2, 6, 5), "real" if name == "rfft2" else "complex")
    a = mx.array(x)
    f, g = getattr(mx.fft, name), getattr(np.fft, name)
    assert_near(f(a), g(wide(x)), 2e-6)
    assert_near(f(a, axes=[1, 0]), g(wide(x), axes=(1, 0)), 2e-6)
    assert_near(f(a, s=(4, 7)), g(wide(x), s=(4, 7)), 2e-6)
    assert_near(f(a, s=(4, 7), axes=None), g(wide(x), s=(4, 7), axes=(1, 2)), 2e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_dtypes(dtype):
    x = np.array([[1, 0, 2, 3, 1], [0, 1, 1, 2, 0]]).astype(NUMPY[dtype])
    a = from_numpy(x, dtype)
    wider = x.astype(np.complex128)
    assert_near(mx.fft.fft(a), np.fft.fft(wider))
    assert_near(mx.fft.ifft2(a), np.fft.ifft2(wider))
    assert_near(mx.fft.rfft(a), np.fft.rfft(wider.real))
    assert_near(mx.fft.irfft(a), np.fft.irfft(wider))
    assert mx.fft.fft(a).dtype == mx.complex64 and mx.fft.irfft(a).dtype == mx.float32


def test_layouts():
    x = numbers((6, 8, 10))
    a = mx.array(x)
    for view in [lambda v: v.T, lambda v: v[:, ::2, ::-1], lambda v: v[1:, :1]]:
        assert_near(mx.fft.fft(view(a)), np.fft.fft(wide(view(x))))
        assert_near(mx.fft.fftn(view(a)), np.fft.fftn(wide(view(x))), 2e-6)
    b = mx.broadcast_to(mx.array(x[0, 0]), (3, 10))
    assert_near(mx.fft.fft(b), np.fft.fft(np.broadcast_to(wide(x[0, 0]), (3, 10))))


def test_imaginary_parts_that_do_not_count():
    x = mx.array([1 + 5j, 2 + 1j, 3 + 7j])
    assert_near(mx.fft.irfft(x), np.array([2.0, -1.0, 0.0, 0.0]), 1)
    np.testing.assert_allclose(mx.fft.irfft(x), mx.fft.irfft(mx.array([1 + 0j, 2 + 1j, 3 + 0j])))
    for n in [256, 600, 257]:
        spectrum = numbers((3, n // 2 + 1))
        assert_near(mx.fft.irfft(mx.array(spectrum), n), np.fft.irfft(wide(spectrum), n))
    assert_near(mx.fft.rfft(mx.array([1 + 9j, 2 + 9j])), np.fft.rfft([1.0, 2.0]))


def test_nothing_is_transformed():
    assert mx.fft.fft(mx.zeros((0, 3))).shape == (0, 3)
    assert mx.fft.rfft(mx.zeros((0, 8))).shape == (0, 5)
    assert mx.fft.irfft(mx.zeros((2, 0, 3))).shape == (2, 0, 4)
    assert mx.fft.fft(mx.zeros((0,)), 3).tolist() == [0, 0, 0]
    np.testing.assert_array_equal(mx.fft.fftn(mx.ones((2, 3)), axes=[]), np.ones((2, 3)))


def test_nan_and_infinity_spread():
    x = np.ones(12, np.float32)
    x[3] = np.nan
    assert np.isnan(np.array(mx.fft.fft(mx.array(x)))).all()


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("d", [1.0, 0.1, -2])
def test_frequencies(n, d):
    for name in ["fftfreq", "rfftfreq"]:
        actual = getattr(mx.fft, name)(n, d)
        assert actual.dtype == mx.float32
        np.testing.assert_allclose(actual, getattr(np.fft, name)(n, d), rtol=1e-6)


@pytest.mark.parametrize("axes", [None, 0, 1, (0, 2), (2,), ()])
@pytest.mark.parametrize("dtype", [mx.int32, mx.bool_, *FLOATING, mx.complex64], ids=name_of)
def test_shifts(dtype, axes):
    x = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype(NUMPY[dtype])
    a = from_numpy(x, dtype)
    for name in ["fftshift", "ifftshift"]:
        actual = getattr(mx.fft, name)(a, axes)
        assert actual.dtype == dtype
        expected = getattr(np.fft, name)(x, axes)
        np.testing.assert_array_equal(np.array(actual.astype(mx.complex64)), expected)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: mx.fft.fft(mx.array(1.0)), ValueError, "[fft] a scalar"),
        (lambda: mx.fft.fft(mx.zeros(3), 0), ValueError, "[fft] a transform of length 0"),
        (lambda: mx.fft.ifft(mx.zeros(3), -2), ValueError, "[ifft] a transform of length -2"),
        (
            lambda: mx.fft.rfft(mx.zeros(3), 2**40 + 1),
            ValueError,
            "[rfft] a transform of length 1099",
        ),
        (lambda: mx.fft.fft(mx.zeros(0)), ValueError, "[fft] a transform of length 0"),
        (lambda: mx.fft.irfft(mx.zeros(1)), ValueError, "[irfft] a transform of length 0"),
        (lambda: mx.fft.rfft(mx.zeros(3), axis=1), IndexError, "[rfft] axis 1"),
        (lambda: mx.fft.fft(mx.zeros(3), norm="x"), ValueError, "[fft] norm 'x'"),
        (lambda: mx.fft.fft2(mx.zeros(3)), IndexError, "[fftn] axis -2"),
        (lambda: mx.fft.fftn(mx.zeros((3, 3)), axes=(0, 0)), ValueError, "[fftn]"),
        (lambda: mx.fft.fftn(mx.zeros((3, 3)), (3, 3), (0,)), ValueError, "[fftn] 2 lengths"),
        (lambda: mx.fft.rfftn(mx.zeros((3, 3)), axes=()), ValueError, "[rfftn] no axes"),
        (lambda: mx.fft.fftshift(mx.zeros(3), 1), IndexError, "[fftshift] axis 1"),
        (lambda: mx.fft.fftfreq(0), ValueError, "[fftfreq] n 0"),
        (lambda: mx.fft.rfftfreq(3, 0.0), ValueError, "[rfftfreq] d 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


# name: (function of real arrays, shape)
RULES = {
    "fft": (lambda x: mx.fft.fft(x, axis=0), (6, 3)),
    "ifft ortho": (lambda x: mx.fft.ifft(x, 5, norm="ortho"), (3, 4)),
    "fft of complex": (lambda x: mx.fft.fft(x * (1 + 2j)), (3, 4)),
    "rfft even": (lambda x: mx.fft.rfft(x), (2, 6)),
    "rfft odd": (lambda x: mx.fft.rfft(x, axis=0, norm="forward"), (5, 2)),
    "irfft even": (lambda x: mx.fft.irfft(x * (1 - 1j)), (2, 4)),
    "irfft odd": (lambda x: mx.fft.irfft(x * 1j, 7, norm="ortho"), (2, 4)),
    "rfft2": (lambda x: mx.fft.rfft2(x), (3, 4)),
    "irfftn": (lambda x: mx.fft.irfftn(x * (2 - 1j), (4, 5), (0, 1)), (3, 3)),
    "stft": (lambda x: mx.fft.stft(x, 8, 3), (20,)),
    "istft": (lambda x: mx.fft.istft(x * (1 + 1j), 8), (5, 7)),
}


@pytest.mark.parametrize("name", RULES)
def test_rules(name):
    """A linear function's jvp is itself; its vjp is the adjoint; and batches are stacks."""
    function, shape = RULES[name]
    x, t = (mx.array(numbers(shape, "real", seed)) for seed in (1, 2))
    y = function(x)
    g = numbers(y.shape, "complex" if y.dtype == mx.complex64 else "real", 3)
    _, tangents = mx.jvp(function, [x], [t])
    assert_near(tangents[0], np.array(function(t)), 1e-6)
    _, cotangents = mx.vjp(function, [x], [mx.array(g)])
    there = np.sum((g.conj() * np.array(function(t))).real)
    back = np.sum(np.array(cotangents[0]) * np.array(t))
    assert abs(there - back) < 1e-4 * np.linalg.norm(g) * np.linalg.norm(np.array(t))
    batch = mx.stack([x, t, x + t])
    expected = np.stack([np.array(function(b)) for b in batch])
    assert_near(mx.vmap(function)(batch), expected, 1e-6)
    assert_near(mx.compile(function)(x), np.array(y), 1e-7)


def test_gradient_of_complex_arrays():
    """It points to where a real function grows: along both parts."""
    x = numbers((5,))
    w = numbers((5,), seed=1)
    weights = mx.array(w)
    gradient = mx.grad(lambda a: mx.sum((mx.fft.fft(a) * weights).real))(mx.array(x))
    assert_near(gradient, np.conj(np.fft.fft(wide(w))).astype(np.complex128))


def test_exported(tmp_path):
    path = str(tmp_path / "f")

    def function(a):
        return mx.fft.irfft(mx.fft.ifft(mx.fft.rfft(a), axis=0), 9)

    a = mx.array(numbers((4, 9), "real"))
    mx.export_function(path, function, a)
    assert_near(mx.import_function(path)(a)[0], np.array(function(a)), 1e-7)
