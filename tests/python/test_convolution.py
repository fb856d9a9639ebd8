"""Convolutions and their gradients against NumPy (convolution_reference.py)."""

import os
import subprocess
import sys
from pathlib import Path

import narrows.core as mx
import numpy as np
import pytest
from convolution_reference import Convolution
from support import FLOATING, NUMPY, assert_close, from_numpy, name_of, to_numpy

# Name: shapes of the input and of the filters, settings of conv_general().
CASES = {
    "1d": ((2, 9, 3), (4, 3, 3), {}),
    "1d one element": ((1, 1, 1), (1, 1, 1), {}),
    "1d strided, padded": ((2, 10, 3), (5, 4, 3), {"stride": 3, "padding": 2}),
    "1d dilated": ((2, 11, 2), (3, 3, 2), {"kernel_dilation": 4, "padding": 1}),
    "1d groups": ((2, 9, 6), (4, 3, 3), {"groups": 2, "padding": 1}),
    "1d depthwise": ((2, 9, 6), (6, 3, 1), {"groups": 6}),
    "1d long": ((1, 3000, 2), (3, 5, 2), {"padding": 2}),
    "2d": ((2, 7, 8, 3), (5, 3, 3, 3), {}),
    "2d padded": ((2, 5, 6, 16), (16, 3, 3, 16), {"padding": 1}),
    "2d odd filter": ((1, 6, 9, 7), (5, 2, 5, 7), {"padding": (1, 2)}),
    "2d strided": ((2, 9, 8, 4), (6, 3, 3, 4), {"stride": (2, 3), "padding": 1}),
    "2d stride leaves some out": ((1, 8, 9, 3), (2, 2, 2, 3), {"stride": 4}),
    "2d points": ((2, 6, 5, 9), (4, 1, 1, 9), {}),
    "2d points strided": ((2, 7, 6, 9), (4, 1, 1, 9), {"stride": 2}),
    "2d points of groups": ((2, 3, 5, 8), (4, 1, 1, 4), {"groups": 2}),
    "2d filter of all": ((3, 4, 5, 6), (2, 4, 5, 6), {}),
    "2d dilated": ((1, 9, 8, 3), (4, 3, 2, 3), {"kernel_dilation": (2, 3), "padding": 2}),
    "2d strided, dilated": (
        (2, 11, 12, 3),
        (4, 3, 3, 3),
        {"stride": (2, 4), "kernel_dilation": (3, 2), "padding": 3},
    ),
    "2d groups": ((2, 6, 7, 12), (9, 3, 3, 4), {"groups": 3, "padding": 1}),
    "2d groups odd": ((2, 6, 7, 14), (10, 3, 3, 7), {"groups": 2, "stride": 2}),
    "2d depthwise": ((2, 6, 7, 16), (16, 3, 3, 1), {"groups": 16, "padding": 1}),
    "2d depthwise of two": ((2, 6, 7, 5), (10, 3, 3, 1), {"groups": 5, "stride": 2}),
    "2d asymmetric": ((2, 6, 7, 3), (4, 3, 3, 3), {"padding": ([0, 2], [3, 1])}),
    "2d cut off": ((2, 9, 9, 3), (4, 3, 3, 3), {"padding": ([-2, 1], [1, -3])}),
    "2d more padding than filter": ((1, 3, 3, 2), (2, 2, 2, 2), {"padding": 4, "stride": 3}),
    "2d input dilation": ((2, 5, 4, 3), (4, 3, 3, 3), {"input_dilation": 2, "padding": 1}),
    "2d input dilation of one": (
        (2, 5, 4, 3),
        (4, 3, 2, 3),
        {"input_dilation": (3, 1), "padding": ([2, 0], [4, 1])},
    ),
    "2d input dilation and stride": (
        (2, 6, 7, 4),
        (4, 3, 3, 2),
        {"input_dilation": (4, 3), "stride": (2, 2), "padding": 2, "groups": 2},
    ),
    "2d all dilated": (
        (1, 7, 6, 2),
        (3, 3, 4, 2),
        {"input_dilation": (2, 3), "stride": (3, 1), "kernel_dilation": (2, 2), "padding": 4},
    ),
    "2d input dilation cut off": (
        (1, 6, 6, 2),
        (3, 2, 2, 2),
        {"input_dilation": 3, "padding": ([-2, 4], [-1, -4])},
    ),
    "2d flipped": ((2, 6, 7, 4), (6, 3, 2, 2), {"flip": True, "groups": 2, "padding": 1}),
    "2d flipped, dilated": (
        (1, 5, 4, 4),
        (6, 3, 2, 2),
        {"flip": True, "groups": 2, "input_dilation": 2},
    ),
    "2d images of 16": ((3, 13, 10, 16), (32, 3, 3, 16), {"padding": (1, 0)}),
    "2d images strided": ((2, 12, 15, 16), (48, 3, 5, 16), {"stride": (2, 3), "padding": (2, 1)}),
    "2d images asymmetric": ((2, 9, 8, 32), (16, 2, 3, 32), {"padding": ([0, 2], [1, 0])}),
    "2d images left over": ((1, 14, 9, 16), (16, 2, 2, 16), {"stride": 3}),
    "2d images in bands": ((1, 50, 70, 32), (16, 3, 3, 32), {"padding": 1}),
    "2d images smaller than filters": ((2, 1, 2, 16), (16, 3, 3, 16), {"padding": 2}),
    "2d images of points strided": ((2, 8, 7, 16), (32, 1, 1, 16), {"stride": 2}),
    "2d images of few channels": ((2, 9, 11, 3), (48, 7, 7, 3), {"stride": 2, "padding": 3}),
    "2d images to few channels": ((2, 7, 9, 32), (5, 3, 4, 32), {"stride": (1, 2), "padding": 1}),
    "2d images, phases without places": ((2, 2, 3, 16), (16, 2, 1, 16), {"stride": 4}),
    "2d images, long rows": ((1, 3, 45, 16), (64, 1, 3, 16), {"stride": (2, 1)}),
    "2d larger": ((4, 20, 21, 32), (48, 3, 3, 32), {"padding": 1}),
    "2d many channels": ((1, 6, 5, 300), (40, 3, 3, 300), {"padding": 1}),
    "3d": ((2, 5, 6, 4, 3), (4, 3, 2, 2, 3), {}),
    "3d strided": ((1, 5, 6, 7, 4), (3, 3, 3, 3, 4), {"stride": (2, 1, 3), "padding": 1}),
    "3d groups": ((1, 4, 4, 5, 4), (6, 2, 3, 2, 2), {"groups": 2, "kernel_dilation": (1, 1, 2)}),
    "3d input dilation": ((1, 3, 3, 3, 2), (3, 2, 2, 2, 2), {"input_dilation": (2, 1, 3)}),
    "no batch": ((0, 5, 5, 3), (4, 3, 3, 3), {}),
    "no input channels": ((2, 5, 5, 0), (4, 3, 3, 0), {}),
    "no output channels": ((2, 5, 5, 3), (0, 3, 3, 3), {}),
    "nothing but padding": ((2, 0, 5, 3), (4, 2, 3, 3), {"padding": 2}),
}


