"""First values: their distributions, and what the functions say about wrong arrays."""

import math

import narrows.core as mx
import narrows.nn as nn
import numpy as np
import pytest
from support import assert_close, needs, to_numpy

init = nn.init
MATRIX, IMAGES = mx.zeros((300, 200)), mx.zeros((40, 3, 3, 50))

# A function of an array, and the mean, the deviation and the bound of the numbers.
DISTRIBUTIONS = [
    (init.constant(2.0), MATRIX, 2, 0, 2),
    (init.normal(1, 2), MATRIX, 1, 2, None),
    (init.uniform(-1, 3), MATRIX, 1, 4 / math.sqrt(12), 3),
    (init.glorot_normal(), MATRIX, 0, math.sqrt(2 / 500), None),
    (lambda a: init.glorot_normal()(a, gain=3.0), IMAGES, 0, 3 * math.sqrt(2 / 810), None),
    (init.glorot_uniform(), IMAGES, 0, math.sqrt(2 / 810), math.sqrt(6 / 810)),
    (init.he_normal(), IMAGES, 0, math.sqrt(1 / 450), None),
    (lambda a: init.he_normal()(a, "fan_out", 2.0), IMAGES, 0, 2 / math.sqrt(360), None),
    (init.he_uniform(), MATRIX, 0, math.sqrt(1 / 200), math.sqrt(3 / 200)),
    (lambda a: init.he_uniform()(a, mode="fan_out"), MATRIX, 0, math.sqrt(1 / 300), 0.1),
]


@pytest.mark.parametrize("function, array, mean, deviation, bound", DISTRIBUTIONS)
def test_distribution(function, array, mean, deviation, bound):
    mx.random.seed(6)
    values = function(array)
    assert values.shape == array.shape and values.dtype == mx.float32
    numbers = to_numpy(values)
    assert numbers.std() == pytest.approx(deviation, rel=0.05, abs=1e-6)
    assert numbers.mean() == pytest.approx(mean, abs=0.02 * deviation + 1e-6)
    if bound is not None:
        assert 0.99 * bound < np.abs(numbers).max() <= bound * (1 + 1e-6)


FUNCTIONS = [
    lambda dtype: init.constant(1.0, dtype),
    lambda dtype: init.normal(dtype=dtype),
    lambda dtype: init.uniform(dtype=dtype),
    lambda dtype: init.identity(dtype),
    lambda dtype: init.glorot_normal(dtype),
    lambda dtype: init.glorot_uniform(dtype),
    lambda dtype: init.he_normal(dtype),
    lambda dtype: init.he_uniform(dtype),
]


@pytest.mark.parametrize("make", FUNCTIONS)
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32])
def test_dtypes(make, dtype):
    assert make(dtype)(mx.zeros((3, 3))).dtype == dtype


def test_identity():
    assert_close(init.identity()(mx.zeros((3, 3))), np.eye(3))


@needs("argsort")
def test_sparse():
    values = to_numpy(init.sparse(0.3, mean=5.0)(mx.zeros((40, 25))))
    assert ((values == 0).sum(1) == math.ceil(0.3 * 25)).all()
    places = (values == 0).sum(0)
    assert places.min() > 0 and places.max() < 40
    assert values[values != 0].mean() == pytest.approx(5, abs=0.2)
    assert init.sparse(0.5, dtype=mx.float16)(mx.zeros((2, 2))).dtype == mx.float16
    assert (to_numpy(init.sparse(1.0)(mx.zeros((2, 2)))) == 0).all()


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_orthogonal(shape):
    w = to_numpy(init.orthogonal(gain=2.0)(mx.zeros(shape)))
    product = w @ w.T if shape[0] <= shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=1e-5)
    assert init.orthogonal(dtype=mx.float16)(mx.zeros(shape)).dtype == mx.float16


ERRORS = [
    (lambda: init.identity()(mx.zeros((2, 3))), "[identity] array of shape (2, 3), expected a"),
    (lambda: init.identity()(mx.zeros((2, 2, 2))), "[identity] array of shape (2, 2, 2)"),
    (lambda: init.glorot_normal()(mx.zeros((3,))), "[glorot_normal] array of shape (3,), expec"),
    (lambda: init.glorot_uniform()(mx.zeros((3,))), "[glorot_uniform] array of shape (3,)"),
    (lambda: init.he_normal()(mx.zeros((3,))), "[he_normal] array of shape (3,)"),
    (lambda: init.he_uniform()(mx.zeros((3,))), "[he_uniform] array of shape (3,)"),
    (lambda: init.he_normal()(MATRIX, "x"), "[he_normal] mode 'x', expected 'fan_in' or 'fan_out'"),
    (lambda: init.sparse(1.5), "[sparse] sparsity 1.5, expected it in [0, 1]"),
    (lambda: init.sparse(0.5)(mx.zeros((3,))), "[sparse] array of shape (3,), expected a matrix"),
    (lambda: init.orthogonal()(mx.zeros((3,))), "[orthogonal] array of shape (3,), expected a"),
]


@pytest.mark.parametrize("call, message", ERRORS, ids=[message for _, message in ERRORS])
def test_errors(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
