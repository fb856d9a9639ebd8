"""A function with rules of its own: how it is differentiated, forwards and backwards, and batched.

    python examples/custom_function.py

Rounding has a gradient of zero everywhere, so weights that are rounded to a few levels cannot be
trained. The function below rounds, and hands gradients on as if it did not. The program fits
weights of 3 bits with it, and without it, and checks its rules.
"""

import argparse

import narrows.core as mx


@mx.custom_function
def rounded(x: mx.array, step: mx.array) -> mx.array:
    """`x` rounded to multiples of `step`."""
    return mx.round(x / step) * step


@rounded.vjp
def rounded_vjp(primals, cotangent, output):
    """Backwards: `x` gets the gradient whole; a wider step moves the result by what is rounded."""
    x, step = primals
    return cotangent, mx.sum(cotangent * (output - x) / step).reshape(step.shape)


@rounded.jvp
def rounded_jvp(primals, tangents):
    """Forwards: the same derivative."""
    x, step = primals
    dx, dstep = tangents
    return dx + dstep * (mx.round(x / step) * step - x) / step


@rounded.vmap
def rounded_vmap(inputs, axes):
    """Batched: elements are independent, so the whole batch is rounded at once."""
    (x, step), (x_axis, step_axis) = inputs, axes
    if x_axis is not None:
        x = mx.moveaxis(x, x_axis, 0)
    if step_axis is not None:
        step = mx.moveaxis(step, step_axis, 0)
        step = step.reshape(step.shape + (1,) * (x.ndim - 1))
    return mx.round(x / step) * step, 0


def levels(w: mx.array, step: mx.array, function) -> mx.array:
    """Weights of 3 bits: multiples of the step from -4 to 3."""
    return function(mx.clip(w, -4 * step, 3 * step), step)


def fit(x: mx.array, y: mx.array, function, steps: int) -> float:
    """Fits weights that are rounded by a function, and gives the mean squared error."""
    step = mx.array(0.25)
    w = mx.zeros((x.shape[1],))

    def loss(w: mx.array) -> mx.array:
        return mx.mean(mx.square(x @ levels(w, step, function) - y))

    gradient = mx.compile(mx.grad(loss))
    for _ in range(steps):
        w = w - 0.05 * gradient(w)
        mx.eval(w)
    return loss(w).item()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--weights", type=int, default=32)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()

    mx.random.seed(0)
    x = mx.random.normal((options.rows, options.weights))
    y = x @ mx.random.uniform(-0.9, 0.7, (options.weights,))

    def plain(x: mx.array, step: mx.array) -> mx.array:
        return mx.round(x / step) * step

    print(f"rounded by mx.round: error {fit(x, y, plain, options.steps):.4f}")
    print(f"with rules of its own: error {fit(x, y, rounded, options.steps):.4f}")

    w, step = mx.random.normal((4,)), mx.array(0.5)
    (_,), (dw, dstep) = mx.vjp(lambda w, s: rounded(w, s), [w, step], [mx.ones(4)])
    _, (forwards,) = mx.jvp(lambda w, s: rounded(w, s), [w, step], [mx.ones(4), mx.array(1.0)])
    agree = mx.allclose(forwards.sum(), dw.sum() + dstep).item()
    print(f"forwards and backwards agree: {agree}")

    batch = mx.random.normal((5, 4))
    one_by_one = mx.stack([rounded(row, step) for row in batch])
    batched = mx.vmap(rounded, in_axes=(0, None))(batch, step)
    print(f"batched and one by one agree: {mx.array_equal(batched, one_by_one).item()}")


if __name__ == "__main__":
    main()
