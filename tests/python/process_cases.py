"""What several processes do together; test_processes.py starts them.

    python -m narrows.launch -n 2 process_cases.py values orders

Each case is a function of the group of all processes, and runs in all of them. They make the same
random numbers, so each knows what the others have.
"""

import os
import random
import sys
import traceback
from types import SimpleNamespace

import narrows.core as mx
import narrows.nn as nn
import narrows.optimizers as optim
import numpy as np
from narrows.bench.workloads import transformer
from narrows.bench.workloads.transformer import share_products
from narrows.nn.layers.distributed import shard_inplace, shard_linear
from narrows.utils import tree_flatten
from support import DTYPES, NUMPY, assert_close, from_numpy, to_numpy

distributed = mx.distributed


def numbers(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, shape) if dtype != mx.bool_ else rng.integers(0, 2, shape)
    if dtype == mx.complex64:
        x = x + 1j * rng.integers(0, 4, shape)
    return np.asarray(x).astype(NUMPY[dtype])


LAYOUTS = {
    "plain": lambda x: x,
    "transposed": lambda x: mx.contiguous(x.T).T,
    "strided": lambda x: mx.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "reversed": lambda x: mx.contiguous(x[::-1])[::-1] if x.ndim else x,
}


def extreme(values, largest):
    """The largest or smallest of complex numbers: by real parts, then by imaginary parts."""
    values = np.stack(values)
    if np.iscomplexobj(values):
        key = values.real * 100 + values.imag
        at = (key.argmax if largest else key.argmin)(axis=0)
        return np.take_along_axis(values, at[None], 0)[0]
    return values.max(0) if largest else values.min(0)


def values(group):
    """All operations, dtypes and layouts, beside NumPy."""
    rank, size = group.rank(), group.size()
    for dtype in DTYPES:
        for shape in [(), (1,), (4, 3), (8, 0), (4 * size, 5)]:
            all_values = [numbers(shape, dtype, seed) for seed in range(size)]
            total = sum(all_values[1:], all_values[0])
            for layout in LAYOUTS.values():
                x = layout(from_numpy(all_values[rank], dtype))
                assert_close(distributed.all_sum(x), total)
                assert_close(distributed.all_max(x), extreme(all_values, True))
                assert_close(distributed.all_min(x), extreme(all_values, False))
                gathered = [np.atleast_1d(each) for each in all_values]
                assert_close(distributed.all_gather(x), np.concatenate(gathered))
                if shape and shape[0] % size == 0:
                    assert_close(distributed.sum_scatter(x), np.split(total, size)[rank])
    nan = mx.array([1.0, float("nan") if rank == 0 else 2.0, rank])
    assert str(distributed.all_max(nan).tolist()) == f"[1.0, nan, {size - 1.0}]"
    assert str(distributed.all_min(nan).tolist()) == "[1.0, nan, 0.0]"
    for dtype in (mx.float16, mx.float32):  # in several pieces
        x = mx.full((3_000_001,), rank + 1, dtype)
        assert mx.all(distributed.all_sum(x) == size * (size + 1) / 2).item()


def messages(group):
    """An array goes once around."""
    rank, size = group.rank(), group.size()
    for dtype in DTYPES:
        x = from_numpy(numbers((3, 4), dtype, 7), dtype)
        if rank > 0:
            received = distributed.recv_like(x, rank - 1)
            assert_close(received, to_numpy(x))
            x = received
        if rank < size - 1:
            mx.eval(distributed.send(x, rank + 1))
    empty = mx.zeros((0, 3))
    if rank == 0:
        mx.eval(distributed.send(empty, 1))
    elif rank == 1:
        assert distributed.recv((0, 3), mx.float32, 0).shape == (0, 3)
    for peer in (-1, rank, size):
        for call in (
            lambda peer=peer: distributed.send(empty, peer),
            lambda peer=peer: distributed.recv((2,), mx.int8, peer),
        ):
            assert "expected another process" in raised(ValueError, call)


def raised(error, call):
    """The message of the error that a call raises."""
    try:
        call()
    except error as found:
        return str(found)
    raise AssertionError(f"no {error.__name__}")


