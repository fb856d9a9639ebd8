"""Whether products may use TF32: the setting, and on NVIDIA's GPUs what it does."""

import os
import subprocess
import sys
import threading

import narrows.core as mx
import numpy as np
import pytest

uses_tensor_cores = pytest.mark.skipif(
    not mx.cuda.is_available() or mx.default_device() != mx.gpu,
    reason="needs a GPU that has TF32",
)


@pytest.fixture(autouse=True)
def restored():
    before = mx.set_tf32(True)
    yield
    mx.set_tf32(before)


def test_process_and_scopes():
    assert mx.tf32_enabled()
    assert mx.set_tf32(False) is True
    assert not mx.tf32_enabled()
    with mx.tf32(True):
        assert mx.tf32_enabled()
        with mx.tf32(False):
            assert not mx.tf32_enabled()
        assert mx.tf32_enabled()
        assert mx.set_tf32(True) is False  # the process's, not the scope's
    assert mx.tf32_enabled()


def test_scope_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), mx.tf32(False):
        raise ZeroDivisionError
    assert mx.tf32_enabled()


def test_scope_is_of_one_thread():
    seen = []
    with mx.tf32(False):
        thread = threading.Thread(target=lambda: seen.append(mx.tf32_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({}, True),
        ({"NARROWS_ENABLE_TF32": "0"}, False),
        ({"NARROWS_ENABLE_TF32": "1"}, True),
        ({"MLX_ENABLE_TF32": "0"}, False),
        ({"MLX_ENABLE_TF32": "0", "NARROWS_ENABLE_TF32": "1"}, True),
    ],
)
def test_environment(variables, expected):
    names = ("NARROWS_ENABLE_TF32", "MLX_ENABLE_TF32")
    environment = {name: text for name, text in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", "import narrows.core as mx; print(mx.tf32_enabled())"],
        env=environment | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(expected)


# Integers of 12 bits, which TF32 rounds to 11. Sums of them are float32 numbers.
NUMBERS = np.random.default_rng(0).integers(1024, 2048, (64, 32)) * 2 + 1.0
ONES = np.ones((32, 48))


def product(x, w):
    return x @ w


def convolution(x, w):
    """The product with the rows as places of an image."""
    image = mx.reshape(x, (1, 8, 8, 32))
    filters = mx.reshape(mx.transpose(w), (48, 1, 1, 32))
    return mx.reshape(mx.conv2d(image, filters), (64, 48))


def attention(x, w):
    """The product with values, each of which one query sees."""
    sees = mx.eye(64).astype(mx.bool_)
    zeros = mx.zeros((1, 1, 64, 32))
    seen = mx.fast.scaled_dot_product_attention(zeros, zeros, x[None, None], scale=1, mask=sees)
    return seen[0, 0] @ w


@pytest.mark.parametrize("function", [product, convolution, attention])
def test_exact_without(function):
    x, w = mx.array(NUMBERS, mx.float32), mx.array(ONES, mx.float32)
    compiled = mx.compile(function)
    expected = NUMBERS @ ONES
    for f in (function, compiled):
        with mx.tf32(True):
            mx.eval(f(x, w))  # what is chosen here must not be used below
        with mx.tf32(False):
            y = f(x, w)
            mx.eval(y)
            z = f(x, w)
            mx.async_eval(z)
        assert np.array_equal(np.array(y), expected)
        assert np.array_equal(np.array(z), expected)


@uses_tensor_cores
@pytest.mark.parametrize("function", [product, convolution, attention])
def test_rounds_factors_only(function):
    x, w = mx.array(NUMBERS, mx.float32), mx.array(ONES, mx.float32)
    y = np.array(function(x, w))
    np.testing.assert_allclose(y, NUMBERS @ ONES, rtol=2**-10)


@uses_tensor_cores
def test_large_products_use_it():
    numbers = np.random.default_rng(1).integers(1024, 2048, (512, 512)) * 2 + 1.0
    x, w = mx.array(numbers, mx.float32), mx.eye(512)
    assert not np.array_equal(np.array(x @ w), numbers)
    with mx.tf32(False):
        assert np.array_equal(np.array(x @ w), numbers)
