"""Work that is recorded and not evaluated: its counters, and set_auto_eval(), which bounds it."""

import gc
import threading

import narrows.core as mx
import numpy as np
import pytest


@pytest.fixture
def pending(memory):
    """Calls that tell what is pending beyond what other tests left, and restore the bounds."""
    before = mx.get_pending_nodes()
    previous = mx.set_auto_eval()
    yield lambda: mx.get_pending_nodes() - before
    mx.set_auto_eval(**previous)


def test_counting(pending):
    a = mx.ones((4,))
    b = a + 1
    c = mx.exp(b)
    assert pending() == 3
    mx.eval(b)
    assert pending() == 1
    del c
    assert pending() == 0
    chain = mx.zeros((1,))
    for _ in range(10_000):
        chain = -chain
    assert pending() == 10_001
    del chain
    assert pending() == 0


def test_errors_give_nodes_back(pending):
    mx.set_memory_limit(1 << 26, strict=True)
    a = mx.ones((1 << 28,))
    b = -a
    before = pending()
    with pytest.raises(MemoryError):
        mx.eval(b)
    assert pending() == before == 2
    del a, b
    assert pending() == 0


def test_asynchronous_work_is_not_pending(pending):
    a = mx.exp(mx.array([1.0]))
    mx.async_eval(a)
    assert pending() == 0
    mx.synchronize()


def test_graph_info(pending):
    gc.collect()
    info = mx.graph_info()
    traced = mx.set_trace_origin(True)
    a = mx.exp(mx.zeros((1 << 10,)))
    mx.set_trace_origin(traced)
    b = mx.sin(a)
    after = mx.graph_info()
    assert after["pending_nodes"] == info["pending_nodes"] + 3
    assert after["pending_bytes"] == info["pending_bytes"] + 3 * 4096
    if info["pending_nodes"] == 0:
        assert after["oldest_pending"]["op"] == "full" and after["oldest_pending"]["age"] == 2
        assert after["oldest_pending"]["origin"].startswith(__file__ + ":")
    mx.eval(b)
    evaluated = mx.graph_info()
    assert evaluated["live_buffers"] == info["live_buffers"] + 2  # a and b
    del a, b
    gc.collect()
    assert mx.graph_info()["live_buffers"] <= info["live_buffers"] + 1
    assert after["auto_eval"] == {"bytes": 0, "nodes": 0}


def test_settings(pending):
    assert mx.set_auto_eval(nodes=10) == {"bytes": 0, "nodes": 0}
    assert mx.set_auto_eval(bytes=1 << 20, nodes=7) == {"bytes": 0, "nodes": 10}
    assert mx.graph_info()["auto_eval"] == {"bytes": 1 << 20, "nodes": 7}
    assert mx.set_auto_eval() == {"bytes": 1 << 20, "nodes": 7}
    assert mx.set_auto_eval(bytes=None, nodes=0) == {"bytes": 0, "nodes": 0}
    for bad in [{"bytes": -1}, {"nodes": -1}]:
        with pytest.raises(ValueError, match="expected an integer >= 0"):
            mx.set_auto_eval(**bad)
    with pytest.raises(TypeError):
        mx.set_auto_eval(10)


def test_a_bound_on_nodes(pending):
    mx.set_auto_eval(nodes=50)
    evaluations = mx.graph_info()["auto_evals"]
    a = mx.zeros(())
    for _ in range(1000):
        a = a + 1
        assert pending() <= 50
    assert mx.graph_info()["auto_evals"] - evaluations in range(15, 25)
    assert a.item() == 1000


def test_a_bound_on_bytes(pending):
    size = 1 << 12
    mx.set_auto_eval(bytes=10 * 4 * size)
    a = mx.zeros((size,))
    for _ in range(100):
        a = mx.sin(a)
        assert pending() <= 10
    assert mx.graph_info()["pending_bytes"] <= 10 * 4 * size
    mx.zeros((1 << 20,))  # passes the bound by itself, and nobody holds it then
    assert pending() <= 10
    assert mx.get_active_memory() < 1 << 22


