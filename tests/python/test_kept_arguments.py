"""Functions that are transformed, that store their arguments, and that get them again."""

import narrows.core as mx
import pytest

pytestmark = pytest.mark.usefixtures("on_cpu")

X = mx.arange(4.0)


class Box:
    """Stores what it is given, and hands on another array."""

    def __init__(self):
        self.array = mx.ones((3,)) * 2

    def keep(self, p, x):
        self.array = p
        return x.sum()

    def keep_second(self, x, p):
        self.array = p
        return x.sum() * 2


def checkpointed(box):
    return mx.checkpoint(box.keep)


def with_rule(box):
    function = mx.custom_function(box.keep)

    @function.vjp
    def rule(primals, cotangents, outputs):
        box.array = primals[0]
        return mx.zeros_like(primals[0]), mx.ones_like(primals[1]) * cotangents

    return function


def twice(box):
    inner = mx.grad(box.keep)
    return lambda p, x: (inner(p, x) * 0).sum() + x.sum()


def jvp(function):
    return lambda p, x: mx.jvp(function, [p, x], [p, x])[1]


def vjp(function):
    return lambda p, x: mx.vjp(function, [p, x], [mx.array(1.0)])[1]


WAYS = {
    "grad": lambda box: mx.grad(box.keep),
    "both": lambda box: mx.grad(box.keep, argnums=(0, 1)),
    "value_and_grad": lambda box: mx.value_and_grad(box.keep),
    "vjp": lambda box: vjp(box.keep),
    "jvp": lambda box: jvp(box.keep),
    "vmap": lambda box: mx.vmap(lambda p, x: box.keep(p, x), in_axes=(None, 0)),
    "checkpoint": lambda box: mx.grad(checkpointed(box), argnums=1),
    "checkpoint of both": lambda box: mx.grad(checkpointed(box), argnums=(0, 1)),
    "custom function": lambda box: mx.grad(with_rule(box), argnums=(0, 1)),
    "grad of grad": lambda box: mx.grad(twice(box)),
    "jvp of grad": lambda box: jvp(twice(box)),
    "grad of vmap": lambda box: mx.grad(
        lambda p, x: mx.vmap(box.keep, in_axes=(None, 0))(p, x).sum()
    ),
    "compiled beside": lambda box: mx.grad(lambda p, x: box.keep(p, mx.compile(mx.exp)(x))),
}


def counts():
    mx.synchronize()
    return mx.get_pending_nodes(), mx.graph_info()["live_buffers"], mx.get_active_memory()


def check_flat(call, calls):
    call()
    call()
    before = counts()
    for _ in range(calls):
        call()
    assert counts() == before


@pytest.mark.parametrize("way", WAYS)
def test_arguments_that_come_again_keep_nothing(way):
    box = Box()
    function = WAYS[way](box)
    check_flat(lambda: mx.eval(function(box.array, X)), 300)
    assert box.array.tolist() == [2, 2, 2]


def test_many_calls():
    box = Box()
    g = mx.grad(box.keep)
    check_flat(lambda: mx.eval(g(box.array, X)), 20_000)


def test_arguments_of_two_functions_in_turn():
    box = Box()
    first, second = mx.grad(box.keep), mx.grad(box.keep_second)
    check_flat(lambda: mx.eval(first(box.array, X), second(X, box.array)), 300)


def test_state_that_is_evaluated_on_the_way():
    state = [mx.zeros((3,))]

    def loss(p, x):
        state[0] = state[0] * 0.5 + p
        mx.eval(state[0])
        return (p * p).sum() + x.sum()

    g = mx.grad(loss)
    p = mx.ones((3,))
    check_flat(lambda: mx.eval(g(p, X)), 300)
    assert state[0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("transform", [mx.compile, lambda f: mx.vmap(f, in_axes=(0, 0))])
def test_placeholders_that_are_left_have_no_value_and_keep_nothing(transform):
    box = Box()
    function = transform(lambda p, x: box.keep(p, x) + p.sum())
    mx.eval(function(mx.ones((4,)), X))
    before = counts()
    for _ in range(100):
        left = box.array
        with pytest.raises(ValueError):
            mx.eval(function(mx.ones((4,)) + left.sum(), X))
    box.array = None
    del left
    assert counts()[0] <= before[0]
