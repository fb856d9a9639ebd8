"""Budgets of random graphs; `tools/fuzz_budgets.py` tries more of them."""

import narrows.core as mx
from budget_cases import check

GRAPHS = 300


def test_bits_and_peaks_of_random_graphs(memory, on_cpu):
    policy = mx.set_order_policy("memory")
    try:
        repeated = [check(seed)[0] for seed in range(GRAPHS)]
    finally:
        mx.set_order_policy(policy)
    assert sum(count > 0 for count in repeated) > GRAPHS // 8
