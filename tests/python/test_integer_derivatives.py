"""Derivatives of integers and bools: the values are those of MLX 0.32.4, the dtypes the arrays'."""

import narrows.core as mx
import pytest
from support import name_of

INTEGERS = [getattr(mx, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
A, B, W = [1, 3, 2], [2, 1, 2], [1, 2, 3]
M = [[1, 2], [3, 4]]

# function of arrays: arguments, cotangents of the result, cotangents of the arguments.
PULLED_BACK = {
    "square": (mx.square, [A], W, [[2, 12, 12]]),
    "abs": (mx.abs, [A], W, [[1, 2, 3]]),
    "real": (mx.real, [A], W, [[1, 2, 3]]),
    "imag": (mx.imag, [A], W, [[0, 0, 0]]),
    "sign": (mx.sign, [A], W, [[0, 0, 0]]),
    "floor": (mx.floor, [A], W, [[0, 0, 0]]),
    "exp": (mx.exp, [A], W, [[2, 40, 22]]),
    "sqrt": (mx.sqrt, [A], W, [[0, 0, 1]]),
    "isnan": (mx.isnan, [A], W, [[0, 0, 0]]),
    "bitwise_invert": (mx.bitwise_invert, [A], W, [[0, 0, 0]]),
    "add": (mx.add, [A, B], W, [[1, 2, 3], [1, 2, 3]]),
    "multiply": (mx.multiply, [A, B], W, [[2, 2, 6], [1, 6, 6]]),
    "maximum": (mx.maximum, [A, B], W, [[0, 2, 0], [1, 0, 3]]),
    "minimum": (mx.minimum, [A, B], W, [[1, 0, 0], [0, 2, 3]]),
    "power": (mx.power, [A, B], W, [[2, 2, 12], [0, 6, 8]]),
    "floor_divide": (mx.floor_divide, [A, B], W, [[0, 0, 0], [0, 0, 0]]),
    "equal": (mx.equal, [A, B], W, [[0, 0, 0], [0, 0, 0]]),
    "less": (mx.less, [A, B], W, [[0, 0, 0], [0, 0, 0]]),
    "logical_and": (mx.logical_and, [A, B], W, [[0, 0, 0], [0, 0, 0]]),
    "bitwise_and": (mx.bitwise_and, [A, B], W, [[0, 0, 0], [0, 0, 0]]),
    "left_shift": (mx.left_shift, [A, B], W, [[0, 0, 0], [0, 0, 0]]),
    "where": (lambda a: mx.where(a > 2, a, a * 3), [A], W, [[3, 2, 9]]),
    "condition": (lambda a: mx.where(a, 1.0, 2.0), [A], W, [[0, 0, 0]]),
    "sum": (mx.sum, [A], 2, [[2, 2, 2]]),
    "prod": (mx.prod, [A], 2, [[12, 4, 6]]),
    "prod with zero": (mx.prod, [[3, 0, 5]], 1, [[0, 15, 0]]),
    "max": (mx.max, [A], 2, [[0, 2, 0]]),
    "max, shared": (mx.max, [[3, 3, 1]], 4, [[2, 2, 0]]),
    "min": (mx.min, [A], 2, [[2, 0, 0]]),
    "mean": (mx.mean, [A], 2, [[0, 0, 0]]),
    "all": (mx.all, [A], 1, [[0, 0, 0]]),
    "any": (mx.any, [A], 1, [[0, 0, 0]]),
    "argmax": (mx.argmax, [A], 2, [[0, 0, 0]]),
    "argmin": (mx.argmin, [A], 2, [[0, 0, 0]]),
    "cumsum": (mx.cumsum, [A], W, [[6, 5, 3]]),
    "cumprod": (mx.cumprod, [A], W, [[25, 8, 9]]),
    "cumprod with zero": (mx.cumprod, [[3, 0, 5]], W, [[1, 51, 0]]),
    "transpose": (mx.transpose, [M], [[1, 2], [3, 5]], [[[1, 3], [2, 5]]]),
    "slice": (lambda a: a[:, 1], [M], [2, 5], [[[0, 2], [0, 5]]]),
    "broadcast": (lambda a: a[:1] + a * 0, [M], M, [[[4, 6], [0, 0]]]),
    "concatenate": (lambda a: mx.concatenate([a, a]), [M[:1]], M, [[[4, 6]]]),
    "stack": (lambda a: mx.stack([a, a]), [[1, 2]], M, [[4, 6]]),
    "split": (lambda a: mx.split(a, 2)[0], [M], [[2, 2]], [[[2, 2], [0, 0]]]),
    "pad": (lambda a: mx.pad(a, 1), [[1]], [5, 6, 7], [[6]]),
    "diagonal": (mx.diagonal, [M], [1, 2], [[[1, 0], [0, 2]]]),
    "as_strided": (lambda a: mx.as_strided(a, (2, 2), (0, 1)), [M], M, [[[4, 6], [0, 0]]]),
    "repeat": (lambda a: mx.repeat(a, 2), [A], [1, 2, 3, 4, 5, 6], [[3, 7, 11]]),
    "clip": (lambda a: mx.clip(a, 2, 9), [A], W, [[0, 2, 0]]),
    "stop_gradient": (lambda a: mx.stop_gradient(a) * a, [A], W, [[1, 6, 6]]),
    "to int8 and back": (lambda a: a.astype(mx.int8) * a, [A], W, [[2, 12, 12]]),
    "times a fraction": (lambda a: a * 1.5, [A], W, [[1, 3, 4]]),
    "times a half": (lambda a: a * 0.5, [A], W, [[0, 1, 1]]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS, ids=name_of)
@pytest.mark.parametrize("name", PULLED_BACK)
def test_cotangents(name, dtype):
    function, values, cotangent, expected = PULLED_BACK[name]
    primals = [mx.array(value, dtype=dtype) for value in values]
    outputs, found = mx.vjp(function, primals, [mx.array(cotangent, dtype=dtype)])
    assert [g.tolist() for g in found] == expected
    assert all(g.dtype == dtype and g.shape == p.shape for g, p in zip(found, primals))


# function of arrays: arguments, their tangents, the tangent of the result.
PUSHED_FORWARD = {
    "square": (mx.square, [A], [W], [2, 12, 12]),
    "multiply": (mx.multiply, [A, B], [W, W], [3, 8, 12]),
    "maximum": (mx.maximum, [A, B], [W, [5, 6, 7]], [5, 2, 7]),
    "power": (mx.power, [A, B], [W, [0, 0, 0]], [2, 2, 12]),
    "less": (mx.less, [A, B], [W, W], [0, 0, 0]),
    "bitwise_or": (mx.bitwise_or, [A, B], [W, W], [0, 0, 0]),
    "where": (lambda a: mx.where(a > 2, a, a * 3), [A], [W], [3, 2, 9]),
    "sum": (mx.sum, [A], [W], 6),
    "prod": (mx.prod, [A], [W], 19),
    "max": (mx.max, [A], [W], 2),
    "min": (mx.min, [A], [W], 1),
    "any": (mx.any, [A], [W], 0),
    "argmax": (mx.argmax, [A], [W], 0),
    "cumsum": (mx.cumsum, [A], [W], [1, 3, 6]),
    "cumprod": (mx.cumprod, [[3, 7, 2]], [W], [1, 13, 89]),
    "concatenate": (lambda a, b: mx.concatenate([a, b]), [[1], [2]], [[3], [4]], [3, 4]),
    "pad": (lambda a: mx.pad(a, 1), [[1]], [[6]], [0, 6, 0]),
    "times a fraction": (lambda a: a * 1.5, [A], [W], [1.5, 3, 4.5]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS, ids=name_of)
@pytest.mark.parametrize("name", PUSHED_FORWARD)
def test_tangents(name, dtype):
    function, values, tangents, expected = PUSHED_FORWARD[name]
    primals = [mx.array(value, dtype=dtype) for value in values]
    outputs, found = mx.jvp(function, primals, [mx.array(t, dtype=dtype) for t in tangents])
    assert found[0].tolist() == expected and found[0].dtype == outputs[0].dtype


def test_negative_derivatives():
    a, b = mx.array([5, -7]), mx.array([3, 2])
    for function, expected in [
        (mx.negative, [[-1, -1]]),
        (mx.abs, [[1, -1]]),
        (lambda a: mx.reciprocal(a * 0 + 1), [[0, 0]]),
    ]:
        assert [g.tolist() for g in mx.vjp(function, [a], [mx.array([1, 1])])[1]] == expected
    found = mx.vjp(mx.subtract, [a, b], [mx.array([4, 5])])[1]
    assert [g.tolist() for g in found] == [[4, 5], [-4, -5]]
    found = mx.vjp(mx.remainder, [a, b], [mx.array([4, 5])])[1]
    assert [g.tolist() for g in found] == [[4, 5], [-4, 20]]
    assert mx.grad(lambda c: (c / 2 * c).sum())(a).tolist() == [4, -6]


TRUE = mx.array([True, True, False])
BOOLS = {
    "multiply": (lambda a: a * a, [True, True, False]),
    "add": (lambda a: a + a, [True, True, True]),
    "imag": (lambda a: mx.imag(a), [False, False, False]),
    "remainder": (lambda a: mx.remainder(a, mx.array(True)), [True, True, True]),
    "times a fraction": (lambda a: a * 0.5, [True, True, True]),
    "logical_not": (mx.logical_not, [False, False, False]),
    "max": (mx.max, [True, True, False]),
    "where": (lambda a: mx.where(a, 2.0, 3.0), [False, False, False]),
    "astype": (lambda a: a.astype(mx.float32) ** 2, [True, True, False]),
}


@pytest.mark.parametrize("name", BOOLS)
def test_bools(name):
    """A bool tells only whether something changes."""
    function, expected = BOOLS[name]
    gradient = mx.grad(lambda a: mx.sum(function(a)))(TRUE)
    assert gradient.tolist() == expected and gradient.dtype == mx.bool_


def test_bools_pushed_forward():
    ones = mx.array([True, True, True])
    assert mx.jvp(mx.cumsum, [TRUE], [ones])[1][0].tolist() == [1, 2, 3]
    assert mx.jvp(mx.sum, [TRUE], [ones])[1][0].tolist() == 3
    assert mx.jvp(lambda a: a * 2.0, [TRUE], [ones])[1][0].tolist() == [2, 2, 2]


x = mx.array([1.5, 2.5, -3.25])
THROUGH_INTEGERS = {
    "int32": (lambda a: a.astype(mx.int32) * mx.array([1.5, 2, 3]), [1, 2, 3]),
    "int32 and back": (lambda a: a.astype(mx.int32).astype(mx.float32) * 3.5, [3, 3, 3]),
    "bool": (lambda a: a.astype(mx.bool_) * mx.array([1.5, 2, 3]), [1, 1, 1]),
    "argmax": (lambda a: mx.argmax(a) * 1.5, [0, 0, 0]),
    "argmin": (lambda a: mx.argmin(a) * 1.5, [0, 0, 0]),
    "any": (lambda a: mx.any(a) * 1.5, [0, 0, 0]),
    "comparison": (lambda a: (a > 2).astype(mx.float32), [0, 0, 0]),
    "mask": (lambda a: (a > 2) * a, [0, 1, 0]),
    "count": (lambda a: (a > 2).sum() * 1.5, [0, 0, 0]),
    "logical_not": (lambda a: mx.logical_not(a) * 2.0, [0, 0, 0]),
    "integer result": (lambda a: a.astype(mx.int32), [1, 1, 1]),
    "straight through": (lambda a: a + mx.stop_gradient(mx.round(a) - a), [1, 1, 1]),
}


@pytest.mark.parametrize("name", THROUGH_INTEGERS)
def test_floats_through_integers(name):
    function, expected = THROUGH_INTEGERS[name]
    gradient = mx.grad(lambda a: mx.sum(function(a)))(x)
    assert gradient.tolist() == expected and gradient.dtype == mx.float32


def square(a):
    return a * a


def test_transformations_of_transformations():
    three = mx.array(3)
    assert mx.grad(square)(three).item() == 6
    value, gradient = mx.value_and_grad(square)(three)
    assert (value.item(), gradient.item()) == (9, 6)
    assert mx.grad(mx.grad(lambda a: a * a * a))(three).item() == 18
    assert mx.grad(mx.grad(mx.grad(lambda a: a * a * a * a)))(mx.array(2)).item() == 48
    for function in [mx.compile(mx.grad(square)), mx.grad(mx.compile(square))]:
        assert function(three).item() == 6 and function(mx.array(4)).item() == 8
    assert mx.grad(mx.checkpoint(square))(three).item() == 6
    batch = mx.array([1, 2, 3])
    assert mx.vmap(mx.grad(square))(batch).tolist() == [2, 4, 6]
    assert mx.vmap(mx.grad(mx.grad(lambda a: a * a * a)))(batch).tolist() == [6, 12, 18]
    assert mx.grad(lambda a: mx.vmap(square)(a).sum())(batch).tolist() == [2, 4, 6]
    for gradient in [mx.grad(square)(three), mx.vmap(mx.grad(square))(batch)]:
        assert gradient.dtype == mx.int32


def test_mixed_arguments():
    a, b = mx.array(3), mx.array(2.5)
    first, second = mx.grad(lambda a, b: a * b, argnums=(0, 1))(a, b)
    assert (first.item(), first.dtype) == (2, mx.int32)
    assert (second.item(), second.dtype) == (3.0, mx.float32)
    value, tree = mx.value_and_grad(lambda t: t["a"] * t["b"])({"a": a, "b": b})
    assert value.item() == 7.5 and tree["a"].item() == 2 and tree["b"].item() == 3
    outputs, found = mx.vjp(square, [a], [mx.array(1.5)])
    assert found[0].item() == 6 and found[0].dtype == mx.int32
    outputs, found = mx.jvp(lambda a, b: [a * b, a > 2], [a, b], [mx.array(2), mx.array(0.5)])
    assert found[0].item() == 6.5 and found[1].item() is False
    assert mx.grad(lambda a: mx.array(1.0))(a).item() == 0
    assert mx.grad(lambda a: a)(mx.array(True)).item() is True


def test_custom_rules_are_used_for_integers():
    @mx.custom_function
    def product(a, b):
        return a * b

    @product.vjp
    def rule(primals, cotangent, output):
        return cotangent * 7, cotangent * 9.0

    found = mx.grad(product, argnums=(0, 1))(mx.array(3), mx.array(4))
    assert [(g.item(), g.dtype) for g in found] == [(7, mx.int32), (9, mx.int32)]


def test_keys_have_no_derivatives():
    key = mx.random.key(3)
    draw = lambda k: mx.random.uniform(shape=(3,), key=k).sum()  # noqa: E731
    assert mx.grad(draw)(key).tolist() == [0, 0]
    assert mx.jvp(draw, [key], [key])[1][0].item() == 0
    tree = mx.grad(lambda t: draw(t[0]) * t[1])([key, mx.array(2.0)])
    assert tree[0].tolist() == [0, 0] and tree[1].item() == draw(key).item()


def test_views_as_other_dtypes_have_no_rule():
    with pytest.raises(ValueError, match="view"):
        mx.grad(lambda a: a.view(mx.int32).sum() * 1.0)(x)
