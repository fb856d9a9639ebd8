"""Batched functions against a Python loop over the entries."""

import narrows.core as mx
import numpy as np
import pytest
from support import DTYPES, from_numpy, name_of, to_numpy
from test_derivatives import random_like, weighted
from transform_cases import all_cases, arguments

CASES = {
    **all_cases(),
    "isnan": (mx.isnan, [(3, 4)], (-1, 1)),
    "less": (mx.less, [(3, 4), (4,)], (-1, 1)),
    "floor_divide": (mx.floor_divide, [(3, 4), (3, 1)], (-2, 2)),
    "all": (lambda a: mx.all(a > 0, axis=1), [(3, 4)], (-1, 1)),
    "argmax": (lambda a: mx.argmax(a, axis=1), [(3, 4)], (-1, 1)),
    "argmin of all": (lambda a: mx.argmin(a), [(3, 4)], (-1, 1)),
    "argmax keepdims": (lambda a: mx.argmax(a, axis=0, keepdims=True), [(3, 4)], (-1, 1)),
    "cummax": (lambda a: mx.cummax(a, axis=1), [(3, 4)], (-1, 1)),
    "cummin flat": (lambda a: mx.cummin(a), [(3, 4)], (-1, 1)),
    "view": (lambda a: a.view(mx.int32), [(3, 4)], (-1, 1)),
    "split uneven": (lambda a: mx.split(a, [3, 1], 0)[2], [(4, 2)], (-1, 1)),
    "stop_gradient": (lambda a: mx.stop_gradient(a), [(3,)], (-1, 1)),
    "depends": (lambda a, b: mx.depends([a], [b])[0], [(3,), (2,)], (-1, 1)),
    "pad with value": (
        lambda a, b: mx.pad(a, ((1, 0), (0, 2)), constant_values=b),
        [(3, 4), ()],
        (-1, 1),
    ),
    "constant": (lambda a: mx.ones((2,)), [(3,)], (-1, 1)),
    "captured": (lambda a: a + mx.arange(4.0), [(3, 4)], (-1, 1)),
}
BATCH = 3


def loop(function, args, axes):
    """The function of every entry, stacked."""
    entries = []
    for i in range(BATCH):
        entry = [
            a if axis is None else np.take(to_numpy(a), i, axis) for a, axis in zip(args, axes)
        ]
        entries.append(
            to_numpy(
                function(
                    *[
                        a if isinstance(a, mx.array) else mx.array(a, dtype=b.dtype)
                        for a, b in zip(entry, args)
                    ]
                )
            )
        )
    return np.stack(entries)


def batched_arguments(shapes, bounds, axes):
    """Arguments with the batch along the axes."""
    with_batch = []
    for shape, axis in zip(shapes, axes):
        shape = list(shape)
        if axis is not None:
            shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, BATCH)
        with_batch.append(tuple(shape))
    return arguments(with_batch, bounds)


def axes_to_try(count):
    yield [0] * count
    yield [-1] * count
    if count > 1:
        yield [0] + [None] * (count - 1)
        yield [None] * (count - 1) + [-1]


@pytest.mark.parametrize("name", CASES)
def test_against_a_loop(name):
    function, shapes, bounds = CASES[name]
    for axes in axes_to_try(len(shapes)):
        args = batched_arguments(shapes, bounds, axes)
        result = mx.vmap(function, in_axes=axes)(*args)
        expected = loop(function, args, axes)
        assert result.shape == expected.shape
        np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", all_cases())
