"""max_pool against views and max(): layouts, derivatives, batches, numbers that are special."""

import itertools
import math

import narrows.core as mx
import numpy as np
import pytest
from support import assert_close, name_of, to_numpy

# shape, size, stride, padding
CASES = {
    "tiles": ((2, 6, 8, 5), (2, 2), (2, 2), (0, 0)),
    "overlap": ((3, 9, 7, 33), (3, 3), (2, 2), (1, 1)),
    "every place": ((1, 5, 6, 8), (3, 2), (1, 1), (1, 0)),
    "gaps": ((2, 9, 9, 17), (2, 1), (3, 4), (0, 0)),
    "rest": ((2, 7, 8, 40), (2, 3), (2, 3), (0, 0)),
    "length": ((2, 11, 3), (4,), (3,), (2,)),
    "volumes": ((2, 4, 5, 6, 9), (2, 3, 2), (2, 1, 2), (1, 1, 0)),
    "beyond the padding": ((1, 3, 2), (2,), (1,), (3,)),
    "no windows": ((2, 3, 3, 4), (5, 5), (1, 1), (0, 0)),
    "no batch": ((0, 4, 4, 3), (2, 2), (2, 2), (0, 0)),
}


def values(shape, seed=0):
    """With many that are equal."""
    return np.random.default_rng(seed).integers(-3, 3, shape).astype(np.float64)


def windows(x, size, stride, padding):
    """Lists of (window, places of it that exist)."""
    counts = [
        max(0, (n + 2 * p - k) // s + 1) for n, k, s, p in zip(x.shape[1:-1], size, stride, padding)
    ]
    for window in itertools.product(*(range(n) for n in counts)):
        ranges = [
            range(max(0, i * s - p), max(0, min(n, i * s - p + k)))
            for i, n, k, s, p in zip(window, x.shape[1:-1], size, stride, padding)
        ]
        yield window, list(itertools.product(*ranges))


def reference(x, size, stride, padding):
    counts = [
        max(0, (n + 2 * p - k) // s + 1) for n, k, s, p in zip(x.shape[1:-1], size, stride, padding)
    ]
    result = np.full((x.shape[0], *counts, x.shape[-1]), -math.inf)
    for window, places in windows(x, size, stride, padding):
        for place in places:
            at = (slice(None), *window)
            result[at] = np.maximum(result[at], x[(slice(None), *place)])
    return result


def reference_gradient(x, g, size, stride, padding):
    y = reference(x, size, stride, padding)
    result = np.zeros(x.shape)
    for window, places in windows(x, size, stride, padding):
        at = (slice(None), *window)
        hits = [x[(slice(None), *place)] == y[at] for place in places]
        for place, hit in zip(places, hits):
            result[(slice(None), *place)] += np.where(hit, g[at] / np.maximum(1, sum(hits)), 0)
    return result


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.int32, mx.uint8], ids=name_of)
@pytest.mark.parametrize("case", CASES)
def test_values(case, dtype):
    shape, *settings = CASES[case]
    x = np.abs(values(shape)) if dtype == mx.uint8 else values(shape)
    result = mx.max_pool(mx.array(x).astype(dtype), *settings)
    expected = reference(x, *settings)
    if dtype not in (mx.float32, mx.float16):
        expected = np.maximum(expected, mx.iinfo(dtype).min)
    assert result.dtype == dtype
    np.testing.assert_array_equal(to_numpy(result), expected)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float64], ids=name_of)
@pytest.mark.parametrize("case", [name for name in CASES if not name.startswith("beyond")])
def test_gradients(case, dtype, on_cpu):
    shape, *settings = CASES[case]
    x = values(shape)
    g = np.random.default_rng(1).normal(size=reference(x, *settings).shape)
    a, weights = mx.array(x, dtype), mx.array(g, dtype)
    found = mx.grad(lambda a: (mx.max_pool(a, *settings) * weights).sum())(a)
    assert_close(found, reference_gradient(x, g, *settings), scale=10)


def test_padding_gets_nothing():
    x = mx.array([[[-math.inf], [-math.inf]]])
    assert mx.grad(lambda a: mx.max_pool(a, [2], [1], [1]).sum())(x).flatten().tolist()[0] > 0
    assert mx.max_pool(x, [2], [1], [3]).shape == (1, 7, 1)


def test_not_a_number_is_the_largest(on_cpu):
    x = mx.array([[[1.0], [math.nan], [3.0], [2.0]]])
    assert np.isnan(np.array(mx.max_pool(x, [2])).flatten()).tolist() == [True, False]
    found = mx.grad(lambda a: mx.max_pool(a, [2])[:, 1:].sum())(x)
    assert found.flatten().tolist()[2:] == [1, 0]


def test_layouts_are_packed():
    x = mx.array(values((2, 9, 3, 7)), mx.float32).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(
        mx.max_pool(x, [3, 2], [2, 2]), reference(to_numpy(x), (3, 2), (2, 2), (0, 0))
    )


def test_second_derivatives_tangents_and_batches(on_cpu):
    shape, *settings = CASES["overlap"]
    x = mx.array(np.random.default_rng(2).normal(size=shape), mx.float32)
    v = mx.array(np.random.default_rng(3).normal(size=shape), mx.float32)

    def pool(a):
        return mx.max_pool(a, *settings)

    def gradient(weights):
        return mx.vjp(pool, [x], [weights])[1][0]

    weights = pool(v)
    # The gradient is linear in the cotangent: <gradient(w), v> is <w, tangent(v)>.
    tangent = mx.jvp(pool, [x], [v])[1][0]
    assert_close((gradient(weights) * v).sum(), to_numpy((weights * tangent).sum()), scale=100)
    assert_close(mx.grad(lambda w: (gradient(w) * v).sum())(weights), to_numpy(tangent), scale=10)
    again = mx.jvp(gradient, [weights], [2 * weights])[1][0]
    assert_close(again, to_numpy(2 * gradient(weights)), scale=10)
    batch = mx.stack([x, v])
    assert_close(mx.vmap(pool)(batch), to_numpy(mx.stack([pool(x), pool(v)])))
    found = mx.vmap(mx.grad(lambda a: mx.sin(pool(a)).sum()))(batch)
    one = [mx.grad(lambda a: mx.sin(pool(a)).sum())(a) for a in (x, v)]
    assert_close(found, to_numpy(mx.stack(one)), scale=10)


@pytest.mark.parametrize(
    "settings",
    [([2, 2], None, None), ([2], [1, 1], None), ([0], None, None), ([2], [0], None)]
    + [([2], [1], [-1]), ([], None, None), ([1] * 4, None, None), ([2**40], None, None)],
)
def test_errors(settings):
    with pytest.raises(ValueError, match=r"\[max_pool\]"):
        mx.max_pool(mx.zeros((1, 4, 2)), *settings)
