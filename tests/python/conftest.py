import gc
import os
import pathlib
import sys

import narrows.core as mx
import pytest

# On GPUs, too, float32 results are compared as such; also in processes that tests start.
os.environ.setdefault("NARROWS_ENABLE_TF32", "0")
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


@pytest.fixture
def memory():
    """Counters start from what other tests left behind; limits are restored."""
    gc.collect()
    mx.synchronize()
    mx.clear_cache()
    mx.reset_peak_memory()
    limit = mx.get_memory_limit()
    cache = mx.set_cache_limit(1 << 30)
    yield mx
    mx.set_memory_limit(limit)
    mx.set_cache_limit(cache)
    mx.clear_cache()


@pytest.fixture
def every_node_is_a_step():
    """Nothing is fused."""
    with mx.fusion(False):
        yield
