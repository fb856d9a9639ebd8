"""Budgets that are kept by copies on the host, where a GPU has memory of its own."""

import os

import narrows.core as mx
import numpy as np
import pytest
from budget_cases import bits, check

GRAPHS = 60

needs_separate_memory = pytest.mark.skipif(
    os.environ.get("NARROWS_EMULATED_GPU_MEMORY") != "separate", reason="devices share one memory"
)


@pytest.fixture(autouse=True)
def memory_order():
    policy = mx.set_order_policy("memory")
    yield
    mx.set_order_policy(policy)


def there_and_back(x, count=10):
    """Each value is used by the next and, in the reverse order, by a product."""
    values = [x + 1]
    for _ in range(count):
        values.append(mx.sin(values[-1]))
    product = values[-1]
    for value in reversed(values):
        product = product * mx.transpose(value)
    return product


def numbers(size=48):
    x = mx.array(np.random.default_rng(0).standard_normal((size, size)), mx.float32)
    x = x + 0  # in the memory of the device
    mx.eval(x)
    return x


def half_of_its_memory(outputs):
    held = mx.get_active_memory()
    return held + (mx.plan(outputs).predicted_peak - held) // 2


def on_host(function):
    with mx.stream(mx.cpu):
        return function()


def copies_of(plan):
    return [step.op for step in plan.steps if step.op in ("to_host", "from_host")]


def test_memory_that_is_shared_needs_no_copies(memory, on_cpu):
    with mx.fusion(False):
        outputs = there_and_back(numbers())
        budget = half_of_its_memory(outputs)
        plan = mx.plan(outputs, budget=budget, offload=True)
        assert str(plan) == str(mx.plan(outputs, budget=budget))
        assert plan.offloaded_bytes == 0 and not copies_of(plan)


@needs_separate_memory
@pytest.mark.parametrize("fuse", [True, False])
def test_exact_bytes_in_both_memories(memory, fuse):
    x = numbers()
    with mx.fusion(fuse):
        expected = there_and_back(x)
        mx.eval(expected)
        expected = bits([expected])
        outputs = there_and_back(x)
        budget = half_of_its_memory(outputs)
        with mx.memory_budget(budget, recompute=False):
            assert mx.plan(outputs).over_budget > 0
        with mx.memory_budget(budget, recompute=False, offload=True):
            plan = mx.plan(outputs)
            assert plan.over_budget == 0 and plan.repeated_steps == 0
            assert plan.extra_time > 0 and "copied to the host" in str(plan)
            copies = copies_of(plan)
            assert 0 < copies.count("to_host") <= copies.count("from_host")
            assert plan.offloaded_bytes == copies.count("to_host") * x.nbytes
            mx.reset_peak_memory()
            on_host(mx.reset_peak_memory)
            mx.eval(outputs)
    assert plan.predicted_peak == mx.get_peak_memory() <= budget
    assert plan.predicted_peaks[mx.Device(mx.cpu)] == on_host(mx.get_peak_memory)
    assert bits([outputs]) == expected


@needs_separate_memory
def test_copies_stay_within_their_limit(memory):
    x = numbers()
    with mx.fusion(False):
        expected = bits([there_and_back(x)])
        outputs = there_and_back(x)
        budget = half_of_its_memory(outputs)
        previous = mx.set_offload_limit(2 * x.nbytes)
        try:
            plan = mx.plan(outputs, budget=budget, offload=True)
            assert plan.over_budget == 0 and plan.repeated_steps > 0
            assert plan.offloaded_bytes <= 2 * x.nbytes
            assert mx.set_offload_limit(0) == 2 * x.nbytes
            plan = mx.plan(outputs, budget=budget, offload=True)
            assert plan.offloaded_bytes == 0 and plan.repeated_steps > 0
        finally:
            mx.set_offload_limit(previous)
        mx.clear_cache()
        with mx.memory_budget(budget, recompute=False, offload=True):
            plan = mx.plan(outputs)
            mx.reset_peak_memory()
            mx.eval(outputs)
    assert plan.repeated_steps == 0 < plan.offloaded_bytes
    assert mx.get_peak_memory() == plan.predicted_peak <= budget
    assert bits([outputs]) == expected


def test_a_limit_is_not_negative():
    with pytest.raises(ValueError, match=r"\[set_offload_limit\] -1 bytes"):
        mx.set_offload_limit(-1)


@needs_separate_memory
def test_arguments_and_scopes(memory):
    x = numbers()
    with mx.fusion(False):
        outputs = there_and_back(x)
        budget = half_of_its_memory(outputs)
        expected = bits([there_and_back(x)])
        assert mx.plan(outputs, budget=budget, offload=True).over_budget == 0
        mx.reset_peak_memory()
        mx.eval(outputs, budget=budget, offload=True)
        assert mx.get_peak_memory() <= budget and bits([outputs]) == expected
        del outputs
        outputs = there_and_back(x)
        mx.async_eval(outputs, budget=budget, offload=True)
        assert bits([outputs]) == expected
        del outputs
        compiled = mx.compile(there_and_back, budget=budget, offload=True)
        mx.reset_peak_memory()
        outputs = compiled(x)
        mx.eval(outputs)
        assert mx.get_peak_memory() <= budget and bits([outputs]) == expected
        previous = mx.set_memory_budget(budget, recompute=False, offload=True)
        try:
            assert copies_of(mx.plan(there_and_back(x)))
        finally:
            mx.set_memory_budget(previous)


@needs_separate_memory
def test_what_an_error_left_can_be_evaluated(memory):
    x = numbers()
    with mx.fusion(False):
        expected = bits([there_and_back(x)])
        outputs = there_and_back(x)
        budget = half_of_its_memory(outputs)
        with mx.memory_budget(budget, recompute=False, offload=True):
            host_now = on_host(mx.get_active_memory)
            with mx.stream(mx.cpu):
                previous = mx.set_memory_limit(host_now + 2 * x.nbytes, strict=True)
                mx.clear_cache()
            try:
                with pytest.raises(MemoryError, match="to_host"):
                    mx.eval(outputs)
            finally:
                with mx.stream(mx.cpu):
                    mx.set_memory_limit(previous)
        mx.eval(outputs)
        assert bits([outputs]) == expected


@needs_separate_memory
def test_random_graphs(memory):
    counts = [check(seed, offload=True) for seed in range(GRAPHS)]
    assert sum(copied > 0 for _, copied in counts) > GRAPHS // 8
