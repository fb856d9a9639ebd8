"""Fusion on the default device: the same results in no more memory. Elementwise steps give the same
bits; GPUs may add up rows in another order."""

import os
import subprocess
import sys

import narrows.core as mx
import numpy as np
import pytest
from test_fusion import LAYOUTS, STORED, adam, bits, layer_norm, random_array, rms_norm, softmax

DTYPES = [mx.float32, mx.float16, mx.bfloat16, mx.int32, mx.int8, mx.uint16, mx.int64, mx.bool_]
TOLERANCES = {mx.float32: 1e-5, mx.float16: 4e-3, mx.bfloat16: 4e-2}


def as_numbers(a):
    return np.array(a.astype(mx.float32) if a.dtype == mx.bfloat16 else a)


def evaluate(make, on):
    """make() with or without fusion: the arrays, how many steps are fused, and the peak."""
    with mx.fusion(on):
        outputs = make()
        outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        plan = mx.plan(outputs)
        fused = sum(step.op.startswith("fused") for step in plan.steps)
        mx.eval(outputs)
        return outputs, fused, plan.predicted_peak - plan.active_before


def check(make, fused_steps=None, tolerance=None):
    """`tolerance`: None for the same bits."""
    single, none, single_peak = evaluate(make, False)
    assert none == 0
    for _ in range(3):  # devices may run a program in another way when it comes again
        fused, steps, fused_peak = evaluate(make, True)
        assert fused_steps is None or steps == fused_steps
        assert fused_peak <= single_peak
        for a, b in zip(fused, single, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            if tolerance is None:
                assert bits(a) == bits(b)
            else:
                np.testing.assert_allclose(
                    as_numbers(a), as_numbers(b), rtol=tolerance, atol=tolerance
                )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_chains_over_layouts(layout, dtype):
    rng = np.random.default_rng(1)
    a = LAYOUTS[layout](random_array(rng, (24, 40), dtype))
    b = random_array(rng, a.shape[-1:], dtype)
    mx.eval(a, b)
    check(lambda: mx.maximum(a * b, a) + a, fused_steps=1)
    check(lambda: mx.where(a > b, a, mx.ones(a.shape, dtype)) + b)


@pytest.mark.parametrize("n", [1, 7, 4096, 5001])
def test_sizes(n):
    a = random_array(np.random.default_rng(2), (n,), mx.float32)
    check(lambda: mx.exp(a * 2 + 1) - mx.abs(a), fused_steps=1)
    check(lambda: (mx.arange(n) * 3 + 1).astype(mx.float32) * a, fused_steps=1)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("shape", [(5, 7), (40, 3), (4, 512), (1, 2100), (2, 3, 40)])
def test_row_programs(shape, dtype):
    rng = np.random.default_rng(5)
    x = mx.clip(random_array(rng, shape, mx.float32), -8, 8).astype(dtype)
    x = mx.where(mx.isnan(x), mx.zeros_like(x), x)
    w, b = (mx.array(rng.standard_normal(shape[-1:]), mx.float32).astype(dtype) for _ in range(2))
    mx.eval(x, w, b)
    tolerance = TOLERANCES[dtype]
    check(lambda: layer_norm(x, w, b, 1e-2), 1, tolerance)
    check(lambda: rms_norm(x, w, 1e-2), 1, tolerance)
    check(lambda: softmax(x), 1, tolerance)
    check(lambda: mx.max(mx.abs(x), axis=-1) * 2, 1)


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 40), (2, 16_400)])
def test_several_results(name, shape):
    """Of arrays that die, so that results take their places."""
    function, count, _ = STORED[name]

    def make():
        rng = np.random.default_rng(10)
        inputs = [mx.array(rng.random(shape) + 0.5, mx.float32) for _ in range(count)]
        mx.eval(inputs)
        return function(*inputs)

    check(make, tolerance=1e-4 if name != "total" else 1e-3)


def test_optimizers_keep_their_bits():
    arrays = [random_array(np.random.default_rng(i), (33, 20), mx.float32) for i in range(4)]
    mx.eval(arrays)
    check(lambda: adam(*arrays), fused_steps=1)


def test_long_rows():
    """GPUs reduce them by themselves."""
    x = mx.array(np.random.default_rng(3).standard_normal((2, 20_000)), mx.float32)
    mx.eval(x)
    check(lambda: mx.sum(mx.square(x * 2), axis=-1), tolerance=1e-5)
    check(lambda: mx.sum(mx.square(x * 2)), tolerance=1e-5)
    check(lambda: softmax(x), tolerance=1e-5)


def test_many_dimensions():
    rng = np.random.default_rng(4)
    a = mx.array(rng.standard_normal((2, 3, 2, 3, 2, 3, 2)), mx.float32)
    b = mx.array(rng.standard_normal((3, 1, 3, 1, 3, 1)), mx.float32)
    mx.eval(a, b)
    turned = mx.transpose(a, (6, 5, 4, 3, 2, 1, 0))
    check(lambda: (a * b + turned) * a)
    check(lambda: mx.sum(a * b + turned, axis=(-1, -2)) * 2, tolerance=1e-5)


def test_peak_is_the_predicted_one(memory):
    x = mx.ones((4096,))
    mx.eval(x)
    y = mx.sum(mx.exp(x * 2.0) + mx.arange(4096)) / mx.max(x)
    predicted = mx.plan(y).predicted_peak
    mx.reset_peak_memory()
    mx.eval(y)
    assert mx.get_peak_memory() == predicted


COMPILED = """
import os, time
import narrows.core as mx
x = mx.ones((2, 4096))
mx.set_default_device(mx.gpu)
for _ in range(600):
    y = mx.exp(x * 2 + 1) / 3
    mx.eval(y, mx.sum(mx.exp(x + 1) * y, axis=-1) + 1)
    directory = os.environ["NARROWS_KERNEL_CACHE"]
    if os.path.isdir(directory) and len(os.listdir(directory)) >= 2:
        break
    time.sleep(0.05)
"""


def test_programs_that_come_again_are_compiled(tmp_path):
    if not str(mx.device_info().get("architecture", "")).startswith("sm_"):
        pytest.skip("needs an NVIDIA GPU")
    settings = {"NARROWS_KERNEL_COMPILER": "verbose", "NARROWS_KERNEL_CACHE": str(tmp_path / "k")}
    run = subprocess.run(
        [sys.executable, "-c", COMPILED],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    if "there is no compiler" in run.stderr:
        pytest.skip("needs NVRTC")
    assert "[fused] compiled" in run.stderr, run.stderr
    assert "error" not in run.stderr, run.stderr
    assert len(list((tmp_path / "k").iterdir())) >= 2
