"""The transformer workload in several processes, beside one process.

    python benchmarks/distributed_training.py                       # MPI, 2 processes
    python benchmarks/distributed_training.py --backend nccl --scale full
    python benchmarks/distributed_training.py --check               # results and peaks only

It starts itself in several processes. All of them have the same model and the same batch. They
train alone; with a part of the batch each, gradients averaged behind the backward pass, or beside
it; and with a part of each product. Then they decode greedily, alone and with a part of each.
For each way: steps a second, how far the last loss lies from that of one process, and the peak
of a step, predicted and measured. The last column is the speed beside one process.
"""

import argparse
import statistics
import sys
import time
from types import SimpleNamespace

from narrows import launch


class Training:
    """One way to train."""

    def __init__(self, sizes, group, rows, shares=False, stream=None):
        import narrows.core as mx
        import narrows.nn as nn
        import narrows.optimizers as optim
        from narrows.bench.workloads import transformer

        self.mx, self.nn, self.group, self.stream = mx, nn, group, stream
        mx.random.seed(0)
        library = SimpleNamespace(mx=mx, nn=nn, optimizers=optim)
        self.model = transformer.make_model(library, sizes)
        mx.eval(self.model.parameters())
        if shares:
            transformer.share_products(self.model, group.size())
        self.averages = rows is not None
        # The batch is that of the workload, but the same in all processes and larger.
        start = mx.random.randint(0, sizes.vocabulary, (sizes.batch, 1), key=mx.random.key(1))
        tokens = (start + 7 * mx.arange(sizes.length + 1)) % sizes.vocabulary
        tokens = tokens[rows] if self.averages else tokens
        self.batch = tokens[:, :-1] + 0, tokens[:, 1:] + 0
        mx.eval(self.batch)
        self.optimizer = optim.AdamW(1e-3)

        def loss(tokens, targets):
            return nn.losses.cross_entropy(self.model(tokens), targets, reduction="mean")

        self.loss_and_gradients = nn.value_and_grad(self.model, loss)
        self.peaks = 0, 0

    def step(self, measures_peak=False):
        mx = self.mx
        loss, gradients = self.loss_and_gradients(*self.batch)
        if self.averages:
            gradients = self.nn.average_gradients(
                gradients, group=self.group, communication_stream=self.stream
            )
            loss = mx.distributed.all_sum(loss, group=self.group) / self.group.size()
        self.optimizer.update(self.model, gradients)
        del gradients
        outputs = loss, self.model.parameters(), self.optimizer.state
        if measures_peak:
            plan = mx.plan(*outputs)
            predicted = plan.predicted_peaks.get(mx.default_device(), plan.predicted_peak)
            del plan
            mx.reset_peak_memory()
        if self.stream is None:
            mx.eval(*outputs)
        else:
            mx.async_eval(*outputs)
            mx.eval(*outputs)
        if measures_peak:
            self.peaks = predicted, mx.get_peak_memory()
        return loss.item()

    def decode(self, count):
        mx = self.mx
        tokens = self.batch[0][:1, :8]
        for _ in range(count):
            following = mx.argmax(self.model(tokens)[:, -1:], axis=-1)
            tokens = mx.concatenate([tokens, following], axis=1)
            mx.eval(tokens)
        return tokens.tolist()


def in_processes(options) -> None:
    import narrows.core as mx
    from narrows.bench.workloads import transformer

    group = mx.distributed.init(strict=True)
    if options.backend == "nccl":
        mx.set_default_device(mx.gpu)
    rank, size = group.rank(), group.size()
    full = options.scale == "full"
    sizes = transformer.FULL if full else transformer.SMALL
    sizes = transformer.Sizes(**{**vars(sizes), "batch": sizes.batch * size})
    part = slice(rank * sizes.batch // size, (rank + 1) * sizes.batch // size)
    ways = {
        "one process": Training(sizes, group, None),
        "parts of the batch": Training(sizes, group, part),
        "the same, overlapped": Training(
            sizes, group, part, stream=mx.new_stream(mx.default_device())
        ),
        "parts of products": Training(sizes, group, None, shares=True),
    }
    losses = {name: [way.step() for _ in range(options.steps)] for name, way in ways.items()}
    for way in ways.values():
        way.step(measures_peak=True)
    seconds = {name: [] for name in ways}
    for _ in range(0 if options.check else options.rounds):
        for name, way in ways.items():
            mx.eval(mx.distributed.all_sum(mx.array(1.0)))  # all begin together
            begin = time.perf_counter()
            for _ in range(options.steps):
                way.step()
            seconds[name].append((time.perf_counter() - begin) / options.steps)
    for turn in range(size):
        mx.eval(mx.distributed.all_sum(mx.array(1.0)))
        if turn == rank:
            report(rank, size, ways, losses, seconds)
    texts = [ways[name].decode(16) for name in ("one process", "parts of products")]
    same = sum(a == b for a, b in zip(texts[0][0], texts[1][0], strict=True))
    if rank == 0:
        print(f"decoding: {same} of {len(texts[0][0])} tokens are the same")


def report(rank, size, ways, losses, seconds) -> None:
    alone = statistics.median(seconds["one process"]) if seconds["one process"] else 0
    for name, way in ways.items():
        difference = abs(losses[name][-1] - losses["one process"][-1])
        predicted, measured = way.peaks
        line = f"rank {rank}  {name:22} loss {losses[name][-1]:.6f}, {difference:.1e} apart, "
        line += f"peak {predicted / 1e6:.1f} and {measured / 1e6:.1f} MB"
        if alone:
            middle = statistics.median(seconds[name])
            low, high = min(seconds[name]), max(seconds[name])
            line += f", {1 / middle:.2f} it/s ({1 / high:.2f} to {1 / low:.2f})"
            line += f", {alone / middle:.2f} x one process"
        print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=2)
    parser.add_argument("--backend", default="mpi")
    parser.add_argument("--scale", default="small", choices=["small", "full"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--inside", action="store_true", help="used by the program itself")
    options = parser.parse_args()
    if options.inside:
        in_processes(options)
        return 0
    own = [__file__, "--inside", *sys.argv[1:]]
    return launch.main(["-n", str(options.n), "--backend", options.backend, *own])


if __name__ == "__main__":
    sys.exit(main())
