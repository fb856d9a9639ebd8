"""Loss functions."""

import math
from typing import Literal

import narrows.core as mx

Reduction = Literal["none", "mean", "sum"]

__all__ = [
    "binary_cross_entropy",
    "cosine_similarity_loss",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div_loss",
    "l1_loss",
    "log_cosh_loss",
    "margin_ranking_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
    "triplet_loss",
]


def _reduced(loss: mx.array, reduction: Reduction) -> mx.array:
    if reduction == "none":
        return loss
    if reduction == "mean":
        return mx.mean(loss)
    if reduction == "sum":
        return mx.sum(loss)
    raise ValueError(f"[losses] reduction {reduction!r}, expected 'none', 'mean' or 'sum'")


def _check_same(name: str, **arrays: mx.array) -> None:
    """Raises ValueError unless all arrays have one shape."""
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        raise ValueError(f"[{name}] shapes {shapes}, expected one shape")


def _weighted(name: str, loss: mx.array, weights: mx.array | None) -> mx.array:
    if weights is None:
        return loss
    if weights.shape != loss.shape:
        raise ValueError(f"[{name}] weights of shape {weights.shape}, expected {loss.shape}")
    return loss * weights


def _chosen(name: str, x: mx.array, targets: mx.array, axis: int) -> mx.array:
    """The entries of `x` along an axis that integers say."""
    if not mx.issubdtype(targets.dtype, mx.integer):
        raise ValueError(f"[{name}] targets of {targets.dtype}, expected integers of classes")
    return mx.take_along_axis(x, mx.expand_dims(targets, axis), axis).squeeze(axis)


def _check_classes(name: str, x: mx.array, targets: mx.array, axis: int) -> None:
    """Raises ValueError unless `targets` has the shape of `x` without the axis."""
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"[{name}] axis {axis} of an array of shape {x.shape}")
    expected = list(x.shape)
    del expected[axis]
    if targets.shape != tuple(expected):
        raise ValueError(
            f"[{name}] targets of shape {targets.shape}, "
            f"expected {tuple(expected)} for inputs of shape {x.shape}"
        )


