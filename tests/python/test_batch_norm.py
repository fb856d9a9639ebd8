"""Batch normalization and its gradient against NumPy."""

import narrows.core as mx
import numpy as np
import pytest
from support import FLOATING, assert_close, from_numpy, name_of, to_numpy

# Rows are summed in blocks and pieces, channels in strips of vectors.
SHAPES = {
    "few": (7, 3),
    "one row": (1, 5),
    "one channel": (300, 1),
    "strips": (4, 5, 77),
    "pieces": (9, 1000, 18),
    "many channels": (40, 3000),
    "images": (2, 9, 8, 16),
    "no rows": (0, 4, 3),
    "no channels": (4, 0),
}


def normalized(x, weight, bias, eps):
    """The result in float64, with means and variances."""
    with np.errstate(all="ignore"):
        axes = tuple(range(x.ndim - 1))
        mean = x.sum(axes) / np.float64(x.size // max(1, x.shape[-1]))
        variance = ((x - mean) ** 2).sum(axes) / np.float64(x.size // max(1, x.shape[-1]))
        return (x - mean) / np.sqrt(variance + eps) * weight + bias, mean, variance


def gradient(g, x, weight, eps):
    axes = tuple(range(x.ndim - 1))
    y, _, variance = normalized(x, 1, 0, eps)
    centred = g - g.mean(axes) - y * (g * y).mean(axes)
    return centred * weight / np.sqrt(variance + eps), (g * y).sum(axes), g.sum(axes)


def values(shape, dtype, seed, middle=0.5):
    x = np.random.default_rng(seed).normal(middle, 2, shape)
    return to_numpy(from_numpy(x, dtype)).astype(np.float64)


@pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
@pytest.mark.parametrize("shape", SHAPES)
def test_values(shape, dtype):
    x = values(SHAPES[shape], dtype, 0)
    weight, bias = (values(x.shape[-1:], dtype, seed) for seed in (1, 2))
    w, b = from_numpy(weight, dtype), from_numpy(bias, dtype)
    precise = mx.float64 if dtype == mx.float64 else mx.float32
    for given in [(None, None), (w, None), (None, b), (w, b)]:
        results = mx.fast.batch_norm(from_numpy(x, dtype), *given, 1e-3)
        assert [r.dtype for r in results] == [dtype, precise, precise]
        scale = 1 if given[0] is None else weight
        shift = 0 if given[1] is None else bias
        for result, expected in zip(results, normalized(x, scale, shift, 1e-3)):
            assert_close(result, expected, scale=20)


def loss(g):
    return lambda x, w, b: mx.sum(mx.fast.batch_norm(x, w, b, 1e-3)[0] * g)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float64], ids=name_of)
@pytest.mark.parametrize("shape", [name for name in SHAPES if not name.startswith("no ")])
def test_gradients(shape, dtype):
    if dtype == mx.float64 and mx.default_device() != mx.cpu:
        pytest.skip("float64 is the CPU's")
    x = values(SHAPES[shape], dtype, 0)
    g, weight, bias = values(x.shape, dtype, 1), *(values(x.shape[-1:], dtype, s) for s in (2, 3))
    arrays = [from_numpy(a, dtype) for a in (x, weight, bias)]
    found = mx.grad(loss(from_numpy(g, dtype)), (0, 1, 2))(*arrays)
    for result, expected in zip(found, gradient(g, x, weight, 1e-3)):
        scale = 40 * max(1, np.abs(expected).max()) / max(1e-3, np.abs(expected).max())
        assert result.dtype == dtype
        assert_close(result, expected, scale=scale)


def test_views():
    x = values((6, 8, 20), mx.float32, 0)
    for view in (
        lambda a: a.swapaxes(0, 2),
        lambda a: a[::2, ::-1],
        lambda a: a[..., ::3],
        lambda a: a[1:, None],
    ):
        result = mx.fast.batch_norm(view(mx.array(x)), None, None, 1e-3)[0]
        assert_close(result, normalized(view(x), 1, 0, 1e-3)[0], scale=20)


