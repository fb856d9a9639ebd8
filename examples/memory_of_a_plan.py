"""Where the memory of a computation goes, before it runs: the plan's steps, peak and graph.

python examples/memory_of_a_plan.py
"""

import narrows.core as mx


def main() -> None:
    x = mx.random.normal((512, 256))
    w = mx.random.normal((256, 128))
    mx.eval(x, w)
    scores = mx.softmax(x @ w, axis=-1)
    entropy = -mx.sum(scores * mx.log(scores), axis=-1)

    plan = mx.plan(entropy)
    print(plan)

    mx.reset_peak_memory()
    mx.eval(entropy)
    print(f"predicted peak {plan.predicted_peak} bytes, measured {mx.get_peak_memory()}")


if __name__ == "__main__":
    main()
