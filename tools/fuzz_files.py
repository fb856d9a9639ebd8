"""Reads damaged files of each format until the time is over.

    python tools/fuzz_files.py [--seconds 60] [--seed N]

Prints the seed of each round, so that one that ends with an error can be run again.
"""

import argparse
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/python"))
from file_cases import FORMATS, fuzz  # noqa: E402

FILES_OF_ROUND = 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60, help="for each format")
    parser.add_argument("--seed", type=int, help="only this round")
    options = parser.parse_args()
    first = random.randrange(1 << 30) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "damaged"
        for fmt in FORMATS:
            end = time.monotonic() + options.seconds
            seed = first
            good = 0
            while seed == first or (options.seed is None and time.monotonic() < end):
                print(f"\r{fmt}, seed {seed} ", end="", flush=True)
                good += fuzz(fmt, seed, FILES_OF_ROUND, path)
                seed += 1
            count = (seed - first) * FILES_OF_ROUND
            print(f"\r{fmt}: {count} files from seed {first} on, of which {good} were good")


if __name__ == "__main__":
    main()
