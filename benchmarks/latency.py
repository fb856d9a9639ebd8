"""Time of the smallest evaluation, mx.eval(a + b) on scalars, beside MLX's and PyTorch's add, and
of 100 operations on a scalar, recorded each time and compiled.

python benchmarks/latency.py
python benchmarks/latency.py --peer-python other/.venv/bin/python
"""

import argparse
import sys

import alternate


def hundred(a):
    for _ in range(50):
        a = a * 1.01 + 0.5
    return a


def make_case_for(library: str):
    if library == "torch":
        import torch

        torch.set_grad_enabled(False)
        a, b = torch.tensor(1.0), torch.tensor(2.0)
        return {"add": lambda: a + b, "100 ops": lambda: hundred(a)}
    if library == "numpy":
        import numpy as np

        a, b = np.array(1.0, np.float32), np.array(2.0, np.float32)
        return {"add": lambda: a + b, "100 ops": lambda: hundred(a)}
    if library == "mlx":
        import mlx.core as mx

        mx.set_default_device(mx.cpu)
    else:
        import narrows.core as mx
    a, b = mx.array(1.0), mx.array(2.0)
    mx.eval(a, b)
    compiled = mx.compile(hundred)
    return {
        "add": lambda: mx.eval(a + b),
        "100 ops": lambda: mx.eval(hundred(a)),
        "100 ops compiled": lambda: mx.eval(compiled(a)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="*", default=["mlx", "torch"], help="also: numpy")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has them")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        cases = make_case_for(options.serve)
        # Eager libraries compile nothing: the same case again.
        alternate.serve(lambda name: [cases.get(name, cases["100 ops"])])
        return
    workers = alternate.start_workers(__file__, options.peers, options.peer_python)
    for case in ["add", "100 ops", "100 ops compiled"]:
        times = alternate.time_case(workers, case, options.rounds, at_least=0.1)
        print(f"{case} on scalars, median of {options.rounds} rounds in turns")
        for library, seconds in times.items():
            line = f"{library:>8} {seconds * 1e6:7.2f} us"
            if library != "narrows":
                line += f"   narrows / {library}: {times['narrows'] / seconds:.2f}"
            print(line)
    for worker in workers:
        worker.close()


if __name__ == "__main__":
    main()