def test_what_is_held_is_evaluated_and_nothing_else(pending):
    held = [mx.full((64,), i) for i in range(3)]
    dropped = mx.exp(held[0])
    unneeded = mx.profile()
    mx.set_auto_eval(nodes=20)
    with unneeded:
        del dropped
        a = held[0]
        for _ in range(30):
            a = mx.sin(a)
    ops = [step["op"] for step in unneeded.steps]
    assert "exp" not in ops and ops.count("full") == 3
    assert [h[0].item() for h in held] == [0, 1, 2]
    expected = np.zeros(64, np.float32)
    for _ in range(30):
        expected = np.sin(expected)
    np.testing.assert_allclose(np.array(a), expected, rtol=1e-5, atol=1e-6)


def test_values_are_the_same(pending):
    def program():
        mx.random.seed(3)
        x = mx.random.normal((16, 16))
        outputs = []
        for i in range(40):
            x = mx.softmax(x @ x.T, axis=-1) + i
            outputs += [x.sum(axis=0), mx.var(x), x.T]
        return [np.array(o) for o in outputs]

    expected = program()
    for bounds in [{"nodes": 1}, {"nodes": 7}, {"bytes": 1}, {"bytes": 4096}]:
        mx.set_auto_eval(**bounds)
        for a, b in zip(program(), expected):
            np.testing.assert_allclose(a, b, rtol=1e-4)


def test_transformations(pending):
    """Automatic evaluation leaves traces alone, whatever they do when it is due."""

    def function(a, b):
        return mx.sum(mx.sin(a * 2) @ mx.cos(a), axis=0) * 3

    a = mx.arange(16.0).reshape(4, 4) / 16
    unused = mx.ones((4, 4))
    transformed = {
        "compile": mx.compile(function),
        "grad": mx.grad(lambda a, b: mx.sum(function(a, b))),
        "compiled grad": mx.compile(mx.grad(lambda a, b: mx.sum(function(a, b)))),
        "checkpoint": mx.grad(lambda a, b: mx.sum(mx.checkpoint(function)(a, b))),
        "vmap": lambda a, b: mx.vmap(function)(a[None] + b[:, None], b[None] * a[:, None]),
    }
    expected = {name: f(a, unused).tolist() for name, f in transformed.items()}
    for nodes in [1, 2, 5, 11]:
        mx.set_auto_eval(nodes=nodes)
        for name, f in transformed.items():
            for _ in range(3):
                result = f(a, unused) * 1
                np.testing.assert_allclose(np.array(result), expected[name], rtol=1e-5)


def test_errors_are_raised_by_the_operation(pending):
    big = mx.ones((1 << 28,))
    total = mx.sum(big)
    mx.set_memory_limit(1 << 26, strict=True)
    bound = mx.get_pending_nodes() + 3
    mx.set_auto_eval(nodes=bound)
    a = mx.array([1.0])
    done = 0
    with pytest.raises(MemoryError, match=r"\[full\] cannot allocate"):
        for _ in range(10):
            a = a + 1
            done += 1
    assert done == 3  # beside `big` and `total`, and what other tests left
    # It is tried again once as much has been recorded on top of it, not by every operation.
    left = pending()
    for _ in range(bound):
        a = a + 1
    assert pending() == left + bound
    with pytest.raises(MemoryError):
        a = a + 1
    del big, total
    for _ in range(20):
        a = a + 1
    assert pending() <= 5
    assert a.item() == 1 + 3 + bound + 20  # those that raised left `a` as it was


def test_threads_evaluate_their_own_work(pending):
    mx.set_auto_eval(nodes=40)
    idle = mx.ones((8,)) + 1
    results, errors = {}, []

    def work(i):
        try:
            a = mx.zeros((4,))
            for _ in range(500):
                a = a + i
            results[i] = a.tolist()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert not errors
    assert results == {i: [500.0 * i] * 4 for i in range(6)}
    assert mx.plan(idle).steps  # still lazy: this thread recorded nothing since
    assert idle.tolist() == [2.0] * 8


