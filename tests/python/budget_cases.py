"""Random graphs like those of training, evaluated within random budgets and compared bit by bit."""

import random

import narrows.core as mx
import numpy as np

SIZE = 24
UNARY = [mx.exp, mx.tanh, mx.sigmoid, mx.negative, mx.square]
FIRST = mx.array(np.linspace(-1, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE))


def record(seed):
    """Arrays that are made of each other, and then, from the latest to the earliest, read again.

    The same seed records the same graph.
    """
    rng = random.Random(seed)
    dtype = rng.choice([mx.float32, mx.float32, mx.float16, mx.bfloat16])
    values = [FIRST.astype(dtype)]
    key = mx.random.key(seed)
    for i in range(rng.randint(2, 24)):
        latest, other = values[-1], rng.choice(values)
        kind = rng.randrange(8)
        if kind < 2:
            value = rng.choice(UNARY)(latest)
        elif kind == 2:
            value = latest + other
        elif kind == 3:
            value = latest @ mx.transpose(other)
        elif kind == 4:
            value = mx.transpose(mx.softmax(latest, axis=-1))
        elif kind == 5:
            value = mx.reshape(mx.transpose(latest), (SIZE, SIZE))
        elif kind == 6:
            drawn = mx.random.bernoulli(0.5, latest.shape, key=mx.random.split(key, 25)[i])
            value = mx.where(drawn, latest, other)
        else:
            value = sum(mx.split(latest, 2, axis=0)[::-1], start=mx.array(0, dtype))
            value = mx.concatenate([value, mx.broadcast_to(value[:1], value.shape)])
        values.append(value * 0.1 if rng.randrange(3) == 0 else value)
    product = values[-1]
    outputs = []
    for value in reversed(values):
        joined = product * value if rng.randrange(3) else product @ mx.transpose(value) + product
        product = mx.tanh(joined)
        if rng.randrange(12) == 0:
            outputs.append(mx.sum(product, axis=0))
        if rng.randrange(12) == 0:
            outputs.append(value)  # somebody holds it
    return [*outputs, product]


def bits(arrays):
    return [np.array(a.view(mx.uint8)).tobytes() for a in arrays]


def check(seed, offload=False):
    """One graph within one budget, in orders alone and with steps that run again.

    Or, of half of the seeds, with `offload`, in orders alone and with copies on the host alone.
    Returns how many steps ran again, and how many bytes were copied.
    """
    rng = random.Random(~seed)
    with mx.fusion(rng.randrange(3) > 0):
        outputs = record(seed)
        before = mx.get_active_memory()
        peak = mx.plan(outputs).predicted_peak
        budget = before + max(1, (peak - before) * rng.randint(3, 10) // 10)
        with mx.memory_budget(budget, recompute=False):
            mx.eval(outputs)
        expected = bits(outputs)
        del outputs
        outputs = record(seed)
        recompute = not offload or rng.randrange(2) > 0
        with mx.memory_budget(budget, recompute=recompute, offload=offload):
            plan = mx.plan(outputs)
            mx.reset_peak_memory()
            mx.eval(outputs)
        measured = mx.get_peak_memory()
    assert measured == plan.predicted_peak, f"seed {seed}: {measured}, {plan.predicted_peak} bytes"
    assert plan.over_budget == max(0, plan.predicted_peak - budget), f"seed {seed}"
    assert bits(outputs) == expected, f"seed {seed}: other bits"
    return plan.repeated_steps, plan.offloaded_bytes
