"""Layers that a group shares: alone they are the whole layer, and shares add up to it."""

import narrows.core as mx
import narrows.nn as nn
import numpy as np
import pytest
from narrows.nn.layers.distributed import shard_inplace, shard_linear, sum_gradients
from narrows.nn.utils import average_gradients
from narrows.utils import tree_flatten
from support import assert_close, needs, to_numpy

SHARDINGS = ["all-to-sharded", "sharded-to-all"]


class Place(mx.distributed.Group):
    """A place in a group whose other processes are played by the test."""

    def __init__(self, rank, size):
        self._place = rank, size

    def rank(self):
        return self._place[0]

    def size(self):
        return self._place[1]


KINDS = [
    pytest.param(lambda bias: nn.Linear(128, 64, bias), id="Linear"),
    pytest.param(
        lambda bias: nn.QuantizedLinear(128, 64, bias, group_size=32),
        id="QuantizedLinear",
        marks=needs("quantize", "quantized_matmul"),
    ),
]


def with_bias(layer):
    """A quantized layer's bias is zero at first."""
    if "bias" in layer:
        layer.bias = mx.random.normal(layer.bias.shape)
    return layer


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("make", KINDS)
def test_alone_it_is_the_layer(make, sharding, bias):
    layer = with_bias(make(bias))
    x = mx.random.normal((3, 128))
    shared = shard_linear(layer, sharding)
    assert shared.parameters().keys() == layer.parameters().keys()
    assert_close(shared(x), to_numpy(layer(x)), scale=10)
    kind = {"all-to-sharded": "AllToSharded", "sharded-to-all": "ShardedToAll"}[sharding]
    name = type(layer).__name__.replace("Linear", f"{kind}Linear")
    assert repr(shared).startswith(f"{name}(input_dims=128, output_dims=64, bias={bias}")
    assert type(shared) is getattr(nn, name)
    assert (shared.trainable_parameters() == {}) == (layer.trainable_parameters() == {})


@pytest.mark.parametrize("segments", [1, 2, [16]])
@pytest.mark.parametrize("make", KINDS)
def test_shares_of_outputs_make_the_output(make, segments):
    layer = with_bias(make(True))
    x = mx.random.normal((3, 128))
    outputs = [
        shard_linear(layer, "all-to-sharded", segments=segments, group=Place(rank, 4))(x)
        for rank in range(4)
    ]
    ends = {1: [], 2: [32]}.get(segments, segments) if not isinstance(segments, list) else segments
    parts = [np.split(part, 4, axis=-1) for part in np.split(to_numpy(layer(x)), ends, axis=-1)]
    for rank in range(4):
        expected = np.concatenate([part[rank] for part in parts], axis=-1)
        assert_close(outputs[rank], expected, scale=10)


@pytest.mark.parametrize("make", KINDS)
def test_shares_of_inputs_add_up_to_the_output(make, monkeypatch):
    layer = with_bias(make(True))
    x = mx.random.normal((3, 128))
    products = []
    with monkeypatch.context() as patched:
        patched.setattr(mx.distributed, "all_sum", lambda y, **_: products.append(y) or y)
        for rank in range(4):
            shared = shard_linear(layer, "sharded-to-all", group=Place(rank, 4))
            assert "input_dims=128, output_dims=64" in repr(shared)
            shared(x[:, 32 * rank : 32 * rank + 32])
    assert_close(sum(products) + layer.bias, to_numpy(layer(x)), scale=10)


def test_sum_gradients_sums_what_comes_back(monkeypatch):
    x = mx.array([1.0, 2.0])
    monkeypatch.setattr(mx.distributed, "all_sum", lambda y, *, group: y * group.size())

    def gradient(size):
        return mx.grad(lambda x: mx.square(sum_gradients(Place(0, size))(x)).sum())(x)

    assert gradient(1).tolist() == [2.0, 4.0]
    assert gradient(3).tolist() == [6.0, 12.0]


def test_average_gradients(monkeypatch):
    gradients = {"a": mx.array([1.0]), "b": [mx.array([[2.0]])]}
    assert average_gradients(gradients) is gradients
    monkeypatch.setattr(mx.distributed, "all_sum", lambda y, **_: y + 3)
    average = average_gradients(gradients, Place(0, 4))
    assert average["a"].tolist() == [1.0] and average["b"][0].tolist() == [[1.25]]


