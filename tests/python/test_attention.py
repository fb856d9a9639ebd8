"""Attention against NumPy: masks, shared heads, sinks, layouts, derivatives, batches, memory."""

import itertools
import math

import narrows.core as mx
import numpy as np
import pytest
from support import FLOATING, TOLERANCE, assert_close, from_numpy, name_of, to_numpy

attention = mx.fast.scaled_dot_product_attention


def values(shape, dtype=mx.float32, seed=0):
    x = np.random.default_rng(seed).normal(0, 1, shape)
    return to_numpy(from_numpy(x, dtype)).astype(np.float64)


def reference(q, k, v, scale, mask=None, sinks=None):
    """In float64. What a mask hides has the lowest float32 as its score."""
    shared = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, shared, 1), np.repeat(v, shared, 1)
    scores = np.float32(scale) * (q @ k.swapaxes(-1, -2))
    if isinstance(mask, str):
        mask = np.tri(q.shape[2], k.shape[2], k.shape[2] - q.shape[2], dtype=bool)
    if mask is not None and mask.dtype == bool:
        scores = np.where(mask, scores, np.finfo(np.float32).min)
    elif mask is not None:
        scores = scores + mask
    if sinks is not None:
        sinks = np.broadcast_to(sinks[:, None, None], scores.shape[:3] + (1,))
        scores = np.concatenate([scores, sinks], -1)
    weights = np.exp(scores - scores.max(-1, keepdims=True)) if scores.size else scores
    weights = weights / weights.sum(-1, keepdims=True)
    return weights[..., : k.shape[2]] @ v


