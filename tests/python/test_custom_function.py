"""Functions with rules of their own, and checkpoints."""

import narrows.core as mx
import numpy as np
import pytest
from support import to_numpy

x = mx.array([1.0, 2.0])


def test_without_rules_it_is_the_function():
    f = mx.custom_function(lambda a, b: mx.sin(a) * b)
    np.testing.assert_allclose(to_numpy(f(x, x)), np.sin([1, 2.0]) * [1, 2], rtol=1e-6)
    gradient = mx.grad(lambda a: mx.sum(f(a, x)))(x)
    np.testing.assert_allclose(to_numpy(gradient), np.cos([1, 2.0]) * [1, 2], rtol=1e-6)
    assert mx.vmap(f)(x, x).shape == (2,)


def test_vjp():
    @mx.custom_function
    def f(a, b):
        return {"product": a * b, "sum": a + b}

    seen = []

    @f.vjp
    def rule(primals, cotangents, outputs):
        seen.append((primals, cotangents, outputs))
        return primals[0] * 10, None

    first, second = mx.grad(lambda a, b: mx.sum(f(a, b)["product"]), argnums=(0, 1))(x, x + 1)
    assert first.tolist() == [10, 20] and second.tolist() == [0, 0]
    ((primals, cotangents, outputs),) = seen
    assert [p.tolist() for p in primals] == [[1, 2], [2, 3]]
    assert cotangents["product"].tolist() == [1, 1] and cotangents["sum"].tolist() == [0, 0]
    assert outputs["sum"].tolist() == [3, 5]


def test_one_argument_comes_by_itself():
    @mx.custom_function
    def f(tree):
        return tree["a"] * 2

    f.vjp(lambda primal, cotangent, output: {"a": cotangent * 7, "b": None})
    gradient = mx.grad(lambda t: mx.sum(f(t)))({"a": x, "b": x})
    assert gradient["a"].tolist() == [7, 7] and gradient["b"].tolist() == [0, 0]


def test_jvp():
    f = mx.custom_function(lambda a, b: a * b)
    f.jvp(lambda primals, tangents: primals[1] * 100 if tangents[1] is None else tangents[1])
    assert mx.jvp(lambda a: f(a, x), [x], [x])[1][0].tolist() == [100, 200]
    assert mx.jvp(f, [x, x], [x, x + 1])[1][0].tolist() == [2, 3]


def test_vmap():
    f = mx.custom_function(lambda a, b: a + b)
    seen = []

    @f.vmap
    def rule(inputs, axes):
        seen.append(axes)
        return inputs[0] * 100, axes[0]

    m = mx.arange(6.0).reshape(2, 3)
    assert mx.vmap(f, in_axes=(0, None))(m, m[0]).tolist() == (m * 100).tolist()
    assert mx.vmap(f, in_axes=(1, None), out_axes=1)(m, m[:, 0]).tolist() == (m * 100).tolist()
    assert seen == [(0, None), (0, None)]


def test_rules_hold_for_batches():
    f = mx.custom_function(lambda a, b: a * b)
    f.vjp(lambda primals, cotangent, output: (cotangent * 10, cotangent * primals[0]))
    m = mx.arange(6.0).reshape(2, 3)

    def loss(a, b):
        return mx.sum(mx.vmap(f, in_axes=(0, None))(a, b))

    first, second = mx.grad(loss, argnums=(0, 1))(m, m[0])
    assert first.tolist() == [[10] * 3] * 2 and second.tolist() == [3, 5, 7]
    f.jvp(lambda primals, tangents: tangents[0] * 5)
    change = mx.jvp(lambda a: mx.vmap(f, in_axes=(0, None))(a, m[0]), [m], [m])[1][0]
    assert change.tolist() == (m * 5).tolist()


def test_second_derivatives_go_through_rules():
    f = mx.custom_function(lambda a: mx.exp(a))
    f.vjp(lambda primal, cotangent, output: cotangent * primal * primal)

    def gradient(a):
        return mx.sum(mx.grad(lambda b: mx.sum(f(b)))(a))

    assert mx.grad(gradient)(x).tolist() == [2, 4]


