"""Fusion changes nothing but time and memory: the same bits, never a higher peak."""

import os
import subprocess
import sys

import narrows.core as mx
import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("on_cpu")

FLOATS = [mx.float32, mx.float16, mx.bfloat16, mx.float64]
DTYPES = [*FLOATS, mx.int32, mx.int8, mx.uint16, mx.int64, mx.bool_, mx.complex64]


def bits(a):
    """The bytes of an array; of NaNs too."""
    if a.dtype == mx.bfloat16:
        a = a.view(mx.uint16)
    return np.array(a).tobytes()


def random_array(rng, shape, dtype):
    values = rng.standard_normal(shape) * 3
    if dtype == mx.complex64:
        values = values + 1j * rng.standard_normal(shape)
    elif dtype in FLOATS and rng.integers(4) == 0:
        values = np.where(rng.random(shape) < 0.1, rng.choice([np.nan, np.inf, -0.0]), values)
    with np.errstate(all="ignore"):
        if dtype == mx.bfloat16:
            a = mx.array(np.asarray(values, np.float32)).astype(mx.bfloat16)
        else:
            name = str(dtype).split(".")[-1].rstrip("_")
            a = mx.array(np.asarray(values).astype(name))
    mx.eval(a)
    return a


def check(make, fused_steps=None):
    """make() evaluated with and without fusion."""
    results = []
    for on in (True, False):
        with mx.fusion(on):
            outputs = make()
            outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
            plan = mx.plan(outputs)
            peak = plan.predicted_peak - plan.active_before
            if on and fused_steps is not None:
                assert len(plan) == fused_steps, str(plan)
            mx.eval(outputs)
            results.append((outputs, peak))
    (fused, fused_peak), (single, single_peak) = results
    assert fused_peak <= single_peak
    for a, b in zip(fused, single, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert bits(a) == bits(b)


LAYOUTS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: a.T,
    "sliced": lambda a: a[:, 3:-5],
    "reversed": lambda a: a[::-1, ::-2],
    "row": lambda a: a[:1],
    "column": lambda a: a[:, :1],
    "repeated": lambda a: mx.broadcast_to(a[0], a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(64, 100), (3, 5000), (5000, 3), (1, 64), (129, 2049)])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.int8])
def test_chains_over_layouts(shape, layout, dtype):
    rng = np.random.default_rng(1)
    a = LAYOUTS[layout](random_array(rng, shape, dtype))
    b = random_array(rng, a.shape[-1:], dtype)
    mx.eval(a)
    check(lambda: mx.maximum(a * b, a) + a, fused_steps=1 if a.size else None)
    check(lambda: mx.maximum(a * b, a) + mx.ones(a.shape, dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d))
@pytest.mark.parametrize("n", [0, 1, 5, 2047, 2048, 2049, 100_000])
def test_sizes_and_dtypes(n, dtype):
    rng = np.random.default_rng(2)
    a, b = random_array(rng, (n,), dtype), random_array(rng, (n,), dtype)
    check(lambda: mx.where(a == b, a, mx.square(a + b)))
    check(lambda: (a + b).astype(mx.float32) * 2.0)
    check(lambda: mx.sum(mx.square(a) + b))
    check(lambda: mx.square(a + a.reshape(1, n)))


def test_scalars():
    a = mx.array(3.0)
    check(lambda: mx.exp(a * 2.0) + 1.0, fused_steps=1)
    assert (mx.exp(a * 2.0) + 1.0).item() == pytest.approx(np.exp(6.0) + 1)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.float64, mx.int8])
@pytest.mark.parametrize("op", ["sum", "prod", "min", "max", "all", "any"])
@pytest.mark.parametrize(
    "shape", [(7, 33), (2000, 3), (3000, 257), (5, 20_000), (1000, 1000), (2, 300_001)]
)
def test_reductions_keep_their_order(shape, op, dtype):
    rng = np.random.default_rng(3)
    a = random_array(rng, shape, dtype)
    reduce = getattr(mx, op)
    scale = random_array(rng, (), dtype)
    check(lambda: reduce(a * scale + a, axis=-1), fused_steps=1)
    check(lambda: reduce(a * scale + a), fused_steps=1)
    check(lambda: reduce(a.T * scale, axis=0))
    check(lambda: reduce(a * scale, axis=0))


