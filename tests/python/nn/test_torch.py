"""Values and gradients are PyTorch's: data/torch_nn.npz has them (tools/record_torch.py)."""

import pathlib

import narrows.core as mx
import narrows.nn as nn
import numpy as np
import pytest
from narrows.utils import tree_flatten
from support import missing

FILE = pathlib.Path(__file__).parents[1] / "data/torch_nn.npz"
RECORDED = {}  # name of a case, then kind, then key
for path, values in np.load(FILE).items():
    case, kind, key = path.split("/")
    RECORDED.setdefault(case, {}).setdefault(kind, {})[key] = values

# What makes the layer, and the operations that it is made of and that may be missing.
LAYERS = {
    "linear": (lambda: nn.Linear(3, 4), []),
    "linear_plain": (lambda: nn.Linear(3, 4, bias=False), []),
    "bilinear": (lambda: nn.Bilinear(2, 3, 4), []),
    "embedding": (lambda: nn.Embedding(5, 3), ["take"]),
    "layer_norm": (lambda: nn.LayerNorm(4), ["fast.layer_norm"]),
    "rms_norm": (lambda: nn.RMSNorm(4), ["fast.rms_norm"]),
    "group_norm": (lambda: nn.GroupNorm(2, 6, pytorch_compatible=True), []),
    "instance_norm": (lambda: nn.InstanceNorm(3, affine=True), []),
    "batch_norm": (lambda: nn.BatchNorm(3, momentum=0.3), []),
    "batch_norm_images": (lambda: nn.BatchNorm(3), []),
    "batch_norm_eval": (lambda: nn.BatchNorm(3).eval(), []),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), []),
    "conv1d_dilated": (lambda: nn.Conv1d(2, 3, 3, dilation=2, bias=False), []),
    "conv2d": (lambda: nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(1, 0)), []),
    "conv2d_groups": (lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1), []),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2, stride=2, padding=1), []),
    "conv_transpose1d": (
        lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1),
        [],
    ),
    "conv_transpose2d": (
        lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1),
        [],
    ),
    "conv_transpose3d": (
        lambda: nn.ConvTranspose3d(2, 3, 2, dilation=2, bias=False),
        [],
    ),
    "rnn": (lambda: nn.RNN(3, 4), []),
    "gru": (lambda: nn.GRU(3, 4), []),
    "lstm": (lambda: nn.LSTM(3, 4), []),
    "attention": (
        lambda: nn.MultiHeadAttention(8, 2, bias=True),
        ["fast.scaled_dot_product_attention"],
    ),
    "attention_causal": (
        lambda: nn.MultiHeadAttention(8, 2, bias=True),
        ["fast.scaled_dot_product_attention"],
    ),
    "prelu": (lambda: nn.PReLU(3), []),
}
for dimensions in (1, 2, 3):
    for kind in ("Max", "Avg"):
        for suffix, sizes in (("", (2,)), ("_overlapping", (3, 2, 1)), ("_stride_1", (2, 1))):
            pool = getattr(nn, f"{kind}Pool{dimensions}d")
            LAYERS[f"{kind.lower()}_pool{dimensions}d{suffix}"] = (
                lambda pool=pool, sizes=sizes: pool(*sizes),
                [],
            )
for name in RECORDED:
    if name.startswith("upsample"):
        mode = name.split("_")[1]
        corners, antialias = "corners" in name, "antialias" in name
        scale = 0.5 if antialias else 2.0
        LAYERS[name] = (
            lambda s=scale, m=mode, c=corners, a=antialias: nn.Upsample(s, m, c, a),
            [] if mode == "nearest" else ["take"],
        )
for suffix, first in (("", False), ("_norm_first", True)):
    for kind, layer in (
        ("encoder", nn.TransformerEncoderLayer),
        ("decoder", nn.TransformerDecoderLayer),
    ):
        LAYERS[f"{kind}_layer{suffix}"] = (
            lambda layer=layer, first=first: layer(8, 2, 6, norm_first=first),
            ["fast.scaled_dot_product_attention", "fast.layer_norm"],
        )

# How layers are called that PyTorch calls in another way.
CALLS = {
    "lstm": lambda layer, x: layer(x)[0],
    "attention_causal": lambda layer, x, mask: layer(x, x, x, mask),
    **dict.fromkeys(["encoder_layer", "encoder_layer_norm_first"], lambda layer, x: layer(x, None)),
    **dict.fromkeys(
        ["decoder_layer", "decoder_layer_norm_first"],
        lambda layer, x, memory: layer(x, memory, None, None),
    ),
}

