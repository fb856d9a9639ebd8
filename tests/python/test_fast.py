"""Operations of neural networks against NumPy."""

import narrows.core as mx
import numpy as np
import pytest
from support import FLOATING, assert_close, from_numpy, name_of, to_numpy

VIEWS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: a.swapaxes(0, 1),
    "strided": lambda a: a[::2, ::-1],
    "one row": lambda a: a[:1],
    "no row": lambda a: a[:0],
}


def values(shape, dtype, seed=0):
    x = np.random.default_rng(seed).normal(0.5, 2, shape)
    return to_numpy(from_numpy(x, dtype)).astype(np.float64)


def rms_norm(x, weight, eps):
    y = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + eps)
    return y if weight is None else y * weight


def layer_norm(x, weight, bias, eps):
    y = x - np.mean(x, -1, keepdims=True)
    y = rms_norm(y, weight, eps)
    return y if bias is None else y + bias


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
@pytest.mark.parametrize("given", ["", "weight", "bias", "weight and bias"])
def test_norms(given, dtype, view):
    x = VIEWS[view](values((6, 5, 40), dtype))
    a = VIEWS[view](from_numpy(values((6, 5, 40), dtype), dtype))
    weight = values(40, dtype, 1) if "weight" in given else None
    bias = values(40, dtype, 2) if "bias" in given else None
    w = None if weight is None else from_numpy(weight, dtype)
    b = None if bias is None else from_numpy(bias, dtype)
    result = mx.fast.layer_norm(a, w, b, 1e-3)
    assert result.dtype == dtype
    assert_close(result, layer_norm(x, weight, bias, 1e-3), scale=8)
    if bias is None:
        result = mx.fast.rms_norm(a, w, 1e-3)
        assert result.dtype == dtype
        assert_close(result, rms_norm(x, weight, 1e-3), scale=8)


def test_norms_of_16_bits_are_computed_in_float32():
    a = mx.full((4, 1024), 300, mx.float16)  # squares overflow, so does their sum
    assert_close(mx.fast.rms_norm(a, None, 0.0), np.ones((4, 1024)))
    assert_close(mx.fast.layer_norm(a + mx.arange(1024), None, None, 0.0).mean(), 0.0)


def test_norms_promote():
    a = mx.ones((2, 4), mx.bfloat16)
    assert mx.fast.rms_norm(a, mx.ones((4,)), 1e-5).dtype == mx.float32
    assert mx.fast.layer_norm(a, None, mx.ones((4,), mx.float16), 1e-5).dtype == mx.float32


def test_norms_are_one_step():
    with mx.stream(mx.cpu), mx.fusion(True):
        a, w = mx.random.normal((64, 128)), mx.ones((128,))
        mx.eval(a, w)
        assert len(mx.plan(mx.fast.rms_norm(a, w, 1e-5))) == 1
        assert len(mx.plan(mx.fast.layer_norm(a, w, w, 1e-5))) == 1


def rope(x, dims, traditional, base, scale, offset, freqs=None):
    """Pairs as complex numbers, turned."""
    frequencies = base ** (-np.arange(0, dims, 2) / dims) if freqs is None else 1 / freqs
    starts = np.reshape(offset, (-1,) + (1,) * (x.ndim - 2))
    positions = (starts + np.arange(x.shape[-2])) * scale
    turn = np.exp(1j * positions[..., None] * frequencies)
    left = slice(0, dims, 2) if traditional else slice(0, dims // 2)
    right = slice(1, dims, 2) if traditional else slice(dims // 2, dims)
    turned = (x[..., left] + 1j * x[..., right]) * turn
    y = x.copy()
    y[..., left], y[..., right] = turned.real, turned.imag
    return y


@pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 5, 8), (1, 2, 2, 3, 8), (2, 1, 0, 8)], ids=str)
@pytest.mark.parametrize("dims", [8, 4, 2])
def test_rope(dims, shape, traditional, dtype):
    x = values(shape, dtype)
    a = from_numpy(x, dtype)
    for offset, scale, base in [(0, 1.0, 10000.0), (7, 0.5, 100.0), (-3, 2.0, 10.0)]:
        result = mx.fast.rope(
            a, dims, traditional=traditional, base=base, scale=scale, offset=offset
        )
        assert result.dtype == dtype
        expected = rope(x, dims, traditional, base, scale, offset)
        assert_close(result, expected, dtype if dtype != mx.float64 else mx.float32, scale=8)


