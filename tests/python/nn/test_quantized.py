"""Quantized layers against the dequantized ones, and the function that replaces layers."""

import narrows.core as mx
import narrows.nn as nn
import numpy as np
import pytest
from narrows.utils import tree_flatten
from support import assert_close, needs, to_numpy

quantized = needs("quantize", "dequantize", "quantized_matmul", "take")

# The mode, and its group size and bits.
MODES = {"affine": (64, 4), "mxfp4": (32, 4), "nvfp4": (16, 4), "mxfp8": (32, 8)}


def dequantized(layer):
    return to_numpy(
        mx.dequantize(
            layer.weight,
            layer.scales,
            layer.biases,
            group_size=layer.group_size,
            bits=layer.bits,
            mode=layer.mode,
            dtype=mx.float32,
        )
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bias", [False, True])
@quantized
def test_linear(mode, bias):
    size, bits = MODES[mode]
    linear = nn.Linear(128, 32, bias)
    layer = linear.to_quantized(mode=mode)
    assert (layer.group_size, layer.bits, layer.mode) == (size, bits, mode)
    names = ["weight", "scales", *(["biases"] * (mode == "affine")), *(["bias"] * bias)]
    assert list(layer.parameters()) == names and layer.trainable_parameters() == {}
    assert layer.weight.shape == (32, 128 * bits // 32) and layer.weight.dtype == mx.uint32
    assert layer.scales.shape == (32, 128 // size)
    x = mx.random.normal((3, 128))
    expected = to_numpy(x) @ dequantized(layer).T + (to_numpy(linear.bias) if bias else 0)
    assert_close(layer(x), expected, scale=50)
    np.testing.assert_allclose(to_numpy(layer(x)), to_numpy(linear(x)), atol=1.0)
    assert repr(layer) == (
        f"QuantizedLinear(input_dims=128, output_dims=32, bias={bias}, group_size={size}, "
        f"bits={bits}, mode={mode})"
    )
    with pytest.raises(ValueError, match=r"\[QuantizedLinear\] input of shape \(3, 64\), expected"):
        layer(x[:, :64])


@pytest.mark.parametrize("mode", MODES)
@quantized
def test_embedding(mode):
    layer = nn.Embedding(32, 128).to_quantized(mode=mode)
    table = dequantized(layer)
    assert_close(layer(mx.array([[1, 5], [0, 31]])), table[[[1, 5], [0, 31]]], layer.scales.dtype)
    x = mx.random.normal((3, 128))
    assert_close(layer.as_linear(x), to_numpy(x) @ table.T, scale=50)
    assert layer.trainable_parameters() == {}
    assert repr(layer).startswith("QuantizedEmbedding(32, 128, group_size=")


@quantized
def test_sizes_may_be_given():
    for layer in (
        nn.QuantizedLinear(64, 8, group_size=32, bits=8),
        nn.QuantizedEmbedding(8, 64, group_size=32, bits=8),
    ):
        assert layer.weight.shape == (8, 16) and layer.scales.shape == (8, 2)
    assert nn.QuantizedLinear(64, 8).bias.tolist() == [0.0] * 8


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(32, 64)
        self.layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(64, 64, bias=False)]
        self.norm = nn.RMSNorm(64)


def kinds(model):
    return [type(m).__name__ for m in (model.table, *model.layers, model.norm)]


EVERYTHING = ["QuantizedEmbedding", "QuantizedLinear", "ReLU", "QuantizedLinear", "RMSNorm"]


@quantized
def test_quantize_replaces_layers():
    model = Model()
    assert nn.quantize(model, 32, 8) is None
    assert kinds(model) == EVERYTHING
    assert model.table.bits == 8 and model.layers[0].group_size == 32
    names = [name for name, _ in tree_flatten(model.parameters())]
    assert names[:3] == ["table.weight", "table.scales", "table.biases"]
    assert "layers.0.bias" in names and "layers.2.bias" not in names


@quantized
def test_a_predicate_chooses_layers():
    model = Model()
    nn.quantize(model, class_predicate=lambda path, layer: path == "layers.2")
    assert kinds(model) == ["Embedding", "Linear", "ReLU", "QuantizedLinear", "RMSNorm"]
    settings = {"group_size": 32, "bits": 8}
    nn.quantize(model, class_predicate=lambda path, _: settings if path == "table" else False)
    assert kinds(model)[:2] == ["QuantizedEmbedding", "Linear"] and model.table.bits == 8


def test_wrong_predicates():
    with pytest.raises(ValueError, match="layers.1 is a ReLU, without to_quantized"):
        nn.quantize(Model(), class_predicate=lambda path, layer: isinstance(layer, nn.ReLU))
    with pytest.raises(ValueError, match="class_predicate gave 'x' for table, expected a bool"):
        nn.quantize(Model(), class_predicate=lambda path, layer: "x")


def test_what_cannot_be_quantized():
    with pytest.raises(ValueError, match="mode 'x', expected one of 'affine', 'mxfp4'"):
        nn.Linear(64, 8).to_quantized(mode="x")
    with pytest.raises(ValueError, match=r"\(8, 60\), expected .* of the group size 64"):
        nn.Linear(60, 8).to_quantized()
    with pytest.raises(ValueError, match="quantized inputs with mode 'affine', expected 'nvfp4'"):
        nn.Linear(64, 8).to_quantized(quantize_input=True)
    with pytest.raises(NotImplementedError, match=r"\[QQLinear\] a layer with a bias"):
        nn.Linear(64, 8).to_quantized(quantize_input=True, mode="nvfp4")
    with pytest.raises(ValueError, match="quantize_input is true for an Embedding"):
        nn.Embedding(8, 64).to_quantized(quantize_input=True, mode="nvfp4")


@pytest.mark.parametrize("mode", ["nvfp4", "mxfp8"])
@needs("quantize", "dequantize", "qqmm")
def test_quantized_inputs(mode):
    linear = nn.Linear(64, 32, bias=False)
    layer = linear.to_quantized(quantize_input=True, mode=mode)
    assert isinstance(layer, nn.QQLinear) and layer.weight is linear.weight
    layer.eval()
    assert list(layer.parameters()) == ["weight", "scales"] and layer.weight.dtype == mx.uint32
    x = mx.random.normal((3, 64))
    np.testing.assert_allclose(to_numpy(layer(x)), to_numpy(linear(x)), atol=1.0)
    assert repr(layer).startswith("QQLinear(input_dims=64, output_dims=32, group_size=")
    layer.train()
    assert list(layer.parameters()) == ["weight"] and layer.weight.dtype == mx.float32
    np.testing.assert_allclose(to_numpy(layer.weight), to_numpy(linear.weight), atol=0.05)
