"""Compiled functions give the same results, from one graph for one kind of call."""

import gc
import weakref
from functools import partial

import narrows.core as mx
import numpy as np
import pytest
from support import to_numpy
from transform_cases import all_cases, arguments

CASES = all_cases()
x = mx.array([1.0, 2.0])


@pytest.mark.parametrize("name", CASES)
def test_same_results(name):
    function, shapes, bounds = CASES[name]
    compiled = mx.compile(function)
    for seed in range(3):
        args = arguments(shapes, bounds, mx.float32, seed)
        np.testing.assert_array_equal(to_numpy(compiled(*args)), to_numpy(function(*args)))


@pytest.mark.parametrize("name", CASES)
def test_same_gradients(name):
    function, shapes, bounds = CASES[name]
    gradient = mx.grad(lambda *a: mx.sum(mx.sin(function(*a))))
    compiled = mx.compile(gradient)
    for seed in range(2):
        args = arguments(shapes, bounds, mx.float32, seed)
        np.testing.assert_array_equal(to_numpy(compiled(*args)), to_numpy(gradient(*args)))


def count_calls():
    calls = []

    @mx.compile
    def function(a, *args, **kwargs):
        calls.append(a)
        return a * 2

    return function, calls


def test_one_graph_for_one_kind_of_call():
    function, calls = count_calls()
    for _ in range(3):
        assert function(x).tolist() == [2, 4]
    assert len(calls) == 1
    kinds = [
        ((mx.ones((3,)),), {}),
        ((mx.ones((2,), dtype=mx.float16),), {}),
        ((x, 3), {}),
        ((x, 3.0), {}),
        ((x, "text"), {}),
        ((x, None), {}),
        ((x, True), {}),
        ((x, [x, x]), {}),
        ((x, (x, x)), {}),
        ((x, {"a": x}), {}),
        ((x, {"b": x}), {}),
        ((x,), {"k": x}),
        ((x, mx.float16), {}),
    ]
    for i, (args, kwargs) in enumerate(kinds):
        function(*args, **kwargs)
        function(*args, **kwargs)
        assert len(calls) == 2 + i
    with mx.stream(mx.new_stream(mx.cpu)):
        function(x)
    assert len(calls) == 2 + len(kinds)


def test_trees_and_constants_come_back():
    function = mx.compile(lambda d: {"sum": d["a"] + d["b"][0], "list": [d["a"], 3, "s", None]})
    for _ in range(2):
        result = function({"a": x, "b": (x,)})
        assert result["sum"].tolist() == [2, 4]
        assert result["list"][0].tolist() == [1, 2] and result["list"][1:] == [3, "s", None]
    assert mx.compile(lambda a: None)(x) is None
    assert mx.compile(lambda a: a)(x).tolist() == [1, 2]


def test_layouts_of_arguments():
    function = mx.compile(lambda a, b: (a * 2 + b).sum(axis=0))
    m = mx.arange(16.0).reshape(4, 4)
    for view in [lambda a: a, lambda a: a.T, lambda a: a[::-1], lambda a: mx.flip(a, 1)] * 2:
        for other in [m, m[0], m.T]:
            expected = to_numpy(view(m)) * 2 + to_numpy(other)
            np.testing.assert_array_equal(to_numpy(function(view(m), other)), expected.sum(0))
    for k in range(20):
        part = mx.arange(100.0)[k : k + 4]
        np.testing.assert_array_equal(
            to_numpy(function(part, m)), (to_numpy(part) * 2 + to_numpy(m)).sum(0)
        )


def test_captured_arrays_and_constants():
    w = mx.arange(2.0) * 10  # not evaluated yet
    function = mx.compile(lambda a: a + w + mx.ones((2,)) * mx.arange(2))
    for _ in range(3):
        assert function(x).tolist() == [1, 13]


def test_state():
    state = {"w": x, "list": [x * 3]}

    def step(a):
        state["w"] = state["w"] + a
        state["list"].append(a * 2)
        return mx.sum(state["w"])

    function = mx.compile(step, inputs=state, outputs=state)
    assert function(x).item() == 6
    assert state["w"].tolist() == [2, 4] and len(state["list"]) == 2
    assert function(x).item() == 9
    assert state["w"].tolist() == [3, 6] and len(state["list"]) == 3
    assert state["list"][0].tolist() == [3, 6]


