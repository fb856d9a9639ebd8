"""The gated delta rule against a loop over times in NumPy."""

import narrows.core as mx
import numpy as np
import pytest
from support import FLOATING, assert_close, from_numpy, name_of, to_numpy

update = mx.fast.gated_delta_update


def inputs_of(sizes, dtype=mx.float32, seed=0):
    """NumPy arrays of numbers that the dtype has: queries, keys, values, decays, rates."""
    batch, length, key_heads, heads, key_size, value_size = sizes
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=(2, batch, length, key_heads, key_size))
    k = k / np.maximum(1e-3, np.linalg.norm(k, axis=-1, keepdims=True))
    v = rng.normal(size=(batch, length, heads, value_size))
    gamma, beta = rng.uniform(0.2, 1, (2, batch, length, heads))
    arrays = [from_numpy(a, dtype) for a in (q, k, v, gamma, beta)]
    return [to_numpy(a).astype(np.float64) for a in arrays]


def reference(q, k, v, gamma, beta, state=None, mask=None):
    shared = v.shape[2] // max(1, q.shape[2])
    q, k = np.repeat(q, shared, 2), np.repeat(k, shared, 2)
    batch, length, heads, value_size = v.shape
    s = np.zeros((batch, heads, value_size, q.shape[3])) if state is None else state
    results = np.zeros(v.shape)
    for t in range(length):
        decayed = s * gamma[:, t, :, None, None]
        known = np.einsum("bhvk,bhk->bhv", decayed, k[:, t])
        change = beta[:, t, :, None] * (v[:, t] - known)
        after = decayed + np.einsum("bhv,bhk->bhvk", change, k[:, t])
        result = np.einsum("bhvk,bhk->bhv", after, q[:, t])
        taken = np.ones(batch, bool) if mask is None else mask[:, t]
        s = np.where(taken[:, None, None, None], after, s)
        results[:, t] = np.where(taken[:, None, None], result, 0)
    return results, s


# batch, length, heads of keys, heads, size of keys, size of values
SIZES = {
    "one": (1, 1, 1, 1, 1, 1),
    "shared": (2, 33, 2, 4, 8, 5),
    "long": (1, 100, 1, 1, 16, 70),
    "no time": (2, 0, 1, 2, 3, 4),
    "no batch": (0, 3, 1, 2, 3, 4),
    "no values": (2, 3, 1, 2, 3, 0),
    "no keys": (2, 3, 1, 2, 0, 4),
    "no heads": (2, 3, 0, 0, 3, 4),
}


@pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
@pytest.mark.parametrize("sizes", SIZES)
def test_values(sizes, dtype):
    batch, length, _, heads, key_size, value_size = SIZES[sizes]
    x = inputs_of(SIZES[sizes], dtype)
    state = np.random.default_rng(1).normal(size=(batch, heads, value_size, key_size))
    state = state.astype(np.float32)
    mask = np.random.default_rng(2).random((batch, length)) < 0.7
    args = [from_numpy(a, dtype) for a in x]
    for initial, taken in [(None, None), (state, None), (None, mask), (state, mask)]:
        results = update(
            *args,
            None if initial is None else mx.array(initial),
            None if taken is None else mx.array(taken),
        )
        expected = reference(*x, initial, taken)
        assert [r.dtype for r in results] == [
            dtype,
            mx.float64 if dtype == mx.float64 else mx.float32,
        ]
        assert_close(results[0], expected[0], scale=8)
        assert_close(results[1], expected[1], scale=8)


def test_views_are_read_as_they_lie(on_cpu):
    x = inputs_of(SIZES["shared"])
    views = [lambda a: mx.contiguous(a.swapaxes(1, 2)).swapaxes(1, 2), lambda a: a[:, ::-1, ::-1]]
    for view in views:
        args = [view(mx.array(a, mx.float32)) for a in x]
        mx.eval(args)
        results = update(*args)
        steps = [step.op for step in mx.plan(results).steps]
        assert set(steps) <= {"gated_delta_update", "full", "broadcast_to"}
        assert_close(results[0], reference(*(to_numpy(a) for a in args))[0], scale=8)


def test_dtypes_promote():
    q, k, v, gamma, beta = (mx.array(a, mx.float16) for a in inputs_of(SIZES["shared"]))
    assert update(q, k, v, gamma.astype(mx.float32), beta)[0].dtype == mx.float16
    assert update(q, k, v.astype(mx.bfloat16), gamma, beta)[0].dtype == mx.float32
    assert update(q.astype(mx.int32), k, v, gamma, beta)[0].dtype == mx.float16


