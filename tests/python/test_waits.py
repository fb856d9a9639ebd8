"""What waits, and for whom: threads at the memory limit, and waits that Ctrl-C ends."""

import signal
import subprocess
import sys
import time

import pytest

AT_THE_LIMIT = """
import threading, time
import narrows.core as mx

mx.set_default_device(mx.cpu)
mx.set_memory_limit(64 << 20)
mx.set_cache_limit(0)
box = [mx.ones((1024, 1024))]
end = time.monotonic() + 6
errors = []

def evaluates():
    a = mx.full((1024, 1024), 1e-3)
    while time.monotonic() < end:
        parts = []
        for _ in range(8):
            x = box[0][:1024] * 1e-3
            for _ in range(3):
                x = x @ a
            parts.append(x)
        box[0] = mx.concatenate(parts)
        mx.eval(box[0])

def follows():
    stream = mx.new_stream(mx.cpu)
    while time.monotonic() < end:
        later = mx.concatenate([box[0], box[0] + 1], stream=stream)
        mx.async_eval(later)
        mx.sum(later[:2]).item()

def guarded(f):
    try:
        f()
    except Exception as error:
        errors.append(error)

threads = [threading.Thread(target=guarded, args=(f,)) for f in (evaluates, follows, follows)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not errors, errors
"""


def test_threads_at_the_memory_limit_do_not_wait_for_each_other():
    run = subprocess.run(
        [sys.executable, "-c", AT_THE_LIMIT], timeout=120, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


# What is awaited does not come within the time that the child has. It must be interrupted, and work
# on other streams must go on as before.
INTERRUPTED = """
import os, sys, threading, time
import narrows.core as mx

mx.set_default_device(mx.cpu)
busy = mx.new_stream(mx.cpu)
runs = threading.Event()

def endless():
    a = mx.ones((1 << 21,))
    with mx.stream(busy):
        for _ in range(10_000):
            a = mx.sin(a)
    return a

def wait_for_thread():
    a = endless()
    b = a + 1
    threading.Thread(target=lambda: (runs.set(), mx.eval(a)), daemon=True).start()
    runs.wait()
    while mx.get_pending_nodes() > 5_000:
        time.sleep(0.001)
    return lambda: mx.eval(b)

def start():
    a = endless()
    mx.async_eval(a)
    while mx.get_active_memory() < 1 << 23:
        time.sleep(0.001)
    return a

def wait_for_memory():
    start()
    mx.set_memory_limit(48 << 20, strict=True)
    return lambda: mx.eval(mx.zeros((1 << 24,)))

def wait_for_memory_with_the_interpreter():
    start()
    mx.set_memory_limit(48 << 20, strict=True)
    data = memoryview(bytearray(1 << 26))
    return lambda: mx.array(data)

def leave_profile():
    profile = mx.profile()
    profile.__enter__()
    start()
    return lambda: profile.__exit__(None, None, None)

def wait_in_compile():
    a = start()
    return lambda: mx.compile(lambda x: x + a)(mx.ones((1,)))

ways = {
    "event": lambda: (lambda a: lambda: mx.eval(a))(start()),
    "dependent": lambda: (lambda a: lambda: mx.eval(a + 1))(start()),
    "thread": wait_for_thread,
    "item": lambda: (lambda a: lambda: a[0].item())(start()),
    "synchronize": lambda: (start(), lambda: mx.synchronize())[1],
    "stream": lambda: (start(), lambda: mx.synchronize(busy))[1],
    "clear_streams": lambda: (start(), lambda: mx.clear_streams())[1],
    "memory": wait_for_memory,
    "conversion": wait_for_memory_with_the_interpreter,
    "profile": leave_profile,
    "compile": wait_in_compile,
}
wait = ways[sys.argv[1]]()
try:
    print("waits", flush=True)
    wait()
    print("came to an end", flush=True)
except KeyboardInterrupt:
    mx.set_memory_limit(1 << 40)
    print(mx.sum(mx.ones((100,)) + 1).item(), flush=True)
except Exception as error:
    print(repr(error), flush=True)
os._exit(0)
"""
WAITS = [
    "event",
    "dependent",
    "thread",
    "item",
    "synchronize",
    "stream",
    "clear_streams",
    "memory",
    "conversion",
    "profile",
    "compile",
]


@pytest.mark.parametrize("wait", WAITS)
def test_waits_are_interrupted(wait):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, wait], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"waits\n", child.stderr.read()
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=60)
        assert output == b"200.0\n", output + errors
    finally:
        child.kill()
        child.communicate()