def numbers(shape, dtype, seed):
    x = np.random.default_rng(seed).uniform(-1, 1, shape).astype(NUMPY[dtype])
    a = from_numpy(x, dtype)
    return a, to_numpy(a).astype(np.float64)


def scale_of(dtype, shape):
    """Errors grow with the number of products in a sum; 16-bit types are summed in float32."""
    return 2 if dtype in (mx.float16, mx.bfloat16) else 4 + np.prod(shape) ** 0.5


@pytest.mark.parametrize("dtype", FLOATING, ids=name_of)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, dtype):
    x_shape, w_shape, settings = CASES[name]
    reference = Convolution(x_shape, w_shape, **settings)
    (x, x_values), (w, w_values) = numbers(x_shape, dtype, 0), numbers(w_shape, dtype, 1)
    expected = reference.output(x_values, w_values)
    g, g_values = numbers(expected.shape, dtype, 2)
    (y,), (of_x, of_w) = mx.vjp(lambda x, w: mx.conv_general(x, w, **settings), [x, w], [g])
    assert y.dtype == of_x.dtype == of_w.dtype == dtype
    assert_close(y, expected, scale=scale_of(dtype, w_shape[1:]))
    assert_close(
        of_x, reference.input_gradient(g_values, w_values), scale=scale_of(dtype, w_shape[:-1])
    )
    expected_of_w = reference.weight_gradient(x_values, g_values)
    assert_close(of_w, expected_of_w, scale=scale_of(dtype, g.shape[:-1]))


