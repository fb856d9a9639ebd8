"""Losses: reductions, weights, axes, and what they say about wrong inputs. Values are compared with
PyTorch's in test_torch.py."""

import math

import narrows.core as mx
import narrows.nn as nn
import numpy as np
import pytest
from support import assert_close, needs

losses = nn.losses
RANDOM = np.random.default_rng(5)


def random(*shape):
    return mx.array(RANDOM.normal(size=shape).astype(np.float32))


A, B, C = random(4, 5), random(4, 5), random(4, 5)
POSITIVE = mx.exp(C)
CLASSES = mx.array([0, 4, 2, 2])
PROBABILITIES = mx.softmax(B, axis=-1)

# Each loss with arguments for it.
CASES = {
    "binary_cross_entropy": (A, PROBABILITIES),
    "cosine_similarity_loss": (A, B),
    "cross_entropy": (A, PROBABILITIES),
    "gaussian_nll_loss": (A, B, POSITIVE),
    "hinge_loss": (A, B),
    "huber_loss": (A, B),
    "kl_div_loss": (A, B),
    "l1_loss": (A, B),
    "log_cosh_loss": (A, B),
    "margin_ranking_loss": (A, B, C),
    "mse_loss": (A, B),
    "nll_loss": (A, CLASSES),
    "smooth_l1_loss": (A, B),
    "triplet_loss": (A, B, C),
}
NEEDS = {"nll_loss": ["take_along_axis"]}
ALL = [pytest.param(name, marks=needs(*NEEDS.get(name, []))) for name in CASES]


@pytest.mark.parametrize("name", ALL)
def test_reductions(name):
    function, arguments = getattr(losses, name), CASES[name]
    each = function(*arguments, reduction="none")
    assert each.shape in ((4, 5), (4,))
    assert_close(function(*arguments, reduction="sum"), np.array(each).sum(), scale=10)
    assert_close(function(*arguments, reduction="mean"), np.array(each).mean(), scale=10)
    with pytest.raises(ValueError, match="reduction 'x', expected 'none', 'mean' or 'sum'"):
        function(*arguments, reduction="x")


@pytest.mark.parametrize("name", ALL)
def test_of_16_bits(name):
    arguments = [a.astype(mx.float16) if a.dtype == mx.float32 else a for a in CASES[name]]
    assert getattr(losses, name)(*arguments).dtype == mx.float16


@pytest.mark.parametrize("name", ["cosine_similarity_loss", "cross_entropy", "kl_div_loss"])
def test_axes(name):
    function = getattr(losses, name)
    arguments = CASES[name]
    expected = function(*arguments, axis=-1)
    turned = function(*[mx.transpose(a) for a in arguments], axis=0)
    assert_close(turned, np.array(expected), scale=10)


@needs("take_along_axis")
def test_classes_along_another_axis():
    for function in (losses.cross_entropy, losses.nll_loss):
        x = random(2, 5, 3)
        classes = mx.array([[0, 1, 2], [4, 3, 2]])
        expected = function(mx.swapaxes(x, 1, 2), classes)
        assert_close(function(x, classes, axis=1), np.array(expected))
    assert losses.cross_entropy(A[0], mx.array(1)).shape == ()


@needs("take_along_axis")
def test_cross_entropy_of_classes_is_that_of_their_probabilities():
    one_hot = (CLASSES[:, None] == mx.arange(5)[None]).astype(mx.float32)
    for smoothing in (0.0, 0.3):
        expected = losses.cross_entropy(A, one_hot, label_smoothing=smoothing)
        assert_close(
            losses.cross_entropy(A, CLASSES, label_smoothing=smoothing), np.array(expected)
        )


def test_weights():
    weights = mx.array([1.0, 0.0, 2.0, 3.0])
    plain = losses.cross_entropy(A, PROBABILITIES)
    weighted = losses.cross_entropy(A, PROBABILITIES, weights=weights)
    assert_close(weighted, np.array(plain) * np.array(weights))
    mean = losses.cross_entropy(A, PROBABILITIES, weights=weights, reduction="mean")
    assert_close(mean, (np.array(plain) * np.array(weights)).mean())
    each = losses.binary_cross_entropy(A, PROBABILITIES, weights=POSITIVE, reduction="none")
    plain = losses.binary_cross_entropy(A, PROBABILITIES, reduction="none")
    assert_close(each, np.array(plain) * np.array(POSITIVE))