def test_a_mean_far_from_zero_costs_no_digits_of_the_variance():
    x = values((4000, 16), mx.float32, 0, middle=3000)
    result, mean, variance = mx.fast.batch_norm(mx.array(x), None, None, 0.0)
    expected = normalized(x, 1, 0, 0.0)
    np.testing.assert_allclose(to_numpy(mean), expected[1], rtol=1e-6)
    np.testing.assert_allclose(to_numpy(variance), expected[2], rtol=1e-5)
    np.testing.assert_allclose(to_numpy(result), expected[0], atol=1e-3)


def test_integers_and_promotion():
    x = mx.array([[1, 8], [3, 4]])
    y, mean, variance = mx.fast.batch_norm(x, None, None, 0.0)
    assert y.dtype == mean.dtype == variance.dtype == mx.float32
    assert (y.tolist(), mean.tolist(), variance.tolist()) == (
        [[-1, 1], [1, -1]],
        [2, 6],
        [1, 4],
    )
    half = mx.ones((2, 3), mx.bfloat16)
    assert mx.fast.batch_norm(half, mx.ones((3,)), None, 1e-5)[0].dtype == mx.float32


def test_results_do_not_depend_on_what_is_overwritten():
    x = mx.random.normal((2000, 16))
    g = mx.random.normal(x.shape)
    w = mx.random.normal((16,))
    mx.eval(x, g, w)

    def results(x, g):
        y, (found,) = mx.vjp(lambda a: mx.fast.batch_norm(a, w, w, 1e-3)[0], [x], [g])
        return y[0], found

    kept = [np.array(a) for a in results(x, g)]
    dying = [np.array(a) for a in results(x + 0, g + 0)]
    alone = np.array(mx.fast.batch_norm(x + 0, w, w, 1e-3)[0])
    assert all(np.array_equal(a, b) for a, b in zip(kept, dying))
    assert np.array_equal(kept[0], alone)


@pytest.mark.parametrize("shape", [(3, 5), (20000, 64)])
def test_memory_is_what_was_planned(shape, on_cpu):
    x = mx.random.normal(shape)
    w = mx.ones(shape[1:])
    mx.eval(x, w)

    def norm(a):
        return mx.fast.batch_norm(a, w, w, 1e-3)[0]

    def measured(*outputs):
        """The peak beyond what was active before."""
        predicted, before = mx.plan(*outputs).predicted_peak, mx.get_active_memory()
        mx.reset_peak_memory()
        mx.eval(*outputs)
        assert mx.get_peak_memory() == predicted
        return predicted - before

    outputs = mx.vjp(norm, [x], [x + 1])
    steps = [step.op for step in mx.plan(outputs).steps if step.op != "argument"]
    assert sorted(steps) == ["add", "batch_norm", "batch_norm_gradient"]
    measured(outputs)
    del outputs
    # A result that takes the place of its input needs scratch and vectors beside it.
    peak = measured(norm(x + 1))
    assert peak < x.nbytes + max(x.nbytes // 2, 20000)


def test_nan_stays_in_its_channel():
    x = values((50, 20), mx.float32, 0)
    x[3, 7] = np.nan
    y = to_numpy(mx.fast.batch_norm(mx.array(x), None, None, 1e-3)[0])
    assert np.isnan(y[:, 7]).all()
    assert not np.isnan(np.delete(y, 7, 1)).any()


BAD = {
    "a vector": (lambda: (mx.ones((3,)), None, None), r"shape \(3,\), expected \(..., channels\)"),
    "complex": (lambda: (mx.ones((2, 3), mx.complex64), None, None), "complex64, expected real"),
    "weight": (lambda: (mx.ones((2, 3)), mx.ones((2,)), None), r"weight of shape \(2,\)"),
    "bias": (lambda: (mx.ones((2, 3)), None, mx.ones((1, 3))), r"bias of shape \(1, 3\)"),
    "integers": (lambda: (mx.ones((2, 3)), mx.ones((3,), mx.int32), None), "dtype int32"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=rf"\[batch_norm\].*{message}"):
        mx.fast.batch_norm(*arguments(), 1e-5)