def test_reductions_over_several_axes():
    rng = np.random.default_rng(4)
    a = random_array(rng, (4, 5, 60, 70), mx.float32)
    b = random_array(rng, (70,), mx.float32)
    for axis in [(2, 3), (1, 2, 3), (3,), (1, 3), (0, 1), None]:
        for keepdims in (False, True):
            check(lambda: mx.sum(a * b, axis=axis, keepdims=keepdims))  # noqa: B023


def layer_norm(x, weight, bias, eps):
    centred = x - mx.mean(x, axis=-1, keepdims=True)
    variance = mx.mean(centred * centred, axis=-1, keepdims=True)
    return centred * mx.rsqrt(variance + eps) * weight + bias


def rms_norm(x, weight, eps):
    return x * mx.rsqrt(mx.mean(x * x, axis=-1)[..., None] + eps) * weight


def softmax(x):
    e = mx.exp(x - mx.max(x, axis=-1, keepdims=True))
    return e / mx.sum(e, axis=-1, keepdims=True)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: str(d))
@pytest.mark.parametrize(
    "shape", [(5, 7), (1000, 3), (64, 1024), (1, 4096), (3, 16_384), (2, 3, 40), (3, 20_000)]
)
def test_row_programs(shape, dtype):
    rng = np.random.default_rng(5)
    x = random_array(rng, shape, dtype)
    w, b = (random_array(rng, shape[-1:], dtype) for _ in range(2))
    short = shape[-1] <= 16_384
    eps = random_array(rng, (), dtype)
    check(lambda: layer_norm(x, w, b, eps), fused_steps=1 if short else None)
    check(lambda: rms_norm(x, w, eps), fused_steps=1 if short else None)
    check(lambda: softmax(x), fused_steps=1 if short else None)
    check(lambda: mx.var(x, axis=-1) + 1)
    check(lambda: mx.sqrt(mx.sum(x * x)) + mx.sum(x))


@pytest.mark.parametrize(("ndim", "n"), [(2, 3), (2, 40), (2, 300), (3, 3), (3, 40)])
def test_rows_are_not_overwritten_by_what_others_read(ndim, n):
    """An array of the result's shape that dies there, but whose elements all rows read."""
    rng = np.random.default_rng(8)
    rows = (n,) * (ndim - 1)
    z, scale = (random_array(rng, shape, mx.float32) for shape in ((n,) * ndim, rows))

    def dying():
        return random_array(np.random.default_rng(9), rows, mx.float32)

    check(lambda: scale * mx.sum(z * dying(), -1), fused_steps=1)
    check(lambda: scale * mx.sum(z * dying()[..., None], -1), fused_steps=1)
    check(lambda: (lambda a: a * mx.sum(z * a, -1))(dying()), fused_steps=1)
    check(lambda: (lambda a: mx.sqrt(mx.sum(z * (a[..., None] + a), -1)))(dying()), fused_steps=1)
    expected = np.array(scale) * np.sum(np.array(z) * np.array(dying()), -1)
    result = scale * mx.sum(z * dying(), -1)
    np.testing.assert_allclose(np.array(result), expected, rtol=1e-4, atol=1e-4)


def test_identity_masks():
    check(lambda: mx.eye(40, 50, 3))
    check(lambda: mx.tril(mx.ones((50, 40)), 2) * 2)
    check(lambda: (mx.arange(30)[:, None] * 2 + mx.arange(40)).astype(mx.float16))
    check(lambda: mx.arange(0, 1, 1e-5) * 3)


def test_held_intermediates_keep_their_values():
    x = random_array(np.random.default_rng(6), (1000,), mx.float32)
    kept = []

    def make():
        a = mx.exp(x)
        b = a * 2
        kept.append(a)
        return b + a

    check(make)
    assert bits(kept[0]) == bits(kept[1]) == bits(mx.exp(x))


def arrays_that_die(function, *shapes, dtype=mx.float32):
    """A function that calls another one with arrays of these shapes, which nobody else holds."""

    def make():
        rng = np.random.default_rng(10)
        return function(*(random_array(rng, shape, dtype) for shape in shapes))

    return make


