"""Evaluates random graphs within random memory budgets, and compares bits and bytes.

    python tools/fuzz_budgets.py [--graphs 20000] [--seed N]

Each graph is evaluated within the budget by its order alone, and with steps that run again. The
results must have the same bits, and the measured peak must be the predicted one. A seed that fails
can be run again by itself.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/python"))
import narrows.core as mx  # noqa: E402
from budget_cases import check  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--graphs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, help="only this graph")
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    mx.set_order_policy("memory")
    seeds = range(options.graphs) if options.seed is None else [options.seed]
    repeated = 0
    for seed in seeds:
        if seed % 100 == 0:
            print(f"\rseed {seed} ", end="", file=sys.stderr, flush=True)
        repeated += check(seed)[0] > 0
    print(f"\r{len(seeds)} graphs, {repeated} of them with steps that ran again")


if __name__ == "__main__":
    main()