def composed(q, k, v, scale, mask=None, sinks=None):
    """The same of other operations, for derivatives."""
    batch, heads, queries, size = q.shape
    key_heads, keys = k.shape[1:3]
    q = (q * mx.array(scale, mx.float32).astype(q.dtype)).reshape(
        batch, key_heads, heads // key_heads, queries, size
    )
    scores = (q @ k[:, :, None].swapaxes(-1, -2)).reshape(batch, heads, queries, keys)
    if isinstance(mask, str):
        mask = mx.arange(keys) <= (mx.arange(queries) + keys - queries)[:, None]
    if mask is not None and mask.dtype == mx.bool_:
        scores = mx.where(mask, scores, mx.array(-3.402823466e38, q.dtype))
    elif mask is not None:
        scores = scores + mask
    if sinks is not None:
        sinks = mx.broadcast_to(sinks[:, None, None], (batch, heads, queries, 1))
        scores = mx.concatenate([scores, sinks], -1)
    weights = mx.softmax(scores, -1)[..., :keys]
    weights = weights.reshape(batch, key_heads, heads // key_heads, queries, keys)
    return (weights @ v[:, :, None]).reshape(batch, heads, queries, -1)


def random_mask(shape, seed=3):
    return np.random.default_rng(seed).random(shape) < 0.6


# name: the mask for (batch, heads, queries, keys)
MASKS = {
    "none": lambda b, h, n, m: None,
    "causal": lambda b, h, n, m: "causal",
    "boolean": lambda b, h, n, m: random_mask((b, h, n, m)),
    "boolean of keys": lambda b, h, n, m: random_mask((m,)),
    "boolean of queries": lambda b, h, n, m: random_mask((n, 1)),
    "boolean of entries": lambda b, h, n, m: random_mask((b, 1, 1, m)),
    "hides all": lambda b, h, n, m: np.zeros((n, m), bool),
    "additive": lambda b, h, n, m: values((b, h, n, m), mx.float16, 5),
    "additive of heads": lambda b, h, n, m: values((1, h, 1, m), mx.float16, 5),
}
# batch, heads, heads of keys, queries, keys, size, size of values
SIZES = {
    "one": (1, 1, 1, 1, 1, 1, 1),
    "decode": (2, 8, 2, 1, 257, 16, 16),
    "decode of a head": (1, 2, 2, 1, 65, 7, 5),
    "more keys": (2, 4, 2, 7, 33, 8, 6),
    "fewer keys": (1, 4, 1, 33, 7, 5, 3),
    "long": (1, 2, 2, 257, 257, 16, 32),
    "ragged": (1, 3, 1, 65, 130, 33, 17),
    "wide": (1, 2, 1, 9, 70, 130, 260),
    "a long cache": (1, 4, 2, 1, 1500, 8, 5),
    "a few in a long cache": (1, 2, 1, 70, 1100, 5, 8),
    "many queries": (1, 8, 8, 270, 70, 4, 3),
    "no columns": (1, 2, 1, 3, 4, 0, 2),
    "no columns of values": (1, 2, 1, 3, 4, 2, 0),
}
EMPTY = {
    "no keys": (2, 2, 1, 3, 0, 4, 5),
    "no queries": (2, 2, 1, 0, 3, 4, 5),
    "no batch": (0, 2, 1, 3, 3, 4, 5),
    "no heads": (1, 0, 0, 3, 3, 4, 5),
}


def inputs_of(sizes, dtype=mx.float32):
    """NumPy arrays of numbers that the dtype has."""
    batch, heads, key_heads, queries, keys, size, value_size = sizes
    return [
        values((batch, heads, queries, size), dtype),
        values((batch, key_heads, keys, size), dtype, 1),
        values((batch, key_heads, keys, value_size), dtype, 2),
    ]


def as_mask(mask, dtype):
    if mask is None or isinstance(mask, str):
        return mask
    return mx.array(mask) if mask.dtype == bool else from_numpy(mask, dtype)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("sizes", SIZES)
def test_masks(sizes, mask):
    batch, heads, _, queries, keys, size, _ = SIZES[sizes]
    x = inputs_of(SIZES[sizes])
    hides = MASKS[mask](batch, heads, queries, keys)
    scale = 1 / math.sqrt(max(size, 1))
    for sinks in [None, values(heads, seed=7)]:
        result = attention(
            *[mx.array(a.astype(np.float32)) for a in x],
            scale=scale,
            mask=as_mask(hides, mx.float32),
            sinks=None if sinks is None else mx.array(sinks.astype(np.float32)),
        )
        assert_close(result, reference(*x, scale, hides, sinks), scale=4)


@pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
@pytest.mark.parametrize("mask", ["none", "causal", "boolean", "additive"])
def test_dtypes(mask, dtype):
    sizes = SIZES["more keys"]
    x = inputs_of(sizes, dtype)
    hides = MASKS[mask](2, 4, 7, 33)
    if mask == "additive":
        hides = values((2, 4, 7, 33), dtype, 5)
    sinks = values(4, dtype, 7)
    result = attention(
        *[from_numpy(a, dtype) for a in x],
        scale=0.25,
        mask=as_mask(hides, dtype),
        sinks=from_numpy(sinks, dtype),
    )
    assert result.dtype == dtype
    assert_close(result, reference(*x, 0.25, hides, sinks), scale=2)


def test_dtypes_promote():
    x = [mx.ones((1, 1, 2, 4), dtype) for dtype in (mx.float16, mx.bfloat16, mx.float16)]
    assert attention(*x, scale=1.0).dtype == mx.float32
    x = [mx.ones((1, 1, 2, 4), dtype) for dtype in (mx.int32, mx.float16, mx.bool_)]
    assert attention(*x, scale=1.0).dtype == mx.float16
    x = [mx.ones((1, 1, 2, 4))] * 3
    mask = mx.ones((2, 2), mx.int32)
    assert_close(attention(*x, scale=1.0, mask=mask), np.ones((1, 1, 2, 4)))


@pytest.mark.parametrize("sizes", EMPTY)
def test_empty(sizes):
    batch, heads, _, queries, keys, size, value_size = EMPTY[sizes]
    x = [mx.array(a.astype(np.float32)) for a in inputs_of(EMPTY[sizes])]
    for mask in [None, "causal", mx.zeros((queries, keys)), mx.zeros((queries, keys), mx.bool_)]:
        result = attention(*x, scale=1.0, mask=mask)
        assert_close(result, np.zeros((batch, heads, queries, value_size)))
        gradients = mx.grad(
            lambda *x, mask=mask: attention(*x, scale=1.0, mask=mask).sum(), (0, 1, 2)
        )(*x)
        for gradient, a in zip(gradients, x):
            assert_close(gradient, np.zeros(a.shape))


def heads_last(a):
    """As (batch, length, heads, size) in memory."""
    return mx.contiguous(a.swapaxes(1, 2)).swapaxes(1, 2)


def in_a_cache(a):
    cache = mx.full((a.shape[0], a.shape[1], a.shape[2] + 7, a.shape[3]), float("nan"))
    cache[:, :, : a.shape[2]] = a
    mx.eval(cache)
    return cache[:, :, : a.shape[2]]


def columns_apart(a):
    return mx.contiguous(a.swapaxes(2, 3)).swapaxes(2, 3)


def backwards(a):
    return mx.contiguous(a[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1]


VIEWS = [heads_last, in_a_cache, columns_apart, backwards]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("sizes", ["decode", "more keys", "long"])
def test_views_are_read_as_they_lie(sizes, view, on_cpu):
    x = inputs_of(SIZES[sizes])
    a = [view(mx.array(part.astype(np.float32))) for part in x]
    mask = random_mask(SIZES[sizes][3:5])
    mx.eval(a)
    results = [attention(*a, scale=0.25), attention(*a, scale=0.25, mask=mx.array(mask.T).T)]
    assert [step.op for step in mx.plan(results[0]).steps] == ["scaled_dot_product_attention"]
    assert_close(results[0], reference(*x, 0.25), scale=4)
    assert_close(results[1], reference(*x, 0.25, mask), scale=4)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16], ids=name_of)
