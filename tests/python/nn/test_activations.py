"""Activation functions and the layers of them. Values are compared in test_torch.py, too."""

import narrows.core as mx
import narrows.nn as nn
import numpy as np
import pytest
from support import assert_close, to_numpy

VALUES = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)

# The functions and the layers of them, where arguments have other names than their attributes.
PAIRS = [
    (nn.Sigmoid(), nn.sigmoid),
    (nn.ReLU2(), nn.relu2),
    (nn.ReLU6(), nn.relu6),
    (nn.LeakyReLU(0.2), lambda x: nn.leaky_relu(x, 0.2)),
    (nn.ELU(0.5), lambda x: nn.elu(x, 0.5)),
    (nn.CELU(0.5), lambda x: nn.celu(x, 0.5)),
    (nn.HardShrink(1.0), lambda x: nn.hard_shrink(x, 1.0)),
    (nn.Softshrink(1.0), lambda x: nn.softshrink(x, 1.0)),
    (nn.Step(1.0), lambda x: nn.step(x, 1.0)),
    (nn.GLU(0), lambda x: nn.glu(x, 0)),
    (nn.GELU(), nn.gelu),
    (nn.GELU("tanh"), nn.gelu_approx),
    (nn.GELU("precise"), nn.gelu_approx),
    (nn.GELU("fast"), nn.gelu_fast_approx),
    (nn.Softmax(), nn.softmax),
    (nn.Softmin(), nn.softmin),
    (nn.LogSoftmax(), nn.log_softmax),
    (nn.LogSigmoid(), nn.log_sigmoid),
    (nn.Mish(), nn.mish),
    (nn.SELU(), nn.selu),
    (nn.SiLU(), nn.silu),
    (nn.Softplus(), nn.softplus),
    (nn.Softsign(), nn.softsign),
    (nn.Hardswish(), nn.hardswish),
    (nn.HardTanh(), nn.hard_tanh),
    (nn.Tanh(), nn.tanh),
    (nn.ReLU(), nn.relu),
]


@pytest.mark.parametrize("layer, function", PAIRS, ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_activations(layer, function, dtype):
    values = mx.array(3 * VALUES).astype(dtype)
    y = layer(values)
    assert mx.array_equal(y, function(values)).item()
    assert y.dtype == (mx.int32 if isinstance(layer, nn.Step) else dtype)


# Where a formula overflows, results stay right.
FAR = [
    (nn.softplus, [0.0, 1000.0]),
    (nn.log_sigmoid, [-1000.0, 0.0]),
    (nn.mish, [0.0, 1000.0]),
    (nn.elu, [-1.0, 1000.0]),
    (nn.celu, [-1.0, 1000.0]),
    (nn.silu, [0.0, 1000.0]),
    (nn.gelu, [0.0, 1000.0]),
    (nn.gelu_approx, [0.0, 1000.0]),
    (nn.log_softmax, [-2000.0, 0.0]),
]


@pytest.mark.parametrize("function, expected", FAR, ids=lambda v: getattr(v, "__name__", ""))
def test_activations_far_from_zero(function, expected):
    far = mx.array([-1000.0, 1000.0])
    assert function(far).tolist() == expected
    assert np.isfinite(to_numpy(mx.grad(lambda x: function(x).sum())(far))).all()


def test_other_activations():
    values = mx.array([-3.0, -0.5, 0.0, 2.0])
    assert nn.relu2(values).tolist() == [0.0, 0.0, 0.0, 4.0]
    assert nn.step(values, 0.0).tolist() == [0, 0, 1, 1]
    fast = to_numpy(values) / (1 + np.exp(-1.702 * to_numpy(values)))
    assert_close(nn.gelu_fast_approx(values), fast)
    assert nn.hard_tanh(values, -0.25, 0.25).tolist() == [-0.25, -0.25, 0.0, 0.25]
    for function in (nn.elu, nn.celu, nn.selu):  # derivatives at zero come from the left
        slope = 1.0507 * 1.67326 if function is nn.selu else 1.0
        assert mx.grad(function)(mx.array(0.0)).item() == pytest.approx(slope)
