"""The transformer of recompute.py in PyTorch: what it keeps for the way back, and times of a step.

    path/to/python benchmarks/recompute_torch.py

Eager, with a checkpoint for each layer, and compiled under `activation_memory_budget`. Bytes are
those that autograd saves for the way back, without parameters. Times are the processor's, of one
thread: medians of some rounds.
"""

import argparse
import statistics
import time

import torch
import torch._functorch.config
from torch.utils.checkpoint import checkpoint

WIDTH, HEADS, LENGTH, LAYERS = 128, 4, 128, 12


def normalized(x, gain):
    centered = x - x.mean(-1, keepdim=True)
    variance = (centered * centered).mean(-1, keepdim=True)
    return centered * torch.rsqrt(variance + 1e-5) * gain


def layer(x, qkv, out, up, down, gain1, gain2):
    batch, per_head = x.shape[0], WIDTH // HEADS
    parts = (normalized(x, gain1) @ qkv).split(WIDTH, dim=-1)
    q, k, v = (p.reshape(batch, LENGTH, HEADS, per_head).transpose(1, 2) for p in parts)
    mixed = torch.softmax((q * per_head**-0.5) @ k.transpose(-1, -2), dim=-1) @ v
    x = x + mixed.transpose(1, 2).reshape(batch, LENGTH, WIDTH) @ out
    hidden = normalized(x, gain2) @ up
    return x + (hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))) @ down


def loss_of(apply, x, target, parameters):
    for i in range(LAYERS):
        x = apply(*[x, *parameters[6 * i : 6 * i + 6]])
    return (x - target).square().mean()


class Way:
    def __init__(self, name, loss, compiled_at=None):
        self.name, self.loss, self.compiled_at = name, loss, compiled_at
        self.times = []

    def step(self, data):
        for p in data[2]:
            p.grad = None
        start = time.thread_time()
        self.loss(*data).backward()
        return time.thread_time() - start

    def saved_bytes(self, data):
        kept = {p.untyped_storage().data_ptr() for p in data[2]}
        sizes = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in kept:
                sizes[storage.data_ptr()] = (storage.nbytes(), tensor)  # alive, so addresses differ
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = self.loss(*data)
        found = sum(size for size, _ in sizes.values())
        loss.backward()
        return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--percent", nargs="+", type=int, default=[100, 75, 50, 30, 0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shapes = [(128, 384), (128, 128), (128, 512), (512, 128), (128,), (128,)] * LAYERS
    parameters = [(torch.randn(s) / s[0]).requires_grad_() for s in shapes]
    data = (*torch.randn(2, options.batch, LENGTH, WIDTH).unbind(0), parameters)

    def checkpointed(*arguments):
        return checkpoint(layer, *arguments, use_reentrant=False)

    ways = [
        Way("eager", lambda *d: loss_of(layer, *d)),
        Way("eager, checkpoints", lambda *d: loss_of(checkpointed, *d)),
    ]
    for percent in options.percent:
        torch._dynamo.reset()
        torch._functorch.config.activation_memory_budget = percent / 100
        start = time.perf_counter()

        def fresh(*d):  # its own code object for each budget
            return loss_of(layer, *d)

        way = Way(f"compiled, {percent} %", torch.compile(fresh), percent)
        way.step(data)
        print(f"{way.name}: compiled in {time.perf_counter() - start:.0f} s", flush=True)
        ways.append(way)
        saved = way.saved_bytes(data)
        times = [way.step(data) for _ in range(options.rounds)]
        way.result = saved, statistics.median(times), min(times)
    for way in ways[:2]:
        way.step(data)
        times = [way.step(data) for _ in range(options.rounds)]
        way.result = way.saved_bytes(data), statistics.median(times), min(times)
    for way in ways:
        base = ways[0] if way.compiled_at is None else ways[2]
        saved, median, least = way.result
        print(
            f"{way.name:20} saved {saved / 1e6:7.1f} MB ({100 * saved / base.result[0]:5.1f} %)  "
            f"{1e3 * median:7.1f} ms ({100 * (median / base.result[1] - 1):+6.1f} %, "
            f"of the least {100 * (least / base.result[2] - 1):+6.1f} %)"
        )


if __name__ == "__main__":
    main()