def test_views_of_16_bits(dtype):
    x = inputs_of(SIZES["more keys"], dtype)
    for view in [heads_last, columns_apart, backwards]:
        a = [view(from_numpy(part, dtype)) for part in x]
        assert_close(attention(*a, scale=0.25), reference(*x, 0.25), scale=2)


def test_queries_that_see_nothing_weigh_all_alike():
    q, k, v = (mx.array(a.astype(np.float32)) for a in inputs_of(SIZES["fewer keys"]))
    result = attention(q, k, v, scale=1.0, mask="causal")
    means = mx.broadcast_to(v.mean(2, keepdims=True), (1, 4, 26, 3))
    assert_close(result[:, :, :26], to_numpy(means))
    hidden = mx.full((33, 7), float("-inf"))
    assert mx.isnan(attention(q, k, v, scale=1.0, mask=hidden)).all()
    # But what hides some keys only may hide the first blocks.
    x = inputs_of((1, 1, 1, 5, 200, 4, 4))
    late = np.where(np.arange(200) < 150, -np.inf, 0.0)
    result = attention(
        *[mx.array(a.astype(np.float32)) for a in x], scale=1.0, mask=mx.array(late, mx.float32)
    )
    assert_close(result, reference(*x, 1.0, late), scale=4)


def test_large_scores_do_not_overflow():
    for dtype in FLOATING:
        q = mx.full((1, 1, 2, 4), 100, dtype)
        result = attention(q, q, mx.ones((1, 1, 2, 4), dtype), scale=1.0)
        assert_close(result, np.ones((1, 1, 2, 4)))


@pytest.mark.parametrize("keys", [5, 1500])
def test_what_is_not_a_number_stays_so(keys):
    """Whatever bits it has."""
    k = values((1, 1, keys, 4))
    k[0, 0, keys // 2] = np.uint32(0x7FC00001).view(np.float32)
    q = values((1, 1, 3, 4), seed=1)
    result = attention(mx.array(q, mx.float32), mx.array(k, mx.float32), mx.ones(k.shape), scale=1)
    assert np.isnan(np.array(result)).all()
    hides = np.arange(keys) != keys // 2
    some = [mx.array(np.nan_to_num(a), mx.float32) for a in (q, k, k)]
    expected = reference(*(np.nan_to_num(a) for a in (q, k, k)), 1, hides)
    minus = mx.array(np.where(hides, 0, -np.inf), mx.float32)
    assert_close(attention(*some, scale=1, mask=minus), expected, scale=10)


def gradient_cases():
    few = itertools.product(["more keys", "fewer keys", "ragged", "decode"], MASKS)
    return [*few, *itertools.product(["a few in a long cache"], ["none", "causal", "boolean"])]


@pytest.mark.parametrize(("sizes", "mask"), gradient_cases())
def test_gradients(sizes, mask):
    """Against those of the composition, in float64."""
    batch, heads, _, queries, keys, _, value_size = SIZES[sizes]
    x = [mx.array(a, mx.float64) for a in inputs_of(SIZES[sizes])]
    hides = as_mask(MASKS[mask](batch, heads, queries, keys), mx.float64)
    weights = mx.array(values((batch, heads, queries, value_size), seed=9), mx.float64)
    learned = [] if hides is None or isinstance(hides, str) or hides.dtype == mx.bool_ else [hides]
    for sinks in [[], [mx.array(values(heads, seed=7), mx.float64)]]:
        args = [*x, *sinks, *learned]

        def loss(function, *args, sinks=sinks):
            more = list(args[3:])
            sink = more.pop(0) if sinks else None
            hide = more.pop(0) if learned else hides
            result = function(*args[:3], scale=0.25, mask=hide, sinks=sink)
            return (result * weights).sum()

        wanted = tuple(range(len(args)))
        found = mx.grad(lambda *a: loss(attention, *a), wanted)(*args)
        expected = mx.grad(lambda *a: loss(composed, *a), wanted)(*args)
        for a, b in zip(found, expected):
            assert_close(a, to_numpy(b), scale=100)


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32], ids=name_of)
@pytest.mark.parametrize("sizes", ["decode", "more keys", "long", "a few in a long cache"])
def test_gradients_of_dtypes(sizes, dtype):
    x = inputs_of(SIZES[sizes], dtype)
    wanted = (0, 1, 2)
    expected = mx.grad(lambda *a: mx.sin(composed(*a, 0.25, "causal")).sum(), wanted)(
        *(mx.array(a, mx.float64) for a in x)
    )
    found = mx.grad(
        lambda *a: mx.sin(attention(*a, scale=0.25, mask="causal")).astype(mx.float32).sum(),
        wanted,
    )(*(from_numpy(a, dtype) for a in x))
    for a, b in zip(found, expected):
        assert a.dtype == dtype
        size = max(1.0, np.abs(to_numpy(b)).max())
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=8 * size * TOLERANCE[dtype])


