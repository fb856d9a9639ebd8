"""Learning rate schedules against their formulas."""

import math
import re

import narrows.core as mx
import narrows.optimizers as optim
import pytest

STEPS = [0, 1, 2, 9, 10, 11, 25, 99, 100, 101, 1000]

FORMULAS = [
    (optim.exponential_decay(0.1, 0.9), lambda t: 0.1 * 0.9**t),
    (optim.step_decay(0.1, 0.9, 10), lambda t: 0.1 * 0.9 ** (t // 10)),
    (
        optim.cosine_decay(0.1, 100),
        lambda t: 0.05 * (1 + math.cos(math.pi * min(t, 100) / 100)),
    ),
    (
        optim.cosine_decay(0.1, 50, end=0.02),
        lambda t: 0.02 + 0.04 * (1 + math.cos(math.pi * min(t, 50) / 50)),
    ),
    (optim.linear_schedule(0.0, 0.1, 100), lambda t: 0.001 * min(t, 100)),
    (optim.linear_schedule(0.5, 0.1, 1), lambda t: 0.5 if t == 0 else 0.1),
    (
        optim.join_schedules(
            [
                optim.linear_schedule(0.0, 0.1, 10),
                optim.cosine_decay(0.1, 50),
                optim.exponential_decay(0.1, 0.5),
            ],
            [10, 100],
        ),
        lambda t: (
            0.01 * t
            if t < 10
            else 0.05 * (1 + math.cos(math.pi * min(t - 10, 50) / 50))
            if t < 100
            else 0.1 * 0.5 ** (t - 100)
        ),
    ),
    (optim.join_schedules([optim.exponential_decay(1.0, 1.01)], []), lambda t: 1.01**t),
]
KINDS = {
    "number": int,
    "uint64": lambda t: mx.array(t, mx.uint64),
    "int32": lambda t: mx.array(t, mx.int32),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(len(FORMULAS)))
def test_values_are_those_of_the_formula(number, kind):
    schedule, formula = FORMULAS[number]
    for t in STEPS:
        value = schedule(KINDS[kind](t))
        if isinstance(value, mx.array):
            assert value.dtype == mx.float32 and value.shape == ()
            value = value.item()
        assert value == pytest.approx(formula(t), rel=1e-4, abs=1e-7), t


@pytest.mark.parametrize("number", range(len(FORMULAS)))
def test_schedules_in_optimizers(number):
    schedule, formula = FORMULAS[number]
    optimizer = optim.SGD(schedule)
    assert optimizer.learning_rate.item() == pytest.approx(formula(0), abs=1e-7)
    for t in range(15):
        optimizer.update({}, {})
        assert optimizer.learning_rate.item() == pytest.approx(formula(t), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: optim.step_decay(0.1, 0.9, 0),
            "[step_decay] step_size=0, expected a number above 0",
        ),
        (lambda: optim.cosine_decay(0.1, -1), "[cosine_decay] decay_steps=-1, expected"),
        (lambda: optim.linear_schedule(0, 1, 0), "[linear_schedule] steps=0, expected"),
        (lambda: optim.join_schedules([], []), "[join_schedules] 0 schedules, expected"),
        (lambda: optim.join_schedules([abs], [1]), "[join_schedules] 1 boundaries for 1 schedules"),
        (lambda: optim.join_schedules([abs] * 3, [1]), "for 3 schedules, expected 2"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
