"""What layers say about wrong arguments, and what they show of themselves."""

import narrows.core as mx
import narrows.nn as nn
import pytest


def x(*shape):
    return mx.ones(shape)


# What is done, and what the error says.
ERRORS = [
    (lambda: nn.Linear(4, 2)(x(2, 3)), r"[Linear] input of shape (2, 3), expected (..., 4)"),
    (lambda: nn.Linear(4, 2)(x()), r"[Linear] input of shape (), expected (..., 4)"),
    (lambda: nn.Embedding(3, 2)(x(3)), "[Embedding] input of narrows.core.float32, expected int"),
    (lambda: nn.QuantizedEmbedding(64, 64)(x(3)), "[QuantizedEmbedding] input of narrows.core.fl"),
    (lambda: nn.Embedding(3, 2)(x(3) > 0), "[Embedding] input of narrows.core.bool, expected i"),
    (lambda: nn.LayerNorm(4)(mx.ones((2, 4), mx.int32)), "[layer_norm] an input of dtype int32"),
    (lambda: nn.RMSNorm(4)(mx.ones((2, 4), mx.int32)), "[rms_norm] an input of dtype int32"),
    (lambda: nn.RoPE(4)(mx.ones((1, 2, 4), mx.int32)), "[rope] an input of dtype int32"),
    (
        lambda: nn.Conv2d(3, 4, 3)(mx.ones((1, 8, 8, 3), mx.int32)),
        "[conv2d] dtype int32, expected floating point numbers",
    ),
    (lambda: nn.Bilinear(2, 3, 4)(x(5, 2), x(5, 4)), "[Bilinear] input of shape (5, 4)"),
    (lambda: nn.Bilinear(2, 3, 4)(x(5, 2), x(6, 3)), "[Bilinear] inputs of shapes (5, 2) and"),
    (lambda: nn.Embedding(3, 2).as_linear(x(3, 3)), "[Embedding] input of shape (3, 3), "),
    (lambda: nn.Dropout(1.0), "[Dropout] probability 1.0, expected it in [0, 1)"),
    (lambda: nn.Dropout2d(-1), "[Dropout2d] probability -1"),
    (lambda: nn.Dropout2d()(x(3, 3)), "[Dropout2d] input of shape (3, 3), expected 3 to 4"),
    (lambda: nn.Dropout3d()(x(3, 3, 3)), "[Dropout3d] input of shape (3, 3, 3), expected 4 to"),
    (lambda: nn.LayerNorm(4)(x(2, 3)), "[LayerNorm] input of shape (2, 3), expected (..., 4)"),
    (lambda: nn.RMSNorm(4)(x(2, 3)), "[RMSNorm] input of shape (2, 3), expected (..., 4)"),
    (lambda: nn.GroupNorm(3, 4), "[GroupNorm] 4 channels in 3 groups"),
    (lambda: nn.GroupNorm(0, 4), "[GroupNorm] 4 channels in 0 groups"),
    (lambda: nn.GroupNorm(2, 4)(x(1, 6)), "[GroupNorm] input of shape (1, 6), expected (..., 4)"),
    (lambda: nn.GroupNorm(2, 4)(x(4)), "[GroupNorm] input of shape (4,), expected (batch, ..."),
    (lambda: nn.InstanceNorm(3)(x(2, 3)), "[InstanceNorm] input of shape (2, 3), expected"),
    (lambda: nn.InstanceNorm(4)(x(2, 2, 3)), "[InstanceNorm] input of shape (2, 2, 3)"),
    (lambda: nn.BatchNorm(3)(x(3)), "[BatchNorm] input of shape (3,), expected 2 to 4"),
    (lambda: nn.BatchNorm(3)(x(3, 4)), "[BatchNorm] input of shape (3, 4), expected (..., 3)"),
    (lambda: nn.BatchNorm(3)(x(1, 3)), "[BatchNorm] input of shape (1, 3) in training, "),
    (lambda: nn.Conv1d(3, 4, 3, groups=2), "[Conv1d] 3 input channels in 2 groups"),
    (lambda: nn.Conv2d(4, 3, 3, groups=2), "[Conv2d] 3 output channels in 2 groups"),
    (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "[Conv2d] kernel_size (3, 3, 3), expected an integer"),
    (lambda: nn.Conv2d(3, 4, 3, stride=1.5), "[Conv2d] stride 1.5, expected an integer"),
    (
        lambda: nn.Conv2d(3, 4, 3)(x(1, 8, 8, 4)),
        "[Conv2d] input of shape (1, 8, 8, 4), expected (batch, height, width, 3)",
    ),
    (
        lambda: nn.Conv1d(3, 4, 3)(x(8, 3)),
        "[Conv1d] input of shape (8, 3), expected (batch, length, 3)",
    ),
    (
        lambda: nn.ConvTranspose3d(3, 4, 3)(x(1, 3)),
        "[ConvTranspose3d] input of shape (1, 3), expected (batch, depth, height, width, 3)",
    ),
    (lambda: nn.MaxPool2d((2, 3, 4)), "[MaxPool2d] kernel_size (2, 3, 4), expected an integer"),
    (lambda: nn.MaxPool1d(2, 0), "[MaxPool1d] stride 0, expected 1 or more"),
    (lambda: nn.AvgPool3d(2, 1, -1), "[AvgPool3d] padding -1, expected 0 or more"),
    (
        lambda: nn.MaxPool2d(2)(x(3, 3)),
        "[MaxPool2d] input of shape (3, 3), expected 4 dimensions: (batch, height, width, chann",
    ),
    (lambda: nn.RNN(3, 4)(x(2, 5, 2)), "[RNN] input of shape (2, 5, 2), expected (..., 3)"),
    (lambda: nn.GRU(3, 4)(x(3)), "[GRU] input of shape (3,), expected (..., length, 3)"),
    (
        lambda: nn.LSTM(3, 4)(x(2, 5, 3), x(2, 4), x(3, 4)),
        "[LSTM] cell of shape (3, 4), expected (2, 4)",
    ),
    (lambda: nn.RNN(3, 4, nonlinearity=3), "[RNN] nonlinearity 3, expected a function"),
    (lambda: nn.MultiHeadAttention(5, 2), "[MultiHeadAttention] dims 5 for 2 heads"),
    (
        lambda: nn.MultiHeadAttention(4, 2)(x(3, 4), x(3, 4), x(3, 4)),
        "[MultiHeadAttention] queries of shape (3, 4), expected (batch, length, dims)",
    ),
    (
        lambda: nn.SinusoidalPositionalEncoding(5),
        "[SinusoidalPositionalEncoding] dims 5, expected an even number",
    ),
    (lambda: nn.ALiBi()(x(2, 3)), "[ALiBi] scores of shape (2, 3), expected (batch, num_heads"),
    (lambda: nn.GELU("x"), "[GELU] approx 'x', expected one of 'none', 'precise', 'tanh', 'fast'"),
    (lambda: nn.PReLU(3)(x(2, 4)), "[PReLU] input of shape (2, 4), expected (..., 3)"),
    (lambda: nn.Upsample(2, "x"), "[Upsample] mode 'x', expected 'nearest', 'linear' or 'cubic'"),
    (lambda: nn.Upsample(0.0), "[Upsample] scale_factor 0.0, expected it above zero"),
    (lambda: nn.Upsample(2, antialias=True), "[Upsample] antialias with mode 'nearest'"),
    (lambda: nn.Upsample(2, "linear", True, True), "[Upsample] antialias with mode 'linear' and"),
    (lambda: nn.Upsample(2)(x(2, 1)), "[Upsample] input of shape (2, 1), expected (batch, ..."),
    (lambda: nn.Upsample((2, 3))(x(1, 2, 1)), "[Upsample] input of shape (1, 2, 1), expected 2 d"),
]