losses = nn.losses
FUNCTIONS = {
    "mse_loss_none": lambda a, b: losses.mse_loss(a, b, "none"),
    "mse_loss_mean": losses.mse_loss,
    "mse_loss_sum": lambda a, b: losses.mse_loss(a, b, reduction="sum"),
    "l1_loss": lambda a, b: losses.l1_loss(a, b, "none"),
    "smooth_l1_loss": lambda a, b: losses.smooth_l1_loss(a, b, 0.7, "none"),
    "huber_loss": lambda a, b: losses.huber_loss(a, b, 0.7),
    "cosine_similarity_loss": losses.cosine_similarity_loss,
    "kl_div_loss": losses.kl_div_loss,
    "cross_entropy": losses.cross_entropy,
    "cross_entropy_smooth": lambda x, t: losses.cross_entropy(x, t, label_smoothing=0.1),
    "cross_entropy_probabilities": lambda x, t: losses.cross_entropy(x, t, label_smoothing=0.1),
    "nll_loss": losses.nll_loss,
    "binary_cross_entropy": lambda x, t: losses.binary_cross_entropy(x, t, reduction="none"),
    "binary_cross_entropy_probabilities": lambda x, t: losses.binary_cross_entropy(
        x, t, with_logits=False, reduction="none"
    ),
    "hinge_loss": losses.hinge_loss,
    "log_cosh_loss": losses.log_cosh_loss,
    "gaussian_nll_loss": lambda x, t, v: losses.gaussian_nll_loss(
        x, t, v, full=True, reduction="none"
    ),
    "margin_ranking_loss": lambda a, b, t: losses.margin_ranking_loss(a, b, t, margin=0.2),
    "triplet_loss": lambda a, b, c: losses.triplet_loss(a, b, c, margin=0.7, eps=0.0),
    "function_celu": lambda x: nn.celu(x, 1.5),
    "function_elu": lambda x: nn.elu(x, alpha=1.5),
}
for name in RECORDED:
    if name.startswith("function_") and name not in FUNCTIONS:
        FUNCTIONS[name] = getattr(nn, name.removeprefix("function_"))
NEEDS = {
    name: ["take_along_axis"] for name in ("cross_entropy", "cross_entropy_smooth", "nll_loss")
}


def inputs_of(case):
    return [mx.array(x) for x in RECORDED[case]["input"].values()]


def check(actual, case, kind, tolerance=2e-5):
    """Compares a dict of arrays with what was recorded."""
    expected = RECORDED[case].get(kind, {})
    assert set(expected) <= set(actual), kind
    for key, values in expected.items():
        assert actual[key].dtype == mx.float32, key
        assert actual[key].shape == values.shape, (kind, key)
        np.testing.assert_allclose(
            np.array(actual[key]), values, rtol=tolerance, atol=tolerance, err_msg=f"{kind} {key}"
        )


def numbered(arrays):
    return {str(i): array for i, array in enumerate(arrays)}


def input_gradients(case, function, inputs):
    """The gradients of ``sum(sin(output))`` for the inputs that PyTorch has one for."""
    count = len(RECORDED[case].get("input_gradient", {}))
    constants = inputs[count:]
    return mx.grad(lambda xs: mx.sin(function(*xs, *constants)).sum())(inputs[:count])


@pytest.mark.parametrize("case", sorted(LAYERS))
def test_layer(case):
    make, operations = LAYERS[case]
    if missing(*operations):
        pytest.skip(f"without {missing(*operations)}")
    layer = make()
    recorded = RECORDED[case]
    weights = {**recorded.get("parameter", {}), **recorded.get("state", {})}
    frozen = set(recorded.get("state", {})) if layer.training else set()
    names = {name for name, _ in tree_flatten(layer.parameters())}
    assert set(weights) <= names
    given = [(name, mx.array(w)) for name, w in weights.items() if name not in frozen]
    layer.load_weights(given, strict=False)
    call = CALLS.get(case, lambda layer, *inputs: layer(*inputs))
    inputs = inputs_of(case)

    check({"0": call(layer, *inputs)}, case, "output")
    check(dict(tree_flatten(layer.parameters())), case, "state")
    if "input_gradient" in recorded:
        gradients = input_gradients(case, lambda *xs: call(layer, *xs), inputs)
        check(numbered(gradients), case, "input_gradient")
    if "gradient" in recorded:
        _, gradients = nn.value_and_grad(layer, lambda *inputs: mx.sin(call(layer, *inputs)).sum())(
            *inputs
        )
        check(dict(tree_flatten(gradients)), case, "gradient")


@pytest.mark.parametrize("case", sorted(FUNCTIONS))
def test_function(case):
    lacking = missing(*NEEDS.get(case, []))
    if lacking:
        pytest.skip(f"without {lacking}")
    function, inputs = FUNCTIONS[case], inputs_of(case)
    check({"0": function(*inputs)}, case, "output")
    gradients = input_gradients(case, function, inputs)
    check(numbered(gradients), case, "input_gradient", tolerance=1e-4)


def test_all_that_was_recorded_is_tested():
    assert set(RECORDED) == set(LAYERS) | set(FUNCTIONS)