@pytest.mark.parametrize("mask", ["none", "causal", "boolean", "additive"])
def test_second_derivatives(mask):
    sizes = (1, 4, 2, 3, 5, 2, 3)
    x = [mx.array(a, mx.float64) for a in inputs_of(sizes)]
    hides = as_mask(MASKS[mask](1, 4, 3, 5), mx.float64)
    sinks = mx.array(values(4, seed=7), mx.float64)

    def slope(function, *args):
        def loss(*args):
            return mx.sin(function(*args[:3], scale=0.5, mask=hides, sinks=args[3])).sum()

        gradients = mx.grad(loss, (0, 1, 2, 3))(*args)
        return sum(mx.sin(3 * g).sum() for g in gradients)

    args = [*x, sinks]
    found = mx.grad(lambda *a: slope(attention, *a), (0, 1, 2, 3))(*args)
    expected = mx.grad(lambda *a: slope(composed, *a), (0, 1, 2, 3))(*args)
    for a, b in zip(found, expected):
        assert_close(a, to_numpy(b), scale=100)


@pytest.mark.parametrize("mask", ["none", "causal", "boolean of keys", "additive"])
def test_tangents(mask):
    batch, heads, _, queries, keys, _, _ = SIZES["more keys"]
    x = [mx.array(a, mx.float64) for a in inputs_of(SIZES["more keys"])]
    t = [mx.cos(7 * a) for a in x]
    hides = as_mask(MASKS[mask](batch, heads, queries, keys), mx.float64)
    found = mx.jvp(lambda *a: attention(*a, scale=0.25, mask=hides), x, t)[1][0]
    expected = mx.jvp(lambda *a: composed(*a, 0.25, hides), x, t)[1][0]
    assert_close(found, to_numpy(expected), scale=100)


AXES = [(0, None, None), (None, 0, 0), (0, 1, 2), (1, None, 0)]


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("mask", ["none", "causal", "batched", "shared"])
def test_batches(mask, axes):
    """vmap() against a loop, with gradients and vmap() inside of it."""
    x = [mx.array(a, mx.float64) for a in inputs_of((2, 4, 2, 3, 5, 2, 3))]
    batches = [a if axis is None else mx.stack([a, 2 * a, a - 1], axis) for a, axis in zip(x, axes)]
    masks = mx.array(random_mask((3, 2, 1, 3, 5)))
    hides = {"none": None, "causal": "causal", "batched": masks, "shared": masks[0]}[mask]
    is_batched = mask == "batched"

    def f(q, k, v, hide=None):
        return attention(q, k, v, scale=0.5, mask=hide if is_batched else hides)

    def gradients(*args):
        return mx.grad(lambda *a: mx.sin(f(*a, *args[3:])).sum(), (0, 1, 2))(*args[:3])

    args = [*batches, masks] if is_batched else batches
    in_axes = (*axes, 0) if is_batched else axes
    entries = [
        [a if axis is None else mx.take(a, i, axis) for a, axis in zip(args, in_axes)]
        for i in range(3)
    ]
    expected = mx.stack([f(*entry) for entry in entries])
    assert_close(mx.vmap(f, in_axes)(*args), to_numpy(expected), scale=10)
    for found, *each in zip(
        mx.vmap(gradients, in_axes)(*args), *(gradients(*entry) for entry in entries)
    ):
        assert_close(found, to_numpy(mx.stack(each)), scale=100)
    twice = mx.vmap(mx.vmap(f, in_axes), (0,) + (None,) * (len(args) - 1))
    outer = mx.stack([batches[0], batches[0] * 3])
    expected = mx.stack([mx.vmap(f, in_axes)(a, *args[1:]) for a in outer])
    assert_close(twice(outer, *args[1:]), to_numpy(expected), scale=10)