@pytest.mark.parametrize(
    "call, message", ERRORS, ids=lambda v: v[:30] if isinstance(v, str) else ""
)
def test_errors_name_the_layer(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)


NO_ARRAYS = [
    (lambda: nn.Linear(4, 2)([1.0, 2.0, 3.0, 4.0]), "[Linear] input list, expected an array"),
    (lambda: nn.LayerNorm(4)(None), "[LayerNorm] input NoneType, expected an array"),
    (lambda: nn.MaxPool2d(2)(3.0), "[MaxPool2d] input float, expected an array"),
    (lambda: nn.QuantizedLinear(64, 32)("x"), "[QuantizedLinear] input str, expected an array"),
    (lambda: nn.GRU(3, 4)([[1.0] * 3]), "[GRU] input list, expected an array"),
    (lambda: nn.Conv2d(3, 4, 3)(None), "[Conv2d] input NoneType, expected an array"),
    (lambda: nn.BatchNorm(3)(None), "[BatchNorm] input NoneType, expected an array"),
    (lambda: nn.Dropout2d()([1.0]), "[Dropout2d] input list, expected an array"),
    (lambda: nn.Upsample(2)(None), "[Upsample] input NoneType, expected an array"),
    (
        lambda: nn.MultiHeadAttention(4, 2)(x(1, 2, 4), None, None),
        "[MultiHeadAttention] input NoneType, expected an array",
    ),
]