def groups(group):
    """Parts of a group, and parts of a part."""
    rank, size = group.rank(), group.size()
    mine = mx.array([rank])
    waiting = distributed.all_sum(mine)  # evaluated by the split
    part = group.split(rank % 2)
    same = [other for other in range(size) if other % 2 == rank % 2]
    assert waiting.item() == sum(range(size))
    assert (part.rank(), part.size()) == (same.index(rank), len(same))
    gathered = distributed.all_gather(mine, group=part)
    assert gathered.tolist() == same
    turned = group.split(0, key=size - rank)
    assert (turned.rank(), turned.size()) == (size - 1 - rank, size)
    assert distributed.all_gather(mine, group=turned).tolist() == list(range(size))[::-1]
    if part.size() > 1:
        again = part.split(0)
        both = distributed.all_sum(mine, group=again) + distributed.all_sum(mine, group=group)
        assert both.item() == sum(same) + sum(range(size))
    assert "color" in raised(ValueError, lambda: group.split(-1))


def rules(group):
    """Gradients, derivatives forwards, and batches."""
    rank, size = group.rank(), group.size()
    x = mx.array([[1.0, 2.0], [3.0, 4.0]]) * (rank + 1)
    total = size * (size + 1) / 2
    cotangent = mx.array([[5.0, 6.0], [7.0, 8.0]])

    def vjp(function, cotangent):
        return mx.vjp(function, [x], [cotangent])[1][0]

    def jvp(function, tangent):
        return mx.jvp(function, [x], [tangent])[1][0]

    assert_close(vjp(distributed.all_sum, cotangent), to_numpy(cotangent))
    assert_close(jvp(distributed.all_sum, x), to_numpy(x) / (rank + 1) * total)
    many = mx.concatenate([cotangent * (other + 1) for other in range(size)])
    assert_close(vjp(distributed.all_gather, many), to_numpy(cotangent) * (rank + 1))
    assert_close(jvp(distributed.all_gather, x), to_numpy(distributed.all_gather(x)))
    assert_close(vjp(distributed.all_max, cotangent), to_numpy(cotangent) * (rank == size - 1))
    assert_close(jvp(distributed.all_min, x), to_numpy(x) / (rank + 1))
    ties = mx.vjp(distributed.all_max, [mx.ones((2,))], [mx.ones((2,))])[1][0]
    assert_close(ties, np.full(2, 1 / size))
    scattered = mx.vjp(distributed.sum_scatter, [mx.ones((size, 2))], [mx.full((1, 2), rank)])
    assert_close(scattered[1][0], np.arange(size)[:, None] * np.ones((1, 2)))

    batch = mx.arange(6.0).reshape(3, 2) + rank
    every = [np.arange(6.0, dtype=np.float32).reshape(3, 2) + other for other in range(size)]

    def several(row):
        # One of these does not depend on the batch, and one is of scalars.
        ones = distributed.all_sum(mx.ones((2,)))
        return (
            distributed.all_sum(row) + ones,
            distributed.all_gather(row),
            distributed.all_max(row),
            distributed.all_gather(row[0]),
            distributed.sum_scatter(mx.concatenate([row] * size)),
        )

    for function in (several, mx.compile(several)):
        got = mx.vmap(function)(batch)
        assert_close(got[0], sum(every) + size)
        assert_close(got[1], np.concatenate(every, axis=1))
        assert_close(got[2], every[-1])
        assert_close(got[3], np.stack([each[:, 0] for each in every], axis=1))
        assert_close(got[4], sum(every))
    columns = mx.vmap(distributed.all_gather, in_axes=1, out_axes=1)(batch)
    assert_close(columns, np.concatenate(every, axis=0))
    if rank == 0:
        mx.eval(mx.vmap(lambda row: distributed.send(row, 1))(batch))
    elif rank == 1:
        assert_close(distributed.recv_like(batch, 0), every[0])


def compiled(group):
    """Compiled functions keep their place among other operations."""
    size = group.size()

    @mx.compile
    def step(x):
        return distributed.all_sum(x) + distributed.all_max(x * 2), mx.abs(x)

    x = mx.array([1.0, 2.0]) * (group.rank() + 1)
    outputs = []
    for _ in range(4):
        outputs.append(step(x)[0])
        outputs.append(distributed.all_gather(x)[:2] + outputs[-1])
    random.Random(group.rank()).shuffle(order := list(range(8)))
    for i in order:
        mx.eval(outputs[i])
    base = np.array([1.0, 2.0]) * (size * (size + 1) / 2 + 2 * size)
    assert_close(outputs[6], base)
    assert_close(outputs[7], base + [1, 2])


