import contextlib
import os
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
    previous = mx.set_bfs_max_width(7)
    assert mx.set_bfs_max_width(previous) == 7
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
import signal
import narrows.core as mx
signal.signal(signal.SIGINT, signal.default_int_handler)
a = mx.zeros((1 << 22,))
print("ready", flush=True)
try:
    while True:
        b = a
        for _ in range(2000):
            b = mx.sin(b) + 1
        mx.eval(b)
except KeyboardInterrupt:
    print("interrupted", (a + 1)[0].item(), flush=True)
"""


def test_ctrl_c():
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"ready\n"
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert out == b"interrupted 1.0\n", err


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