@pytest.mark.parametrize(
    "call, message", NO_ARRAYS, ids=lambda v: v[:16] if isinstance(v, str) else ""
)
def test_what_is_no_array(call, message):
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value) == message


# What a layer shows of itself.
SHOWN = [
    (lambda: nn.Linear(2, 3, bias=False), "Linear(input_dims=2, output_dims=3, bias=False)"),
    (
        lambda: nn.Bilinear(2, 3, 4),
        "Bilinear(input1_dims=2, input2_dims=3, output_dims=4, bias=True)",
    ),
    (lambda: nn.Embedding(4, 5), "Embedding(4, 5)"),
    (lambda: nn.Dropout2d(0.5), "Dropout2d(p=0.5)"),
    (lambda: nn.LayerNorm(3), "LayerNorm(3, eps=1e-05, affine=True)"),
    (lambda: nn.RMSNorm(3), "RMSNorm(3, eps=1e-05)"),
    (lambda: nn.InstanceNorm(3), "InstanceNorm(3, eps=1e-05, affine=False)"),
    (
        lambda: nn.GroupNorm(2, 4),
        "GroupNorm(2, 4, eps=1e-05, affine=True, pytorch_compatible=False)",
    ),
    (
        lambda: nn.BatchNorm(3),
        "BatchNorm(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)",
    ),
    (
        lambda: nn.Conv1d(2, 4, 3, groups=2, bias=False),
        "Conv1d(2, 4, kernel_size=3, stride=1, padding=0, dilation=1, groups=2, bias=False)",
    ),
    (
        lambda: nn.Conv2d(2, 4, 3, padding=(1, 2)),
        "Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 2), dilation=1, groups=1, "
        "bias=True)",
    ),
    (
        lambda: nn.ConvTranspose2d(2, 4, 3),
        "ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0), dilation=1, "
        "output_padding=(0, 0), bias=True)",
    ),
    (
        lambda: nn.AvgPool2d((2, 3), padding=1),
        "AvgPool2d(kernel_size=(2, 3), stride=(2, 3), padding=(1, 1))",
    ),
    (lambda: nn.MaxPool1d(2), "MaxPool1d(kernel_size=(2,), stride=(2,), padding=(0,))"),
    (lambda: nn.GRU(2, 3), "GRU(input_dims=2, hidden_size=3, bias=True)"),
    (lambda: nn.LSTM(2, 3, bias=False), "LSTM(input_dims=2, hidden_size=3, bias=False)"),
    (lambda: nn.RNN(2, 3), "RNN(input_dims=2, hidden_size=3, nonlinearity=tanh, bias=True)"),
    (lambda: nn.RoPE(4, True), "RoPE(4, traditional=True)"),
    (
        lambda: nn.Upsample((2, 3), "linear", True),
        "Upsample(scale_factor=(2.0, 3.0), mode='linear', align_corners=True)",
    ),
]


@pytest.mark.parametrize("make, text", SHOWN, ids=[text.partition("(")[0] for _, text in SHOWN])
def test_shown(make, text):
    assert repr(make()) == text
