"""Times on a GPU, with PyTorch beside them where it is installed.

    python benchmarks/gpu.py                    # everything
    python benchmarks/gpu.py --only cast,chain

Elementwise operations are held against a copy within the device's memory, the rest against PyTorch.
narrows and PyTorch take turns; times are medians, and each is of work that has ended.
"""

import argparse
import functools
import statistics
import subprocess
import sys
import time

import narrows.core as mx
import numpy
from cast import ORDERS, environment_of

try:
    import torch
except ImportError:
    torch = None

ROUNDS = 11
GROUP = 40  # evaluations between two readings of the clock


def seconds(functions: list, group: int = GROUP) -> list[float]:
    """The median time of each function, taking turns. A function starts `group` pieces of work
    and returns when they have ended."""
    times = [[] for _ in functions]
    for function in functions:
        function(2)
    for _ in range(ROUNDS):
        for function, found in zip(functions, times):
            start = time.perf_counter()
            function(group)
            found.append((time.perf_counter() - start) / group)
    return [statistics.median(found) for found in times]


def ours(make):
    """Evaluates what `make` records, `count` times without waiting in between."""

    def run(count):
        for _ in range(count):
            mx.async_eval(make())
        mx.synchronize()

    return run


def theirs(make):
    def run(count):
        for _ in range(count):
            make()
        torch.cuda.synchronize()

    return run


def row(name: str, figure: str, ratio: float | None = None, peer: str = "") -> None:
    print(f"{name:48} {figure:>20}" + (f" {ratio:7.3f} x {peer}" if ratio else ""), flush=True)


def beside_torch(name: str, figure, run, run_peer, group: int = GROUP) -> None:
    """One row: figure(seconds) of the first function, and what its speed is of the second's."""
    times = seconds([run] + ([run_peer] if torch else []), group)
    ratio = times[1] / times[0] if torch else None
    row(name, figure(times[0]), ratio, "PyTorch")


def rate(work: float, unit: str):
    return lambda seconds: f"{work / seconds:.4g} {unit}"


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us"


def short(dtype) -> str:
    return str(dtype).rpartition(".")[2]


def random(shape, dtype):
    x = mx.random.normal(shape).astype(dtype)
    mx.eval(x)
    return x


def to_torch(x):
    if not torch:
        return None
    wide = x.astype(mx.float32)
    return torch.from_dlpack(wide).clone().to("cuda", dtype=TORCH_DTYPES[x.dtype])


TORCH_DTYPES = (
    {mx.float32: torch.float32, mx.bfloat16: torch.bfloat16, mx.float16: torch.float16}
    if torch
    else {}
)


