"""What a step of an optimizer takes beside parameters, state and gradients: exact bytes."""

import gc
import itertools
import os
import subprocess
import sys

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
import pytest
from narrows.utils import tree_map

ROWS = (8192, 16384, 32768, 65536)
LARGEST = ROWS[-1] * 1024 * 4
SCALARS = 4096  # bytes: for the step, the learning rate and numbers beside arrays


def step_peak(optimizer, gradients_held, rows=ROWS, compiled=False):
    """Bytes above those of parameters, state and gradients at the peak of a step."""
    gc.collect()
    outside = mx.get_active_memory()
    model = {f"p{i}": mx.ones((n, 1024)) for i, n in enumerate(rows)}
    optimizer.init(model)
    mx.eval(model, optimizer.state)

    def step(gradients):
        optimizer.update(model, gradients)

    state = [model, optimizer.state]
    update = mx.compile(step, inputs=state, outputs=state) if compiled else step
    for _ in range(2):
        gradients = tree_map(lambda a: a * 0.5, model)
        mx.eval(gradients)
        mx.clear_cache()
        gc.collect()
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        update(gradients)
        if not gradients_held:
            del gradients
        plan = mx.plan(state)
        mx.eval(state)
        peak = mx.get_peak_memory()
        assert plan.predicted_peak == peak
    known = mx.get_array_buffer_size([model, optimizer.state]) + mx.get_array_buffer_size(model)
    assert abs(before - outside - known) < SCALARS  # nothing else is held
    return peak - before


# The optimizer; arrays of the size of the largest parameter that a step takes beside what is there,
# where operations are fused, and where each is a step of its own.
STEPS = [
    ("SGD(0.1)", 0, 1),
    ("SGD(0.1, momentum=0.9)", 0, 1),
    ("SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1)", 0, 2),
    ("RMSprop(0.1)", 0, 1),
    ("Adagrad(0.1)", 0, 1),
    ("AdaDelta(0.1)", 0, 2),
    ("Adam(0.1)", 0, 1),
    ("Adam(0.1, bias_correction=True)", 0, 1),
    ("AdamW(0.1, bias_correction=True)", 0, 2),
    ("Adamax(0.1)", 0, 1),
]


def check_steps():
    """Runs on the null backend, which counts bytes and computes nothing."""
    for (text, fused, single), compiled in itertools.product(STEPS, (False, True)):
        for fusion, arrays in ((True, fused), (False, single)):
            with mx.fusion(fusion):
                optimizer = eval(text, vars(optim))
                peak = step_peak(optimizer, gradients_held=True, compiled=compiled)
            extra = peak - arrays * LARGEST
            print(f"{text} {fusion=} {compiled=}: {peak} bytes, {extra} above {arrays} arrays")
            assert 0 <= extra < SCALARS, text


def test_a_step_holds_no_second_copy():
    """Old parameters and averages are overwritten, with gigabytes of them."""
    environment = {**os.environ, "NARROWS_BACKEND": "null"}
    program = """
import conftest, test_optimizer_memory
import narrows.core as mx
mx.set_default_device(mx.cpu)
test_optimizer_memory.check_steps()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=os.path.dirname(__file__),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 4 * len(STEPS)


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("text", [text for text, *_ in STEPS])
def test_compiled_steps_take_as_much_as_others(memory, on_cpu, text, held):
    """Measured, on arrays that are computed: the averages lie where the old ones did."""
    peaks = [
        step_peak(eval(text, vars(optim)), held, rows=(256, 512), compiled=compiled)
        for compiled in (False, True)
    ]
    plain, compiled = peaks
    assert 0 <= compiled <= plain + 512  # scalars: the step, what corrects a bias


def test_memory_stays_flat(memory):
    optimizer = optim.AdamW(optim.cosine_decay(0.01, 5000), bias_correction=True)
    model = {"w": mx.ones((8, 8)), "b": mx.ones((8,))}
    bytes_held = []
    for i in range(10_000):
        gradients = tree_map(lambda a: a * 0.5, model)
        optimizer.update(model, gradients)
        del gradients
        mx.eval(model, optimizer.state)
        if i in (10, 100, 9_999):
            gc.collect()
            bytes_held.append(mx.get_active_memory())
        if i == 10:
            mx.reset_peak_memory()
            peaks = []
        if i in (100, 9_999):
            peaks.append(mx.get_peak_memory())
    assert bytes_held[0] == bytes_held[1] == bytes_held[2] and peaks[0] == peaks[1]
    assert optimizer.step.item() == 10_000


def linear_step(optimizer, held, size=256, bias=True, layers=1):
    """The plan of a training step of linear layers, and what it takes for values beside what was
    there."""
    model = nn.Sequential(*[nn.Linear(size, size, bias=bias) for _ in range(layers)])
    optimizer.init(model.trainable_parameters())
    x = mx.random.normal((16, size))
    mx.eval(model.parameters(), optimizer.state, x)
    gradient_bytes = mx.get_array_buffer_size(model.trainable_parameters())
    value_and_grad = nn.value_and_grad(model, lambda x: model(x).sum())
    for _ in range(2):
        gc.collect()
        before = mx.get_active_memory()
        mx.reset_peak_memory()
        value, gradients = value_and_grad(x)
        optimizer.update(model, gradients)
        if not held:
            del gradients
        plan = mx.plan(value, model.state, optimizer.state)
        mx.eval(value, model.state, optimizer.state)
        assert plan.predicted_peak == mx.get_peak_memory()
    # Without the workspace of products, which differs by processor.
    peak = max(s.peak_bytes - s.workspace_bytes for s in plan.steps)
    return plan, peak - before, gradient_bytes, x.nbytes


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_gradients_of_matrices_lie_as_they_do(memory, on_cpu, name, bias, held):
    """So updates read them as they are, and a training step holds nothing of their size twice."""
    plan, taken, gradients, activation = linear_step(getattr(optim, name)(0.1), held, bias=bias)
    weight_bytes = 4 * 256 * 256
    made = [s for s in plan.steps if s.op == "matmul" and s.allocated_bytes == weight_bytes]
    assert len(made) == 1
    readers = [s for s in plan.steps if made[0].outputs[0] in s.inputs]
    assert readers and all(s.op.startswith("fused") for s in readers)
    assert taken <= gradients + 4 * activation


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_a_step_of_an_optimizer_is_one_step_for_each_parameter(memory, on_cpu, name):
    """Averages and parameters are written in place by one step, once all gradients are there."""
    optimizer = getattr(optim, name)(0.1)
    plan, taken, gradients, activation = linear_step(optimizer, True, size=1024, layers=3)
    updates = [s for s in plan.steps if s.op.startswith("fused") and len(s.outputs) == 3]
    assert len(updates) == 6 and all(s.allocated_bytes == 0 for s in updates)
    assert taken <= gradients + 8 * activation