def cross_entropy(
    logits: mx.array,
    targets: mx.array,
    weights: mx.array | None = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
    reduction: Reduction = "none",
) -> mx.array:
    """``-log(softmax(logits))`` of the right class, or its mean over probabilities of classes.

    Args:
      logits: Scores of classes, along `axis`.
      targets: The classes, integers of the shape of `logits` without `axis`; or probabilities of
        classes, of the shape of `logits`.
      weights: What losses are multiplied by, of the shape of `logits` without `axis`.
      axis: The axis of the classes.
      label_smoothing: How much of the probability is spread over all classes, in [0, 1).
      reduction: ``"none"``, ``"mean"`` or ``"sum"``, which do not regard the weights' sum.

    Returns:
      array: The losses, of the shape of `logits` without `axis`, or their mean or sum.

    Raises:
      ValueError: A shape differs, `label_smoothing` is outside of [0, 1), or there is no such
        reduction.

    Example:
      >>> import narrows.nn as nn
      >>> probabilities = mx.array([[0.25, 0.75]])
      >>> nn.losses.cross_entropy(mx.zeros((1, 2)), probabilities).round(4).tolist()
      [0.6930999755859375]
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"[cross_entropy] label_smoothing {label_smoothing}, expected it in [0, 1)"
        )
    if targets.ndim == logits.ndim:
        _check_same("cross_entropy", logits=logits, targets=targets)
        score = mx.sum(logits * targets, axis=axis)
    else:
        _check_classes("cross_entropy", logits, targets, axis)
        score = _chosen("cross_entropy", logits, targets, axis)
    if label_smoothing > 0:
        score = (1 - label_smoothing) * score + label_smoothing * mx.mean(logits, axis=axis)
    loss = mx.logsumexp(logits, axis=axis) - score
    return _reduced(_weighted("cross_entropy", loss, weights), reduction)


def binary_cross_entropy(
    inputs: mx.array,
    targets: mx.array,
    weights: mx.array | None = None,
    with_logits: bool = True,
    reduction: Reduction = "mean",
) -> mx.array:
    """``-(targets * log(p) + (1 - targets) * log(1 - p))``.

    Args:
      inputs: Logits, so that ``p = sigmoid(inputs)``; or probabilities `p`.
      targets: Probabilities, of the shape of `inputs`.
      weights: What losses are multiplied by, of the shape of `inputs`.
      with_logits: Whether `inputs` are logits. Logarithms of probabilities are -100 at least.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the shape of `inputs`, or their mean or sum.

    Raises:
      ValueError: A shape differs, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> inputs, targets = mx.array([0.5, 1.0]), mx.array([1.0, 1.0])
      >>> nn.losses.binary_cross_entropy(
      ...     inputs, targets, with_logits=False, reduction="sum"
      ... ).round(4).item()
      0.6930999755859375
    """
    _check_same("binary_cross_entropy", inputs=inputs, targets=targets)
    if with_logits:
        loss = mx.logaddexp(0, inputs) - inputs * targets
    else:
        log_p = mx.maximum(mx.log(inputs), -100)
        log_not_p = mx.maximum(mx.log(1 - inputs), -100)
        loss = -(targets * log_p + (1 - targets) * log_not_p)
    return _reduced(_weighted("binary_cross_entropy", loss, weights), reduction)


def l1_loss(predictions: mx.array, targets: mx.array, reduction: Reduction = "mean") -> mx.array:
    """``|predictions - targets|``.

    Args:
      predictions: An array.
      targets: Of the same shape.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the same shape, or their mean or sum.

    Raises:
      ValueError: The shapes differ, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> nn.losses.l1_loss(mx.array([1.0, 4.0]), mx.array([2.0, 2.0])).item()
      1.5
    """
    _check_same("l1_loss", predictions=predictions, targets=targets)
    return _reduced(mx.abs(predictions - targets), reduction)


def mse_loss(predictions: mx.array, targets: mx.array, reduction: Reduction = "mean") -> mx.array:
    """``(predictions - targets)²``.

    Args:
      predictions: An array.
      targets: Of the same shape.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the same shape, or their mean or sum.

    Raises:
      ValueError: The shapes differ, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> nn.losses.mse_loss(mx.array([1.0, 4.0]), mx.array([2.0, 2.0])).item()
      2.5
    """
    _check_same("mse_loss", predictions=predictions, targets=targets)
    return _reduced(mx.square(predictions - targets), reduction)


def nll_loss(
    inputs: mx.array, targets: mx.array, axis: int = -1, reduction: Reduction = "none"
) -> mx.array:
    """``-inputs`` of the right class: the loss where `inputs` are logarithms of probabilities.

    Args:
      inputs: Logarithms of the classes' probabilities, along `axis`.
      targets: The classes, integers of the shape of `inputs` without `axis`.
      axis: The axis of the classes.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the shape of `targets`, or their mean or sum.

    Raises:
      ValueError: A shape differs, `targets` are no integers, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> nn.losses.nll_loss(mx.array([[-0.5, -2.0]]), mx.array([1])).tolist()
      [2.0]
    """
    _check_classes("nll_loss", inputs, targets, axis)
    return _reduced(-_chosen("nll_loss", inputs, targets, axis), reduction)


def gaussian_nll_loss(
    inputs: mx.array,
    targets: mx.array,
    vars: mx.array,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> mx.array:
    """``(log(v) + (inputs - targets)² / v) / 2``, where ``v = max(vars, eps)``.

    Args:
      inputs: Means of normal distributions.
      targets: What they should be likely to give, of the same shape.
      vars: Their variances, of the same shape.
      full: Whether the constant ``log(2π) / 2`` is added.
      eps: The least variance.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the same shape, or their mean or sum.

    Raises:
      ValueError: The shapes differ, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> one = mx.ones((2,))
      >>> nn.losses.gaussian_nll_loss(mx.array([1.0, 3.0]), one, one, reduction="none").tolist()
      [0.0, 2.0]
    """
    _check_same("gaussian_nll_loss", inputs=inputs, targets=targets, vars=vars)
    variance = mx.maximum(vars, eps)
    loss = 0.5 * (mx.log(variance) + mx.square(targets - inputs) / variance)
    return _reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def kl_div_loss(
    inputs: mx.array, targets: mx.array, axis: int = -1, reduction: Reduction = "none"
) -> mx.array:
    """The Kullback-Leibler divergence, ``sum(exp(targets) * (targets - inputs))``.

    Args:
      inputs: Logarithms of predicted probabilities, along `axis`.
      targets: Logarithms of the true ones, of the same shape.
      axis: The axis of the distributions.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the shape of `inputs` without `axis`, or their mean or sum.

    Raises:
      ValueError: The shapes differ, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> p = mx.log(mx.array([[0.5, 0.5]]))
      >>> nn.losses.kl_div_loss(p, p).tolist()
      [0.0]
    """
    _check_same("kl_div_loss", inputs=inputs, targets=targets)
    return _reduced(mx.sum(mx.exp(targets) * (targets - inputs), axis=axis), reduction)


def smooth_l1_loss(
    predictions: mx.array,
    targets: mx.array,
    beta: float = 1.0,
    reduction: Reduction = "mean",
) -> mx.array:
    """``d² / (2 beta)`` or ``d - beta / 2``, where ``d = |predictions - targets|``.

    The first where `d` is below `beta`.

    Args:
      predictions: An array.
      targets: Of the same shape.
      beta: Where the loss becomes linear; with 0 it is `l1_loss()`.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the same shape, or their mean or sum.

    Raises:
      ValueError: The shapes differ, `beta` is negative, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> zeros = mx.zeros((2,))
      >>> nn.losses.smooth_l1_loss(mx.array([1.0, 4.0]), zeros, reduction="none").tolist()
      [0.5, 3.5]
    """
    _check_same("smooth_l1_loss", predictions=predictions, targets=targets)
    if beta < 0:
        raise ValueError(f"[smooth_l1_loss] beta {beta}, expected 0 or more")
    distance = mx.abs(predictions - targets)
    if beta == 0:
        return _reduced(distance, reduction)
    near = 0.5 * mx.square(distance) / beta
    return _reduced(mx.where(distance < beta, near, distance - 0.5 * beta), reduction)


def triplet_loss(
    anchors: mx.array,
    positives: mx.array,
    negatives: mx.array,
    axis: int = -1,
    p: int = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
    reduction: Reduction = "none",
) -> mx.array:
    """``max(d(anchors, positives) - d(anchors, negatives) + margin, 0)``.

    Args:
      anchors: An array.
      positives: What should be near, of the same shape.
      negatives: What should be far, of the same shape.
      axis: The axis along which distances are measured.
      p: The distance's exponent: ``d(a, b) = (sum(|a - b|^p) + eps)^(1/p)``.
      margin: How much farther the negatives should be.
      eps: What is added to sums, so that there are derivatives at distance zero.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the shape of `anchors` without `axis`, or their mean or sum.

    Raises:
      ValueError: The shapes differ, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> a, b = mx.array([[0.0, 0.0]]), mx.array([[3.0, 4.0]])
      >>> nn.losses.triplet_loss(a, b, b).tolist()
      [1.0]
    """
    _check_same("triplet_loss", anchors=anchors, positives=positives, negatives=negatives)

    def distance(x: mx.array) -> mx.array:
        return mx.power(mx.sum(mx.power(mx.abs(x), p), axis=axis) + eps, 1 / p)

    difference = distance(anchors - positives) - distance(anchors - negatives)
    return _reduced(mx.maximum(difference + margin, 0), reduction)


def hinge_loss(inputs: mx.array, targets: mx.array, reduction: Reduction = "none") -> mx.array:
    """``max(1 - inputs * targets, 0)``.

    Args:
      inputs: Scores.
      targets: 1 or -1.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, or their mean or sum.

    Raises:
      ValueError: There is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> nn.losses.hinge_loss(mx.array([0.25, 2.0]), mx.array([1.0, 1.0])).tolist()
      [0.75, 0.0]
    """
    return _reduced(mx.maximum(1 - inputs * targets, 0), reduction)


def huber_loss(
    inputs: mx.array, targets: mx.array, delta: float = 1.0, reduction: Reduction = "none"
) -> mx.array:
    """``d² / 2`` or ``delta * (d - delta / 2)``, where ``d = |inputs - targets|``.

    The first where `d` is at most `delta`.

    Args:
      inputs: An array.
      targets: An array.
      delta: Where the loss becomes linear.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, or their mean or sum.

    Raises:
      ValueError: There is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> nn.losses.huber_loss(mx.array([1.0, 4.0]), mx.zeros((2,)), delta=2.0).tolist()
      [0.5, 6.0]
    """
    distance = mx.abs(inputs - targets)
    far = delta * (distance - 0.5 * delta)
    return _reduced(mx.where(distance <= delta, 0.5 * mx.square(distance), far), reduction)


def log_cosh_loss(inputs: mx.array, targets: mx.array, reduction: Reduction = "none") -> mx.array:
    """``log(cosh(inputs - targets))``.

    Args:
      inputs: An array.
      targets: An array.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, or their mean or sum.

    Raises:
      ValueError: There is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> nn.losses.log_cosh_loss(mx.array([0.0, 1.0]), mx.zeros((2,))).round(4).tolist()
      [0.0, 0.43380001187324524]
    """
    errors = inputs - targets
    return _reduced(mx.logaddexp(errors, -errors) - math.log(2), reduction)


def cosine_similarity_loss(
    x1: mx.array,
    x2: mx.array,
    axis: int = 1,
    eps: float = 1e-8,
    reduction: Reduction = "none",
) -> mx.array:
    """``sum(x1 * x2) / max(|x1| * |x2|, eps)``, along an axis.

    Args:
      x1: An array.
      x2: An array.
      axis: The axis of the vectors.
      eps: The least divisor.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The cosines, without `axis`, or their mean or sum.

    Raises:
      ValueError: There is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> x = mx.array([[3.0, 4.0]])
      >>> nn.losses.cosine_similarity_loss(x, 2 * x).tolist()
      [1.0]
    """
    products = mx.sum(x1 * x2, axis=axis)
    lengths = mx.sum(mx.square(x1), axis=axis) * mx.sum(mx.square(x2), axis=axis)
    return _reduced(products / mx.sqrt(mx.maximum(lengths, eps**2)), reduction)


def margin_ranking_loss(
    inputs1: mx.array,
    inputs2: mx.array,
    targets: mx.array,
    margin: float = 0.0,
    reduction: Reduction = "none",
) -> mx.array:
    """``max(-targets * (inputs1 - inputs2) + margin, 0)``.

    Args:
      inputs1: Scores.
      inputs2: Scores, of the same shape.
      targets: 1 where the first should be higher, -1 where the second should; of the same shape.
      margin: How much higher.
      reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
      array: The losses, of the same shape, or their mean or sum.

    Raises:
      ValueError: The shapes differ, or there is no such reduction.

    Example:
      >>> import narrows.nn as nn
      >>> a, b = mx.array([1.0, 2.0]), mx.array([2.0, 1.0])
      >>> nn.losses.margin_ranking_loss(a, b, mx.array([1.0, 1.0])).tolist()
      [1.0, 0.0]
    """
    _check_same("margin_ranking_loss", inputs1=inputs1, inputs2=inputs2, targets=targets)
    loss = mx.maximum(-targets * (inputs1 - inputs2) + margin, 0)
    return _reduced(loss, reduction)