def by_steps(q, k, v, gamma, beta, state):
    """The same of other operations, for derivatives."""
    shared = v.shape[2] // q.shape[2]
    q, k = mx.repeat(q, shared, 2), mx.repeat(k, shared, 2)
    results = []
    for t in range(q.shape[1]):
        state = state * gamma[:, t, :, None, None]
        known = (state * k[:, t, :, None]).sum(-1)
        change = beta[:, t, :, None] * (v[:, t] - known)
        state = state + change[..., None] * k[:, t, :, None]
        results.append((state * q[:, t, :, None]).sum(-1))
    return mx.stack(results, 1), state


@pytest.mark.parametrize("length", [1, 2, 32, 41])
def test_derivatives(length):
    """Over chunks that are whole and not; a decay of zero forgets all."""
    sizes = (2, length, 1, 2, 3, 4)
    x = [mx.array(a, mx.float64) for a in inputs_of(sizes)]
    x[3][:, length // 2] = 0
    state = mx.array(np.random.default_rng(1).normal(size=(2, 2, 4, 3)), mx.float64)
    args = [*x, state]

    def loss(function, *args):
        result, last = function(*args)
        return mx.sin(result).sum() + mx.cos(last).sum()

    wanted = tuple(range(6))
    found = mx.grad(lambda *a: loss(update, *a), wanted)(*args)
    expected = mx.grad(lambda *a: loss(by_steps, *a), wanted)(*args)
    for a, b in zip(found, expected):
        assert_close(a, to_numpy(b), scale=1000)
    tangents = [mx.cos(5 * a) for a in args]
    found = mx.jvp(lambda *a: update(*a), args, tangents)[1]
    expected = mx.jvp(lambda *a: by_steps(*a), args, tangents)[1]
    for a, b in zip(found, expected):
        assert_close(a, to_numpy(b), scale=1000)


def test_batches():
    x = [mx.array(a, mx.float64) for a in inputs_of(SIZES["shared"])]
    q = mx.stack([x[0], x[0] * 2, x[0] - 1], 1)
    found = mx.vmap(lambda q: update(q, *x[1:]), 1)(q)
    for i in range(3):
        for a, b in zip(found, update(q[:, i], *x[1:])):
            assert_close(a[i], to_numpy(b), scale=10)


def test_memory_is_linear_in_the_length(on_cpu):
    def peak(length):
        x = [mx.zeros((1, length, 4, 32)) for _ in range(3)] + [mx.zeros((1, length, 4))] * 2
        mx.eval(x)
        before = mx.get_active_memory()
        gradients = mx.grad(lambda *x: update(*x)[0].sum(), (0, 1, 2))(*x)
        return mx.plan(gradients).predicted_peak - before

    assert peak(2048) < 2.2 * peak(1024)


def shapes(q, k, v, gamma, beta, *more):
    return lambda: update(*(mx.ones(s) for s in (q, k, v, gamma, beta)), *more)


Q, V, G = (1, 5, 2, 3), (1, 5, 4, 6), (1, 5, 4)
BAD = {
    "rank": (shapes(Q[1:], Q, V, G, G), "expected 4 dimensions"),
    "keys": (shapes(Q, (1, 4, 2, 3), V, G, G), r"keys of shape \(1, 4, 2, 3\), expected"),
    "values": (shapes(Q, Q, (1, 4, 4, 6), G, G), "values of shape"),
    "heads": (shapes(Q, Q, (1, 5, 3, 6), G, G), "2 heads of keys, expected a divisor of the 3"),
    "gamma": (shapes(Q, Q, V, (1, 5, 2), G), r"gamma of shape \(1, 5, 2\), expected"),
    "beta": (shapes(Q, Q, V, G, (1, 5)), "beta of shape"),
    "state": (shapes(Q, Q, V, G, G, mx.ones((1, 4, 3, 6))), "initial_state of shape"),
    "mask": (shapes(Q, Q, V, G, G, None, mx.ones((1,), mx.bool_)), "mask of shape"),
    "dtype of mask": (shapes(Q, Q, V, G, G, None, mx.ones((1, 5))), "float32, expected bool"),
    "complex": (
        lambda: update(*(mx.ones(s, mx.complex64) for s in (Q, Q, V, G, G))),
        "complex64, expected floats",
    ),
    "integers": (
        lambda: update(*(mx.ones(s, mx.int32) for s in (Q, Q, V, G, G))),
        "int32, expected floats",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