def has_instructions(isa):
    """Whether the processor does, as far as the system tells."""
    flag = {"v2": "sse4_2", "v3": "avx2", "v4": "avx512bw"}[isa]
    info = Path("/proc/cpuinfo")
    return info.exists() and flag in info.read_text().split()


@pytest.mark.parametrize("isa", ["v2", "v3", "v4"])
def test_instruction_sets(isa):
    """In a process of its own, because it is decided once."""
    if not has_instructions(isa):
        pytest.skip(f"The processor does not tell that it has the instructions of {isa}.")
    cases = "test_values_and_gradients and 2d and float32"
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", __file__, "-k", cases],
        env={**os.environ, "NARROWS_CPU_ISA": isa},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", [row for row in CASES if "no" not in row.split()])
def test_derivatives_of_gradients(name):
    """Each of the three operations is linear in both inputs, and their derivatives each other."""
    x_shape, w_shape, settings = CASES[name]
    dtype = mx.float64
    reference = Convolution(x_shape, w_shape, **settings)
    (x, x_values), (w, w_values) = numbers(x_shape, dtype, 0), numbers(w_shape, dtype, 1)
    (t, t_values), (u, u_values) = numbers(x_shape, dtype, 2), numbers(w_shape, dtype, 3)
    g, g_values = numbers(reference.output(x_values, w_values).shape, dtype, 4)

    def gradients(x, w, g):
        return mx.vjp(lambda x, w: mx.conv_general(x, w, **settings), [x, w], [g])[1]

    # sum(t * of_x) + sum(u * of_w) = sum(g * (forward(t, w) + forward(x, u)))
    _, found = mx.vjp(gradients, [x, w, g], [t, u])
    expected = [
        reference.input_gradient(g_values, u_values),
        reference.weight_gradient(t_values, g_values),
        reference.output(t_values, w_values) + reference.output(x_values, u_values),
    ]
    for actual, values in zip(found, expected):
        assert_close(actual, values, scale=100)
    _, tangents = mx.jvp(lambda x, w: gradients(x, w, g), [x, w], [t, u])
    assert_close(tangents[0], reference.input_gradient(g_values, u_values), scale=100)
    assert_close(tangents[1], reference.weight_gradient(t_values, g_values), scale=100)


BATCHED = [
    "1d groups",
    "2d strided",
    "2d groups odd",
    "2d input dilation",
    "3d groups",
    "2d depthwise",
]


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 2)], ids=str)
@pytest.mark.parametrize("name", BATCHED)
def test_batches(name, axes):
    x_shape, w_shape, settings = CASES[name]
    (x, _), (w, _) = numbers((3, *x_shape), mx.float32, 0), numbers((3, *w_shape), mx.float32, 1)

    def function(x, w):
        y = mx.conv_general(x, w, **settings)
        of_x, of_w = mx.vjp(lambda x, w: mx.conv_general(x, w, **settings), [x, w], [y])[1]
        # Gradients whose first or second input alone is batched.
        lone_x = mx.grad(lambda x: mx.sum(mx.conv_general(x, w, **settings)))(x)
        lone_w = mx.grad(lambda w: mx.sum(mx.conv_general(x, w, **settings)))(w)
        return y, of_x, of_w, lone_x, lone_w

    of_one = [
        [a[i] if axis is not None else a[0] for a, axis in zip((x, w), axes)] for i in range(3)
    ]
    expected = [function(*entry) for entry in of_one]
    inputs = [a[0] if axis is None else mx.moveaxis(a, 0, axis) for a, axis in zip((x, w), axes)]
    for k, result in enumerate(mx.vmap(function, in_axes=axes)(*inputs)):
        assert_close(result, np.stack([to_numpy(entry[k]) for entry in expected]), scale=300)