def test_state_that_appears():
    """An optimizer makes its state in the first step."""
    calls = []
    state = {}

    @partial(mx.compile, inputs=[state], outputs=[state])
    def step(g):
        calls.append(1)
        state["m"] = state.get("m", mx.zeros_like(g)) * 0.5 + g
        return state["m"]

    for expected in [1, 1.5, 1.75, 1.875]:
        assert step(mx.array(1.0)).item() == expected
    assert len(calls) == 2


def test_state_is_put_back_after_an_error():
    state = {"w": x}

    def step(a):
        state["w"] = a * 2
        state["new"] = a
        raise KeyError("inside")

    with pytest.raises(KeyError):
        mx.compile(step, inputs=state, outputs=state)(x)
    assert list(state) == ["w"] and state["w"] is not None and state["w"].tolist() == [1, 2]


def test_inputs_that_are_no_outputs_stay():
    state = {"w": x}
    function = mx.compile(lambda a: a + state["w"], inputs=state)
    assert function(x).tolist() == [2, 4]
    state["w"] = x * 10
    assert function(x).tolist() == [11, 22] and state["w"].tolist() == [10, 20]


def test_random_state():
    @partial(mx.compile, inputs=mx.random.state, outputs=mx.random.state)
    def draw():
        return mx.random.uniform(shape=(3,))

    mx.random.seed(7)
    compiled = [draw().tolist() for _ in range(3)]
    mx.random.seed(7)
    assert compiled == [mx.random.uniform(shape=(3,)).tolist() for _ in range(3)]
    fixed = mx.compile(lambda: mx.random.uniform(shape=(3,)))
    assert fixed().tolist() == fixed().tolist()
    assert mx.random.uniform(shape=(3,)).tolist() != mx.random.uniform(shape=(3,)).tolist()


def test_with_other_transformations():
    function = mx.compile(lambda a: mx.sum(a * a * a))
    assert mx.grad(function)(x).tolist() == [3, 12]
    assert mx.vmap(function)(mx.ones((2, 3))).tolist() == [3, 3]
    assert mx.compile(mx.vmap(mx.grad(function)))(mx.ones((2, 3))).tolist() == [[3] * 3] * 2
    assert mx.compile(lambda a: function(a) * 2)(x).item() == 18
    assert mx.compile(mx.checkpoint(lambda a: a * 2))(x).tolist() == [2, 4]


def test_results_are_lazy_and_part_of_graphs():
    function = mx.compile(lambda a: (a * 2, a + 1))
    double, more = function(x + 1)
    total = mx.sum(double * more) + function(double)[0].sum()
    assert total.item() == (4 * 3 + 6 * 4) + (8 + 12)
    assert function(function(x)[0])[1].tolist() == [3, 5]


def test_several_streams():
    other = mx.new_stream(mx.cpu)
    function = mx.compile(lambda a: mx.add(mx.exp(a), a, stream=other) * 2)
    for k in [1.0, 2.0]:
        expected = (np.exp(to_numpy(x * k)) + to_numpy(x * k)) * 2
        np.testing.assert_allclose(to_numpy(function(x * k)), expected, rtol=1e-6)


@pytest.mark.parametrize("policy", ["width", "memory"])
def test_peak_is_the_planned_one(policy, on_cpu):
    def function(a):
        b = mx.exp(a)
        return mx.sin(b) + mx.cos(b), mx.sum(b)

    compiled = mx.compile(function)
    with mx.order_policy(policy):
        for dies in [False, True]:
            a = mx.ones((1024, 1024))
            mx.eval(a)
            result = compiled(a)
            if dies:
                del a
            planned = mx.plan(result).predicted_peak
            mx.reset_peak_memory()
            base = mx.get_active_memory()
            mx.eval(result)
            assert mx.get_peak_memory() == max(base, planned)
            del result


def test_fusion_can_be_switched_between_calls(on_cpu):
    function = mx.compile(lambda a: mx.exp(a) + mx.sin(a))
    a = mx.ones((512, 512))
    mx.eval(a)
    peaks = []
    for on in [True, False, True]:
        with mx.fusion(on):
            peaks.append(mx.plan(function(a)).predicted_peak)
    assert peaks[0] == peaks[2] < peaks[1]


def test_arguments_that_die_are_overwritten():
    step = mx.compile(lambda a: mx.sqrt(mx.abs(a * 1.5 + 0.25)))
    a = mx.ones((1024, 1024))
    mx.eval(a)
    active = mx.get_active_memory()
    mx.reset_peak_memory()
    for _ in range(5):
        a = step(a)
        mx.eval(a)
    assert mx.get_peak_memory() <= active + 8192


