"""The derivative rules against finite differences, and what grad() and the like accept."""

import collections

import narrows.core as mx
import numpy as np
import pytest
from support import FLOATING, TOLERANCE, name_of, to_numpy
from transform_cases import BINARY, FLAT, UNARY, all_cases, arguments

CASES = all_cases()
STEP = 1e-6


def weighted(function, weights):
    """The function as a scalar: its result times fixed weights."""
    return lambda *args: mx.sum(function(*args) * weights)


def random_like(a, seed):
    return mx.array(np.random.default_rng(seed).uniform(-1, 1, a.shape), dtype=a.dtype)


def directional_difference(function, args, tangents):
    """The derivative along the tangents, by central differences."""
    moved = [
        function(*[a + sign * STEP * t for a, t in zip(args, tangents)]) for sign in (1.0, -1.0)
    ]
    return (to_numpy(moved[0]) - to_numpy(moved[1])) / (2 * STEP)


@pytest.mark.parametrize("name", CASES)
def test_jvp_against_differences(name):
    function, shapes, bounds = CASES[name]
    args = arguments(shapes, bounds)
    tangents = [random_like(a, 1 + i) for i, a in enumerate(args)]
    outputs, changes = mx.jvp(function, args, tangents)
    assert changes[0].dtype == outputs[0].dtype
    expected = directional_difference(function, args, tangents)
    np.testing.assert_allclose(to_numpy(changes[0]), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_vjp_is_the_transpose_of_jvp(name):
    function, shapes, bounds = CASES[name]
    args = arguments(shapes, bounds)
    weights = random_like(function(*args), 7)
    outputs, gradients = mx.vjp(function, args, [weights])
    for i, (a, gradient) in enumerate(zip(args, gradients)):
        assert gradient.shape == a.shape and gradient.dtype == a.dtype
        tangents = [mx.zeros_like(b) for b in args]
        tangents[i] = random_like(a, 3)
        change = mx.jvp(function, args, tangents)[1][0]
        left, right = mx.sum(gradient * tangents[i]).item(), mx.sum(change * weights).item()
        assert left == pytest.approx(right, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives(name):
    """jvp of grad against differences of grad: a rule of every rule."""
    function, shapes, bounds = CASES[name]
    args = arguments(shapes, bounds)
    tangents = [random_like(a, 1 + i) for i, a in enumerate(args)]
    gradient = mx.grad(
        weighted(function, random_like(function(*args), 7)), argnums=range(len(args))
    )
    flat = (
        (lambda *a: mx.concatenate([g.flatten() for g in gradient(*a)]))
        if len(args) > 1
        else (lambda a: gradient(a)[0] if isinstance(gradient(a), tuple) else gradient(a))
    )
    change = mx.jvp(flat, args, tangents)[1][0]
    expected = directional_difference(flat, args, tangents)
    np.testing.assert_allclose(to_numpy(change), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradient_of_gradient(name):
    """grad of grad equals jvp of grad: the Hessian is symmetric."""
    function, shapes, bounds = CASES[name]
    args = arguments(shapes, bounds)
    loss = weighted(function, random_like(function(*args), 7))
    direction = random_like(args[0], 5)

    def slope(a):
        return mx.sum(mx.grad(lambda x: loss(x, *args[1:]))(a) * direction)

    backward = mx.grad(slope)(args[0])
    gradient = mx.grad(lambda x: loss(x, *args[1:]))
    forward = mx.jvp(gradient, args[:1], [direction])[1][0]
    np.testing.assert_allclose(to_numpy(backward), to_numpy(forward), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", FLAT)
def test_steps_have_zero_derivatives(name):
    x = mx.array([-1.5, 0.25, 2.75])
    assert mx.grad(lambda a: mx.sum(getattr(mx, name)(a)))(x).tolist() == [0, 0, 0]
    assert mx.jvp(getattr(mx, name), [x], [x])[1][0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_dtypes(name, dtype):
    """The gradient has the argument's dtype and about the value that float64 has."""
    function, shapes, bounds = CASES[name]
    args = arguments(shapes, bounds, dtype)
    exact = [a.astype(mx.float64) for a in args]

    def loss(*a):
        return mx.sum(function(*a))

    which = list(range(len(args)))
    gradients = mx.grad(loss, argnums=which)(*args)
    expected = mx.grad(loss, argnums=which)(*exact)
    if len(args) == 1:
        gradients, expected = [gradients], [expected]
    for gradient, value in zip(gradients, expected):
        assert gradient.dtype == dtype
        tolerance = 30 * TOLERANCE[dtype]
        np.testing.assert_allclose(
            to_numpy(gradient).astype(np.float64), to_numpy(value), rtol=tolerance, atol=tolerance
        )


VIEWS = {
    "transposed": lambda a: a.T,
    "reversed": lambda a: a[::-1],
    "every other": lambda a: a[:, ::2],
    "broadcast": lambda a: a[None] * a,
}


@pytest.mark.parametrize("view", VIEWS)
def test_layouts(view):
    def loss(a):
        seen = VIEWS[view](a)
        return mx.sum(mx.sin(seen) * mx.exp(seen / 10))

    x = mx.arange(12, dtype=mx.float64).reshape(3, 4)
    direction = random_like(x, 2)
    slope = directional_difference(loss, [x], [direction])
    assert mx.sum(mx.grad(loss)(x) * direction).item() == pytest.approx(float(slope), rel=1e-6)


def test_no_elements():
    x = mx.zeros((0, 3))
    assert mx.grad(lambda a: mx.sum(mx.exp(a)))(x).shape == (0, 3)
    assert mx.grad(lambda a: mx.sum(a @ mx.ones((3, 2))))(x).shape == (0, 3)


COMPLEX = {
    "abs": lambda z: mx.sum(mx.abs(z)),
    "real": lambda z: mx.sum(mx.real(z * z)),
    "imag": lambda z: mx.sum(mx.imag(z * z)),
    "conjugate": lambda z: mx.sum(mx.real(mx.conjugate(z) * z)),
    "exp": lambda z: mx.sum(mx.real(mx.exp(z))),
    "divide": lambda z: mx.sum(mx.imag(z / (z + 3))),
    "matmul": lambda z: mx.sum(mx.abs(z.reshape(2, 2) @ z.reshape(2, 2))),
    "prod": lambda z: mx.real(mx.prod(z)),
    "cumprod": lambda z: mx.sum(mx.imag(mx.cumprod(z))),
    "astype": lambda z: mx.sum(mx.abs(mx.real(z).astype(mx.complex64) * z)),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_gradients_point_uphill(name):
    """The change along t is the real part of conj(gradient) * t."""
    function = COMPLEX[name]
    z = mx.array([1 + 2j, -0.5 + 1j, 0.3 - 0.8j, 1.2 + 0.1j])
    t = mx.array([0.4 - 0.2j, 1j, -0.7 + 0j, 0.1 + 0.6j])
    gradient = to_numpy(mx.grad(function)(z))
    step = 1e-2
    slope = (function(z + step * t).item() - function(z - step * t).item()) / (2 * step)
    assert np.sum(gradient.conj() * to_numpy(t)).real == pytest.approx(slope, rel=5e-3, abs=5e-3)
    change = mx.jvp(function, [z], [t])[1][0]
    assert change.item() == pytest.approx(slope, rel=5e-3, abs=5e-3)


x = mx.array([1.0, 2.0])


def product(a, b):
    return mx.sum(a * b)


def test_selected_arguments():
    y = mx.array([3.0, 5.0])
    assert mx.grad(product)(x, y).tolist() == [3, 5]
    assert mx.grad(product, argnums=1)(x, y).tolist() == [1, 2]
    assert mx.grad(product, argnums=[1])(x, y).tolist() == [1, 2]
    both = mx.grad(product, argnums=(0, 1))(x, y)
    assert isinstance(both, tuple) and [g.tolist() for g in both] == [[3, 5], [1, 2]]
    none, named = mx.grad(product, argnames="b")(x, b=y)
    assert none is None and named["b"].tolist() == [1, 2]
    first, named = mx.grad(product, argnums=0, argnames=["b"])(x, b=y)
    assert first.tolist() == [3, 5] and list(named) == ["b"]


def test_trees_keep_their_form():
    Pair = collections.namedtuple("Pair", ["left", "right"])
    tree = {"a": x, "b": [x * 2, (x * 3,)], "c": Pair(x, x * 4)}

    def loss(t):
        return mx.sum(t["a"] * t["b"][1][0]) + mx.sum(t["c"].right)

    gradient = mx.grad(loss)(tree)
    assert gradient["a"].tolist() == [3, 6] and gradient["b"][0].tolist() == [0, 0]
    assert gradient["b"][1][0].tolist() == [1, 2]
    assert isinstance(gradient["c"], Pair) and gradient["c"].right.tolist() == [1, 1]


def test_value_and_auxiliary_results():
    value, gradient = mx.value_and_grad(lambda a: mx.sum(a * a))(x)
    assert value.item() == 5 and gradient.tolist() == [2, 4]
    (value, extra, text), gradient = mx.value_and_grad(lambda a: (mx.sum(a), a + 1, "hi"))(x)
    assert value.item() == 3 and extra.tolist() == [2, 3] and text == "hi"
    assert gradient.tolist() == [1, 1]


def test_values_may_be_looked_at_inside():
    """What is evaluated while a function is recorded still has its derivative."""

    def function(a):
        b = mx.exp(a)
        mx.eval(b)
        if mx.sum(b * 2).item() > 0:
            return mx.sum(b * a)
        return mx.sum(a)

    gradient = mx.grad(function)(x)
    np.testing.assert_allclose(to_numpy(gradient), np.exp([1.0, 2]) * np.array([2.0, 3]), rtol=1e-6)
    second = mx.grad(lambda a: mx.sum(mx.grad(function)(a)))(x)
    np.testing.assert_allclose(to_numpy(second), np.exp([1.0, 2]) * np.array([3.0, 4]), rtol=1e-6)


def test_memory_of_looking_inside_is_given_back():
    before = mx.get_active_memory()
    a = mx.ones((256, 256))

    def function(b):
        for _ in range(5):
            b = mx.sin(b)
            mx.eval(b)
        return mx.sum(b)

    value, gradient = mx.value_and_grad(function)(a)
    mx.eval(value, gradient)
    del gradient, a
    assert mx.get_active_memory() - before <= 64


def test_unused_arguments_and_comparisons_have_zero_gradients():
    assert mx.grad(lambda a, b: mx.sum(b))(x, x).tolist() == [0, 0]
    assert mx.grad(lambda a: mx.sum((a > 1).astype(mx.float32)))(x).tolist() == [0, 0]


def test_stop_gradient():
    assert mx.grad(lambda a: mx.sum(mx.stop_gradient(a) * a))(x).tolist() == [1, 2]
    assert mx.jvp(mx.stop_gradient, [x], [x])[1][0].tolist() == [0, 0]


def test_depends_hands_its_inputs_on():
    assert mx.depends(x, [x * 2]).tolist() == [1, 2]
    first, second = mx.depends([x, x + 1], x * 3)
    assert second.tolist() == [2, 3]
    assert mx.grad(lambda a: mx.sum(mx.depends(a * a, a)))(x).tolist() == [2, 4]


def test_vjp_and_jvp_of_several():
    outputs, gradients = mx.vjp(lambda a, b: [a * b, a], [x, x], [x, x])
    assert [o.tolist() for o in outputs] == [[1, 4], [1, 2]]
    assert [g.tolist() for g in gradients] == [[2, 6], [1, 4]]
    outputs, changes = mx.jvp(lambda a, b: (a * b, a), (x, x), (x, x))
    assert [c.tolist() for c in changes] == [[2, 8], [1, 2]]


ERRORS = {
    "no scalar": (lambda: mx.grad(lambda a: a * 2)(x), ValueError, r"shape \(2,?\)"),
    "no array": (lambda: mx.grad(lambda a: 3)(x), ValueError, "int"),
    "tuple of grad": (lambda: mx.grad(lambda a: (a.sum(), a))(x), ValueError, "tuple"),
    "no function": (lambda: mx.grad(3), TypeError, "int"),
    "selected twice": (lambda: mx.grad(product, argnums=[0, 0]), ValueError, "twice"),
    "named twice": (lambda: mx.grad(product, argnames=["b", "b"]), ValueError, "twice"),
    "negative number": (lambda: mx.grad(product, argnums=-1), ValueError, "-1"),
    "missing argument": (lambda: mx.grad(product, argnums=2)(x, x), ValueError, "argument 2"),
    "missing name": (lambda: mx.grad(product, argnames="z")(x, x), ValueError, "'z'"),
    "nothing selected": (lambda: mx.grad(product, argnums=[]), ValueError, "no argument"),
    "number to differentiate": (lambda: mx.grad(lambda a: a)(3.0), ValueError, "float"),
    "number in a tree": (lambda: mx.grad(lambda a: a[0].sum())([x, 3]), ValueError, "int"),
    "cotangent count": (lambda: mx.vjp(mx.sin, [x], [x, x]), ValueError, "2 cotangents"),
    "cotangent shape": (lambda: mx.vjp(mx.sin, [x], [x[:1]]), ValueError, r"\(1,\)"),
    "tangent count": (lambda: mx.jvp(mx.sin, [x], []), ValueError, "0 tangents"),
    "tangent shape": (lambda: mx.jvp(mx.sin, [x], [x[:1]]), ValueError, r"\(1,\)"),
    "dict result": (lambda: mx.vjp(lambda a: {"a": a}, [x], [x]), ValueError, "dict"),
    "no rule": (lambda: mx.grad(lambda a: mx.cummax(a).sum())(x), ValueError, "cummax"),
    "view": (lambda: mx.grad(lambda a: a.view(mx.float16).sum())(x), ValueError, "view"),
    "error inside": (lambda: mx.grad(lambda a: [][0])(x), IndexError, "out of range"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    function, kind, message = ERRORS[name]
    before = mx.get_active_memory()
    with pytest.raises(kind, match=message):
        function()
    assert mx.get_active_memory() == before
    assert mx.grad(lambda a: mx.sum(a * a))(x).tolist() == [2, 4]


def test_deep_graphs():
    """Neither recursion nor quadratic time: 100,000 operations forward, twice as many back."""

    def function(a):
        for _ in range(100_000):
            a = a * 1.00001
        return a

    value, gradient = mx.value_and_grad(function)(mx.array(2.0, dtype=mx.float64))
    assert gradient.item() == pytest.approx(1.00001**100_000, rel=1e-3)


def test_functions_keep_their_names_and_bind():
    def named(a):
        """Says so."""
        return mx.sum(a)

    assert mx.grad(named).__name__ == "named" and mx.grad(named).__doc__ == "Says so."
    assert mx.grad(named).__wrapped__ is named

    class Holder:
        scale = 3.0

        @mx.checkpoint
        def method(self, a):
            return a * self.scale

    assert Holder().method(x).tolist() == [3, 6]


def test_cycles_through_functions_are_collected():
    import gc
    import weakref

    class Model:
        def __init__(self):
            self.step = mx.grad(self.loss)

        def loss(self, a):
            return mx.sum(a)

    model = Model()
    model.step(x)
    seen = weakref.ref(model)
    del model
    gc.collect()
    assert seen() is None


PARTS = {
    "rows": lambda a, i: a[i],
    "pieces": lambda a, i: a[2 * i : 2 * i + 2],
    "last": lambda a, i: a[-1 - i, ::-1],
    "gathered": lambda a, i: a[mx.array(i)],
    "taken": lambda a, i: mx.take_along_axis(a, mx.full((1, 1024), i), 0),
    "windows": lambda a, i: mx.as_strided(a, (2, 1024), (512, 1), 1024 * i),
}


@pytest.mark.parametrize("name", PARTS)
def test_gradients_of_parts_share_one_array(on_cpu, name):
    """Each part costs what it has itself: bytes and steps grow with the number of parts."""
    part = PARTS[name]

    def cost(count):
        a = mx.random.normal((2 * count + 1, 1024))
        mx.eval(a)

        def loss(a):
            return sum(mx.sum(mx.sin(part(a, i))) for i in range(count))

        plan = mx.plan(mx.grad(loss)(a))
        allocated = sum(step.allocated_bytes for step in plan.steps)
        return allocated - a.nbytes, plan.predicted_peak - 2 * a.nbytes, len(plan.steps)

    few, many = cost(50), cost(400)
    for less, more in zip(few, many):
        assert more < 9 * less
    assert many[0] < 400 * 40_000