def test_gradients_of_entries(name):
    """vmap of grad, and grad through vmap, against a loop."""
    function, shapes, bounds = CASES[name]
    axes = [0] * len(shapes)
    args = batched_arguments(shapes, bounds, axes)
    entry = [a[0] for a in args]
    loss = weighted(function, random_like(function(*entry), 7))

    def gradient(*a):
        return mx.grad(loss)(*a)

    expected = loop(gradient, args, axes)
    inside = mx.vmap(gradient)(*args)
    np.testing.assert_allclose(to_numpy(inside), expected, rtol=1e-9, atol=1e-10)
    outside = mx.grad(lambda *a: mx.sum(mx.vmap(loss)(*a)))(*args)
    np.testing.assert_allclose(to_numpy(outside), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", all_cases())
def test_tangents_of_entries(name):
    function, shapes, bounds = CASES[name]
    axes = [0] * len(shapes)
    args = batched_arguments(shapes, bounds, axes)

    def change(*a):
        return mx.jvp(function, a, [mx.ones_like(b) for b in a])[1][0]

    result = mx.vmap(change)(*args)
    np.testing.assert_allclose(to_numpy(result), loop(change, args, axes), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_dtypes(dtype):
    a = from_numpy(np.arange(6).reshape(2, 3) % 3, dtype)
    assert mx.vmap(lambda b: b + b)(a).dtype == dtype
    assert (
        to_numpy(mx.vmap(lambda b: mx.concatenate([b, b]))(a)).tolist()
        == np.tile(to_numpy(a), 2).tolist()
    )


def test_nested():
    a, b = arguments([(3, 4), (5, 4)], (-1, 1))

    def rows(x, y):
        return mx.vmap(lambda z: mx.sum(x * z))(y)

    result = mx.vmap(rows, in_axes=(0, None))(a, b)
    np.testing.assert_allclose(to_numpy(result), to_numpy(a) @ to_numpy(b).T, rtol=1e-12)


def test_jacobian_and_hessian():
    a = arguments([(4,)], (-1, 1))[0]

    def function(x):
        return mx.sin(x) * mx.sum(x)

    identity = mx.eye(4, dtype=mx.float64)
    backward = mx.vmap(lambda v: mx.vjp(function, [a], [v])[1][0])(identity)
    forward = mx.vmap(lambda v: mx.jvp(function, [a], [v])[1][0])(identity)
    np.testing.assert_allclose(to_numpy(backward), to_numpy(forward).T, rtol=1e-12)
    gradient = mx.grad(lambda x: mx.sum(function(x)))
    hessian = mx.vmap(lambda v: mx.jvp(gradient, [a], [v])[1][0])(identity)
    np.testing.assert_allclose(to_numpy(hessian), to_numpy(hessian).T, rtol=1e-12)


m = mx.arange(6.0).reshape(2, 3)


def test_trees_and_axes():
    result = mx.vmap(
        lambda d, c: {"o": d["a"] + d["b"], "s": [mx.sum(c)]},
        in_axes=({"a": 0, "b": None}, -1),
        out_axes={"o": 1, "s": 0},
    )({"a": m, "b": m[0]}, m.T)
    assert result["o"].tolist() == [[0, 3], [2, 5], [4, 7]]
    assert result["s"][0].tolist() == [3, 12]
    first, second = mx.vmap(lambda a: (a, mx.array(1.0)), out_axes=(0, None))(m)
    assert first.tolist() == m.tolist() and second.item() == 1
    assert mx.vmap(lambda a, n: a * n, in_axes=(0, None))(m, 2).tolist() == (m * 2).tolist()


def test_random_keys():
    keys = mx.random.split(mx.random.key(3), 4)
    result = mx.vmap(lambda k: mx.random.uniform(shape=(5,), key=k))(keys)
    each = [mx.random.uniform(shape=(5,), key=k).tolist() for k in keys]
    assert result.tolist() == each


ERRORS = {
    "sizes": (lambda: mx.vmap(lambda a, b: a)(m, m.T), ValueError, "2 and 3"),
    "no axis": (lambda: mx.vmap(lambda a: a, in_axes=None)(m), ValueError, "no input"),
    "axis": (lambda: mx.vmap(lambda a: a, in_axes=5)(m), IndexError, "5"),
    "scalar": (lambda: mx.vmap(lambda a: a)(mx.array(1)), ValueError, "scalar"),
    "no array": (lambda: mx.vmap(lambda a: a)(3), ValueError, "int"),
    "axes form": (lambda: mx.vmap(lambda a: a, in_axes=(0, 0))(m), ValueError, "in_axes"),
    "out form": (lambda: mx.vmap(lambda a: a, out_axes=[0, 0])(m), ValueError, "out_axes"),
    "out none": (lambda: mx.vmap(lambda a: a, out_axes=None)(m), ValueError, "axis"),
    "keywords": (lambda: mx.vmap(lambda a: a)(a=m), TypeError, "keyword"),
    "evaluated": (lambda: mx.vmap(lambda a: a * mx.sum(a).item())(m), ValueError, "traced"),
    "result": (lambda: mx.vmap(lambda a: 3)(m), ValueError, "int"),
    "error inside": (lambda: mx.vmap(lambda a: [][0])(m), IndexError, "out of range"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    function, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        function()
    assert mx.vmap(mx.sum)(m).tolist() == [3, 12]
