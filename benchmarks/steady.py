"""Memory and time over 10,000 training steps and 10,000 generated tokens, in small shapes.

    python benchmarks/steady.py
    python benchmarks/steady.py --count 2000 --parts 5

Each line is a tenth: the median time of a step, bytes in use and in the cache afterwards, the peak,
and the memory of the process. Bytes that grow are an error. Tokens come in texts of 500 (or of a
part, if that is shorter), for each of which a cache of keys and values is made: within a text
attention takes longer with each token.
"""

import argparse
import gc
import resource
import statistics
import sys
import time
from pathlib import Path

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
from narrows.bench.workloads import llama
from narrows.bench.workloads.base import Library

TEXT = 500
# Bytes by which a process may grow: pages that Python or the C library touch late.
GROWTH = 2_000_000


def resident_bytes() -> int:
    """Of this process, now; the most that it was where the system does not say."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def training(compiled: bool):
    """Steps of a small transformer with AdamW and a schedule, on batches that change."""
    mx.random.seed(0)
    model = nn.Sequential(
        nn.Embedding(64, 32), *nn.TransformerEncoder(2, 32, 2, norm_first=True).layers
    )
    blocks, head = model.layers[1:], nn.Linear(32, 64)
    model.layers.append(head)
    optimizer = optim.AdamW(optim.cosine_decay(1e-3, 10_000))
    mask = nn.MultiHeadAttention.create_additive_causal_mask(16)

    def loss(model, tokens):
        x = model.layers[0](tokens[:, :-1])
        for block in blocks:
            x = block(x, mask)
        return nn.losses.cross_entropy(head(x), tokens[:, 1:], reduction="mean")

    def step(tokens):
        value, gradients = nn.value_and_grad(model, loss)(model, tokens)
        optimizer.update(model, gradients)
        return value

    state = [model.state, optimizer.state]
    optimizer.init(model.trainable_parameters())
    mx.eval(model.parameters())
    run = mx.compile(step, inputs=state, outputs=state) if compiled else step
    while True:
        value = run(mx.random.randint(0, 64, (4, 17)))
        mx.eval(value, state)
        yield value.item()


def generation(text: int):
    """Tokens of a small Llama in 4 bits, each recorded while the one before is computed."""
    config = llama.Config(
        num_hidden_layers=2,
        hidden_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        vocab_size=96,
    )
    library = Library("narrows", mx.default_device().type.name)
    mx.random.seed(0)
    model = llama.make_model(library, config)
    nn.quantize(model, group_size=64, bits=4)
    mx.eval(model.parameters())

    def next_token(tokens, caches):
        logits = model(tokens, caches)[:, -1]
        return mx.random.categorical(logits)[:, None]

    while True:
        caches = [llama.Cache(text + 16) for _ in range(config.num_hidden_layers)]
        token = next_token(mx.random.randint(0, 96, (1, 8)), caches)
        mx.async_eval(token)
        for _ in range(text):
            following = next_token(token, caches)
            mx.async_eval(following)
            yield token.item()
            token = following


def measure(name: str, steps, count: int, parts: int) -> bool:
    """Prints the parts; says whether bytes in use, the peak and the process stayed flat."""
    length = count // parts
    titles = f"{'steps':>8} {'ms':>8} {'active':>10} {'peak':>10} {'cache':>10} {'process MB':>11}"
    print(f"{name}\n{titles}")
    for _ in range(min(TEXT, length)):
        next(steps)
    counted, medians, processes = [], [], []
    for part in range(parts):
        mx.reset_peak_memory()
        times = []
        for _ in range(length):
            start = time.perf_counter()
            next(steps)
            times.append(time.perf_counter() - start)
        gc.collect()
        mx.synchronize()
        active, peak, cache = mx.get_active_memory(), mx.get_peak_memory(), mx.get_cache_memory()
        medians.append(1e3 * statistics.median(times))
        counted.append((active, peak))
        processes.append(resident_bytes())
        print(
            f"{(part + 1) * length:8} {medians[-1]:8.3f} {active:10} {peak:10} {cache:10} "
            f"{processes[-1] / 1e6:11.1f}",
            flush=True,
        )
    print(f"time of the last tenth / the first: {medians[-1] / medians[0]:.2f}\n")
    grown = processes[-1] - processes[0]
    return all(last <= first for last, first in zip(counted[-1], counted[0])) and grown < GROWTH


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--parts", type=int, default=10)
    options = parser.parse_args()
    cases = {
        "training steps": lambda: training(compiled=False),
        "compiled training steps": lambda: training(compiled=True),
        "generated tokens": lambda: generation(min(TEXT, options.count // options.parts)),
    }
    flat = [measure(name, make(), options.count, options.parts) for name, make in cases.items()]
    return 0 if all(flat) else 1


if __name__ == "__main__":
    sys.exit(main())