def test_rules_may_evaluate():
    """What a rule evaluates keeps the graph that the other rules still need."""
    f = mx.custom_function(lambda a: mx.sin(a) * a)

    @f.vjp
    def vjp_rule(primal, cotangent, output):
        mx.eval(primal, cotangent, output)
        assert len(str(output)) > 0
        return cotangent * output

    @f.jvp
    def jvp_rule(primal, tangent):
        mx.eval(primal, tangent)
        return tangent * primal

    def inside(a):
        return f(mx.exp(mx.sin(a) * 2) + a) * a

    values = to_numpy(x)
    b = np.exp(np.sin(values) * 2) + values
    slope = np.exp(np.sin(values) * 2) * np.cos(values) * 2 + 1
    g = np.sin(b) * b
    for _ in range(5):
        np.testing.assert_allclose(
            to_numpy(mx.grad(lambda a: mx.sum(inside(a)))(x)),
            g + values * g * slope,
            rtol=1e-4,
        )
        np.testing.assert_allclose(
            to_numpy(mx.jvp(inside, [x], [mx.ones((2,))])[1][0]),
            g + values * b * slope,
            rtol=1e-4,
        )

    @f.vmap
    def vmap_rule(inputs, axes):
        mx.eval(inputs)
        return inputs * 3, axes

    batch = mx.vmap(lambda a, c: f(mx.sin(mx.exp(c) * 2)) + f(a), in_axes=(0, None))
    for _ in range(5):
        np.testing.assert_allclose(
            to_numpy(batch(x, x[0])),
            np.sin(np.exp(1) * 2) * np.sin(np.sin(np.exp(1) * 2)) + 3 * values,
            rtol=1e-5,
        )


def test_errors_of_rules_leave_everything_usable():
    """A rule raises in the middle of a backward pass, of a compiled one as well."""
    f = mx.custom_function(lambda a: mx.exp(a))
    raising = [True]

    @f.vjp
    def rule(primal, cotangent, output):
        if raising[0]:
            raise KeyError("inside")
        return cotangent * 2

    def loss(a):
        return mx.sum(mx.sin(f(mx.cos(a)) * a))

    shared = mx.sin(x)
    for transformed in [mx.grad(loss), mx.compile(mx.grad(loss)), mx.grad(mx.checkpoint(loss))]:
        raising[0] = True
        before = mx.get_pending_nodes()
        for _ in range(3):
            with pytest.raises(KeyError, match="inside"):
                transformed(shared)
        assert mx.get_pending_nodes() == before
        raising[0] = False
        first = transformed(shared).tolist()
        assert first == transformed(shared).tolist() and len(first) == 2


