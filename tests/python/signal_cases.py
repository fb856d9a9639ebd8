"""Library calls to repeat while signals arrive; test_signals.py runs them in child processes.

A case is a row of CASES: a name and a function that makes a list of (label, compute) pairs. Each
compute() records an operation anew and returns an array.
"""

import signal
import sys

import narrows.core as mx
import numpy as np
from support import NUMPY, from_numpy, name_of, to_numpy

SIZES = {  # m, n, k
    "8": (8, 8, 8),
    "80": (80, 80, 80),
    "128": (128, 128, 128),
    "512": (512, 512, 512),
    "thin": (8, 900, 700),
    "narrow": (900, 8, 700),
    "row": (1, 900, 700),
    "column": (900, 1, 700),
    "long sum": (24, 40, 20000),
    "short sum": (900, 700, 16),
    "short sum, large output": (1100, 1000, 100),
}


def plain(x):
    return x


def transposed(x):
    return mx.contiguous(x.T).T


def strided(x):
    return mx.repeat(x, 2, axis=1)[:, ::2]


LAYOUTS = {
    "plain": (plain, plain),
    "a transposed": (transposed, plain),
    "b transposed": (plain, transposed),
    "both transposed": (transposed, transposed),
    "strided": (strided, strided),
}


def values(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    if dtype == mx.complex64:
        x = x + 1j * rng.normal(size=shape)
    return from_numpy(x.astype(NUMPY[dtype]), dtype)


def products(dtype):
    rows = []
    for size, (m, n, k) in SIZES.items():
        for layout, (change_a, change_b) in LAYOUTS.items():
            a = change_a(values((m, k), dtype, 1))
            b = change_b(values((k, n), dtype, 2))
            mx.eval(a, b)
            rows.append((f"{size}, {layout}", lambda a=a, b=b: a @ b))
    for count, m, n, k in [(40, 8, 9, 10), (12, 128, 64, 128), (2, 512, 512, 300)]:
        a, b = values((count, m, k), dtype, 3), values((count, k, n), dtype, 4)
        rows.append((f"batch of {count}", lambda a=a, b=b: a @ b))
    a, b, c = values((200, 300), dtype, 5), values((300, 250), dtype, 6), values((250,), dtype, 7)
    rows.append(("addmm", lambda: mx.addmm(c, a, b, 0.5, 2.0)))
    return rows


CONVOLUTIONS = {  # shapes of input and filters, stride, padding, dilation, groups
    "3x3": ((4, 20, 20, 32), (32, 3, 3, 32), 1, 1, 1, 1),
    "3x3 of 16": ((8, 32, 32, 16), (16, 3, 3, 16), 1, 1, 1, 1),
    "strided": ((4, 31, 30, 24), (40, 3, 3, 24), 2, 1, 1, 1),
    "first": ((2, 64, 64, 3), (64, 7, 7, 3), 2, 3, 1, 1),
    "dilated": ((2, 30, 30, 16), (16, 3, 3, 16), 1, 2, 2, 1),
    "points": ((4, 14, 14, 128), (64, 1, 1, 128), 1, 0, 1, 1),
    "points, strided": ((4, 14, 14, 64), (128, 1, 1, 64), 2, 0, 1, 1),
    "depthwise": ((4, 28, 28, 64), (64, 3, 3, 1), 1, 1, 1, 64),
    "groups": ((4, 14, 14, 64), (64, 3, 3, 16), 1, 1, 1, 4),
    "groups of odd channels": ((4, 14, 14, 28), (20, 3, 3, 7), 1, 1, 1, 4),
    "odd": ((3, 15, 17, 7), (5, 3, 3, 7), 1, 1, 1, 1),
    "volumes": ((1, 8, 9, 10, 16), (16, 3, 3, 3, 16), 1, 1, 1, 1),
}


def convolutions(dtype):
    rows = []
    for name, (x_shape, w_shape, *settings) in CONVOLUTIONS.items():
        x, w = values(x_shape, dtype, 1), values(w_shape, dtype, 2)
        function = mx.conv3d if x.ndim == 5 else mx.conv2d
        g = values(function(x, w, *settings).shape, dtype, 3)

        def forward(x=x, w=w, f=function, s=settings):
            return f(x, w, *s)

        def of_x(x=x, g=g, f=forward):
            return mx.vjp(f, [x], [g])[1][0]

        def of_w(w=w, g=g, f=forward):
            return mx.vjp(lambda w: f(w=w), [w], [g])[1][0]

        rows += [(f"{name}, {c.__name__}", c) for c in (forward, of_x, of_w)]
    return rows


FACTORS = {
    "inv": mx.linalg.inv,
    "cholesky": mx.linalg.cholesky,
    "det": mx.linalg.det,
    "lu": lambda a: mx.linalg.lu(a)[2],
    "qr": lambda a: mx.linalg.qr(a)[0],
    "svd": lambda a: mx.linalg.svd(a)[0],
    "singular values": lambda a: mx.linalg.svd(a, compute_uv=False),
    "eigh": lambda a: mx.linalg.eigh(a)[1],
    "eig": lambda a: mx.linalg.eig(a)[1],
    "solve_triangular": lambda a: mx.linalg.solve_triangular(a, a + 1),
}


def factors(dtype):
    rows = []
    for shape in [(8, 8), (80, 80), (150, 150), (12, 20, 20)]:
        a = values(shape, dtype, 8)
        a = a @ mx.conj(mx.swapaxes(a, -1, -2)) + shape[-1] * mx.eye(shape[-1]).astype(dtype)
        mx.eval(a)
        for label, function in FACTORS.items():
            rows.append((f"{label} of {shape}", lambda f=function, a=a: f(a)))
    return rows


CASES = {
    f"products of {name_of(dtype)}": lambda dtype=dtype: products(dtype)
    for dtype in (mx.float16, mx.bfloat16, mx.float32, mx.float64, mx.complex64)
} | {
    f"factors of {name_of(dtype)}": lambda dtype=dtype: factors(dtype)
    for dtype in (mx.float32, mx.float64, mx.complex64)
}

CASES |= {
    f"convolutions of {name_of(dtype)}": lambda dtype=dtype: convolutions(dtype)
    for dtype in (mx.float16, mx.bfloat16, mx.float32, mx.float64)
}

SIGNALS_FOR_EACH = 12


def run(name):
    """Computes each row without signals, then again and again while they arrive.

    The timer sends SIGALRM each millisecond; the test sends SIGINT from outside. A fault shows as
    wrong numbers, or as a crash of this process.
    """
    rows = [(label, compute, to_numpy(compute())) for label, compute in CASES[name]()]
    seen = 0

    def count(*_):
        nonlocal seen
        seen += 1

    signal.signal(signal.SIGALRM, count)
    signal.signal(signal.SIGINT, count)
    print("ready", flush=True)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for label, compute, expected in rows:
        enough = seen + SIGNALS_FOR_EACH
        while seen < enough:
            x = compute()
            mx.eval(x)
            assert to_numpy(x).tobytes() == expected.tobytes(), f"{name}: {label}"
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it may still come while Python ends


if __name__ == "__main__":
    run(sys.argv[1])