@pytest.mark.parametrize(
    ("most_bytes", "sums"), [(1 << 20, [9, 3]), (16, [4, 3, 5]), (0, [3, 1, 2, 5, 1])]
)
def test_gradients_are_summed_in_buckets(most_bytes, sums, monkeypatch):
    gradients = {
        "a": mx.full((3,), 2.0),
        "b": mx.full((1,), 2.0),
        "c": mx.full((2,), 2.0, mx.float16),
        "d": [mx.full((5, 1), 2.0), {"e": mx.zeros((), mx.float16)}],
    }
    seen = []
    monkeypatch.setattr(mx.distributed, "all_sum", lambda y, **_: seen.append(y.size) or y * 4)
    average = average_gradients(gradients, Place(0, 4), all_reduce_size=most_bytes)
    assert seen == sums
    for (path, mean), (_, gradient) in zip(
        tree_flatten(average), tree_flatten(gradients), strict=True
    ):
        assert mean.dtype == gradient.dtype and mx.array_equal(mean, gradient).item(), path


def test_fully_sharded_alone():
    layer = nn.Linear(4, 2)
    assert nn.fully_shard(layer) is layer
    assert nn.fully_shard(nn.ReLU(), group=Place(0, 2)).__class__ is nn.ReLU
    wrapped = nn.FullyShardedModule(layer, compute_dtype=mx.bfloat16)
    x = mx.ones((1, 4), mx.bfloat16)
    assert wrapped(x).dtype == mx.bfloat16 and layer.weight.dtype == mx.float32
    assert [path for path, _ in tree_flatten(wrapped.parameters())] == [
        "module.weight",
        "module.bias",
    ]
    gradient = nn.value_and_grad(wrapped, lambda x: wrapped(x).sum())(x)[1]
    assert gradient["module"]["weight"].dtype == mx.float32
    assert repr(wrapped).startswith("FullyShardedModule(num_sharded_params=2")
    assert nn.FullyShardedModule(wrapped)(x).dtype == mx.bfloat16
    assert "num_sharded_params=0" in repr(nn.FullyShardedModule(nn.Sequential(wrapped)))


def test_fully_sharded_module_shares_what_it_changes():
    norm = nn.FullyShardedModule(nn.BatchNorm(2))
    norm(mx.array([[1.0, 2.0], [3.0, 6.0]]))
    assert norm.module.running_mean.tolist() == pytest.approx([0.2, 0.4])


def test_module_keeps_its_share():
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8))
    first, second = (to_numpy(layer.weight) for layer in model.layers)
    bias = to_numpy(model.layers[0].bias)
    group = Place(1, 2)
    shard_inplace(model.layers[0], "all-to-sharded", group=group)
    shard_inplace(model.layers[1], "sharded-to-all", group=group)
    assert np.array_equal(to_numpy(model.layers[0].weight), first[2:])
    assert np.array_equal(to_numpy(model.layers[0].bias), bias[2:])
    assert np.array_equal(to_numpy(model.layers[1].weight), second[:, 2:])
    assert model.layers[1].bias.shape == (8,)


def test_function_says_what_is_shared():
    model = nn.Sequential(nn.Linear(8, 4))
    weight = to_numpy(model.layers[0].weight)
    axes = {"layers.0.weight": (1, 2), "layers.0.bias": None}
    shard_inplace(model, lambda path, _: axes[path], group=Place(0, 2))
    assert np.array_equal(to_numpy(model.layers[0].weight), weight[:, [0, 1, 4, 5]])
    assert model.layers[0].bias.shape == (4,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: shard_linear(nn.Linear(2, 2), "rows"),
            ValueError,
            "[shard_linear] sharding 'rows', expected one of all-to-sharded, sharded-to-all",
        ),
        (
            lambda: shard_inplace(nn.Linear(2, 2), "rows"),
            ValueError,
            "[shard_inplace] sharding 'rows', expected one of",
        ),
        (
            lambda: shard_linear(nn.ReLU(), "all-to-sharded"),
            TypeError,
            "[shard_linear] a ReLU, expected a Linear or a QuantizedLinear",
        ),
        (
            lambda: shard_linear(nn.Linear(2, 5), "all-to-sharded", group=Place(0, 2)),
            ValueError,
            "[shard] a part of 5 of the 5 along axis 0 of a weight of shape (5, 2), expected",
        ),
        (
            lambda: nn.AllToShardedLinear(4, 5, group=Place(0, 2)),
            ValueError,
            "[AllToShardedLinear] output_dims 5, expected a multiple of the group's 2 processes",
        ),
        (
            lambda: nn.ShardedToAllLinear(5, 4, group=Place(0, 2)),
            ValueError,
            "[ShardedToAllLinear] input_dims 5, expected a multiple of the group's 2 processes",
        ),
        (
            lambda: nn.ShardedToAllLinear(4, 2)(mx.ones((1, 5))),
            ValueError,
            "[ShardedToAllLinear]",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value).startswith(message)