def adam(p, m, v, g):
    m = m * 0.9 + g * 0.1
    v = v * 0.99 + mx.square(g) * 0.01
    return p - m / (mx.sqrt(v) + 1e-8) * 0.1, m, v


def chain_of_held(x, y):
    a = x * 2 + y
    b = mx.sin(a) + x
    c = a * b - y
    return a, b, c, mx.abs(c) + x


def standardized(x):
    centred = x - mx.mean(x, axis=-1, keepdims=True)
    deviation = mx.sqrt(mx.mean(mx.square(centred), axis=-1, keepdims=True))
    return centred, deviation, centred / deviation


def halves(x, y):
    wide = x.astype(mx.float32)
    return wide, wide * y.astype(mx.float32), x + y


STORED = {
    "adam": (adam, 4, 1),
    "chain": (chain_of_held, 2, 1),
    "standardized": (standardized, 1, 1),
    "row sums": (lambda x: (lambda e: (e, mx.sum(e, axis=-1)))(mx.exp(x) * 2), 1, 1),
    "read again": (lambda x, y: (lambda z: (z, mx.sum(z * x, axis=-1)))(x * y), 2, 1),
    "read by the sum": (lambda x: (lambda z: (z, mx.sum(x + z, axis=-1)))(x * 2), 1, 1),
    "total": (lambda x: (lambda z: (z, mx.sum(x * z)))(x * 2), 1, 1),
    "halves": (halves, 2, None),
}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (1, 5000), (700, 33), (3, 20_000), (2, 3, 40)])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: str(d))
def test_results_that_others_read_are_stored(name, shape, dtype):
    function, count, fused_steps = STORED[name]
    if (shape[-1] > 16_384 and name == "standardized") or 1 in shape:
        fused_steps = None
    check(arrays_that_die(function, *[shape] * count, dtype=dtype))
    rng = np.random.default_rng(13)
    inputs = [random_array(rng, shape, dtype) for _ in range(count)]
    check(lambda: function(*inputs), fused_steps)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_stored_results_lie_as_without_fusion(layout):
    rng = np.random.default_rng(11)
    a = LAYOUTS[layout](random_array(rng, (64, 100), mx.float32))
    mx.eval(a)
    strides = []

    def make():
        b = a * 2
        c = b + a
        mx.eval(c)
        strides.append([np.array(x, copy=False).strides for x in (b, c)])
        return b, c, b.T * 2, mx.sum(c, axis=-1)

    check(make)
    assert strides[0] == strides[1]


def test_stored_results_of_transformed_functions():
    rng = np.random.default_rng(12)
    x, w = (random_array(rng, shape, mx.float32) for shape in ((32, 48), (48, 48)))

    def loss(w):
        h = x @ w
        a = h * mx.sigmoid(h)
        b = layer_norm(a, w[0], w[1], 1e-5)
        return mx.mean(mx.square(b * mx.tanh(a)))

    check(lambda: mx.value_and_grad(loss)(w))
    check(lambda: mx.compile(mx.value_and_grad(loss))(w))
    check(lambda: mx.compile(chain_of_held)(x, x + 1))


