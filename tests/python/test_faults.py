"""Allocations that fail on purpose: whatever is evaluated then raises MemoryError, or is right."""

import gc
import os
import threading

import narrows.core as mx
import numpy as np
import pytest

SIZE = 12
SEEDS = int(os.environ.get("NARROWS_FAULT_SEEDS", "3"))  # random graphs per test


@pytest.fixture
def faults(memory):
    """A function that lets every n-th allocation fail; none does before and afterwards."""
    previous = mx._set_allocation_faults(0)
    bounds = mx.set_auto_eval()
    yield mx._set_allocation_faults
    mx._set_allocation_faults(previous)
    mx.set_auto_eval(**bounds)


def counters():
    gc.collect()
    try:
        mx.synchronize()
    except MemoryError:
        mx.synchronize()  # each error of a worker is told once
    return mx.get_active_memory(), mx.get_pending_nodes(), mx.graph_info()["live_buffers"]


def wrap(a):
    """Small integers again: sums and products of these have the same bits in any order."""
    return mx.remainder(a, 7)


def polynomial(a, b):
    return wrap(a * b + a) * b - mx.maximum(a, b)


def product(a, b):
    return wrap(a @ wrap(b.T + 1)) + mx.sum(a, axis=0)


def rounded(a, b):
    return mx.round(mx.sin(a) * 3 + mx.exp(-mx.abs(b)))


def parts(a, b):
    top, bottom = mx.split(mx.concatenate([a, b], axis=1), 2, axis=0)
    return mx.concatenate([bottom, top[:, ::-1]], axis=0)[:, ::2]


def accumulated(a, b):
    c = mx.cumsum(wrap(a), axis=1) - b
    c[2:4] = mx.max(b, axis=0)
    return mx.where(c > b, a, c)


FUNCTIONS = [polynomial, product, rounded, parts, accumulated]


def with_rule(function):
    """The function with a rule of its own, which does not compute its derivative."""
    custom = mx.custom_function(function)
    custom.vjp(lambda primals, cotangent, output: (cotangent + output, primals[1] * 2))
    return custom


WRAPPERS = {
    "plain": lambda f: f,
    "compiled": mx.compile,
    "checkpoint": mx.checkpoint,
    "gradient": lambda f: mx.grad(lambda a, b: mx.sum(f(a, b)), argnums=1),
    "compiled gradient": lambda f: mx.compile(mx.grad(lambda a, b: mx.sum(f(a, b)))),
    "gradient of checkpoint": lambda f: mx.grad(lambda a, b: mx.sum(mx.checkpoint(f)(a, b))),
    "gradient of a rule": lambda f: mx.grad(lambda a, b: mx.sum(with_rule(f)(a, b))),
    "batched": lambda f: mx.vmap(lambda a, b: f(a[None] + b[:, None], b[None] + a[:, None])[0]),
    "jvp": lambda f: lambda a, b: mx.jvp(f, [a, b], [b, a])[1][0],
}
CAN_LOSE_ARGUMENTS = {"compiled", "compiled gradient"}


def random_graph(seed, streams, arguments, hold):
    """Arrays of a random graph, and whether a MemoryError may stay: where a compiled function's
    arguments end with its call, its plan has overwritten some when it fails."""
    rng = np.random.default_rng(seed)
    made = list(arguments)
    may_stay = False
    for _ in range(rng.integers(3, 9)):
        function = FUNCTIONS[rng.integers(len(FUNCTIONS))]
        name = list(WRAPPERS)[rng.integers(len(WRAPPERS))]
        a, b = (made[i] for i in rng.integers(len(made), size=2))
        may_stay |= name in CAN_LOSE_ARGUMENTS and not hold
        with mx.stream(streams[rng.integers(len(streams))]):
            made.append(wrap(WRAPPERS[name](function)(a, b)))
    results = made[len(arguments) :]
    return (results if hold else results[-2:]), may_stay


def evaluate(outputs, how):
    if how == "async":
        mx.async_eval(outputs)
    mx.eval(outputs)


def to_lists(arrays):
    return [a.tolist() for a in arrays]