def test_logarithms_of_zero_are_bounded():
    inputs, targets = mx.array([0.0, 1.0, 0.0]), mx.array([1.0, 0.0, 0.0])
    loss = losses.binary_cross_entropy(inputs, targets, with_logits=False, reduction="none")
    assert loss.tolist() == [100.0, 100.0, 0.0]


def test_gaussian_nll_loss():
    one = mx.ones((1,))
    small = losses.gaussian_nll_loss(one, one, 0 * one, eps=0.5)
    assert small.item() == pytest.approx(0.5 * math.log(0.5))
    full = losses.gaussian_nll_loss(one, one, one, full=True)
    assert full.item() == pytest.approx(0.5 * math.log(2 * math.pi))


def test_derivatives_where_formulas_have_none():
    zeros = mx.zeros((2, 3))
    functions = [
        lambda x: losses.cosine_similarity_loss(x, A[:2, :3]).sum(),
        lambda x: losses.triplet_loss(x, zeros, zeros).sum(),
        lambda x: losses.smooth_l1_loss(x, zeros, beta=0.0),
        lambda x: losses.huber_loss(x, zeros).sum(),
    ]
    for function in functions:
        assert np.isfinite(np.array(mx.grad(function)(zeros))).all()


@pytest.mark.parametrize("p", [1, 2, 3])
def test_distances_of_triplets(p):
    a, b, c = (np.array(x) for x in (A, B, C))

    def distance(x):
        return (np.abs(x) ** p).sum(0) ** (1 / p)

    expected = np.maximum(distance(a - b) - distance(a - c) + 0.5, 0)
    assert_close(losses.triplet_loss(A, B, C, axis=0, p=p, margin=0.5), expected, scale=10)


def test_large_errors_do_not_overflow():
    big = mx.array([-1000.0, 1000.0])
    assert losses.log_cosh_loss(big, 0 * big).round(2).tolist() == pytest.approx([999.31] * 2)
    assert losses.binary_cross_entropy(big, mx.array([0.0, 1.0])).item() == 0.0


ERRORS = [
    (
        lambda: losses.cross_entropy(A, mx.array([1, 2, 0])),
        "[cross_entropy] targets of shape (3,), expected (4,) for inputs of shape (4, 5)",
    ),
    (lambda: losses.cross_entropy(A, mx.ones((4, 6))), "[cross_entropy] shapes logits (4, 5), tar"),
    (lambda: losses.cross_entropy(A, mx.ones((4,))), "[cross_entropy] targets of narrows.core.fl"),
    (lambda: losses.cross_entropy(A, CLASSES, axis=2), "[cross_entropy] axis 2 of an array"),
    (lambda: losses.cross_entropy(A, CLASSES, label_smoothing=1.0), "[cross_entropy] label_smooth"),
    (
        lambda: losses.cross_entropy(A, PROBABILITIES, weights=mx.ones((3,))),
        "[cross_entropy] weights of shape (3,), expected (4,)",
    ),
    (
        lambda: losses.binary_cross_entropy(A, B[0]),
        "[binary_cross_entropy] shapes inputs (4, 5), targets (5,), expected one shape",
    ),
    (lambda: losses.l1_loss(A, B[0]), "[l1_loss] shapes predictions (4, 5), targets (5,)"),
    (lambda: losses.mse_loss(A, B[0]), "[mse_loss] shapes"),
    (lambda: losses.smooth_l1_loss(A, B[0]), "[smooth_l1_loss] shapes"),
    (lambda: losses.smooth_l1_loss(A, B, beta=-1), "[smooth_l1_loss] beta -1, expected 0"),
    (lambda: losses.nll_loss(A, A), "[nll_loss] targets of shape (4, 5), expected (4,)"),
    (lambda: losses.gaussian_nll_loss(A, B, B[0]), "[gaussian_nll_loss] shapes inputs (4, 5), tar"),
    (lambda: losses.kl_div_loss(A, B[0]), "[kl_div_loss] shapes"),
    (lambda: losses.triplet_loss(A, B, B[0]), "[triplet_loss] shapes"),
    (lambda: losses.margin_ranking_loss(A, B, B[0]), "[margin_ranking_loss] shapes"),
]


@pytest.mark.parametrize("call, message", ERRORS, ids=[message[:25] for _, message in ERRORS])
def test_errors(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
