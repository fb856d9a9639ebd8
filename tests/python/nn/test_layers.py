"""Layers against formulas in NumPy, their first values, and what they say about wrong inputs."""

import math

import narrows.core as mx
import narrows.nn as nn
import numpy as np
import pytest
from narrows.utils import tree_flatten
from support import assert_close, needs, to_numpy

RANDOM = np.random.default_rng(3)


def random(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def normalized(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def test_group_norm_of_groups_that_lie_apart():
    x = random(2, 3, 5, 6)
    expected = np.empty_like(x)
    for group in range(2):
        expected[..., group::2] = normalized(x[..., group::2], (1, 2, 3))
    assert_close(nn.GroupNorm(2, 6)(mx.array(x)), expected, scale=10)
    assert nn.GroupNorm(2, 6)(mx.zeros((2, 0, 6))).shape == (2, 0, 6)


def test_batch_norm_in_both_modes():
    norm = nn.BatchNorm(3, momentum=0.25)
    x = random(4, 5, 3) + 2
    assert_close(norm(mx.array(x)), normalized(x, (0, 1)), scale=10)
    mean, variance = 0.25 * x.mean((0, 1)), 0.75 + 0.25 * x.var((0, 1), ddof=1)
    assert_close(norm.running_mean, mean)
    assert_close(norm.running_var, variance, scale=10)
    norm.eval()
    assert_close(norm(mx.array(x)), (x - mean) / np.sqrt(variance + 1e-5), scale=10)
    assert_close(norm.running_mean, mean)
    plain = nn.BatchNorm(3, affine=False, track_running_stats=False)
    assert plain.parameters() == {}
    assert_close(plain.eval()(mx.array(x)), normalized(x, (0, 1)), scale=10)


def test_batch_norm_of_nothing_keeps_its_averages():
    norm = nn.BatchNorm(3)
    assert norm(mx.zeros((0, 3))).shape == (0, 3)
    assert norm.running_var.tolist() == [1.0] * 3


@pytest.mark.parametrize(
    "layer, shape, whole",
    [
        (nn.Dropout(0.25), (4, 1000), ()),
        (nn.Dropout2d(0.25), (40, 3, 3, 50), (1, 2)),
        (nn.Dropout2d(0.25), (3, 3, 2000), (0, 1)),
        (nn.Dropout3d(0.25), (40, 2, 3, 2, 50), (1, 2, 3)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
def test_dropout(layer, shape, whole, dtype):
    mx.random.seed(4)
    y = layer.train()(mx.ones(shape, dtype=dtype))
    assert y.dtype == dtype and y.shape == shape
    values = to_numpy(y).astype(np.float32)
    kept = values != 0
    np.testing.assert_allclose(values[kept], 1 / 0.75, rtol=1e-3)
    assert 0.7 < kept.mean() < 0.8
    if whole:
        assert (kept.all(whole) == kept.any(whole)).all()
    x = mx.ones(shape, dtype=dtype)
    assert layer.eval()(x) is x and nn.Dropout(0)(x) is x


def rotated(x, dims, traditional, base, scale, offset):
    places = (np.arange(x.shape[-2]) + offset) * scale
    angles = places[:, None] * base ** (-np.arange(0, dims, 2) / dims)
    y = x.copy()
    half = dims // 2
    firsts = slice(0, dims, 2) if traditional else slice(0, half)
    seconds = slice(1, dims, 2) if traditional else slice(half, dims)
    a, b = x[..., firsts], x[..., seconds]
    y[..., firsts] = a * np.cos(angles) - b * np.sin(angles)
    y[..., seconds] = a * np.sin(angles) + b * np.cos(angles)
    return y


@pytest.mark.parametrize("traditional", [False, True])
@pytest.mark.parametrize("dims, offset", [(8, 0), (4, 3)])
@needs("fast.rope")
def test_rope(traditional, dims, offset):
    x = random(2, 3, 5, 8)
    layer = nn.RoPE(dims, traditional, base=100, scale=0.5)
    expected = rotated(x, dims, traditional, 100.0, 0.5, offset)
    assert_close(layer(mx.array(x), offset), expected, scale=10)


@pytest.mark.parametrize("dims", [2, 8])
def test_sinusoidal_positional_encoding(dims):
    x = np.array([[0, 1, 2.5]], np.float32)
    count = dims // 2
    frequencies = np.geomspace(2, 0.01, count) if count > 1 else np.array([2.0])
    angles = x[..., None] * frequencies
    expected = np.concatenate([np.sin(angles), np.cos(angles)], -1) * math.sqrt(2 / dims)
    assert_close(nn.SinusoidalPositionalEncoding(dims, 0.01, 2)(mx.array(x)), expected, scale=10)
    turns = nn.SinusoidalPositionalEncoding(dims, 0.01, 2, 1.0, cos_first=True, full_turns=True)
    angles = angles * 2 * math.pi
    expected = np.concatenate([np.cos(angles), np.sin(angles)], -1)
    assert_close(turns(mx.array(x)), expected, scale=10)
    assert turns.parameters() == {}


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12])
def test_alibi_slopes(heads):
    power = 2 ** math.floor(math.log2(heads))
    expected = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    expected += [2 ** (-4 * (i + 1) / power) for i in range(0, 2 * power, 2)]
    slopes = nn.ALiBi.create_alibi_slope(heads)
    assert_close(slopes, np.array(expected[:heads]).reshape(-1, 1, 1))


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16])
def test_alibi(dtype):
    scores = random(2, 4, 3, 5)
    slopes = np.array([2.0**-i for i in (2, 4, 6, 8)]).reshape(-1, 1, 1)
    distances = np.abs(np.arange(2, 5)[:, None] - np.arange(5)[None])
    expected = scores - slopes * distances
    given = mx.array(scores).astype(dtype)
    actual = nn.ALiBi()(given, offset=2)
    assert actual.dtype == dtype
    assert_close(actual, expected, scale=5)
    mask = np.tril(np.ones((3, 5), bool), 2)
    added = np.where(mask, 0, -1000).astype(np.float32)
    assert_close(nn.ALiBi()(given, 2, mx.array(added).astype(dtype)), expected + added, scale=5)
    hidden = to_numpy(nn.ALiBi()(given, 2, mx.array(mask)))
    np.testing.assert_allclose(hidden[..., mask], expected[..., mask], rtol=1e-2, atol=1e-2)
    assert (hidden[..., ~mask] < -6e4).all()


def test_causal_mask():
    for dtype in (mx.float32, mx.float16, mx.bfloat16):
        mask = nn.MultiHeadAttention.create_additive_causal_mask(3, dtype)
        assert mask.dtype == dtype
        lowest = mx.finfo(dtype).min
        assert_close(mask, np.triu(np.full((3, 3), lowest), 1))


# Sizes and factors, and the places that a nearest neighbour is taken from.
NEAREST = [
    (4, 2.0, [0, 0, 1, 1, 2, 2, 3, 3]),
    (4, 1.5, [0, 0, 1, 2, 2, 3]),
    (8, 1.25, [0, 1, 2, 2, 3, 4, 5, 6, 6, 7]),
    (8, 0.25, [0, 4]),
    (8, 0.75, [0, 1, 2, 4, 5, 6]),
    (8, 1 / 3, [0, 4]),
]


@pytest.mark.parametrize("size, factor, places", NEAREST)
@needs("take")
def test_nearest_upsampling(size, factor, places):
    x = random(2, size, 3)
    assert_close(nn.Upsample(factor)(mx.array(x)), x[:, places])


def test_upsampling_by_whole_factors():
    x = random(2, 4, 3, 2)
    expected = x.repeat(2, axis=1).repeat(3, axis=2)
    assert_close(nn.Upsample((2, 3))(mx.array(x)), expected)
    assert nn.Upsample(0.1)(mx.array(x)).shape == (2, 0, 0, 2)
    integers = nn.Upsample(2)(mx.array([1, 2]).reshape(1, 2, 1))
    assert integers.dtype == mx.int32 and integers.flatten().tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("factor", [0.25, 0.6, 1.3, 3.0])
@pytest.mark.parametrize("corners", [False, True])
@needs("take")
def test_linear_interpolation_is_that_of_numpy(factor, corners):
    size = 10
    m = int(size * factor)
    values = random(size)
    places = (np.arange(m) - (m - 1) / 2) / factor + (size - 1) / 2
    if corners:
        places = np.linspace(0, size - 1, m)
    y = nn.Upsample(factor, "linear", corners)(mx.array(values).reshape(1, size, 1))
    expected = np.interp(places, np.arange(size), values)
    assert_close(y.flatten(), expected.astype(np.float32), scale=10)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("factor", [0.25, 0.6, 1.3, 3.0])
@pytest.mark.parametrize("options", [{}, {"align_corners": True}, {"antialias": True}])
@needs("take")
def test_interpolation_keeps_constants(mode, factor, options):
    y = nn.Upsample(factor, mode, **options)(mx.full((1, 12, 9, 1), 3.0))
    assert y.shape == (1, int(12 * factor), int(9 * factor), 1)
    assert_close(y, np.full(y.shape, 3.0))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_layers_go_on_from_a_state(kind, bias):
    layer = kind(3, 4, bias)
    x = mx.array(random(2, 6, 3))
    whole = layer(x)
    lstm = kind is nn.LSTM
    begun = layer(x[:, :2])
    last = [states[:, -1] for states in (begun if lstm else [begun])]
    rest = layer(x[:, 2:], *last)
    for all_states, later in zip(whole if lstm else [whole], rest if lstm else [rest]):
        assert_close(later, to_numpy(all_states[:, 2:]), scale=10)
    assert_close(
        (layer(x[0])[0] if lstm else layer(x[0])),
        to_numpy((whole[0] if lstm else whole)[0]),
        scale=10,
    )
    nothing = layer(x[:, :0])
    assert (nothing[0] if lstm else nothing).shape == (2, 0, 4)


def test_average_of_integers_and_maximum_with_padding():
    x = mx.array([1, -2]).reshape(1, 2, 1)
    assert nn.MaxPool1d(2, 1, 1)(x).flatten().tolist() == [1, 1, -2]
    assert nn.AvgPool1d(2, 1, 1)(x).flatten().tolist() == [0.5, -0.5, -1.0]
    assert nn.MaxPool1d(2, 1, 1)(mx.array([[[-1.0], [-3.0]]])).flatten().tolist() == [-1, -1, -3]
    assert nn.MaxPool2d(5)(mx.ones((1, 3, 3, 2))).shape == (1, 0, 0, 2)


@pytest.mark.parametrize(
    "layer", [nn.AvgPool1d(3, 2, 1), nn.AvgPool2d((3, 2), 1), nn.AvgPool3d(2, 1)]
)
def test_average_of_windows_that_overlap(layer):
    """They are convolutions for float32 with many channels, and sums of windows else."""
    x = random(2, *range(4, 4 + layer._places), 9)
    values, gradients = [], []
    for dtype in (mx.float32, mx.float64):
        a = mx.array(x, dtype=dtype)
        values.append(layer(a))
        gradients.append(mx.grad(lambda a: mx.sum(layer(a) ** 2))(a))
    assert "convolution" in str(mx.plan(layer(mx.array(x))))
    assert_close(values[0], to_numpy(values[1]), scale=4)
    assert_close(gradients[0], to_numpy(gradients[1]), scale=4)


# A layer, and what its parameters are at first: their bounds, or a distribution's deviation.
FIRST = [
    (lambda: nn.Linear(200, 300), {"weight": ("uniform", 200), "bias": ("uniform", 200)}),
    (lambda: nn.Bilinear(100, 20, 30), {"weight": ("uniform", 100), "bias": ("uniform", 100)}),
    (lambda: nn.Embedding(300, 100), {"weight": ("normal", 100)}),
    (lambda: nn.Conv1d(40, 50, 7), {"weight": ("uniform", 280), "bias": 0}),
    (lambda: nn.Conv1d(40, 50, 7, groups=2), {"weight": ("uniform", 140), "bias": 0}),
    (lambda: nn.Conv2d(40, 50, (3, 5)), {"weight": ("uniform", 600), "bias": 0}),
    (lambda: nn.Conv3d(20, 30, 3), {"weight": ("uniform", 540), "bias": 0}),
    (lambda: nn.ConvTranspose2d(40, 50, 3), {"weight": ("uniform", 360), "bias": 0}),
    (lambda: nn.RNN(100, 200), dict.fromkeys(["Wxh", "Whh", "bias"], ("uniform", 200))),
    (lambda: nn.LSTM(100, 200), dict.fromkeys(["Wx", "Wh", "bias"], ("uniform", 200))),
    (lambda: nn.GRU(100, 200), dict.fromkeys(["Wx", "Wh", "b", "bhn"], ("uniform", 200))),
    (lambda: nn.LayerNorm(5), {"weight": 1, "bias": 0}),
    (lambda: nn.LayerNorm(5, bias=False), {"weight": 1}),
    (lambda: nn.RMSNorm(5), {"weight": 1}),
    (lambda: nn.GroupNorm(1, 5), {"bias": 0, "weight": 1}),
    (lambda: nn.InstanceNorm(5, affine=True), {"weight": 1, "bias": 0}),
    (
        lambda: nn.BatchNorm(5),
        {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1},
    ),
    (lambda: nn.PReLU(3, 0.5), {"weight": 0.5}),
]


@pytest.mark.parametrize("make, expected", FIRST, ids=lambda v: "" if isinstance(v, dict) else None)
def test_first_values(make, expected):
    mx.random.seed(9)
    parameters = make().parameters()
    assert list(parameters) == list(expected)
    for name, values in parameters.items():
        assert values.dtype == mx.float32
        actual = to_numpy(values)
        if not isinstance(expected[name], tuple):
            assert (actual == expected[name]).all()
            continue
        kind, inputs = expected[name]
        bound = 1 / math.sqrt(inputs)
        if kind == "uniform":
            assert 0.9 * bound < np.abs(actual).max() <= bound
            bound /= math.sqrt(3)
        assert actual.std() == pytest.approx(bound, rel=0.15)
        assert abs(actual.mean()) < 5 * bound / math.sqrt(actual.size)


def test_transformers_have_the_names_of_mlx():
    model = nn.Transformer(4, 2, 1, 1)
    names = [name for name, _ in tree_flatten(model.parameters())]
    attention = [f"{part}_proj.weight" for part in ("query", "key", "value", "out")]
    encoder = [f"encoder.layers.0.attention.{name}" for name in attention]
    assert names[:4] == encoder
    assert names[4:14] == [
        *(f"encoder.layers.0.ln{i}.{name}" for i in (1, 2) for name in ("weight", "bias")),
        *(f"encoder.layers.0.linear{i}.{name}" for i in (1, 2) for name in ("weight", "bias")),
        *("encoder.ln.weight", "encoder.ln.bias"),
    ]
    decoder = "decoder.layers.0."
    assert names[14:22] == [
        f"{decoder}{kind}_attention.{name}" for kind in ("self", "cross") for name in attention
    ]
    assert len(names) == 34
    replaced = nn.Transformer(4, 2, custom_encoder=nn.Identity(), custom_decoder=nn.Identity())
    assert replaced.parameters() == {"encoder": {}, "decoder": {}}


@pytest.mark.parametrize("checkpoint", [False, True])
@needs("fast.scaled_dot_product_attention", "fast.layer_norm")
def test_transformer(checkpoint):
    model = nn.Transformer(8, 2, 2, 2, dropout=0.1, checkpoint=checkpoint)
    source, target = mx.array(random(2, 5, 8)), mx.array(random(2, 3, 8))
    mask = nn.MultiHeadAttention.create_additive_causal_mask(3)

    def call(target):
        return model(source, target, None, mask, None)

    model.eval()
    y = call(target)
    assert y.shape == (2, 3, 8)
    changed = mx.concatenate([target[:, :2], target[:, 2:] + 1], axis=1)
    assert_close(call(changed)[:, :2], to_numpy(y[:, :2]), scale=10)  # the mask hides what changed
    model.train()
    _, gradients = nn.value_and_grad(model, lambda: mx.square(call(target)).sum())()
    assert all(mx.abs(g).max().item() > 0 for _, g in tree_flatten(gradients))


def test_sequential_takes_functions():
    model = nn.Sequential(lambda x: x + 1, nn.ReLU(), mx.square)
    assert model(mx.array([-3.0, 1.0])).tolist() == [0.0, 4.0]
    assert nn.Sequential()(3) == 3


@needs("take")
def test_embedding_of_any_shape():
    table = nn.Embedding(5, 3)
    rows = to_numpy(table.weight)
    for indices in (2, [1, 4], [[0, 1], [1, 0]]):
        assert_close(table(mx.array(indices)), rows[indices])
    assert_close(table.as_linear(mx.ones((2, 3))), np.tile(rows.sum(1), (2, 1)))


LAYERS_WITHOUT_ARRAYS = [nn.Identity(3, x=2), nn.ReLU(), nn.GLU(), nn.Softmin(), nn.Dropout()]


@pytest.mark.parametrize("layer", LAYERS_WITHOUT_ARRAYS, ids=repr)
def test_layers_without_parameters(layer):
    assert layer.parameters() == {}
    assert layer(mx.ones((2, 4))).shape[0] == 2
