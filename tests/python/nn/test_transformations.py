"""value_and_grad and checkpoint with a model's parameters; layers under vmap, jvp and compile."""

import narrows.core as mx
import narrows.nn as nn
import pytest
from narrows.nn.utils import checkpoint
from narrows.utils import tree_flatten


def make_model():
    mx.random.seed(1)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.tanh, nn.Linear(8, 3))
    mx.eval(model.parameters())
    return model


def assert_same(tree, other):
    for (name, a), (_, b) in zip(tree_flatten(tree), tree_flatten(other)):
        assert mx.allclose(a, b, rtol=1e-5, atol=1e-6).item(), name


def test_value_and_gradient():
    layer = nn.Linear(2, 1)

    def squares(x, scale=1.0):
        return scale * mx.square(layer(x)).sum(), "more"

    function = nn.value_and_grad(layer, squares)
    assert function.__name__ == "squares"
    x = mx.array([[1.0, 2.0]])
    (value, more), gradients = function(x, scale=mx.array(3.0))
    y = layer(x).item()
    assert more == "more" and value.item() == pytest.approx(3 * y * y)
    assert gradients["bias"].tolist() == pytest.approx([6 * y])
    assert gradients["weight"].flatten().tolist() == pytest.approx([6 * y, 12 * y])


def test_frozen_parameters_have_no_gradient():
    model = make_model()
    model.layers[0].freeze()
    _, gradients = nn.value_and_grad(model, lambda x: model(x).sum())(mx.ones((2, 3)))
    assert [name for name, _ in tree_flatten(gradients)] == ["layers.3.weight", "layers.3.bias"]
    assert nn.value_and_grad(model.freeze(), lambda: mx.array(1.0))()[1] == {"layers": [{}] * 4}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_usable_after_an_error(error):
    model = make_model().eval()
    x = mx.ones((2, 3))
    expected = model(x)

    def fails(x):
        model(x)
        raise error("stop")

    with pytest.raises(error):
        nn.value_and_grad(model, fails)(x)
    assert_same(model(x), expected)
    with pytest.raises(ValueError, match="expected a scalar"):
        nn.value_and_grad(model, model)(x)
    assert_same(model(x), expected)


@pytest.mark.parametrize("calls", [1, 2])
def test_checkpoint_changes_no_value(calls):
    """Nor a gradient, though it draws the random numbers of dropout again."""
    model = make_model()
    x = mx.random.normal((4, 3))

    def repeated(layer):
        def loss(x):
            for _ in range(calls):
                x = layer(x)
            return mx.sin(x).sum()

        mx.random.seed(2)
        result = nn.value_and_grad(model, loss)(x)
        mx.eval(result)
        return result, mx.random.normal((2,))

    plain = repeated(model)
    assert_same(repeated(checkpoint(model)), plain)
    assert_same(repeated(checkpoint(model, lambda x: model(x))), plain)


def test_checkpoint_leaves_the_parameters():
    model = nn.Linear(3, 3)
    weight = model.weight
    mx.eval(mx.grad(lambda x: checkpoint(model)(x).sum())(mx.ones((2, 3))))
    assert model.weight is weight


def test_checkpoint_keeps_less():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = mx.ones((1,))

        def __call__(self, x):
            for _ in range(10):
                x = mx.sin(mx.cumsum(x, axis=0) * self.scale)
            return x

    layers = [Wide() for _ in range(4)]
    model = nn.Sequential(*layers)
    x = mx.ones((1 << 20,))  # smaller graphs are not ordered by memory
    mx.eval(x, model.parameters())

    def peak(calls):
        def loss(x):
            for call in calls:
                x = call(x)
            return x.sum()

        return mx.plan(nn.value_and_grad(model, loss)(x)).predicted_peak

    assert peak([checkpoint(layer) for layer in layers]) < 0.6 * peak(layers)


SHAPES = [
    (nn.Linear(3, 4), (5, 2, 3)),
    (nn.Bilinear(3, 3, 4), (5, 2, 3)),
    (nn.BatchNorm(3).eval(), (5, 2, 3)),
    (nn.InstanceNorm(3), (5, 2, 4, 3)),
    (nn.GroupNorm(1, 3), (5, 2, 4, 3)),
    (nn.MaxPool1d(2), (5, 2, 4, 3)),
    (nn.AvgPool2d(3, 1, 1), (5, 2, 4, 4, 3)),
    (nn.GRU(3, 4), (5, 2, 4, 3)),
    (nn.RNN(3, 4), (5, 2, 4, 3)),
    (nn.GELU(), (5, 3)),
    (nn.ALiBi(), (5, 1, 2, 3, 3)),
    (nn.Upsample(2), (5, 1, 3, 2)),
]


@pytest.mark.parametrize("layer, shape", SHAPES, ids=lambda value: type(value).__name__)
def test_layers_under_transformations(layer, shape):
    def call(x):
        return layer(x, x) if isinstance(layer, nn.Bilinear) else layer(x)

    x = mx.random.normal(shape)
    each = mx.stack([call(entry) for entry in x])
    assert_same(mx.vmap(call)(x), each)
    assert_same(mx.compile(call)(x[0]), each[0])
    tangent = mx.random.normal(shape[1:])
    _, (directional,) = mx.jvp(call, [x[0]], [tangent])
    _, (gradient,) = mx.vjp(call, [x[0]], [mx.ones(each.shape[1:])])
    expected = (gradient * tangent).sum()
    assert mx.allclose(directional.sum(), expected, rtol=1e-3, atol=1e-4).item()