def random_expression(seed):
    """A random graph over arrays that broadcast against each other; the same at each call."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.choice([1, 2, 7, 33, 400]), rng.choice([1, 3, 16, 65, 700, 3000])
    # Products of complex numbers depend, in their last bit, on where in a tile they are.
    all_dtypes = [dtype for dtype in DTYPES if dtype != mx.complex64]
    dtypes = [all_dtypes[i] for i in rng.integers(len(all_dtypes), size=2)]
    shapes = [(rows, columns), (rows, 1), (columns,), (1, columns), ()]
    inputs = [
        random_array(rng, shapes[rng.integers(len(shapes)) if i else 0], dtypes[rng.integers(2)])
        for i in range(rng.integers(1, 5))
    ]
    inputs = [a.T.reshape(a.shape) if rng.integers(6) == 0 else a for a in inputs]
    mx.eval(inputs)
    steps = rng.integers(2, 25)
    unary = list("exp abs negative square sin floor sign isnan sigmoid rint tanh".split())
    binary = "add subtract multiply maximum minimum less equal logical_and divide".split()
    choices = rng.integers(0, 1 << 30, size=(steps, 5))

    def make():
        values = list(inputs)
        for kind, i, j, k, pick in choices.tolist():
            a, b = (values[-1 - (n % min(len(values), 5))] for n in (i, j))
            c = values[k % len(values)]
            kind %= 12
            try:
                if kind < 4:
                    values.append(getattr(mx, unary[pick % len(unary)])(a))
                elif kind < 8:
                    values.append(getattr(mx, binary[pick % len(binary)])(a, b))
                elif kind == 8:
                    values.append(a.astype(all_dtypes[pick % len(all_dtypes)]))
                elif kind == 9:
                    values.append(mx.where(c, a, b))
                elif kind == 10 and a.ndim:
                    op = [mx.sum, mx.max, mx.min, mx.all][pick % 4]
                    axis = [-1, -1, -1, 0, None][pick % 5]
                    values.append(op(a, axis=axis, keepdims=bool(pick % 3)))
                elif kind == 11:
                    values.append(a[None] if pick % 2 else mx.full(a.shape, 2, a.dtype))
            except ValueError:  # shapes that do not broadcast, dtypes that the operation lacks
                continue
        kept = 2 + seed % 5
        return [values[-1]] + [values[n % len(values)] for n in choices[:kept, 4].tolist()]

    return make


SEEDS = int(os.environ.get("NARROWS_FUZZ_ROUNDS", "300"))


@pytest.mark.parametrize("block", range(10))
def test_random_expressions(block):
    for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
        with mx.bfs_max_width([1, 20, 1000][seed % 3]):
            check(random_expression(seed))


def test_transformed_functions():
    rng = np.random.default_rng(7)
    x, target = (random_array(rng, (64, 96), mx.float32) for _ in range(2))
    w, b = (random_array(rng, (96,), mx.float32) for _ in range(2))

    def loss(w, b):
        return mx.mean(mx.square(layer_norm(x, w, b, 1e-5) - target))

    def step(w, b):
        value, (dw, db) = mx.value_and_grad(loss, argnums=(0, 1))(w, b)
        return value, w - 0.1 * dw, b - 0.1 * db

    check(lambda: step(w, b))
    check(lambda: mx.compile(step)(w, b))
    check(lambda: mx.compile(lambda x: softmax(x) * 2)(x))
    check(lambda: mx.vmap(softmax)(x))


def test_settings():
    x = mx.ones((4,))

    def steps():
        return len(mx.plan(mx.exp(x * 2) + 1))

    mx.eval(x)
    before = mx.set_fusion(True)
    assert steps() == 1
    with mx.fusion(False):
        assert steps() == 3
        with mx.fusion(True):
            assert steps() == 1
    assert mx.set_fusion(False)
    assert steps() == 3
    mx.set_fusion(before)


def test_environment_switches_it_off():
    code = "import narrows.core as mx; print(mx.set_fusion(True))"
    for value, expected in [("0", "False"), ("1", "True")]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NARROWS_FUSION": value},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def test_plan_says_what_was_fused():
    x = mx.ones((4,))
    mx.eval(x)
    assert [s.op for s in mx.plan(mx.exp(x + 1) * 2).steps] == ["fused(add, exp, multiply)"]


def test_peak_is_the_predicted_one(memory):
    x = mx.ones((1 << 16,))
    mx.eval(x)
    y = mx.sum(mx.exp(x * 2.0) + mx.arange(1 << 16)) / mx.max(x)
    predicted = mx.plan(y).predicted_peak
    mx.reset_peak_memory()
    mx.eval(y)
    assert mx.get_peak_memory() == predicted


def test_deep_chains():
    x = y = mx.ones((4,))
    mx.eval(x)
    for _ in range(10_000):
        y = y + 1
    assert len(mx.plan(y)) < 1000
    assert y.tolist() == [10_001.0] * 4


def test_scalars_that_end_beside_inputs_that_are_computed():
    """Scalars that a program takes in are gone when the results of another evaluation come."""
    other = mx.new_stream(mx.cpu)
    large = mx.ones((1 << 18,))
    x = mx.ones((4,))
    mx.eval(large, x)
    for i in range(20):
        with mx.stream(other):
            computed = mx.exp(mx.sin(large))
        c = mx.array(2.0 + i)
        mx.eval(c)
        mx.async_eval(computed)
        result = mx.sin(x * c) * c + computed[:4]
        del c
        expected = np.sin(2.0 + i) * (2 + i) + np.exp(np.sin(1))
        np.testing.assert_allclose(np.array(result), [expected] * 4, rtol=1e-5)


VIEWS = """
import narrows.core as mx