def test_gradients_of_which_one_input_is_batched():
    x_shape, w_shape, settings = CASES["2d groups odd"]
    (x, _), (w, _) = numbers(x_shape, mx.float32, 0), numbers(w_shape, mx.float32, 1)
    y = mx.conv_general(x, w, **settings)
    g, _ = numbers((3, *y.shape), mx.float32, 2)

    def gradients(g):
        return mx.vjp(lambda x, w: mx.conv_general(x, w, **settings), [x, w], [g])[1]

    expected = [gradients(g[i]) for i in range(3)]
    for k, result in enumerate(mx.vmap(gradients)(g)):
        assert_close(result, np.stack([to_numpy(entry[k]) for entry in expected]), scale=300)


@pytest.mark.parametrize("name", ["2d strided", "2d input dilation", "3d groups"])
def test_layouts(name):
    """Inputs need not be contiguous."""
    x_shape, w_shape, settings = CASES[name]
    reference = Convolution(x_shape, w_shape, **settings)
    x, x_values = numbers(x_shape[::-1], mx.float32, 0)
    w, w_values = numbers((2 * w_shape[0], *w_shape[1:]), mx.float32, 1)
    y = mx.conv_general(x.T, w[::-2], **settings)
    assert_close(y, reference.output(x_values.T, w_values[::-2]), scale=30)


def transposed(x, w, stride=1, padding=0, dilation=1, output_padding=0, groups=1):
    """By what it is: each input spreads its filters over the output."""
    ndim = x.ndim - 2
    stride, padding = [(n,) * ndim if isinstance(n, int) else n for n in (stride, padding)]
    dilation, more = [(n,) * ndim if isinstance(n, int) else n for n in (dilation, output_padding)]
    kernel = w.shape[1:-1]
    full = [
        (n - 1) * s + d * (k - 1) + 1 + m
        for n, s, d, k, m in zip(x.shape[1:-1], stride, dilation, kernel, more)
    ]
    result = np.zeros((x.shape[0], *full, w.shape[0]))
    inputs, outputs = x.shape[-1] // groups, w.shape[0] // groups
    for place in np.ndindex(*x.shape[1:-1]):
        for k in np.ndindex(*kernel):
            at = tuple(p * s + i * d for p, s, i, d in zip(place, stride, k, dilation))
            for group in range(groups):
                o = slice(group * outputs, (group + 1) * outputs)
                c = slice(group * inputs, (group + 1) * inputs)
                result[(slice(None), *at, o)] += x[(slice(None), *place, c)] @ w[(o, *k)].T
    cut = tuple(slice(p, n - p) for p, n in zip(padding, full))
    return result[(slice(None), *cut)]


TRANSPOSED = {
    "1d": (mx.conv_transpose1d, (2, 5, 3), (4, 3, 3), {}),
    "1d strided": (mx.conv_transpose1d, (2, 5, 3), (4, 3, 3), {"stride": 2, "padding": 1}),
    "1d all": (
        mx.conv_transpose1d,
        (2, 5, 4),
        (6, 3, 2),
        {"stride": 3, "padding": 1, "dilation": 2, "output_padding": 2, "groups": 2},
    ),
    "1d padding beyond the filter": (
        mx.conv_transpose1d,
        (1, 6, 2),
        (2, 2, 2),
        {"stride": 2, "padding": 3},
    ),
    "1d output padding beyond the stride": (
        mx.conv_transpose1d,
        (1, 4, 2),
        (2, 3, 2),
        {"stride": 2, "output_padding": 4},
    ),
    "2d": (mx.conv_transpose2d, (2, 4, 5, 3), (4, 3, 2, 3), {"stride": (2, 3)}),
    "2d all": (
        mx.conv_transpose2d,
        (2, 4, 5, 6),
        (4, 3, 2, 3),
        {"stride": 2, "padding": (1, 0), "dilation": (1, 2), "output_padding": (0, 1), "groups": 2},
    ),
    "2d plain": (mx.conv_transpose2d, (2, 4, 5, 3), (4, 3, 3, 3), {"padding": 1}),
    "3d": (
        mx.conv_transpose3d,
        (1, 3, 2, 4, 2),
        (3, 2, 3, 2, 2),
        {"stride": 2, "padding": (0, 1, 0)},
    ),
}


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=name_of)
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed(name, dtype):
    function, x_shape, w_shape, settings = TRANSPOSED[name]
    (x, x_values), (w, w_values) = numbers(x_shape, dtype, 0), numbers(w_shape, dtype, 1)
    assert_close(function(x, w, **settings), transposed(x_values, w_values, **settings), scale=8)


