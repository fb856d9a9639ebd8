"""Rates of the machine, measured for budgets and kept in a file. Each case is a process."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import narrows.core as mx
mx.set_default_device(mx.cpu)
mx.set_order_policy("memory")
with mx.memory_budget(1 << 30):
    mx.eval(mx.ones(16) + 1)
active = mx.get_active_memory()
assert active == 0, active
"""


def evaluate_within_a_budget(directory):
    environment = os.environ | {"NARROWS_CALIBRATION": str(directory)}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)


def content(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# A plan for more memory takes no more extra time than one for less, which was found before.
LEAST_FIRST = """
import narrows.core as mx
mx.set_default_device(mx.cpu)
mx.set_order_policy("memory")
a = mx.ones((1024, 1024))
mx.eval(a)
def there_and_back():
    values = [a @ a]
    for _ in range(12):
        values.append(mx.tanh(values[-1] @ a))
    product = values[-1]
    for value in reversed(values):
        product = product @ value
    return product
outputs = there_and_back()
peak = mx.plan(outputs).predicted_peak
least = mx.minimum_budget(outputs)
tight = mx.plan(outputs, budget=least)
loose = mx.plan(outputs, budget=least + (peak - least) * 3 // 4)
assert tight.over_budget == 0 and loose.over_budget == 0
assert 0 < loose.extra_time < tight.extra_time, (loose.extra_time, tight.extra_time)
"""


def test_answers_by_usual_rates_are_not_mixed_with_measured_ones(tmp_path):
    environment = os.environ | {"NARROWS_CALIBRATION": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LEAST_FIRST], env=environment, check=True)


def test_a_file_is_written_once_and_read(tmp_path):
    directory = tmp_path / "new" / "rates"
    evaluate_within_a_budget(directory)
    first = content(directory)
    assert len(first) == 1 and b"cpu" in next(iter(first.values()))
    evaluate_within_a_budget(directory)
    assert content(directory) == first  # a second measurement would give other numbers


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"\0" * len(b)])
def test_a_damaged_file_is_written_again(tmp_path, damage):
    evaluate_within_a_budget(tmp_path)
    path = next(tmp_path.iterdir())
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    evaluate_within_a_budget(tmp_path)
    key = whole.split(b"\n")[0]
    again = path.read_bytes()
    assert len(again) == len(whole) and again.split(b"\n")[0] == key
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_directory_that_cannot_be_written_does_no_harm(tmp_path):
    (tmp_path / "file").write_text("")
    evaluate_within_a_budget(tmp_path / "file" / "rates")


def test_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for value in ["0", ""]:
        evaluate_within_a_budget(value)
    assert not list(tmp_path.iterdir())