def orders(group):
    """Every process plans and evaluates the same graph in another order."""
    rank, size = group.rank(), group.size()
    for seed in range(12):
        same = random.Random(seed)
        own = random.Random(1000 * seed + rank)
        policy = own.choice(["memory", "width"])
        with (
            mx.bfs_max_width(own.choice([1, 2, 5, 1000])),
            mx.order_policy(policy),
            mx.fusion(own.random() < 0.5),
        ):
            arrays = [mx.full((4,), float(i + rank)) for i in range(3)]
            expected = [[np.full(4, float(i + r)) for r in range(size)] for i in range(3)]
            for _ in range(25):
                a, b = same.randrange(len(arrays)), same.randrange(len(arrays))
                kind = same.choice(["sum", "max", "gather", "add", "half"])
                if kind == "sum":
                    total = sum(expected[a])
                    # Numbers stay small.
                    arrays.append(distributed.all_sum(arrays[a]) / size)
                    expected.append([total / size] * size)
                elif kind == "max":
                    arrays.append(distributed.all_max(arrays[a]))
                    expected.append([np.max(expected[a], axis=0)] * size)
                elif kind == "gather":
                    arrays.append(distributed.all_gather(arrays[a]).reshape(size, 4)[b % size])
                    expected.append([expected[a][b % size]] * size)
                elif kind == "add":
                    arrays.append((arrays[a] + arrays[b]) / 2)
                    pairs = zip(expected[a], expected[b], strict=True)
                    expected.append([(x + y) / 2 for x, y in pairs])
                else:
                    arrays.append(arrays[a] / 2)
                    expected.append([x / 2 for x in expected[a]])
            todo = list(range(len(arrays)))
            own.shuffle(todo)
            if seed % 3 == 0:
                mx.eval([arrays[i] for i in todo])
            for i in todo:
                if own.random() < 0.3:
                    mx.async_eval(arrays[i])
                else:
                    mx.eval(arrays[i])
            for array, values in zip(arrays, expected, strict=True):
                assert_close(array, values[rank])


def peaks(group):
    """The predicted peak is the measured one, and a sum overwrites what dies."""
    x = mx.zeros((1 << 18,)) + group.rank()
    y = distributed.all_sum(x + 1) * 2
    del x
    plan = mx.plan(y)
    mx.reset_peak_memory()
    mx.eval(y)
    assert mx.get_peak_memory() == plan.predicted_peak, (mx.get_peak_memory(), plan.predicted_peak)
    before = mx.get_active_memory()
    z = distributed.all_sum(mx.ones((1 << 18,)) + 1)
    plan = mx.plan(z)
    assert plan.predicted_peak - before == 1 << 20
    gathered = distributed.all_gather(z)
    plan = mx.plan(gathered)
    mx.reset_peak_memory()
    mx.eval(gathered)
    assert mx.get_peak_memory() == plan.predicted_peak


def on_the_cpu(group):
    """Arrays of the CPU are transferred to where the group's operations run, and back."""
    rank, size = group.rank(), group.size()
    with mx.stream(mx.cpu):
        x = mx.arange(4.0) + rank
        y = distributed.all_sum(x * 2) + 1
        assert_close(y, 2 * size * np.arange(4.0) + size * (size - 1) + 1)
        assert_close(distributed.all_max(x), np.arange(4.0) + size - 1)
        gradient = mx.grad(lambda x: (distributed.all_sum(x) * x).sum())(x)
        total = size * np.arange(4.0) + size * (size - 1) / 2
        assert_close(gradient, total + np.arange(4.0) + rank)


def mismatches(group):
    """All processes learn of a mismatch, and the group goes on."""
    rank, size = group.rank(), group.size()
    last = rank == size - 1
    x = mx.ones((2, 3))
    cases = [
        (lambda: distributed.all_sum(x if last else x[0]), "all_sum of float32 (2, 3)"),
        (lambda: distributed.all_sum(x.astype(mx.int8) if last else x), "all_sum of int8 (2, 3)"),
        (lambda: (distributed.all_max if last else distributed.all_sum)(x), "all_max of "),
        (lambda: distributed.all_gather(x if last else x.reshape(3, 2)), "all_gather of float32"),
    ]
    for call, text in cases:
        message = raised(RuntimeError, lambda call=call: mx.eval(call()))
        assert f"rank {rank} of {size}: operation " in message and text in message, message
        assert ("here, but" in message) and ("rank " in message.split("here, but")[1]), message
        assert distributed.all_sum(mx.array(1)).item() == size
    if rank < 2:
        call = (
            (lambda: distributed.send(x, 1))
            if rank == 0
            else (lambda: distributed.recv((3, 2), mx.float32, 0))
        )
        message = raised(RuntimeError, lambda: mx.eval(call()))
        assert f"rank {rank} of {size}" in message and "(3, 2)" in message, message
    assert distributed.all_sum(mx.array(1)).item() == size