def test_arguments_that_are_one_array():
    function = mx.compile(lambda a, b: (mx.exp(a) + b * 2, a - b))
    for both in [lambda a: (a, a), lambda a: (a, a[:]), lambda a: (a, mx.exp(a))]:
        expected = [to_numpy(o) for o in function(*both(x * 3))]
        a = x * 3
        mx.eval(a)
        results = function(*both(a))
        del a
        for result, values in zip(results, expected):
            np.testing.assert_array_equal(to_numpy(result), values)
    np.testing.assert_array_equal(to_numpy(function(x, x)[1]), [0, 0])


def test_arguments_that_are_not_used():
    function = mx.compile(lambda a, b: mx.exp(b))
    for _ in range(3):
        unused = x + 1
        mx.eval(unused)
        result = function(unused, x)
        del unused
        np.testing.assert_allclose(to_numpy(result), np.exp([1, 2]), rtol=1e-6)


def test_error_inside_loses_nothing():
    function = mx.compile(lambda a: mx.exp(a) @ mx.exp(a))
    a = mx.ones((512, 512))
    mx.eval(a)
    result = function(a)
    mx.clear_cache()
    limit = mx.set_memory_limit(mx.get_active_memory() + 1024, strict=True)
    try:
        with pytest.raises(MemoryError):
            mx.eval(result)
    finally:
        mx.set_memory_limit(limit)
    assert result[0, 0].item() == pytest.approx(512 * np.exp(1) ** 2, rel=1e-5)


def test_error_with_lost_arguments_stays():
    """The plan inside overwrites its argument, and then fails."""
    function = mx.compile(lambda a: (mx.cumsum(a, axis=0), mx.exp(a)))
    a = mx.ones((512, 512)) * 2
    mx.eval(a)
    first, second = function(a)
    del a
    again = first + 1
    mx.clear_cache()
    limit = mx.set_memory_limit(mx.get_active_memory() + 1024, strict=True)
    try:
        with pytest.raises(MemoryError):
            mx.eval(first)
    finally:
        mx.set_memory_limit(limit)
    expected = np.full((512, 512), 2).cumsum(axis=0)
    for result, values in [(first, expected), (again, expected + 1), (second, np.exp(2))] * 2:
        try:
            np.testing.assert_allclose(np.array(result.tolist()), values, rtol=1e-6)
        except MemoryError as error:
            assert "exp" in str(error)


def test_async():
    function = mx.compile(lambda a: mx.exp(a) * 2)
    results = [function(x * k) for k in range(5)]
    mx.async_eval(results)
    for k, result in enumerate(results):
        np.testing.assert_allclose(to_numpy(result), np.exp(to_numpy(x) * k) * 2, rtol=1e-6)


def test_cache():
    gc.collect()
    function, _ = count_calls()
    before = mx.compile_cache_info()
    previous = mx.set_compile_cache_limit(2)
    try:
        for n in [1, 2, 3, 3]:
            function(mx.ones((n,)))
        info = mx.compile_cache_info(function)
        assert info["graphs"] == 2 and len(info["operations"]) == 2
        assert info["reasons"][0] == "first call"
        assert info["reasons"][2] == "leaf 0 is (3,) float32, was (2,) float32"
        function(mx.ones((1,)))
        after = mx.compile_cache_info()
        assert after["hits"] - before["hits"] == 1
        assert after["misses"] - before["misses"] == 4
        assert after["evictions"] - before["evictions"] == 2
        assert after["limit"] == 2
        del function
        gc.collect()
        assert mx.compile_cache_info()["graphs"] == before["graphs"]
    finally:
        mx.set_compile_cache_limit(previous)


def test_disable():
    function, calls = count_calls()
    mx.disable_compile()
    try:
        function(x)
        function(x)
    finally:
        mx.enable_compile()
    assert len(calls) == 2
    function(x)
    function(x)
    assert len(calls) == 3


def test_recorded_work_does_not_count_as_pending():
    function = mx.compile(lambda a: mx.exp(a) * 2)
    function(x).tolist()
    before = mx.get_pending_nodes()
    function(x * 1).tolist()
    assert mx.get_pending_nodes() == before


def test_cycles_are_collected():
    class Model:
        def __init__(self):
            self.w = x
            self.step = mx.compile(self.apply)

        def apply(self, a):
            return a * self.w

    model = Model()
    assert model.step(x).tolist() == [1, 4]
    seen = weakref.ref(model)
    del model
    gc.collect()
    assert seen() is None


