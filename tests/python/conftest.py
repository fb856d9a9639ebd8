import gc
import os
import pathlib
import sys

import narrows.core as mx
import pytest

# On GPUs, too, float32 results are compared as such; also in processes that tests start.
os.environ.setdefault("NARROWS_ENABLE_TF32", "0")
# Plans do not depend on how fast the machine is.
os.environ.setdefault("NARROWS_CALIBRATION", "0")
sys.path.insert(0, str(pathlib.Path(__file__).parent))  # support.py

if os.environ.get("NARROWS_TEST_DEVICE") == "gpu":
    mx.set_default_device(mx.gpu)


@pytest.fixture
def on_cpu():
    """For tests of what the CPU alone promises: plans without transfers, fusion, orders of sums."""
    device = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(device)


def devices():
    """Each memory has limits of its own."""
    return [mx.cpu, mx.gpu] if mx.is_available(mx.gpu) else [mx.cpu]


def limits_of(device, cache_limit, memory_limit=None):
    """Sets limits of the device's memory and returns what they were."""
    default = mx.default_device()
    mx.set_default_device(device)
    memory_limit = mx.get_memory_limit() if memory_limit is None else memory_limit
    limits = mx.set_cache_limit(cache_limit), mx.set_memory_limit(memory_limit)
    mx.set_default_device(default)
    return limits


@pytest.fixture
def memory():
    """Counters start from what other tests left behind; limits are restored."""
    gc.collect()
    mx.synchronize()
    mx.clear_cache()
    mx.reset_peak_memory()
    before = {device: limits_of(device, 1 << 30) for device in devices()}
    yield mx
    for device, limits in reversed(before.items()):
        limits_of(device, *limits)
    mx.clear_cache()


@pytest.fixture
def every_node_is_a_step():
    """Nothing is fused."""
    with mx.fusion(False):
        yield