class Model(nn.Module):
    """A transformer that guesses the next of some tokens."""

    def __init__(self, dims=16, heads=4):
        super().__init__()
        self.embedding = nn.Embedding(12, dims)
        self.encoder = nn.TransformerEncoder(2, dims, heads, norm_first=True)
        self.output = nn.Linear(dims, 12)

    def __call__(self, tokens):
        mask = nn.MultiHeadAttention.create_additive_causal_mask(tokens.shape[1])
        return self.output(self.encoder(self.embedding(tokens), mask))


def seeded_model(**settings):
    mx.random.seed(3)
    model = Model(**settings)
    mx.eval(model.parameters())
    return model


def loss_of(model, tokens):
    return nn.losses.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:], reduction="mean")


def train(model, optimizer, tokens, average, steps=3):
    gradient_of = nn.value_and_grad(model, lambda tokens: loss_of(model, tokens))
    for _ in range(steps):
        _, gradients = gradient_of(tokens)
        optimizer.update(model, average(gradients))
        mx.eval(model.parameters(), optimizer.state)


def assert_same_parameters(model, other, take=lambda path, value: value):
    for (path, value), (_, expected) in zip(
        tree_flatten(model.parameters()), tree_flatten(other.parameters()), strict=True
    ):
        # Adam divides by the size of gradients: small differences count.
        np.testing.assert_allclose(
            to_numpy(value), to_numpy(take(path, expected)), rtol=2e-3, atol=2e-4, err_msg=path
        )


def data_parallel(group):
    """Parts of a batch in each process train as the batch does in one."""
    size = group.size()
    tokens = mx.random.randint(0, 12, (4 * size, 9), key=mx.random.key(1))
    alone, model = seeded_model(), seeded_model()
    train(alone, optim.AdamW(1e-3), tokens, lambda gradients: gradients)
    for bytes_of_bucket in (1 << 20, 700, 0):
        model = seeded_model()
        own = mx.split(tokens, size)[group.rank()]
        train(
            model,
            optim.AdamW(1e-3),
            own,
            lambda gradients, n=bytes_of_bucket: nn.average_gradients(gradients, all_reduce_size=n),
        )
        assert_same_parameters(model, alone)


def bytes_of(tree):
    return sum(value.nbytes for _, value in tree_flatten(tree))


def fully_sharded(group):
    """Every process trains its share of the parameters, with a share of the optimizer's state."""
    rank, size = group.rank(), group.size()
    tokens = mx.random.randint(0, 12, (4 * size, 9), key=mx.random.key(1))
    alone, model = seeded_model(), seeded_model()
    train(alone, optim.AdamW(1e-3), tokens, lambda gradients: gradients)
    for i, layer in enumerate(model.encoder.layers):
        model.encoder.layers[i] = nn.fully_shard(layer)
    model = nn.fully_shard(model)
    assert bytes_of(model.parameters()) * size == bytes_of(alone.parameters())
    optimizer = optim.AdamW(1e-3)
    train(model, optimizer, mx.split(tokens, size)[rank], lambda gradients: gradients)
    whole = bytes_of(optim.AdamW(1e-3).state)
    kept = optim.AdamW(1e-3)
    kept.init(alone.trainable_parameters())
    assert (bytes_of(optimizer.state) - whole) * size == bytes_of(kept.state) - whole
    expected = dict(tree_flatten(alone.parameters()))
    for path, value in tree_flatten(model.parameters()):
        plain = path.replace("module.", "")
        np.testing.assert_allclose(
            to_numpy(value),
            np.split(to_numpy(expected[plain]), size)[rank],
            rtol=2e-3,
            atol=2e-4,
            err_msg=path,
        )
    message = raised(ValueError, lambda: nn.FullyShardedModule(nn.Linear(2, 2 * size + 1)))
    assert f"multiple of the group's {size} processes" in message