def test_memory_is_given_back():
    gc.collect()
    before = mx.get_active_memory()
    function = mx.compile(lambda a: a @ mx.ones((256, 256)))
    result = function(mx.ones((256, 256)))
    mx.eval(result)
    del function, result
    gc.collect()
    assert mx.get_active_memory() == before


class Thing:
    """An object that is no constant."""


OBJECTS = {
    "list": lambda: [len, Thing(), x],
    "dict": lambda: {"array": x, "function": mx.exp, "object": Thing(), "set": {1}},
    "nested": lambda: [{"a": (Thing(), [x, None])}, mx.random.state],
    "object": Thing,
    "function": lambda: len,
}


@pytest.mark.parametrize("name", OBJECTS)
def test_state_may_contain_objects(name):
    state, calls = OBJECTS[name](), []

    @partial(mx.compile, inputs=state, outputs=state)
    def function(a):
        calls.append(a)
        return a * 2

    for _ in range(3):
        assert function(x).tolist() == [2, 4]
    assert len(calls) == 1


def test_objects_in_state_stay():
    """They are taken as at the first call, and no later call puts them back."""
    state = {"function": mx.exp, "array": mx.array(0.0), "list": [Thing(), mx.array(1.0)]}

    @partial(mx.compile, inputs=state, outputs=state)
    def step():
        state["array"] = state["function"](state["array"])
        state["list"][1] = state["list"][1] + 1

    step()
    assert state["array"].item() == 1 and state["function"] is mx.exp
    other = state["list"][0] = Thing()
    state["function"] = mx.sin
    state["array"] = mx.array(0.0)
    step()
    assert state["array"].item() == 1 and state["list"][1].item() == 3
    assert state["function"] is mx.sin and state["list"][0] is other


def test_state_may_be_an_array():
    count = mx.array(1)

    @partial(mx.compile, inputs=count)
    def read(a):
        return a * count

    assert read(x).tolist() == [1, 2] and count.item() == 1
    count += 4
    assert read(x).tolist() == [5, 10]


def test_training_step_with_a_schedule():
    """State of a model, an optimizer and random numbers, as MLX's programs give it."""
    import narrows.nn as nn
    import narrows.optimizers as optim

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(4, 8), nn.Linear(8, 1)
            self.dropout, self.activation = nn.Dropout(0.5), nn.gelu

        def __call__(self, a):
            return self.outer(self.dropout(self.activation(self.inner(a))))

    def train(transformed):
        mx.random.seed(4)
        model = Model()
        optimizer = optim.MultiOptimizer(
            [optim.AdamW(optim.cosine_decay(0.1, 100)), optim.SGD(lambda step: 0.1 / (step + 1))],
            [lambda name, weight: weight.ndim > 1],
        )
        state = [model.state, optimizer.state, mx.random.state]
        loss = nn.value_and_grad(model, lambda a: (model(a) ** 2).mean())

        def step(a):
            value, gradients = loss(a)
            optimizer.update(model, gradients)
            return value

        step = transformed(step, state)
        a = mx.random.normal((16, 4))
        losses = []
        for _ in range(5):
            losses.append(step(a))
            mx.eval(losses[-1], state)
        rates = [o.learning_rate.item() for o in optimizer.optimizers]
        return [value.item() for value in losses] + rates

    plain = train(lambda step, state: step)
    compiled = train(lambda step, state: mx.compile(step, inputs=state, outputs=state))
    assert len(set(plain)) == 7
    np.testing.assert_allclose(compiled, plain, rtol=1e-5)


leaked = []

ERRORS = {
    "type": (lambda: mx.compile(lambda a, b: a)(x, object()), ValueError, "object"),
    "no function": (lambda: mx.compile(3), TypeError, "int"),
    "evaluated": (lambda: mx.compile(lambda a: a * mx.sum(a).item())(x), ValueError, "traced"),
    "leaked": (
        lambda: (mx.compile(lambda a: leaked.append(a * 2) or a)(x), leaked[-1].tolist()),
        ValueError,
        "traced",
    ),
    "inside": (lambda: mx.compile(lambda a: [][0])(x), IndexError, "out of range"),
    "shapes": (lambda: mx.compile(lambda a: a @ mx.ones((3, 3)))(x), ValueError, "matmul"),
    "limit": (lambda: mx.set_compile_cache_limit(0), ValueError, "0"),
    "info": (lambda: mx.compile_cache_info(mx.grad(mx.sum)), TypeError, "compile"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    function, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        function()
    leaked.clear()
    assert mx.compile(lambda a: a * 2)(x).tolist() == [2, 4]