# (channels, groups): products of tiles, and of few channels.
@pytest.mark.parametrize("channels, groups", [(3, 1), (2, 2)])
def test_few_places_are_reached(channels, groups):
    n = 100_003
    x = mx.array(np.arange(1.0, 3 * channels + 1, dtype=np.float32).reshape(1, 3, channels))
    w = mx.ones((channels, 2, channels // groups))
    result = np.array(mx.conv_transpose1d(x, w, stride=n, groups=groups))
    expected = np.zeros((1, 2 * n + 2, channels), np.float32)
    sums = np.array(x) if groups > 1 else np.array(x).sum(-1, keepdims=True)
    for tap in range(2):
        expected[:, tap::n] = sums
    assert np.array_equal(result, expected)


def test_distances_beyond_memory(memory):
    memory.set_memory_limit(1 << 28, strict=True)
    x, w = mx.ones((1, 3, 1)), mx.ones((1, 2, 1))
    for n in (2**31 - 2, 2**31 - 1):
        calls = [
            mx.conv_transpose1d(x, w, stride=n),
            mx.conv_general(x, w, input_dilation=n),
            mx.conv_general(x, w, padding=([n], [0])),
        ]
        for call in calls:
            with pytest.raises(MemoryError, match="cannot allocate"):
                mx.eval(call)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("sizes", [(5, 3), (4, 4), (3, 6), (1, 1), (7, 2), (2, 1)], ids=str)
def test_convolve(sizes, mode):
    (a, a_values), (v, v_values) = [numbers((n,), mx.float32, n) for n in sizes]
    assert_close(mx.convolve(a, v, mode), np.convolve(a_values, v_values, mode), scale=4)


def test_functions_of_one_number_of_dimensions_are_the_general_one():
    for ndim, function in enumerate([mx.conv1d, mx.conv2d, mx.conv3d], 1):
        x = mx.random.normal((2, *range(6, 6 + ndim), 4))
        w = mx.random.normal((6, *range(2, 2 + ndim), 2))
        general = mx.conv_general(x, w, 2, 1, 2, groups=2)
        assert mx.array_equal(function(x, w, 2, 1, 2, 2), general)
        assert mx.array_equal(function(x, w, stride=2, padding=1, dilation=2, groups=2), general)


def test_dtypes_are_promoted():
    x, w = mx.ones((1, 3, 3, 2), mx.float16), mx.ones((1, 2, 2, 2), mx.float32)
    assert mx.conv2d(x, w).dtype == mx.float32
    assert mx.conv2d(x, w.astype(mx.bfloat16)).dtype == mx.float32


X, W = mx.ones((1, 4, 4, 4)), mx.ones((4, 2, 2, 4))
ERRORS = {
    "no groups": (lambda: mx.conv2d(X, W, groups=0), "[conv2d] groups 0, expected 1 or more"),
    "negative groups": (lambda: mx.conv2d(X, W, groups=-1), "[conv2d] groups -1, expected"),
    "input channels": (
        lambda: mx.conv2d(X, mx.ones((4, 2, 2, 3))),
        "[conv2d] input of shape (1, 4, 4, 4) and weight of shape (4, 2, 2, 3) in 1 gro",
    ),
    "channels in groups": (lambda: mx.conv2d(X, W, groups=3), "in 3 groups, expected 4 input"),
    "output channels": (
        lambda: mx.conv2d(X, mx.ones((3, 2, 2, 2)), groups=2),
        "[conv2d] weight of shape (3, 2, 2, 2), expected output channels that 2 groups divide",
    ),
    "filter too large": (
        lambda: mx.conv2d(X, mx.ones((4, 2, 5, 4))),
        "the filter reaches over 5 elements of dimension 2, which has 4 with padding",
    ),
    "dilated filter too large": (
        lambda: mx.conv2d(X, W, dilation=(1, 4)),
        "the filter reaches over 5 elements of dimension 2, which has 4 with padding",
    ),
    "cut off too much": (lambda: mx.conv2d(X, W, padding=-2), "dimension 1, which has 0 with"),
    "no stride": (
        lambda: mx.conv2d(X, W, stride=0),
        "[conv2d] stride (0,), expected numbers from 1",
    ),
    "negative stride": (lambda: mx.conv2d(X, W, (1, -1)), "[conv2d] stride (1, -1), expected"),
    "huge stride": (lambda: mx.conv2d(X, W, 2**40), "[conv2d] stride (1099511627776,), expected"),
    "huge padding": (lambda: mx.conv2d(X, W, 1, 2**62), "[conv2d] padding (4611686018427387904,)"),
    "no dilation": (lambda: mx.conv2d(X, W, dilation=0), "[conv2d] dilation (0,), expected"),
    "no input dilation": (
        lambda: mx.conv_general(X, W, input_dilation=[1, 0]),
        "[conv_general] input_dilation (1, 0), expected",
    ),
    "three numbers": (
        lambda: mx.conv2d(X, W, stride=(1, 2, 3)),
        "[conv2d] stride (1, 2, 3), expected 1 or 2 numbers",
    ),
    "dimensions": (
        lambda: mx.conv1d(X, W),
        "[conv1d] input of shape (1, 4, 4, 4) and weight of shape (4, 2, 2, 4), expected 3 dim",
    ),
    "dimensions of weight": (lambda: mx.conv2d(X, W[0]), "expected 4 dimensions each"),
    "few dimensions": (
        lambda: mx.conv_general(X[0, 0], W[0, 0]),
        "[conv_general] input of shape (4, 4), expected a batch, 1 to 3 sizes and channels",
    ),
    "many dimensions": (
        lambda: mx.conv_general(*[mx.ones((1,) * 6)] * 2),
        "expected a batch, 1 to",
    ),
    "empty filter": (
        lambda: mx.conv2d(X, mx.ones((4, 0, 2, 4))),
        "[conv2d] weight of shape (4, 0, 2, 4), expected filters of at least one element",
    ),
    "integers": (lambda: mx.conv2d(X.astype(mx.int32), W), "[conv2d] dtype int32, expected float"),
    "complex": (lambda: mx.conv2d(X, W.astype(mx.complex64)), "[conv2d] dtype complex64, exp"),
    "transposed, nothing left": (
        lambda: mx.conv_transpose2d(X, W, padding=3),
        "[conv_transpose2d] input of shape (1, 4, 4, 4)",
    ),
    "output padding": (
        lambda: mx.conv_transpose2d(X, W, output_padding=-1),
        "[conv_transpose2d] output_padding (-1,), expected numbers from 0",
    ),
    "mode": (
        lambda: mx.convolve(mx.ones(3), mx.ones(2), "most"),
        "[convolve] mode 'most', expected 'full', 'same' or 'valid'",
    ),
    "matrix": (lambda: mx.convolve(mx.ones((3, 2)), mx.ones(2)), "expected vectors that are not"),
    "empty vector": (lambda: mx.convolve(mx.ones(3), mx.ones(0)), "expected vectors that are not"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, message = ERRORS[name]
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


def test_padding_of_the_wrong_kind():
    for padding in ("ab", (1, [2]), [[1], [2], [3]], 1.5):
        with pytest.raises(TypeError, match=r"\[conv_general\] padding"):
            mx.conv_general(X, W, padding=padding)


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=name_of)
@pytest.mark.parametrize("name", ["2d larger", "2d strided", "2d depthwise", "2d all dilated"])
def test_memory_is_what_the_plan_says(name, dtype):
    x_shape, w_shape, settings = CASES[name]
    (x, _), (w, _) = numbers(x_shape, dtype, 0), numbers(w_shape, dtype, 1)
    mx.eval(x, w)

    def outputs():
        y = mx.conv_general(x, w, **settings)
        return y, *mx.vjp(lambda x, w: mx.conv_general(x, w, **settings), [x, w], [y])[1]

    results = outputs()
    plan = mx.plan(*results)
    mx.reset_peak_memory()
    mx.eval(*results)
    assert mx.get_peak_memory() == plan.predicted_peak


def test_a_gradient_that_nobody_wants_is_not_computed():
    x, w = mx.ones((1, 4, 4, 2)), mx.ones((3, 2, 2, 2))
    steps = [str(s) for s in mx.plan(mx.grad(lambda w: mx.sum(mx.conv2d(x, w)))(w)).steps]
    assert any("weight_gradient" in s for s in steps)
    assert not any("input_gradient" in s for s in steps)