@functools.cache
def copy_rate(moved: int = 1 << 29) -> float:
    """Bytes per second of a copy that reads and writes as many bytes in all."""
    if not torch:
        x = random((moved // 8,), mx.float32)
        return moved / seconds([ours(lambda: mx.contiguous(x.reshape(2, -1).T))])[0]
    x = torch.empty(moved // 2, dtype=torch.uint8, device="cuda").random_()
    y = torch.empty_like(x)
    return moved / seconds([theirs(lambda: y.copy_(x))])[0]


def beside_copy(name: str, make, moved: int) -> None:
    """One row: our rate, and what it is of a copy's that moves as many bytes."""
    rate = moved / seconds([ours(make)])[0]
    row(name, f"{rate / 1e9:.0f} GB/s", rate / copy_rate(moved), "copy")


def elementwise(dtype) -> None:
    size = 1 << 26
    x, y = random((size,), dtype), random((size,), dtype)
    other = mx.bfloat16 if dtype == mx.float32 else mx.float32
    label = f"{short(dtype)} 2^26"
    beside_copy(f"add {label}", lambda: x + y, 3 * x.nbytes)
    beside_copy(f"multiply {label}", lambda: x * y, 3 * x.nbytes)
    beside_copy(f"exp {label}", lambda: mx.exp(x), 2 * x.nbytes)
    beside_copy(f"cast {label} to {short(other)}", lambda: x.astype(other), 6 * size)


def strided(dtype) -> None:
    x, y = random((256, 512, 512), dtype), random((256, 512, 512), dtype)
    one = random((512,), dtype)
    turned = y.transpose(0, 2, 1)
    label = f"{short(dtype)} 256x512x512"
    beside_copy(f"add row {label}", lambda: x + one, 2 * x.nbytes)
    beside_copy(f"add column {label}", lambda: x + one[:, None], 2 * x.nbytes)
    beside_copy(f"add transposed {label}", lambda: x + turned, 3 * x.nbytes)
    beside_copy(f"add slices {label}", lambda: x[:, :, 1:] + y[:, :, :-1], 3 * x.nbytes)


def rows(dtype) -> None:
    x = random((16384, 4096), dtype)
    peer = to_torch(x)
    size = x.nbytes / 1e9
    for name, make, make_peer, moved in [
        ("row sum", lambda: x.sum(1), lambda: peer.sum(1), size),
        ("column sum", lambda: x.sum(0), lambda: peer.sum(0), size),
        ("softmax", lambda: mx.softmax(x, -1), lambda: torch.softmax(peer, -1), 2 * size),
    ]:
        figure = rate(moved, "GB/s")
        beside_torch(f"{name} {short(dtype)}", figure, ours(make), theirs(make_peer))


def tf32_settings(dtype) -> tuple:
    """With TF32 and without, where that is a difference."""
    return (True, False) if dtype == mx.float32 else (True,)


def set_tf32(on: bool) -> None:
    mx.set_tf32(on)
    if torch:
        torch.backends.cuda.matmul.allow_tf32 = on
        torch.backends.cudnn.allow_tf32 = on


def named_tf32(dtype, tf32: bool) -> str:
    return ("TF32" if tf32 else "float32") if dtype == mx.float32 else short(dtype)


def matmul(dtype) -> None:
    work = 2 * 4096**3 / 1e12
    a, b = random((4096, 4096), dtype), random((4096, 4096), dtype)
    x, y = to_torch(a), to_torch(b)
    for tf32 in tf32_settings(dtype):
        set_tf32(tf32)
        name = f"matmul {named_tf32(dtype, tf32)} 4096"
        figure = rate(work, "TFLOP/s")
        beside_torch(name, figure, ours(lambda: a @ b), theirs(lambda: x @ y))


# Name: batch, size, channels, those of the result, filter, stride, groups.
CONVOLUTIONS = {
    "3 to 16, 32x32": (256, 32, 3, 16, 3, 1, 1),
    "16, 32x32": (256, 32, 16, 16, 3, 1, 1),
    "16 to 32, 32x32, strided": (256, 32, 16, 32, 3, 2, 1),
    "32, 16x16": (256, 16, 32, 32, 3, 1, 1),
    "64, 8x8": (256, 8, 64, 64, 3, 1, 1),
    "256 to 64, 28x28, points": (64, 28, 256, 64, 1, 1, 1),
    "depthwise 64, 56x56": (64, 56, 64, 64, 3, 1, 64),
}


def convolution(dtype) -> None:
    """Forward and both gradients. PyTorch's arrays are channels last, too."""
    for tf32 in tf32_settings(dtype):
        set_tf32(tf32)
        for name, sizes in CONVOLUTIONS.items():
            one_convolution(f"{named_tf32(dtype, tf32)} {name}", dtype, *sizes)


def one_convolution(name, dtype, batch, size, inputs, outputs, kernel, stride, groups) -> None:
    padding = kernel // 2
    x = random((batch, size, size, inputs), dtype)
    w = random((outputs, kernel, kernel, inputs // groups), dtype)

    def forward(x, w):
        return mx.conv2d(x, w, stride, padding, 1, groups)

    g = random(forward(x, w).shape, dtype)
    peers = [to_torch(a) for a in (x, w, g)]
    if torch:
        peers = [a.permute(0, 3, 1, 2) for a in peers]

    def peer_gradient(mask):
        px, pw, pg = peers
        return torch.ops.aten.convolution_backward(
            pg, px, pw, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, mask
        )

    for kind, make, make_peer in [
        (
            "forward",
            lambda: forward(x, w),
            lambda: torch.nn.functional.conv2d(*peers[:2], None, stride, padding, 1, groups),
        ),
        (
            "input gradient",
            lambda: mx.vjp(lambda x: forward(x, w), [x], [g])[1],
            lambda: peer_gradient([True, False, False]),
        ),
        (
            "weight gradient",
            lambda: mx.vjp(lambda w: forward(x, w), [w], [g])[1],
            lambda: peer_gradient([False, True, False]),
        ),
    ]:
        beside_torch(f"{kind} {name}", microseconds, ours(make), theirs(make_peer))


def attention(dtype) -> None:
    """Of 2 x 16 heads with 1024 queries and keys of 64 numbers."""
    q, k, v, g = (random((2, 16, 1024, 64), dtype) for _ in range(4))
    peers = [to_torch(a) for a in (q, k, v, g)]
    if torch:
        for peer in peers[:3]:
            peer.requires_grad_()
    for mask in (None, "causal"):

        def forward(q, k, v):
            return mx.fast.scaled_dot_product_attention(q, k, v, scale=0.125, mask=mask)

        def peer_forward():
            return torch.nn.functional.scaled_dot_product_attention(
                *peers[:3], is_causal=bool(mask)
            )

        for kind, make, make_peer in [
            ("forward", lambda: forward(q, k, v), peer_forward),
            (
                "with gradients",
                lambda: mx.vjp(forward, [q, k, v], [g])[1],
                lambda: torch.autograd.grad(peer_forward(), peers[:3], peers[3]),
            ),
        ]:
            name = f"attention {mask or 'full'} {kind} {short(dtype)}"
            beside_torch(name, microseconds, ours(make), theirs(make_peer), 8)


def chain(_) -> None:
    x, y = random((1024,), mx.float32), random((1024,), mx.float32)
    u, v = to_torch(x), to_torch(y)

    def run(a, b, sin):
        for _ in range(25):
            a = sin(a) + b
            a = sin(a * b)
        return a

    def one(count):
        for _ in range(count):
            mx.eval(run(x, y, mx.sin))

    def other(count):
        for _ in range(count):
            run(u, v, torch.sin)
            torch.cuda.synchronize()

    beside_torch("chain of 100 operations, 1024 elements", microseconds, one, other)


def independent(_) -> None:
    """Small work that needs nothing of each other, and fills no device by itself."""
    products = [(random((256, 256), mx.float32), random((256, 256), mx.float32)) for _ in range(64)]
    arrays = [random((128, 1024), mx.float32) for _ in range(64)]
    peers = [(to_torch(a), to_torch(b)) for a, b in products] if torch else []
    other = [to_torch(a) for a in arrays]
    for name, make, make_peer in [
        (
            "64 products 256x256x256",
            lambda: [a @ b for a, b in products],
            lambda: [a @ b for a, b in peers],
        ),
        (
            "64 row sums 128x1024",
            lambda: [a.sum(1) for a in arrays],
            lambda: [a.sum(1) for a in other],
        ),
    ]:
        beside_torch(f"{name} float32", microseconds, ours(make), theirs(make_peer), 8)


def cast(_) -> None:
    """As benchmarks/cast.py, for each order in a process of its own."""
    for order in ORDERS:
        command = [sys.executable, __file__, "--cast-once"]
        done = subprocess.run(
            command, env=environment_of(order), capture_output=True, text=True, check=True
        )
        row(f"1000 casts, order {order}", done.stdout.strip())


def cast_once() -> None:
    def run():
        arrays = [mx.zeros((4096, 128), mx.int64).astype(mx.int8) for _ in range(1000)]
        mx.eval(arrays)

    times = []
    for _ in range(8):
        mx.reset_peak_memory()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    print(
        f"{statistics.median(times[1:]) * 1e3:.1f} ms (first {times[0] * 1e3:.0f}), "
        f"{mx.get_peak_memory() / 1e6:.1f} MB"
    )


def transfers(_) -> None:
    """Between NumPy's memory, which is not page-locked, and the device's."""
    host = numpy.ones(1 << 26, numpy.float32)
    size = host.nbytes / 1e9

    def up(count):
        for _ in range(count):
            mx.eval(mx.abs(mx.array(host)))

    def down(count):
        for _ in range(count):
            numpy.asarray(mx.abs(x))

    x = mx.array(host)
    mx.eval(mx.abs(x))
    peer = torch.from_numpy(host).cuda() if torch else None
    for name, run, run_peer in [
        ("NumPy to the device", up, lambda: torch.from_numpy(host).cuda()),
        ("the device to NumPy", down, lambda: peer.cpu().numpy()),
    ]:
        beside_torch(f"{name}, 256 MB", rate(size, "GB/s"), run, theirs(run_peer), 2)


FLOATS = (mx.float32, mx.bfloat16)
PARTS = {
    "cast": (cast, [None]),
    "elementwise": (elementwise, FLOATS),
    "strided": (strided, FLOATS),
    "rows": (rows, FLOATS),
    "matmul": (matmul, (mx.float32, mx.float16, mx.bfloat16)),
    "convolution": (convolution, (mx.float32, mx.float16, mx.bfloat16)),
    "attention": (attention, FLOATS),
    "chain": (chain, [None]),
    "independent": (independent, [None]),
    "transfers": (transfers, [None]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--cast-once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not mx.is_available(mx.gpu):
        raise SystemExit("There is no GPU.")
    mx.set_default_device(mx.gpu)
    if options.cast_once:
        cast_once()
        return
    row("copy within the device", f"{copy_rate() / 1e9:.0f} GB/s")
    for part in options.only.split(","):
        run, dtypes = PARTS[part]
        for dtype in dtypes:
            run(dtype)


if __name__ == "__main__":
    main()
