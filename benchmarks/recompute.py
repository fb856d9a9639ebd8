"""Training steps within a part of the memory that they take: peak, extra time, planning.

    python benchmarks/recompute.py
    python benchmarks/recompute.py --workloads transformer --rounds 9 --percent 75 50
    NARROWS_NUM_THREADS=1 python benchmarks/recompute.py --thread-time   # on a machine in use

Budgets are shares of the peak of the memory order. For each: the peak, predicted and measured; the
extra time that the plan predicts, and that measured (medians over rounds in which the budgets take
turns, and of the lowest times); and what planning takes, once: what the first evaluation takes
longer than later ones, whose plans are known.

    python benchmarks/recompute.py --largest-batch 2000000000

prints the largest batches of the transformer whose step is planned within so many bytes, by orders
alone and with steps that run again. Nothing is evaluated.
"""

import argparse
import statistics
import time

import narrows.core as mx
from narrows.bench.workloads.base import Library, Options, Run
from workloads import WORKLOADS, mlp, transformer


def resnet():
    """Records training steps of the bench's ResNet-20."""
    from narrows.bench.workloads.resnet import ResNet

    workload = ResNet(Library("narrows", "cpu"), Options())

    def record():
        batch = workload.next_batch(Run(mx))
        value, gradients = workload.loss_and_gradients(workload.model, *batch)
        workload.optimizer.update(workload.model, gradients)
        return [value, workload.model.state, workload.optimizer.state]

    return record


def recorder(name: str):
    if name == "resnet":
        return resnet()
    return mlp(mx, 1, batch=4096) if name == "mlp" else WORKLOADS[name](mx, 1)


def measure(name: str, percents: list[int], rounds: int, clock) -> None:
    def evaluate(outputs, budget: int) -> float:
        start = clock()
        mx.eval(outputs, budget=budget)
        return clock() - start

    record = recorder(name)
    evaluate(record(), 0)
    outputs = record()
    plan = mx.plan(outputs)
    peak, nodes = plan.predicted_peak, len(plan)
    least = mx.minimum_budget(outputs)
    del outputs
    budgets = {100: 0} | {p: peak * p // 100 for p in percents}
    plans, first, peaks = {}, {}, {}
    for percent, budget in budgets.items():
        outputs = record()
        first[percent] = evaluate(outputs, budget)
        del outputs
        outputs = record()
        with mx.memory_budget(budget):
            plans[percent] = mx.plan(outputs)
        evaluate(outputs, 0)
        del outputs
    times = {percent: [] for percent in budgets}
    for _ in range(rounds):
        for percent, budget in budgets.items():
            outputs = record()
            mx.reset_peak_memory()
            times[percent].append(evaluate(outputs, budget))
            peaks[percent] = mx.get_peak_memory()
            del outputs
    medians = {percent: statistics.median(found) for percent, found in times.items()}
    print(f"\n{name}: {nodes} steps, peak {peak / 1e6:.1f} MB, least {100 * least / peak:.0f} %")
    print(
        "budget %  predicted  measured  kept  again  extra %: predicted measured (lowest)  us/step"
    )
    for percent in budgets:
        plan = plans[percent]
        extra = 100 * (medians[percent] / medians[100] - 1)
        lowest = 100 * (min(times[percent]) / min(times[100]) - 1)
        planning = 1e6 * (first[percent] - medians[percent]) / nodes
        print(
            f"{percent:8}  {100 * plan.predicted_peak / peak:9.1f}  "
            f"{100 * peaks[percent] / peak:8.1f}  {'yes' if not plan.over_budget else 'no':>4}  "
            f"{plan.repeated_steps:5}  {100 * plan.extra_time:18.1f} {extra:8.1f} ({lowest:6.1f})  "
            f"{planning:7.1f}"
        )


def largest_batch(budget: int, recompute: bool) -> tuple[int, float]:
    """The batch, and the extra time of its step."""

    def plan_of(batch):
        outputs = transformer(mx, 1, batch=batch)()
        with mx.memory_budget(budget, recompute=recompute):
            return mx.plan(outputs)

    fits, fails, extra = 0, 1, 0.0
    is_bounded = False
    while not is_bounded or fails - fits > max(1, fits // 64):
        tried = (fits + fails) // 2 if is_bounded else fails
        plan = plan_of(tried)
        if plan.over_budget:
            fails, is_bounded = tried, True
        else:
            fits, extra = tried, plan.extra_time
            fails = fails if is_bounded else 2 * tried
    return fits, extra


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ["transformer", "flash", "resnet", "mlp", "lstm"]
    parser.add_argument("--workloads", nargs="+", default=names, choices=names)
    parser.add_argument("--percent", nargs="+", type=int, default=[90, 75, 60, 50, 40, 30])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--thread-time", action="store_true", help="processor time of the thread that evaluates"
    )
    parser.add_argument("--largest-batch", type=int, metavar="BYTES")
    options = parser.parse_args()
    clock = time.thread_time if options.thread_time else time.perf_counter
    mx.set_default_device(mx.cpu)
    mx.set_order_policy("memory")
    if options.largest_batch is not None:
        for recompute in [False, True]:
            batch, extra = largest_batch(options.largest_batch, recompute)
            how = "with" if recompute else "without"
            print(f"{how} repeats: batch {batch}, {100 * extra:.1f} % more time")
        return
    for name in options.workloads:
        measure(name, options.percent, options.rounds, clock)


if __name__ == "__main__":
    main()
