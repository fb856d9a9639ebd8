import gc
import os
import subprocess
import sys

import narrows.core as mx
import pytest

MEGABYTE = 1 << 20
TERABYTES = (1 << 41) // 4  # float32 elements of 2 TiB


def test_counters(memory):
    mx.clear_cache()
    before, slack = mx.get_active_memory(), mx.get_cache_memory()
    a = mx.zeros((MEGABYTE // 4,))
    assert mx.get_active_memory() == before
    mx.eval(a)
    assert mx.get_active_memory() == before + MEGABYTE
    assert mx.get_peak_memory() >= before + MEGABYTE
    assert mx.get_array_buffer_size(a, [a, {"a": a}]) == MEGABYTE
    del a
    gc.collect()
    assert mx.get_active_memory() == before
    assert mx.get_cache_memory() >= MEGABYTE
    mx.clear_cache()
    assert mx.get_cache_memory() == slack
    mx.reset_peak_memory()
    assert mx.get_peak_memory() == before


def test_views_cost_nothing(memory):
    a = mx.ones((512, 512))
    mx.eval(a)
    before = mx.get_active_memory()
    views = [a.T, a[::2], a[3], a.reshape(-1), mx.broadcast_to(a[:1], (512, 512)), a[None]]
    mx.eval(views)
    assert mx.get_active_memory() == before


def test_chains_hold_one_buffer(memory, on_cpu):
    a, one = mx.ones((MEGABYTE // 4,)), mx.array(1.0)
    mx.eval(a)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    b = a
    for _ in range(50):
        b = b + one
    mx.eval(b)
    assert mx.get_peak_memory() == before + MEGABYTE


def test_cache_limit(memory):
    mx.set_cache_limit(0)
    slack = mx.get_cache_memory()
    a = mx.ones((MEGABYTE,))
    mx.eval(a)
    del a
    gc.collect()
    assert mx.get_cache_memory() == slack
    assert mx.set_cache_limit(123) == 0 and mx.set_cache_limit(0) == 123
    with pytest.raises(TypeError):
        mx.set_cache_limit(-1)


def test_strict_limit(memory):
    a = mx.ones((MEGABYTE // 4,))
    mx.eval(a)
    active = mx.get_active_memory()
    previous = mx.set_memory_limit(active + 2 * MEGABYTE, strict=True)
    assert mx.get_memory_limit() == active + 2 * MEGABYTE
    too_large = mx.zeros((MEGABYTE,))
    with pytest.raises(MemoryError, match=r"\[full\].*\(1048576,\)"):
        mx.eval(too_large)
    assert mx.get_active_memory() == active
    assert mx.sum(a).item() == MEGABYTE // 4
    mx.set_memory_limit(previous)
    assert mx.sum(too_large).item() == 0


def test_guideline_limit(memory):
    mx.set_memory_limit(1)
    assert mx.sum(mx.ones((1000,))).item() == 1000


@pytest.mark.parametrize(
    "make",
    [
        lambda: mx.zeros((TERABYTES,)),
        lambda: mx.ones((1000,))[:, None, None, None] + mx.ones((1000, 1000, 1000)),
        lambda: mx.repeat(mx.ones((4,)), TERABYTES // 4),
        lambda: mx.arange(TERABYTES, dtype=mx.float32),
    ],
)
def test_terabytes(memory, make):
    mx.set_memory_limit(64 * MEGABYTE, strict=True)
    a = mx.ones((10,))
    mx.eval(a)
    active = mx.get_active_memory()
    huge = make()
    for _ in range(2):
        with pytest.raises(MemoryError):
            mx.eval(huge)
        assert mx.get_active_memory() <= active + 64 * MEGABYTE
    del huge
    gc.collect()
    assert mx.get_active_memory() == active
    assert (a + 1).tolist() == [2] * 10


def test_terabytes_without_a_limit(memory):
    with pytest.raises(MemoryError):
        mx.eval(mx.zeros((TERABYTES, 8)))
    assert mx.sum(mx.ones((10,))).item() == 10


def test_buffers_of_arrays_not_evaluated():
    with pytest.raises(ValueError, match="get_array_buffer_size"):
        mx.get_array_buffer_size(mx.ones((2,)) + 1)


def test_wired_limit_and_metal():
    assert mx.set_wired_limit(10) == 0
    assert mx.metal.get_active_memory() == mx.get_active_memory()
    if not mx.metal.is_available():
        assert mx.metal.device_info() == {}
    for interface in (mx.metal, mx.cuda):
        if interface.is_available():
            assert mx.is_available(mx.gpu) and mx.device_info(mx.gpu)["memory_size"] > 0


SCRATCH = """
import narrows.core as mx
import numpy as np

mx.set_default_device(mx.cpu)

def check(make, expected):
    y = make()
    plan = mx.plan(y)
    assert plan.steps[-1].workspace_bytes > 0, plan
    mx.reset_peak_memory()
    mx.eval(y)
    assert mx.get_peak_memory() == plan.predicted_peak, plan
    assert np.array_equal(np.array(y), expected)

values = np.arange(8192 * 64).reshape(8192, 64) % 1000
a = mx.array(values, mx.int64)
mx.eval(a)
check(lambda: mx.cumsum(a, axis=0), values.cumsum(axis=0))
wide = values.reshape(512, 1024)
b = mx.array(wide, mx.int64)
mx.eval(b)
check(lambda: b.sum(axis=0), wide.sum(axis=0))
check(lambda: mx.argmax(b, axis=0), wide.argmax(axis=0))
small = np.arange(2000 * 4).reshape(2000, 2, 2) % 7
c = mx.array(small, mx.float32)
mx.eval(c)
check(lambda: c @ c, small @ small)
"""


def test_scratch_of_the_cpu_is_planned():
    env = os.environ | {"NARROWS_NUM_THREADS": "64"}
    run = subprocess.run([sys.executable, "-c", SCRATCH], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def on_host(function):
    with mx.stream(mx.cpu):
        return function()


@pytest.mark.skipif(
    os.environ.get("NARROWS_EMULATED_GPU_MEMORY") != "separate", reason="devices share one memory"
)
def test_each_memory_is_counted_by_itself(memory):
    host_before, before = on_host(mx.get_active_memory), mx.get_active_memory()
    a = mx.ones((MEGABYTE // 4,))
    b = mx.ones((MEGABYTE // 2,), stream=mx.cpu)
    mx.eval(a, b)
    assert mx.get_active_memory() == before + MEGABYTE
    assert on_host(mx.get_active_memory) == host_before + 2 * MEGABYTE

    # A sum over both does not fit; nor does what the GPU would need for b.
    previous = mx.set_memory_limit(mx.get_active_memory() + MEGABYTE // 2, strict=True)
    mx.clear_cache()
    mx.eval(mx.exp(b, stream=mx.cpu))
    with pytest.raises(MemoryError, match="transfer"):
        mx.eval(mx.exp(b))
    mx.set_memory_limit(previous)

    c = mx.sum(mx.exp(b)) + mx.sum(a)
    mx.reset_peak_memory()
    on_host(mx.reset_peak_memory)
    plan = mx.plan(c)
    assert list(plan.predicted_peaks) == [mx.Device(mx.gpu), mx.Device(mx.cpu)]
    mx.eval(c)
    assert plan.predicted_peaks[mx.Device(mx.gpu)] == plan.predicted_peak == mx.get_peak_memory()
    assert plan.predicted_peaks[mx.Device(mx.cpu)] == on_host(mx.get_peak_memory)
    assert on_host(mx.get_active_memory) == host_before  # b has moved
    assert mx.get_active_memory() >= before + 3 * MEGABYTE
