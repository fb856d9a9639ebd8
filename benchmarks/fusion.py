"""Speed of chains of elementwise operations and of normalizations written in single operations:
narrows with and without fusion, PyTorch's eager mode and MLX's mx.compile.

    python benchmarks/fusion.py
    python benchmarks/fusion.py --peer-python other/.venv/bin/python --peers torch mlx

All use their default number of threads and take turns, case by case.
"""

import argparse
import math
import sys

import alternate

N = 2**24
ROWS, COLUMNS = 2**14, 2**10

alternate.IMPORTS["unfused"] = "narrows.core"
alternate.IMPORTS["mlx compiled"] = "mlx.core"


def gelu(lib, x):
    return x * 0.5 * (1.0 + lib.erf(x * (1 / math.sqrt(2))))


def chain(lib, x):
    """Ten operations."""
    y = lib.abs(x * 1.5 + 0.5)
    z = lib.sqrt(y) * x - y
    return lib.exp(-(z * z)) + lib.sigmoid(x)


def layer_norm(lib, x, weight, bias):
    centred = x - mean(lib, x)
    variance = mean(lib, centred * centred)
    return centred * lib.rsqrt(variance + 1e-5) * weight + bias


def rms_norm(lib, x, weight, bias):
    return x * lib.rsqrt(mean(lib, x * x) + 1e-5) * weight


def softmax(lib, x, weight, bias):
    e = lib.exp(x - highest(lib, x))
    return e / total(lib, e)


def norm(lib, x):
    return lib.sqrt(lib.sum(x * x))


def is_torch(lib):
    return lib.__name__ == "torch"


def mean(lib, x):
    return x.mean(-1, keepdim=True) if is_torch(lib) else lib.mean(x, axis=-1, keepdims=True)


def total(lib, x):
    return x.sum(-1, keepdim=True) if is_torch(lib) else lib.sum(x, axis=-1, keepdims=True)


def highest(lib, x):
    return x.amax(-1, keepdim=True) if is_torch(lib) else lib.max(x, axis=-1, keepdims=True)


CASES = {
    "gelu (erf) 2^24": (gelu, [(N,)]),
    "10 operations 2^24": (chain, [(N,)]),
    "norm 2^24": (norm, [(N,)]),
    "layer norm 2^14 x 2^10": (layer_norm, [(ROWS, COLUMNS), (COLUMNS,), (COLUMNS,)]),
    "rms norm 2^14 x 2^10": (rms_norm, [(ROWS, COLUMNS), (COLUMNS,), (COLUMNS,)]),
    "softmax 2^14 x 2^10": (softmax, [(ROWS, COLUMNS), (COLUMNS,), (COLUMNS,)]),
    "gelu (erf) bfloat16 2^24": (gelu, [(N,)]),
}


def make_case_for(library: str):
    def torch_case(name):
        import torch

        torch.set_grad_enabled(False)
        function, shapes = CASES[name]
        dtype = torch.bfloat16 if "bfloat16" in name else torch.float32
        inputs = [torch.rand(shape).to(dtype) for shape in shapes]
        return [lambda: function(torch, *inputs)]

    def array_module_case(name):
        if library.startswith("mlx"):
            import mlx.core as mx

            mx.set_default_device(mx.cpu)
        else:
            import narrows.core as mx

            mx.set_fusion(library == "narrows")
        function, shapes = CASES[name]
        dtype = mx.bfloat16 if "bfloat16" in name else mx.float32
        inputs = [mx.random.uniform(shape=shape).astype(dtype) for shape in shapes]
        mx.eval(inputs)

        def run(*arrays):
            return function(mx, *arrays)

        compiled = mx.compile(run) if library == "mlx compiled" else run
        return [lambda: mx.eval(compiled(*inputs))]

    return torch_case if library == "torch" else array_module_case


def print_case(case: str, times: dict[str, float]) -> None:
    """Times, and how often narrows is as fast as each of the others."""
    cells = [f"{seconds * 1e3:9.1f} ms" for seconds in times.values()]
    ratios = [
        f"{seconds / times['narrows']:.1f} x {library}"
        for library, seconds in times.items()
        if library != "narrows"
    ]
    columns = "".join(f"{cell:>16}" for cell in cells)
    print(f"{case:<26}{columns}   {', '.join(ratios)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", nargs="*", default=["torch", "mlx"])
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        alternate.serve(make_case_for(options.serve))
        return
    libraries = ["unfused", *(p if p != "mlx" else "mlx compiled" for p in options.peers)]
    workers = alternate.start_workers(__file__, libraries, options.peer_python)
    print(f"{'case':<26}" + "".join(f"{w.library:>16}" for w in workers) + "   narrows is")
    for case in CASES:
        times = alternate.time_case(workers, case, options.rounds, at_least=0.3)
        print_case(case, times)
    for worker in workers:
        worker.close()


if __name__ == "__main__":
    main()
