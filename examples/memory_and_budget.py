"""Where the memory of a training step goes, before it runs, and how it is kept within a budget.

    python examples/memory_and_budget.py
    python examples/memory_and_budget.py --page build/step.html

The program plans a step, says what fills memory at the peak, and which line made it. Then it sets
a limit below that peak: the step fails, and nothing is lost. It makes the step fit: activations
are computed twice (mx.checkpoint), and the batch is split. Then it lets the planner make it fit.
"""

import argparse
from collections.abc import Callable

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
from narrows.nn.utils import checkpoint
from narrows.utils import tree_map

MB = 1e6


class Block(nn.Module):
    def __init__(self, dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dims)
        self.up, self.down = nn.Linear(dims, 4 * dims), nn.Linear(4 * dims, dims)

    def __call__(self, x: mx.array) -> mx.array:
        return x + self.down(nn.gelu(self.up(self.norm(x))))


class Model(nn.Module):
    def __init__(self, dims: int, layers: int, keep: bool) -> None:
        super().__init__()
        self.blocks = [Block(dims) for _ in range(layers)]
        # An underscore: not a part of the state.
        self._calls = [block if keep else checkpoint(block) for block in self.blocks]

    def __call__(self, x: mx.array) -> mx.array:
        for call in self._calls:
            x = call(x)
        return x


class Training:
    """A model with its optimizer, and the step that is to fit."""

    def __init__(self, options, keep: bool, parts: int) -> None:
        mx.random.seed(0)
        self.model = Model(options.dims, options.layers, keep)
        self.optimizer = optim.Adam(learning_rate=1e-3)
        self.optimizer.init(self.model.trainable_parameters())
        self.x = mx.random.normal((options.batch, options.dims))
        self.target = mx.tanh(mx.roll(self.x, 1, axis=1))
        self.parts = parts
        mx.eval(self.model, self.optimizer.state, self.x, self.target)

    def loss(self, x: mx.array, target: mx.array) -> mx.array:
        return mx.mean(mx.square(self.model(x) - target))

    def step(self, evaluate: Callable) -> mx.array:
        """One step; `evaluate` is called with what is to be computed at a time."""
        loss_and_gradients = nn.value_and_grad(self.model, self.loss)
        pairs = zip(mx.split(self.x, self.parts), mx.split(self.target, self.parts))
        total, gradients = None, None
        for x, target in pairs:
            value, found = loss_and_gradients(x, target)
            if gradients is None:
                total, gradients = value, found
            else:
                total, gradients = total + value, tree_map(mx.add, gradients, found)
            del found
            if self.parts > 1:
                evaluate(total, gradients)
        if self.parts > 1:
            gradients = tree_map(lambda g: g / self.parts, gradients)
        self.optimizer.update(self.model, gradients)
        del gradients  # or they would live until the step has run
        evaluate(total, self.model, self.optimizer.state)
        return total / self.parts

    def planned_peak(self) -> int:
        """The highest of the peaks of the step's plans; the step runs, too."""
        peaks = []

        def evaluate(*outputs) -> None:
            peaks.append(mx.plan(*outputs).predicted_peak)
            mx.eval(*outputs)

        self.step(evaluate)
        return max(peaks)


def show_plan(training: Training, page: str | None) -> int:
    """Prints what is alive at the peak of the step, with the lines that made it."""
    plans = []
    with_origin = mx.set_trace_origin(True)
    training.step(lambda *outputs: plans.append(mx.plan(*outputs)))
    mx.set_trace_origin(bool(with_origin))
    plan = plans[-1]
    print(f"{len(plan.steps)} steps, peak {plan.predicted_peak / MB:.1f} MB. Alive at the peak:")
    for line in str(plan).partition("alive")[2].splitlines()[1:6]:
        print("  " + line.strip())
    if page:
        plan.to_html(page)
        print(f"  all of it: {page}")
    return plan.predicted_peak


def measured_peak(training: Training) -> str:
    """Runs a step."""
    mx.reset_peak_memory()
    predicted = training.planned_peak()
    return f"peak {mx.get_peak_memory() / MB:.1f} MB, predicted {predicted / MB:.1f} MB"


def under_limit(options, keep: bool, parts: int) -> str:
    """What becomes of a step under the limit that is set."""
    what = "everything is kept" if keep else "activations are computed twice"
    what += f", {parts} parts" if parts > 1 else ""
    training = Training(options, keep, parts)
    try:
        return f"{what}: {measured_peak(training)}"
    except MemoryError as error:
        return f"{what}: {str(error).partition(':')[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--page", help="writes the plan's page for the browser")
    options = parser.parse_args()

    training = Training(options, keep=True, parts=1)
    state = mx.get_active_memory()
    peak = show_plan(training, options.page)
    del training
    print(f"model, optimizer and batch take {state / MB:.1f} MB of it")

    limit = state + (peak - state) // 4
    print(f"a limit of {limit / MB:.1f} MB:")
    previous = mx.set_memory_limit(limit, strict=True)
    budget = mx.set_memory_budget(0, recompute=False)
    for keep, parts in ((True, 1), (False, 1), (False, 4)):
        print(f"  {under_limit(options, keep, parts)}")
    mx.set_memory_budget(budget)
    training = Training(options, keep=True, parts=1)
    print(f"  the planner chooses what is computed twice: {measured_peak(training)}")
    mx.set_memory_limit(previous)


if __name__ == "__main__":
    main()