def tensor_parallel(group):
    """The processes share each product, in training and in decoding."""
    size = group.size()
    tokens = mx.random.randint(0, 12, (4, 9), key=mx.random.key(2))
    alone, model = seeded_model(), share_products(seeded_model(), size)
    assert_close(model(tokens), to_numpy(alone(tokens)), scale=20)
    train(alone, optim.SGD(0.1), tokens, lambda gradients: gradients)
    train(model, optim.SGD(0.1), tokens, lambda gradients: gradients)
    assert_close(model(tokens), to_numpy(alone(tokens)), scale=50)

    def decode(model):
        text = mx.array([[1, 2, 3]])
        for _ in range(6):
            text = mx.concatenate([text, mx.argmax(model(text)[:, -1:], axis=-1)], axis=1)
        return text.tolist()

    assert decode(model) == decode(alone)
    plain = nn.Linear(128, 64)
    plain.weight = mx.random.normal((64, 128), key=mx.random.key(4))
    plain.bias = mx.random.normal((64,), key=mx.random.key(5))
    x = mx.random.normal((3, 128), key=mx.random.key(6))
    share = mx.split(x, size, axis=-1)[group.rank()]
    for layer in (plain, nn.QuantizedLinear.from_linear(plain, group_size=32)):
        expected = to_numpy(layer(x))
        wide = shard_linear(layer, "all-to-sharded")(x)
        assert_close(wide, np.split(expected, size, axis=-1)[group.rank()], scale=50)
        assert_close(shard_linear(layer, "sharded-to-all")(share), expected, scale=50)
    both = nn.Sequential(plain)
    shard_inplace(both, "all-to-sharded")
    assert both.layers[0].weight.shape == (64 // size, 128)


def workload(group):
    """The transformer workload, trained in three ways beside one process.

    Losses differ by the rounding of sums; the peak of a step is the predicted one in each process.
    """
    rank, size = group.rank(), group.size()
    sizes = transformer.Sizes(60, 2 * size, 12, 2, 32, 4, steps=3)
    library = SimpleNamespace(mx=mx, nn=nn)
    tokens = mx.random.randint(0, 60, (sizes.batch, 13), key=mx.random.key(7))
    own = mx.split(tokens, size)[rank]
    stream = mx.new_stream(mx.default_device())

    def losses(batch, shares=False, average=None, evaluate=mx.eval):
        mx.random.seed(5)
        model = transformer.make_model(library, sizes)
        mx.eval(model.parameters(), batch)
        if shares:
            share_products(model, size)
        optimizer = optim.AdamW(1e-3)
        gradient_of = nn.value_and_grad(model, lambda batch: loss_of(model, batch))
        for _ in range(sizes.steps):
            loss, gradients = gradient_of(batch)
            if average:
                gradients = average(gradients)
                loss = distributed.all_sum(loss) / size
            optimizer.update(model, gradients)
            del gradients
            outputs = loss, model.parameters(), optimizer.state
            plan = mx.plan(*outputs)
            peak = plan.predicted_peaks.get(mx.default_device(), plan.predicted_peak)
            del plan
            mx.reset_peak_memory()
            evaluate(*outputs)
            mx.eval(*outputs)
            if evaluate is mx.eval:
                assert mx.get_peak_memory() == peak, (mx.get_peak_memory(), peak)
            yield loss.item()

    def overlapped(gradients):
        return nn.average_gradients(gradients, all_reduce_size=4000, communication_stream=stream)

    alone = list(losses(tokens))
    assert alone[-1] < alone[0]
    ways = {
        "parts of the batch": losses(own, average=nn.average_gradients),
        "overlapped": losses(own, average=overlapped, evaluate=mx.async_eval),
        "one after the other": losses(own, average=overlapped),
        "parts of products": losses(tokens, shares=True),
    }
    for name, way in ways.items():
        np.testing.assert_allclose(list(way), alone, rtol=2e-5, err_msg=name)


CASES = {
    case.__name__: case
    for case in (
        values,
        messages,
        groups,
        rules,
        compiled,
        orders,
        peaks,
        on_the_cpu,
        mismatches,
        data_parallel,
        fully_sharded,
        tensor_parallel,
        workload,
    )
}


def main():
    if os.environ.get("NARROWS_TEST_DEVICE") == "gpu":
        mx.set_default_device(mx.gpu)
    group = distributed.init(strict=True)
    for name in sys.argv[1:]:
        try:
            CASES[name](group)
            outcome = "passed"
        except Exception:
            outcome = traceback.format_exc()
        print(f"<{name} {group.rank()}: {outcome}>", flush=True)


if __name__ == "__main__":
    main()
