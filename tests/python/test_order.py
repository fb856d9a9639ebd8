import json
import os
import subprocess
import sys

import narrows.core as mx
import numpy as np
import pytest

ROWS = 1 << 14
WIDE = ROWS * 128 * 8
NARROW = ROWS * 128


@pytest.fixture(autouse=True)
def order_settings():
    policy = mx.set_order_policy("width")
    width = mx.set_bfs_max_width(20)
    budget = mx.set_memory_budget(0)
    fusion = mx.set_fusion(False)  # fused, these graphs need no order
    yield
    mx.set_fusion(fusion)
    mx.set_bfs_max_width(width)
    mx.set_order_policy(policy)
    mx.set_memory_budget(budget)


def casts(count=24):
    return [mx.zeros((ROWS, 128), mx.int64).astype(mx.int8) for _ in range(count)]


def network(layers=6):
    """Forward, then a chain back over everything that forward made."""
    rng = np.random.default_rng(0)
    x = mx.array(rng.standard_normal((512, 256)).astype(np.float32))
    w = mx.array(rng.standard_normal((256, 256)).astype(np.float32) / 16)
    kept = []
    for _ in range(layers):
        kept.append(x)
        x = x + mx.tanh(x @ w)
    g, gradients = x, []
    for a in reversed(kept):
        gradients.append(mx.transpose(a) @ g)
        g = g - mx.tanh(a) * (g @ mx.transpose(w))
    return [g, *gradients]


def test_memory_order_needs_one_intermediate(memory, on_cpu):
    outputs = casts()
    with mx.order_policy("memory"):
        plan = mx.plan(outputs)
        assert plan.order_policy == "memory"
        assert plan.predicted_peak - plan.active_before == 24 * NARROW + WIDE
        mx.reset_peak_memory()
        mx.eval(outputs)
    assert mx.get_peak_memory() == plan.predicted_peak
    with mx.bfs_max_width(1000):
        assert mx.plan(casts()).predicted_peak - mx.get_active_memory() > 24 * WIDE


def test_policies_give_the_same_values():
    with mx.order_policy("width"):
        expected = [np.array(a) for a in network()]
    with mx.order_policy("memory"):
        for budget in [0, 1]:
            with mx.memory_budget(budget):
                for actual, value in zip(network(), expected, strict=True):
                    np.testing.assert_allclose(np.array(actual), value, rtol=1e-5)


def test_policy_by_call_and_scope():
    assert mx.set_order_policy("memory") == "width"
    a = mx.exp(mx.ones((3,)))
    assert mx.plan(a).order_policy == "memory"
    with mx.bfs_max_width(3):
        assert mx.plan(a).order_policy == "width"
        with mx.order_policy("memory"):
            assert mx.plan(a).order_policy == "memory"
    assert mx.plan(a).order_policy == "memory"
    assert mx.set_bfs_max_width(20) == 20
    assert mx.plan(a).order_policy == "width"


def test_arguments():
    for bad in ["", "depth", "Memory"]:
        with pytest.raises(ValueError, match="memory"):
            mx.set_order_policy(bad)
        with pytest.raises(ValueError, match="memory"):
            mx.order_policy(bad)
    with pytest.raises(ValueError, match="budget"):
        mx.set_memory_budget(-1)
    with pytest.raises(ValueError, match="budget"):
        mx.memory_budget(-5)
    assert mx.set_memory_budget(1 << 40) == 0
    assert mx.set_memory_budget(0) == 1 << 40


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "memory"),
        ({"NARROWS_ORDER": "memory"}, "memory"),
        ({"NARROWS_ORDER": "width"}, "width"),
        ({"NARROWS_BFS_MAX_WIDTH": "3"}, "width"),
        ({"MLX_BFS_MAX_WIDTH": "3"}, "width"),
        ({"NARROWS_ORDER": "memory", "MLX_BFS_MAX_WIDTH": "3"}, "memory"),
    ],
)
def test_policy_from_environment(settings, expected):
    code = "import narrows.core as mx; print(mx.plan(mx.zeros(3)).order_policy)"
    names = ["NARROWS_ORDER", "NARROWS_BFS_MAX_WIDTH", "MLX_BFS_MAX_WIDTH"]
    environment = {k: v for k, v in os.environ.items() if k not in names}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **settings}, capture_output=True
    )
    assert run.stdout.decode().split() == [expected]


def test_budget_that_can_and_cannot_be_kept(memory):
    outputs = casts()
    before = mx.get_active_memory()
    least = 24 * NARROW + WIDE
    with mx.order_policy("memory"):
        with mx.memory_budget(before + least):
            plan = mx.plan(outputs)
            assert plan.memory_budget == before + least
            assert plan.over_budget == 0
            assert "kept" in str(plan)
        with mx.memory_budget(before + least - 5000):
            plan = mx.plan(outputs)
            assert plan.predicted_peak == before + least
            assert plan.over_budget == 5000
            assert "exceeded by 0.005 MB" in str(plan)
    with mx.memory_budget(1000), mx.bfs_max_width(1000):
        plan = mx.plan(outputs)
        assert plan.over_budget == plan.predicted_peak - 1000


def test_alive_at_peak(memory):
    a = mx.ones((ROWS, 128))
    b = mx.exp(a)
    c = mx.sum(b)
    d = mx.concatenate([b, b])
    del a, b
    plan = mx.plan(c, d=d)
    alive = plan.alive_at_peak
    assert [row["shape"] for row in alive[:2]] == [(2 * ROWS, 128), (ROWS, 128)]
    assert alive[0]["bytes"] == 2 * ROWS * 128 * 4
    assert alive[0]["name"] == "d"
    assert alive[0]["dtype"] == "float32"
    workspace = plan.steps[plan.peak_step].workspace_bytes
    outside = plan.active_before
    assert sum(row["bytes"] for row in alive) + workspace + outside == plan.predicted_peak
    text = str(plan)
    assert f"alive at step {plan.peak_step}:" in text
    assert f"d ({2 * ROWS}, 128) float32" in text
    top = json.loads(plan.to_json())
    assert top["alive_at_peak"][0]["shape"] == [2 * ROWS, 128]
    assert top["order_policy"] == "width"
    assert top["bfs_max_width"] == 20
    assert top["over_budget"] == 0
    assert mx.plan(mx.ones(())[None]).alive_at_peak[0]["bytes"] == 64


def test_alive_buffers_go_by_what_was_computed_there(memory):
    x = mx.exp(mx.ones((1024,)))
    plan = mx.plan(mx.broadcast_to(x, (1000, 1024)) + mx.ones((1000, 1)))
    assert {row["shape"] for row in plan.alive_at_peak} >= {(1000, 1024), (1024,)}
    assert [row["shape"] for row in plan.alive_at_peak].count((1000, 1024)) == 1


def test_many_alive_arrays_are_summed_up(memory):
    with mx.bfs_max_width(1000):
        text = str(mx.plan(casts()))
    assert "in 15 more" in text
