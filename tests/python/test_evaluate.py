import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import narrows.core as mx
import numpy as np
import pytest


def test_trees():
    a, b, c = (mx.ones((2,)) + i for i in range(3))
    assert mx.eval(a, [b, {"c": (c, None, "text", 3)}]) is None
    assert mx.eval() is None and mx.eval(1, "a", None) is None
    assert mx.get_array_buffer_size(a, b, c) > 0


def test_deep_trees_are_refused():
    tree = mx.ones(())
    for _ in range(100_000):
        tree = [tree]
    with pytest.raises(RecursionError):
        mx.eval(tree)


def test_long_chains():
    a = mx.zeros(())
    for _ in range(100_000):
        a = a + 1
    assert a.item() == 100_000
    b = mx.zeros(())
    for _ in range(100_000):
        b = b + 1
    del b


@pytest.mark.parametrize("width", [1, 2, 10, 1 << 40])
def test_widths_give_the_same_values(width):
    with mx.bfs_max_width(width):
        x = mx.arange(10.0)
        parts = [mx.exp(x * (i % 3)) + i for i in range(30)]
        total = sum(parts[1:], parts[0])
        expected = sum(np.exp(np.arange(10.0) * (i % 3)) + i for i in range(30))
        np.testing.assert_allclose(np.array(total), expected, rtol=1e-5)


def test_width_bounds_memory(memory):
    def peak(width):
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        outputs = [mx.zeros((1 << 16,), mx.int64).astype(mx.int8) for _ in range(50)]
        with mx.bfs_max_width(width), mx.fusion(False):
            mx.eval(outputs)
        return mx.get_peak_memory() - before

    narrow, wide = peak(1), peak(1000)
    assert narrow == 50 * (1 << 16) + (1 << 19)
    assert wide > 5 * narrow


def test_width_arguments():
    policy = mx.set_order_policy("memory")
    previous = mx.set_bfs_max_width(7)
    assert mx.set_bfs_max_width(previous) == 7
    mx.set_order_policy(policy)  # a width that is set is also used
    for bad in [0, -1]:
        with pytest.raises(ValueError, match="width"):
            mx.set_bfs_max_width(bad)
        with pytest.raises(ValueError, match="width"):
            mx.bfs_max_width(bad)


def test_width_from_environment():
    code = "import narrows.core as mx; print(mx.set_bfs_max_width(1))"
    for name in ["NARROWS_BFS_MAX_WIDTH", "MLX_BFS_MAX_WIDTH"]:
        run = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, name: "33"}, capture_output=True
        )
        assert run.stdout.split() == [b"33"]


def test_async():
    a = mx.ones((1000,))
    for _ in range(10):
        a = a * 2
        mx.async_eval(a)
    assert a[0].item() == 1024
    mx.synchronize()


def test_async_errors_are_raised_at_every_wait(memory):
    mx.set_memory_limit(1 << 26, strict=True)
    a = mx.ones((1 << 28,))
    b = a + 1
    mx.async_eval(a)
    for wait in [a, b, a]:
        with pytest.raises(MemoryError):
            mx.eval(wait)
    with contextlib.suppress(MemoryError):
        mx.synchronize()
    assert mx.ones((2,)).tolist() == [1, 1]


def test_streams():
    s = mx.new_stream(mx.cpu)
    a = mx.add(mx.ones((4,)), 1, stream=s)
    b = mx.multiply(a, 3)
    mx.async_eval(b)
    assert b.tolist() == [6] * 4
    with mx.stream(s):
        assert mx.default_stream(mx.cpu) == s
        assert (mx.ones((2,)) + 1).tolist() == [2, 2]
    assert mx.default_stream(mx.cpu) != s
    t = mx.new_thread_local_stream(mx.cpu)
    assert mx.add(1, 2, stream=t).item() == 3 and t.device == mx.cpu
    mx.synchronize(s)
    with mx.stream(mx.cpu):
        assert repr(mx.default_device()) == "Device(cpu, 0)"
    assert mx.Device(mx.cpu) == mx.cpu and mx.is_available(mx.cpu)
    assert mx.device_count(mx.cpu) == 1 and isinstance(mx.device_info(), dict)


def test_missing_device():
    if mx.is_available(mx.gpu):
        pytest.skip("there is a GPU")
    for apply in [mx.set_default_device, mx.default_stream, mx.new_stream, mx.stream]:
        with pytest.raises(ValueError):
            apply(mx.gpu)
    with pytest.raises(ValueError):
        mx.add(1, 2, stream=mx.gpu)


def steps_of(a):
    return [step["op"] for step in json.loads(mx.plan(a).to_json())["steps"]]


@pytest.mark.skipif(
    mx.default_device() == mx.cpu
    or not (mx.cuda.is_available() or os.environ.get("NARROWS_EMULATED_GPU_MEMORY") == "separate"),
    reason="the default device has no memory of its own",
)
def test_numbers_need_no_transfer(every_node_is_a_step):
    x = mx.ones((4,))
    mx.eval(x)
    number = random.randrange(1 << 20) / 8  # no other test has used
    y = x * number
    assert steps_of(y) == ["multiply"]
    assert y.tolist() == [number] * 4
    assert steps_of(x.astype(mx.float64) * number) == ["astype", "multiply"]
    assert mx.add(number, x, stream=mx.cpu).tolist() == [number + 1] * 4
    assert (number - x).tolist() == [number - 1] * 4
    others = [i + 0.0625 for i in range(600)]
    for _ in range(2):
        assert mx.stack([x[0] * other for other in others]).tolist() == others
    with mx.stream(mx.cpu):
        assert (x * number).tolist() == [number] * 4