def depends(a, b):
    return mx.depends([a, b], [a, b])

compiled = mx.compile(lambda a, b: (a + b, a - b))
one, two = mx.ones((4,)), mx.ones((4,)) * 2
one_by_one = lambda a, b: mx.depends([one, b], [a])
for step, times in [(depends, 60), (compiled, 60), (one_by_one, 30_000)]:
    a, b = one, two
    for _ in range(times):
        a, b = step(a, b)
    result = mx.exp(a * 0) + b * 0 + 1
    del a, b  # who holds a view keeps what it shows
    print(result.tolist())

# Each is read by a step of its own.
a = total = one
for _ in range(20_000):
    a = mx.depends([a], [one])[0]
    total = total + a * 2
del a
print(total[0].item())
"""


def test_views_of_views_are_looked_at_once():
    run = subprocess.run([sys.executable, "-c", VIEWS], timeout=100, capture_output=True, text=True)
    assert run.stdout.split("\n")[:4] == ["[2.0, 2.0, 2.0, 2.0]"] * 3 + ["40001.0"], run.stderr


@pytest.mark.parametrize("rows", [(1000,), (4, 250)])
def test_many_long_rows(rows):
    """More rows than a thread has accumulators for: some come after the others."""
    row = np.arange(16400) % 251 - 125
    a = mx.array(np.broadcast_to(row, (*rows[:-1], 2 * rows[-1], 16400)).astype(np.int8))
    a = a[..., ::2, :]
    b = mx.arange(1000).reshape(*rows, 1).astype(mx.int8)
    mx.eval(a, b)
    check(lambda: (mx.maximum(a, b).sum(axis=-1) - (a * b).max(axis=-1)) * 2, fused_steps=1)


def test_rows_of_too_many_values():
    """A thread has room for 16 float64 values of the longest rows."""
    factors = [mx.array(1 + k / 64, mx.float64) for k in range(20)]

    def chain(a):
        for factor in factors:
            a = a * factor
        return a.sum(axis=1)

    for length, steps in ((4096, 1), (16384, 21)):
        a = random_array(np.random.default_rng(1), (3, length), mx.float32).astype(mx.float64)
        mx.eval(a)
        check(lambda: chain(a), fused_steps=steps)  # noqa: B023


def test_what_layouts_refuse_is_refused_for_them_alone():
    """Planning remembers refusals; the next graph may be the same but for how an array lies."""

    def mean(a):
        return mx.mean(mx.square(a * 2 - 1), axis=-1)

    values = np.random.default_rng(0).random((64, 48), np.float32)
    flipped = np.ascontiguousarray(values.T)
    expected = np.mean(np.square(values * 2 - 1), axis=-1)
    fused = "fused(multiply, subtract, square, sum, divide)"
    single = ["multiply", "subtract", "square", "sum", "divide"]
    for _ in range(3):
        for a, steps in ((mx.array(values), [fused]), (mx.array(flipped).T, single)):
            mx.eval(a)
            for _ in range(2):
                result = mean(a)
                assert [s.op for s in mx.plan(result).steps][-len(steps) :] == steps
                np.testing.assert_allclose(np.array(result), expected, rtol=1e-5)


def test_a_graph_that_comes_again_is_planned_alike(memory):
    """Arrays beyond what is small, of which most overwrite others: small after all."""
    a = mx.ones((1 << 18,))
    mx.eval(a)
    plans = []
    for _ in range(4):
        b = a * 2
        for _ in range(50):
            b = mx.cumsum(mx.sin(b) + 1)
        mx.reset_peak_memory()
        plan = mx.plan(b)
        plans.append(plan.to_json())
        mx.eval(b)
        assert plan.predicted_peak == mx.get_peak_memory()
    assert len(set(plans)) == 1
