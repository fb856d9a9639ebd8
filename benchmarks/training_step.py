"""An uncompiled training step beside the compiled one: a multilayer perceptron and a transformer
with AdamW. Prints the medians of the rounds, and what recording and planning take of a step.

python benchmarks/training_step.py
python benchmarks/training_step.py --rounds 40 --width 256
"""

import argparse
import statistics
import time

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim


def perceptron(width):
    model = nn.Sequential(
        *[layer for _ in range(12) for layer in (nn.Linear(width, width), nn.relu)]
    )
    x = mx.random.normal((64, width))
    return model, lambda: mx.mean(mx.square(model(x) - x))


def transformer(width):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(256, width)
            self.layers = [nn.TransformerEncoderLayer(width, 4) for _ in range(4)]
            self.out = nn.Linear(width, 256)

        def __call__(self, tokens):
            x = self.embedding(tokens)
            for layer in self.layers:
                x = layer(x, None)
            return self.out(x)

    model = Model()
    tokens = mx.random.randint(0, 256, (4, 64))
    return model, lambda: nn.losses.cross_entropy(model(tokens), tokens, reduction="mean")


PARTS = ("recorded", "evaluated", "compiled")


class Step:
    """A training step that can be timed by its parts."""

    def __init__(self, make, width, compiled):
        mx.random.seed(0)
        model, loss = make(width)
        optimizer = optim.AdamW(1e-3)
        optimizer.init(model.trainable_parameters())
        self.state = [model.state, optimizer.state]
        mx.eval(self.state)
        value_and_grad = nn.value_and_grad(model, loss)

        def step():
            value, gradients = value_and_grad()
            optimizer.update(model, gradients)
            return value

        self.step = mx.compile(step, inputs=self.state, outputs=self.state) if compiled else step

    def run(self):
        """Seconds to record and to evaluate it."""
        start = time.perf_counter()
        value = self.step()
        recorded = time.perf_counter()
        mx.eval(value, self.state)
        return recorded - start, time.perf_counter() - recorded

    def plan(self):
        """Seconds to plan it as evaluation does, and how many nodes that are."""
        value = self.step()
        nodes = mx.get_pending_nodes()
        start = time.perf_counter()
        mx.plan(value, self.state)
        seconds = time.perf_counter() - start
        mx.eval(value, self.state)
        return seconds, nodes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    for make in (perceptron, transformer):
        plain, compiled = (Step(make, options.width, compiled) for compiled in (False, True))
        for step in (plain, compiled):
            for _ in range(3):
                step.run()
        times = {name: [] for name in (*PARTS, "ratio")}
        for _ in range(options.rounds):
            recorded, evaluated = plain.run()
            other = sum(compiled.run())
            times["recorded"].append(recorded)
            times["evaluated"].append(evaluated)
            times["compiled"].append(other)
            times["ratio"].append((recorded + evaluated) / other)
        middle = {name: statistics.median(values) for name, values in times.items()}
        _, nodes = plain.plan()
        low, high = statistics.quantiles(times["ratio"], n=4)[::2]
        parts = ", ".join(f"{name} {1e3 * middle[name]:.2f} ms" for name in PARTS)
        print(
            f"{make.__name__}, {nodes} nodes: {parts}; "
            f"ratio {middle['ratio']:.3f} (quartiles {low:.3f} to {high:.3f})"
        )


if __name__ == "__main__":
    main()