def test_threads():
    shared = mx.exp(mx.linspace(0, 1, 1000))
    results, errors = {}, []

    def work(i):
        try:
            for _ in range(20):
                a = shared * i
                for _ in range(5):
                    a = mx.sin(a) + shared
                mx.eval(a)
            results[i] = np.array(a)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert not errors
    base = np.exp(np.linspace(0, 1, 1000))
    for i, value in results.items():
        expected = base * i
        for _ in range(5):
            expected = np.sin(expected) + base
        np.testing.assert_allclose(value, expected, rtol=1e-4)


# A job in a shell's background, which a test run may be, starts with SIGINT ignored.
INTERRUPTED = """
import signal, sys
import narrows.core as mx
how = sys.argv[1]
signal.signal(signal.SIGINT, signal.default_int_handler)

def chain(a):
    for _ in range(300):
        a = mx.sin(a) + 1
    return a

function = mx.compile(chain) if how == "compiled" else chain
a = mx.zeros((1 << 16,))
with mx.fusion(how != "unfused"):
    expected = function(a)[:3].tolist()
    b = function(a)
    for _ in range(3):
        try:
            print("ready", flush=True)
            while True:
                b = function(a)
                if how == "asynchronous":
                    mx.async_eval(b)
                mx.eval(b)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print(b[:3].tolist() == expected == function(a)[:3].tolist(), flush=True)
            signal.signal(signal.SIGINT, signal.default_int_handler)
"""


@pytest.mark.parametrize("how", ["fused", "unfused", "compiled", "asynchronous"])
def test_ctrl_c(how):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        for _ in range(3):
            assert child.stdout.readline() == b"ready\n", child.stderr.read()
            time.sleep(0.3)
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == b"True\n", child.stderr.read()
        assert child.wait(timeout=30) == 0
    finally:
        child.kill()
        child.communicate()


FORKED = """
import os, sys
import narrows.core as mx
a = mx.exp(mx.ones((1 << 16,)))
mx.async_eval(a * 2)
mx.eval(a @ a)
child = os.fork()
if child == 0:
    try:
        mx.eval(mx.sum(mx.exp(a)), a @ a)
        mx.async_eval(a + 1)
        mx.eval(a + 1)
    except Exception as error:
        print(type(error).__name__, flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_never_hangs():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], timeout=60)
    assert run.returncode == 0


# On the CPU: a GPU is not for children of a process that has used it.
FORKED_PENDING = """
import os, sys
import narrows.core as mx

mx.set_default_device(mx.cpu)

def function(a):
    return mx.sum(mx.exp(mx.sin(a) * 2) @ a, axis=0)

a = mx.arange(64.0).reshape(8, 8) / 64
gradient = mx.grad(lambda a: mx.sum(function(a)))
compiled = mx.compile(gradient)
expected = [f(a).tolist() for f in (function, gradient, compiled)]
pending = [f(a + 0) for f in (function, gradient, compiled)]
nodes = mx.get_pending_nodes()
child = os.fork()
good = mx.get_pending_nodes() == nodes
good &= [p.tolist() for p in pending] == expected
good &= [f(a).tolist() for f in (function, gradient, compiled)] == expected
good &= mx.get_pending_nodes() == 0
if child == 0:
    os._exit(0 if good else 3)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(code if good else 4)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_pending_work_is_evaluated_on_both_sides_of_a_fork():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED_PENDING], timeout=60)
    assert run.returncode == 0


def test_threads_transform():
    """Threads evaluate, compile and differentiate at once, with functions that they share."""
    shared = mx.exp(mx.linspace(0, 1, 256)).reshape(16, 16)

    def function(a):
        return mx.sum(mx.sin(a @ a) * a)

    functions = [
        mx.compile(function),
        mx.grad(function),
        mx.compile(mx.grad(function)),
        mx.grad(mx.checkpoint(function)),
        mx.vmap(lambda a: a * mx.sum(a)),
        mx.compile(lambda a: [mx.sum(a[:n]) for n in range(1, 5)]),
    ]
    expected = [
        np.array(mx.stack(f(shared)) if i == 5 else f(shared)) for i, f in enumerate(functions)
    ]
    errors = []

    def work(start):
        try:
            for k in range(60):
                i = (start + k) % len(functions)
                result = functions[i](shared)
                if k % 2:
                    mx.async_eval(result)
                result = mx.stack(result) if i == 5 else result
                np.testing.assert_allclose(np.array(result), expected[i], rtol=1e-5, atol=1e-5)
                functions[0](mx.ones((k % 5 + 1, k % 5 + 1)))  # other graphs in its cache
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    previous = mx.set_compile_cache_limit(2)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive()
    finally:
        mx.set_compile_cache_limit(previous)
    assert not errors


def test_what_is_planned_ahead_overwrites_what_nobody_holds():
    """As in the decoding of tokens: each step writes into what the one before is computing."""
    count = 1 << 16
    cache, factor = mx.zeros((count,)), mx.ones((64, 64)) / 64
    mx.eval(cache, factor)
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    value = mx.array(1.0)
    for i in range(200):
        cache[i : i + 1] = value + 1
        seen = cache[: i + 2].max()
        value = (factor @ factor).sum() / 64 * seen
        mx.async_eval(value)
    assert value.item() == pytest.approx(201, rel=1e-4)
    assert mx.get_peak_memory() - before < 4 * count