HOW = ["eval", "async", "one by one", "memory order", "no fusion", "while recording"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("hold", [False, True], ids=["dropped", "held"])
def test_random_graphs(faults, how, hold):
    streams = [mx.default_stream(mx.cpu), mx.new_stream(mx.cpu)]
    rng = np.random.default_rng(0)
    values = [rng.integers(-3, 4, (SIZE, SIZE)).astype(np.float32) for _ in range(2)]
    arguments = [mx.array(v) for v in values]
    mx.eval(arguments)
    failures = 0
    mx.set_auto_eval(nodes=10 if how == "while recording" else 0)
    for seed in range(SEEDS):
        used = streams if seed % 2 else streams[:1]
        expected = to_lists(random_graph(seed, used, arguments, hold)[0])
        before = counters()
        for period in [1, 2, 3, 5, 8, 13, 21, 34]:
            outputs, may_stay = [], False
            if how == "while recording":
                faults(period)
            try:
                outputs, may_stay = random_graph(seed, used, arguments, hold)
                faults(period)
                with (
                    mx.order_policy("memory" if how == "memory order" else "width"),
                    mx.fusion(how != "no fusion"),
                ):
                    for part in [[o] for o in outputs] if how == "one by one" else [outputs]:
                        evaluate(part, how)
            except MemoryError:
                failures += 1
            faults(0)
            for output, value in zip(outputs, expected):
                for _ in range(2):
                    try:
                        assert output.tolist() == value
                    except MemoryError:
                        assert may_stay or how == "async"
            del outputs
            output = part = None
            assert counters() == before
    assert to_lists(arguments) == [v.tolist() for v in values]
    assert failures >= 2 * SEEDS


def test_compiled_functions_keep_what_others_hold(faults):
    """The plan inside of a call fails at each of its allocations in turn."""
    function = mx.compile(lambda a, b: ((a * 2 + b) @ mx.exp(b), mx.cumsum(a, axis=0) * b))
    held = mx.ones((64, 64))
    mx.eval(held)

    def call():
        dying = held * 3
        mx.eval(dying)
        return function(dying, held), function(held, held)

    expected = [to_lists(outputs) for outputs in call()]
    failed_for_good = 0
    before = counters()
    for period in range(1, 12):
        lossy, safe = call()
        for outputs in (lossy, safe):
            faults(period)
            try:
                mx.eval(outputs)
            except MemoryError:
                pass
            faults(0)
        assert to_lists(safe) == expected[1]
        try:
            assert to_lists(lossy) == expected[0]
        except MemoryError:
            failed_for_good += 1
            for output in (*lossy, lossy[0] + 1):
                with pytest.raises(MemoryError):
                    mx.eval(output)
        assert held.tolist() == [[1.0] * 64] * 64
        del lossy, safe, outputs
        output = None
        assert counters() == before
    assert failed_for_good > 0


def test_tracing_again_after_a_failure(faults):
    """compile() evaluates what it captures: when that fails, the next call records anew."""
    constant = mx.arange(6.0) + 1
    function = mx.compile(lambda a: a * constant + mx.ones((6,)))
    a = mx.zeros((6,))
    mx.eval(a)
    faults(1)
    for _ in range(2):
        with pytest.raises(MemoryError):
            function(a)
    faults(0)
    before = mx.compile_cache_info(function)["graphs"]
    assert before == 0
    assert function(a + 1).tolist() == [2, 3, 4, 5, 6, 7]


def test_exactly_every_nth_fails(faults):
    a = mx.ones((4,))
    mx.eval(a)
    assert faults(3) == 0
    count = mx._allocation_faults()
    outcomes = []
    for _ in range(9):
        try:
            mx.eval(mx.exp(a))
            outcomes.append(True)
        except MemoryError as error:
            assert "[exp] cannot allocate 64 bytes" in str(error)
            outcomes.append(False)
    assert outcomes == [True, True, False] * 3
    assert mx._allocation_faults() - count == 3
    assert faults(0) == 3
    with pytest.raises(ValueError, match="-1 is negative"):
        faults(-1)


def test_threads(faults):
    """Threads that evaluate, compile and differentiate what they share while allocations fail."""
    shared = wrap(mx.arange(SIZE * SIZE).reshape(SIZE, SIZE).astype(mx.float32))
    mx.eval(shared)
    compiled = mx.compile(polynomial)
    before = counters()
    expected = {
        name: wrap(WRAPPERS[name](polynomial)(shared, shared)).tolist() for name in WRAPPERS
    }
    errors = []

    def work(i):
        try:
            for k in range(40):
                name = list(WRAPPERS)[(i + k) % len(WRAPPERS)]
                function = compiled if name == "compiled" else WRAPPERS[name](polynomial)
                for _ in range(100):
                    try:
                        result = wrap(function(shared, shared))
                        if k % 3 == 0:
                            mx.async_eval(result)
                        assert result.tolist() == expected[name]
                        break
                    except MemoryError:
                        pass
                else:
                    errors.append(f"{name} always fails")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    faults(37)  # an attempt allocates less, also where nothing is fused
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    faults(0)
    assert not errors
    assert to_lists([shared]) == [wrap(shared).tolist()]
    compiled = None
    after = counters()
    assert after[1:] == before[1:] and after[0] == before[0]