def test_rope_offsets_and_freqs():
    x = values((3, 2, 4, 6), mx.float32)
    a = mx.array(x, mx.float32)
    freqs = np.array([1.0, 3.0, 10.0])
    options = {"traditional": True, "base": None, "scale": 1.0}
    for offset in [mx.array(5), mx.array([5]), mx.array(5, mx.uint8), 5]:
        result = mx.fast.rope(a, 6, offset=offset, freqs=mx.array(freqs), **options)
        assert_close(result, rope(x, 6, True, None, 1.0, 5, freqs), scale=8)
    result = mx.fast.rope(a, 6, offset=mx.array([5, 0, 2]), freqs=mx.array(freqs), **options)
    assert_close(result, rope(x, 6, True, None, 1.0, [5, 0, 2], freqs), scale=8)
    assert_close(mx.fast.rope(a, 0, traditional=True, base=1.0, scale=1.0, offset=0), x)


# How an input lies in memory: what is turned of an array, and the shape of that array.
LAYOUTS = {
    "transposed": (lambda a: a.transpose(0, 2, 1, 3), (2, 5, 3, 8)),
    "two dimensions of heads": (lambda a: a.transpose(0, 2, 3, 1, 4), (2, 5, 3, 2, 8)),
    "heads that no stride walks": (lambda a: a.transpose(0, 3, 2, 1, 4), (2, 5, 3, 2, 8)),
    "heads of one": (lambda a: a.transpose(0, 3, 2, 1, 4), (2, 5, 1, 2, 8)),
    "columns": (lambda a: a[..., 1:9], (2, 3, 5, 9)),
    "every second number": (lambda a: a[..., ::2], (2, 3, 5, 16)),
    "every second row": (lambda a: a[..., ::2, :], (2, 3, 9, 8)),
    "backwards": (lambda a: a[:, ::-1, ::-1], (2, 3, 5, 8)),
    "repeated": (lambda a: mx.broadcast_to(a, (2, 4, 3, 8)), (4, 1, 8)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("overwritten", [False, True])
@pytest.mark.parametrize("traditional", [False, True])
def test_rope_of_strided_arrays(layout, overwritten, traditional):
    view, shape = LAYOUTS[layout]
    base = mx.array(values(shape, mx.float32))
    expected = rope(to_numpy(view(base)).astype(np.float64), 6, traditional, 100.0, 1.0, [4, 9])
    a = view(base + 0) if overwritten else view(base)
    result = mx.fast.rope(
        a, 6, traditional=traditional, base=100.0, scale=1.0, offset=mx.array([4, 9])
    )
    del a
    assert_close(result, expected, scale=8)
    assert_close(base, values(shape, mx.float32))


@pytest.mark.parametrize("freqs", [None, [1.0, 3.0, 10.0]])
def test_transformations_of_rope(freqs, tmp_path):
    x, g = values((4, 2, 3, 8), mx.float32), values((4, 2, 3, 8), mx.float32, 1)
    base = 100.0 if freqs is None else None

    def turned(a, scale=0.5):
        frequencies = None if freqs is None else mx.array(freqs)
        return mx.fast.rope(
            a, 6, traditional=False, base=base, scale=scale, offset=2, freqs=frequencies
        )

    def reference(x, scale):
        return rope(x, 6, False, base, scale, 2, None if freqs is None else np.array(freqs))

    a, cotangent = mx.array(x), mx.array(g)
    assert_close(mx.vjp(turned, [a], [cotangent])[1][0], reference(g, -0.5), scale=8)
    assert_close(mx.jvp(turned, [a], [cotangent])[1][0], reference(g, 0.5), scale=8)
    assert_close(mx.vmap(turned)(a), reference(x, 0.5), scale=8)
    assert_close(mx.compile(turned)(a), reference(x, 0.5), scale=8)
    path = str(tmp_path / "turned")
    mx.export_function(path, turned, a)
    assert_close(mx.import_function(path)(a)[0], reference(x, 0.5), scale=8)


def test_rope_is_one_step():
    options = {"traditional": False, "base": 1e4, "scale": 1.0, "offset": 3}
    a = mx.zeros((1, 5, 4, 64))
    mx.eval(a)
    for x in (a, a.transpose(0, 2, 1, 3), a.astype(mx.float16)):
        mx.eval(x)
        steps = mx.plan(mx.fast.rope(x, 64, **options)).steps
        names = [step.op for step in steps if step.op not in ("argument", "astype")]
        assert names == ["rope"]


@pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
def test_cross_entropy(dtype):
    x = values((3, 4, 10), dtype)
    for integer in [mx.uint8, mx.int32, mx.int64]:
        targets = np.random.default_rng(1).integers(0, 10, (3, 4))
        result = mx.fast.cross_entropy(from_numpy(x, dtype), mx.array(targets, integer))
        expected = (
            np.log(np.sum(np.exp(x), -1)) - np.take_along_axis(x, targets[..., None], -1)[..., 0]
        )
        assert result.dtype == (mx.float64 if dtype == mx.float64 else mx.float32)
        assert_close(result, expected, scale=8)
    large = mx.array([[1e4, 0.0]], dtype if dtype != mx.float16 else mx.float32)
    assert mx.fast.cross_entropy(large, mx.array([1])).item() == pytest.approx(1e4, rel=4e-3)


FUNCTIONS = {
    "rms_norm": lambda x, w: mx.fast.rms_norm(x, w, 1e-3),
    "layer_norm": lambda x, w: mx.fast.layer_norm(x, w, w * w, 1e-3),
    "rope": lambda x, w: mx.fast.rope(x, 4, traditional=False, base=10.0, scale=1.0, offset=2),
    "rope freqs": lambda x, w: mx.fast.rope(
        x, 6, traditional=True, base=None, scale=0.3, offset=1, freqs=w[:3] + 3
    ),
    "cross_entropy": lambda x, w: mx.fast.cross_entropy(x * w, mx.array([[0, 5, 2]])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_and_batches(name):
    """Derivatives against differences, second ones too; vmap against a loop."""
    f = FUNCTIONS[name]
    x = mx.array(values((2, 3, 6), mx.float64), mx.float64)[:1]
    w = mx.array(values((6,), mx.float64, 1), mx.float64)

    def loss(x, w):
        return mx.sum(mx.sin(f(x, w)))

    def along(x, w, t):
        return sum((g * d).sum() for g, d in zip(mx.grad(loss, (0, 1))(x, w), t))

    directions = [mx.cos(3 * x), mx.sin(5 * w)]
    step = 1e-3 if name.startswith("rope") else 1e-6  # angles are float32
    for g in [loss, lambda x, w: along(x, w, [directions[1] + 0 * x, directions[1]])]:
        exact = sum((a * b).sum() for a, b in zip(mx.grad(g, (0, 1))(x, w), directions))
        high = g(x + step * directions[0], w + step * directions[1])
        low = g(x - step * directions[0], w - step * directions[1])
        assert exact.item() == pytest.approx(
            ((high - low) / (2 * step)).item(), rel=1e-2 if step == 1e-3 else 1e-5, abs=1e-3
        )

    batch = mx.stack([x, 2 * x, x - 1])
    expected = mx.stack([f(entry, w) for entry in batch])
    assert_close(mx.vmap(lambda e: f(e, w))(batch), np.array(expected), scale=1e4)


BAD = {
    "scalar": (lambda: mx.fast.rms_norm(mx.array(1.0), None, 0.0), r"\[rms_norm\].*one dimension"),
    "integers": (
        lambda: mx.fast.layer_norm(mx.arange(3), None, None, 0.0),
        "int32, expected floats",
    ),
    "complex": (lambda: mx.fast.rms_norm(mx.ones((3,), mx.complex64), None, 0.0), "complex64"),
    "weight": (
        lambda: mx.fast.rms_norm(mx.ones((2, 3)), mx.ones((2,)), 0.0),
        r"weight of shape \(2",
    ),
    "matrix": (lambda: mx.fast.rms_norm(mx.ones((2, 3)), mx.ones((1, 3)), 0.0), r"\(1, 3\)"),
    "bias": (lambda: mx.fast.layer_norm(mx.ones((3,)), None, mx.ones((4,)), 0.0), "bias of shape"),
    "bias dtype": (
        lambda: mx.fast.layer_norm(mx.ones((3,)), None, mx.arange(3), 0.0),
        "bias of dtype int32",
    ),
    "logits": (lambda: mx.fast.cross_entropy(mx.array(1.0), mx.array(0)), "one dimension"),
    "targets": (lambda: mx.fast.cross_entropy(mx.ones((2, 3)), mx.array([0])), "targets of shape"),
    "floats": (lambda: mx.fast.cross_entropy(mx.ones((2, 3)), mx.ones((2,))), "float32, expected"),
}
ROPE = {"dims": 4, "traditional": True, "base": 10.0, "scale": 1.0, "offset": 0}
BAD_ROPE = {
    "odd": ({"dims": 3}, "dims 3, expected an even"),
    "large": ({"dims": 6}, "dims 6, expected"),
    "negative": ({"dims": -2}, "dims -2"),
    "two": ({"a": mx.ones((3, 4))}, "of 3 dimensions"),
    "integers": ({"a": mx.ones((1, 3, 4), mx.int32)}, "int32, expected floats"),
    "neither": ({"base": None}, "one of base and freqs"),
    "both": ({"freqs": mx.ones((2,))}, "one of base and freqs"),
    "freqs": ({"base": None, "freqs": mx.ones((3,))}, r"freqs of shape \(3"),
    "offsets": ({"offset": mx.array([1, 2, 3])}, r"offset of shape \(3"),
    "offset dtype": ({"offset": mx.array(1.5)}, "offset of shape .* float32"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", BAD_ROPE)
def test_bad_input_of_rope(name):
    options, message = BAD_ROPE[name]
    with pytest.raises(ValueError, match=message):
        mx.fast.rope(**{"a": mx.ones((2, 3, 4)), **ROPE, **options})