def test_threads_that_draw_random_numbers(pending):
    """The lock of the random state is never held over an evaluation, which lets Python go."""
    mx.set_auto_eval(nodes=3)

    def work():
        for _ in range(200):
            mx.random.normal((64,))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


STEPS = 100_000


@pytest.mark.parametrize("how", ["eval", "async_eval", "auto_eval"])
def test_soak(pending, how):
    """A long loop, as of training, that never reads a value stays in flat memory."""
    x, y = mx.array([0.5, -1.0, 2.0, 1.5]), mx.array([1.0, -2.0, 4.0, 3.0])
    w = mx.zeros(())
    rate = mx.array(0.01)
    mx.eval(x, y, w, rate)
    if how == "auto_eval":
        mx.set_auto_eval(nodes=500)
    most_active = most_pending = 0
    active_before = mx.get_active_memory()
    resident = None
    for step in range(STEPS):
        error = x * w - y
        w = w - rate * mx.sum(error * x)
        if how == "eval":
            mx.eval(w)
        elif how == "async_eval":
            mx.async_eval(w)
            if step % 1000 == 0:
                mx.synchronize()
        if step % 1000 == 0:
            most_active = max(most_active, mx.get_active_memory() - active_before)
            most_pending = max(most_pending, pending())
        if step == STEPS // 10:
            resident = resident_bytes()
    assert most_pending <= 500
    assert most_active < 1 << 18
    assert resident_bytes() - resident < 8 << 20
    assert w.item() == pytest.approx(2.0, abs=1e-5)


def test_transformed_functions(pending):
    """Nothing starts while a function is recorded or its rules are asked; values are the same."""
    x = mx.array([0.5, -1.0, 2.0])
    batch = mx.array([[1.0, 2.0, 3.0], [0.4, 0.5, 0.6]])
    mx.eval(x, batch)
    counts = []

    def evaluations():
        return mx.graph_info()["auto_evals"]

    def function(w):
        before = evaluations()
        y = w
        for _ in range(10):
            y = mx.sin(y * x) + y
        counts.append(evaluations() - before)
        return mx.sum(y)

    programs = [
        lambda: mx.grad(function)(x),
        lambda: mx.grad(lambda w: mx.sum(mx.grad(function)(w)))(x),
        lambda: mx.vmap(function)(batch),
        lambda: mx.vmap(mx.grad(function))(batch),
        lambda: mx.jvp(function, (x,), (mx.ones((3,)),))[1][0],
    ]
    expected = [np.array(program()) for program in programs]
    for nodes in [1, 7, 30]:
        mx.set_auto_eval(nodes=nodes)
        before = evaluations()
        for program, values in zip(programs, expected):
            np.testing.assert_allclose(np.array(-program()), -values, rtol=1e-4)
        assert evaluations() > before  # by what follows them
    assert set(counts) == {0}
    mx.set_auto_eval()
    gc.collect()
    assert pending() == 0


def test_a_training_loop_stays_bounded(pending):
    x, y = mx.random.normal((32, 4)), mx.random.normal((32,))
    w = mx.zeros((4,))
    mx.eval(x, y, w)
    step = mx.value_and_grad(lambda w: mx.mean((x @ w - y) ** 2))
    mx.set_auto_eval(nodes=200)
    for _ in range(500):
        loss, gradient = step(w)
        w = w - 0.1 * gradient
        assert pending() < 400  # the bound, and a step on top of it
    best = np.linalg.lstsq(np.array(x), np.array(y), rcond=None)[0]
    np.testing.assert_allclose(np.array(w), best, rtol=1e-2, atol=1e-3)


def test_what_has_no_value_is_not_pending(pending):
    seen = []

    def function(a):
        before = pending()
        b = mx.exp(a) + 1
        seen.append(pending() - before)
        return b

    mx.eval(mx.vmap(function)(mx.ones((3, 2))))
    assert seen == [0]