ERRORS = {
    "no function": (lambda: mx.custom_function(3), TypeError, "int"),
    "count": (lambda f: f.vjp(lambda p, c, o: (c,)), ValueError, "1 arrays, expected 2"),
    "shape": (lambda f: f.vjp(lambda p, c, o: (c, c[:1])), ValueError, r"\(1,\)"),
    "type": (lambda f: f.vjp(lambda p, c, o: (c, 3)), ValueError, "int"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    action, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        if name == "no function":
            action()
        f = mx.custom_function(lambda a, b: a * b)
        action(f)
        mx.eval(mx.grad(lambda a, b: mx.sum(f(a, b)), argnums=(0, 1))(x, x))


def test_checkpoint_has_the_same_derivatives():
    def layer(a, weight, scale=1.0):
        return {"out": mx.tanh(a @ weight) * scale}

    a, w = mx.random.normal((4, 5)), mx.random.normal((5, 5))

    def loss(apply):
        return lambda a, w: mx.sum(apply(apply(a, w)["out"], w, scale=x[1])["out"] ** 2)

    plain = mx.value_and_grad(loss(layer), argnums=(0, 1))(a, w)
    again = mx.value_and_grad(loss(mx.checkpoint(layer)), argnums=(0, 1))(a, w)
    np.testing.assert_allclose(to_numpy(plain[0]), to_numpy(again[0]), rtol=1e-6)
    for p, q in zip(plain[1], again[1]):
        np.testing.assert_allclose(to_numpy(p), to_numpy(q), rtol=1e-5, atol=1e-6)


def test_checkpoint_takes_less_memory():
    def block(a):
        for _ in range(8):
            a = mx.sin(a)
        return a

    def peak(apply):
        def loss(a):
            for _ in range(8):
                a = apply(a)
            return mx.sum(a)

        a = mx.ones((256, 256))
        mx.eval(a)
        return mx.plan(mx.value_and_grad(loss)(a)).predicted_peak

    assert peak(mx.checkpoint(block)) < 0.45 * peak(block)


def test_rules_are_released_with_the_graph():
    import gc
    import weakref

    class Rule:
        def __call__(self, primal, cotangent, output):
            return cotangent

    rule = Rule()
    seen = weakref.ref(rule)
    f = mx.custom_function(lambda a: a * 2)
    f.vjp(rule)
    y = f(x)
    mx.async_eval(y)
    mx.eval(y)
    del rule, f
    gc.collect()
    for _ in range(1000):
        if seen() is None:
            break
    assert seen() is None


def dropped(a):
    """Half of the elements, by several kinds of random numbers."""
    a = a * mx.random.bernoulli(0.5, a.shape)
    return mx.sin(a * mx.random.randint(1, 9, a.shape)) * mx.random.normal(a.shape)


def nested(a):
    return dropped(mx.checkpoint(dropped)(a))


def seeded(a):
    mx.random.seed(11)
    return dropped(a)


def by_state(a):
    """Looks at the state that draws leave behind."""
    a = dropped(a)
    return a * mx.random.normal(a.shape, key=mx.random.state[0])


@pytest.mark.parametrize("function", [dropped, nested, seeded, by_state])
@pytest.mark.parametrize("calls", [1, 2])
def test_checkpoint_draws_the_same_numbers_again(function, calls):
    a = mx.random.normal((64,))

    def drawn(apply, transformed):
        def loss(a):
            for _ in range(calls):
                a = apply(a)
            return mx.sum(a * a)

        mx.random.seed(3)
        value, gradient = transformed(mx.value_and_grad(loss))(a)
        mx.random.normal((2,))
        return [v.tolist() for v in (value, gradient, mx.random.normal((3,)))]

    def with_state(f):
        return mx.compile(f, inputs=mx.random.state, outputs=mx.random.state)

    plain = drawn(function, lambda f: f)
    assert any(plain[1]) and not all(plain[1])
    for transformed in (lambda f: f, with_state):
        for expected, found in zip(plain, drawn(mx.checkpoint(function), transformed)):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_checkpoint_draws_again_what_others_draw_between():
    """Another thread draws while the function runs for the first time."""
    import threading

    def drawing(a):
        a = a * mx.random.uniform(shape=a.shape)
        other = threading.Thread(target=lambda: mx.eval(mx.random.uniform(shape=(3,))))
        other.start()
        other.join()
        return a * mx.random.uniform(shape=a.shape)

    ones = mx.ones((5,))
    value, gradient = mx.value_and_grad(lambda a: mx.sum(mx.checkpoint(drawing)(a)))(ones)
    assert value.item() == pytest.approx(mx.sum(gradient).item(), rel=1e-6)


def test_checkpoint_of_a_batch_draws_the_same_numbers_again():
    a = mx.random.normal((3, 16))

    def gradient(apply):
        mx.random.seed(5)
        return mx.vmap(mx.grad(lambda a: mx.sum(apply(a) ** 2)))(a)

    plain, again = gradient(dropped), gradient(mx.checkpoint(dropped))
    np.testing.assert_allclose(to_numpy(again), to_numpy(plain), rtol=1e-4, atol=1e-5)