def test_batches_copy_nothing(on_cpu):
    q, k = mx.ones((3, 2, 4, 5, 8)), mx.ones((2, 2, 6, 8))
    mask = mx.ones((3, 5, 6), mx.bool_)
    mx.eval(q, k, mask)
    f = mx.vmap(lambda q, m: attention(q, k, k, scale=1.0, mask=m))
    steps = [step.op for step in mx.plan(f(q, mask)).steps]
    assert steps.count("scaled_dot_product_attention") == 1
    assert set(steps) <= {"scaled_dot_product_attention", "expand_dims", "moveaxis", "transpose"}


MEGABYTE = 2**20


def peak(function, length):
    """Bytes beyond the inputs' at the peak, as planned."""
    x = [mx.zeros((1, 8, length, 64)) for _ in range(3)]
    mx.eval(x)
    before = mx.get_active_memory()
    return mx.plan(function(*x)).predicted_peak - before


def loss(q, k, v):
    return attention(q, k, v, scale=0.125, mask="causal").sum()


MEMORY = {
    "forward": lambda *x: attention(*x, scale=0.125),
    "backward": lambda *x: mx.grad(loss, (0, 1, 2))(*x),
    "vmap": lambda *x: mx.vmap(loss)(*(a.swapaxes(0, 1)[:, :, None] for a in x)),
    "jvp": lambda *x: mx.jvp(lambda *x: attention(*x, scale=0.125), x, x)[1],
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_linear_in_the_length(name, on_cpu):
    """A matrix of scores would be 2048 MB."""
    short, long = peak(MEMORY[name], 4096), peak(MEMORY[name], 8192)
    assert long <= 2.1 * short
    assert long < 200 * MEGABYTE


def test_measured_peak_is_the_predicted_one(on_cpu):
    x = [mx.random.normal((1, 4, 300, 24)) for _ in range(3)]
    mx.eval(x)
    outputs = mx.grad(loss, (0, 1, 2))(*x)
    plan = mx.plan(outputs)
    mx.reset_peak_memory()
    mx.eval(outputs)
    assert mx.get_peak_memory() == plan.predicted_peak


def shapes(q, k, v, **options):
    return lambda: attention(*(mx.ones(s) for s in (q, k, v)), scale=1.0, **options)


Q, K = (1, 4, 5, 8), (1, 2, 7, 8)
BAD = {
    "rank": (shapes(Q[1:], K, K), ValueError, r"\(4, 5, 8\), expected 4 dimensions"),
    "size": (shapes(Q, (1, 2, 7, 4), K), ValueError, r"keys of shape .* same last dimension"),
    "heads": (shapes((1, 3, 5, 8), K, K), ValueError, "heads that divides 3"),
    "heads of values": (shapes(Q, K, (1, 1, 7, 8)), ValueError, "values of shape"),
    "length of values": (shapes(Q, K, (1, 2, 6, 8)), ValueError, "values of shape"),
    "batch": (shapes((2, 4, 5, 8), K, K), ValueError, "expected the same batch"),
    "word": (shapes(Q, K, K, mask="caudal"), ValueError, "mask 'caudal', expected 'causal'"),
    "mask": (shapes(Q, K, K, mask=mx.ones((5, 6))), ValueError, r"mask of shape \(1, 1, 5, 6"),
    "mask of heads": (
        shapes(Q, K, K, mask=mx.ones((1, 2, 5, 7))),
        ValueError,
        "a mask of shape",
    ),
    "mask of entries": (
        shapes(Q, K, K, mask=mx.ones((2, 1, 5, 7))),
        ValueError,
        "a mask of shape",
    ),
    "rank of mask": (
        shapes(Q, K, K, mask=mx.ones((1, 1, 1, 5, 7))),
        ValueError,
        "at most 4 dimensions",
    ),
    "dtype of mask": (
        shapes(Q, K, K, mask=mx.ones((5, 7), mx.complex64)),
        ValueError,
        "complex64, expected one that promotes to float32",
    ),
    "sinks": (shapes(Q, K, K, sinks=mx.ones((2,))), ValueError, r"sinks of shape \(2"),
    "dtype of sinks": (
        shapes(Q, K, K, sinks=mx.ones((4,), mx.complex64)),
        ValueError,
        "sinks .* complex64",
    ),
    "integers": (
        lambda: attention(*[mx.ones((1, 1, 1, 1), mx.int32)] * 3, scale=1.0),
        ValueError,
        "int32, expected floats",
    ),
    "number": (shapes(Q, K, K, mask=3), TypeError, "scaled_dot_product_attention"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()
