"""Calls public functions with random arguments until that many calls are made.

    python tools/fuzz_calls.py [--calls 200000] [--seed N]

Prints the seed of each round, so that one that ends with an error or a crash can be run again.
"""

import argparse
import pathlib
import random
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/python"))
from call_cases import fuzz_calls  # noqa: E402

CALLS_OF_ROUND = 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--seed", type=int, help="only this round")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    first = random.randrange(1 << 30) if options.seed is None else options.seed
    rounds = 1 if options.seed is not None else -(-options.calls // CALLS_OF_ROUND)
    totals = {}
    for seed in range(first, first + rounds):
        print(f"\rseed {seed} ", end="", file=sys.stderr, flush=True)
        for outcome, count in fuzz_calls(seed, CALLS_OF_ROUND).items():
            totals[outcome] = totals.get(outcome, 0) + count
    shown = ", ".join(f"{count} {outcome}" for outcome, count in sorted(totals.items()))
    print(f"\r{sum(totals.values())} calls from seed {first} on: {shown}")


if __name__ == "__main__":
    main()
