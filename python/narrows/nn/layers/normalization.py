"""Layers that give their inputs mean zero and variance one, over different axes."""

import math

import narrows.core as mx
from narrows.nn.layers.base import Module
from narrows.nn.layers.checks import check_array, check_dimensions, check_last_dimension


class LayerNorm(Module):
    """``(x - mean) / √(variance + eps) * weight + bias``, over the last dimension.

    Takes inputs (..., dims). Parameters: ``weight`` (dims,), at first ones, and ``bias`` (dims,),
    at first zeros.

    Args:
      dims: The size of the last dimension.
      eps: What is added to the variance.
      affine: Whether there are a weight and a bias.
      bias: Whether there is a bias if there is a weight.

    Raises:
      ValueError: Called with an input whose last dimension has another size.

    Example:
      >>> import narrows.nn as nn
      >>> nn.LayerNorm(4)
      LayerNorm(4, eps=1e-05, affine=True)
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = True, bias: bool = True):
        super().__init__()
        if affine:
            self.weight = mx.ones((dims,))
            if bias:
                self.bias = mx.zeros((dims,))
        self.eps = eps
        self.dims = dims

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        check_last_dimension(self, x, self.dims)
        return mx.fast.layer_norm(x, self.get("weight"), self.get("bias"), self.eps)


class RMSNorm(Module):
    """``x / √(mean of x² + eps) * weight``, over the last dimension.

    Takes inputs (..., dims). Parameter: ``weight`` (dims,), at first ones.

    Args:
      dims: The size of the last dimension.
      eps: What is added to the mean.

    Raises:
      ValueError: Called with an input whose last dimension has another size.

    Example:
      >>> import narrows.nn as nn
      >>> nn.RMSNorm(4)
      RMSNorm(4, eps=1e-05)
    """

    def __init__(self, dims: int, eps: float = 1e-5):
        super().__init__()
        self.weight = mx.ones((dims,))
        self.eps = eps

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"

    def __call__(self, x: mx.array) -> mx.array:
        check_last_dimension(self, x, self.weight.shape[0])
        return mx.fast.rms_norm(x, self["weight"], self.eps)


class InstanceNorm(Module):
    """``(x - mean) / √(variance + eps) * weight + bias``, over all places of a channel.

    Takes inputs (batch, ..., dims) of three or more dimensions; each channel of each entry of the
    batch has a mean of its own. Parameters, if `affine`: ``weight`` (dims,), at first ones, and
    ``bias`` (dims,), at first zeros.

    Args:
      dims: The number of channels.
      eps: What is added to the variance.
      affine: Whether there are a weight and a bias.

    Raises:
      ValueError: Called with an input of another shape.

    Example:
      >>> import narrows.nn as nn
      >>> y = nn.InstanceNorm(2)(mx.random.normal((3, 5, 2)))
      >>> mx.allclose(y.mean(axis=1), mx.zeros((3, 2)), atol=1e-6).item()
      True
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = False):
        super().__init__()
        if affine:
            self.weight = mx.ones((dims,))
            self.bias = mx.zeros((dims,))
        self.dims = dims
        self.eps = eps

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: mx.array) -> mx.array:
        check_array(self, x)
        if x.ndim < 3:
            raise ValueError(
                f"[InstanceNorm] input of shape {x.shape}, expected (batch, ..., {self.dims}) "
                "of 3 or more dimensions"
            )
        check_last_dimension(self, x, self.dims)
        axes = tuple(range(1, x.ndim - 1))
        mean = mx.mean(x, axis=axes, keepdims=True)
        variance = mx.var(x, axis=axes, keepdims=True)
        x = (x - mean) * mx.rsqrt(variance + self.eps)
        return self.weight * x + self.bias if "weight" in self else x


class GroupNorm(Module):
    """``(x - mean) / √(variance + eps) * weight + bias``, over groups of channels.

    Takes inputs (batch, ..., dims). Parameters: ``weight`` (dims,), at first ones, and ``bias``
    (dims,), at first zeros.

    Args:
      num_groups: How many groups the channels are in.
      dims: The number of channels.
      eps: What is added to the variance.
      affine: Whether there are a weight and a bias.
      pytorch_compatible: If true, a group is channels side by side, as in PyTorch. If false, group
        ``g`` has the channels ``g``, ``g + num_groups``, ``g + 2 * num_groups`` and so on.

    Raises:
      ValueError: `dims` is no multiple of `num_groups`, or the input has another shape.

    Example:
      >>> import narrows.nn as nn
      >>> nn.GroupNorm(2, 4)(mx.random.normal((3, 5, 4))).shape
      (3, 5, 4)
    """

    def __init__(
        self,
        num_groups: int,
        dims: int,
        eps: float = 1e-5,
        affine: bool = True,
        pytorch_compatible: bool = False,
    ):
        super().__init__()
        if num_groups <= 0 or dims % num_groups != 0:
            raise ValueError(
                f"[GroupNorm] {dims} channels in {num_groups} groups, expected a multiple of them"
            )
        if affine:
            self.bias = mx.zeros((dims,))
            self.weight = mx.ones((dims,))
        self.num_groups = num_groups
        self.dims = dims
        self.eps = eps
        self.pytorch_compatible = pytorch_compatible

    def _extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.dims}, eps={self.eps}, affine={'weight' in self}, "
            f"pytorch_compatible={self.pytorch_compatible}"
        )

    def __call__(self, x: mx.array) -> mx.array:
        check_array(self, x)
        if x.ndim < 2:
            raise ValueError(
                f"[GroupNorm] input of shape {x.shape}, expected (batch, ..., {self.dims})"
            )
        check_last_dimension(self, x, self.dims)
        group_size = self.dims // self.num_groups
        if self.pytorch_compatible:
            groups, axes = (self.num_groups, group_size), (1, 3)
        else:
            groups, axes = (group_size, self.num_groups), (1, 2)
        y = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), *groups)
        mean = mx.mean(y, axis=axes, keepdims=True)
        variance = mx.var(y, axis=axes, keepdims=True)
        y = ((y - mean) * mx.rsqrt(variance + self.eps)).reshape(x.shape)
        return self.weight * y + self.bias if "weight" in self else y


class BatchNorm(Module):
    """``(x - mean) / √(variance + eps) * weight + bias``, over the batch and all places.

    Takes inputs (batch, channels), (batch, length, channels) or (batch, height, width, channels).
    In training mean and variance are those of the batch, and running averages of them are kept;
    otherwise these averages are used. Parameters: ``weight`` and ``bias`` (num_features,), and
    ``running_mean`` and ``running_var`` (num_features,), which are always frozen.

    Args:
      num_features: The number of channels.
      eps: What is added to the variance.
      momentum: How much of a batch goes into the running averages:
        ``running = (1 - momentum) * running + momentum * batch``.
      affine: Whether there are a weight and a bias.
      track_running_stats: Whether there are running averages. If not, mean and variance always are
        those of the batch.

    Raises:
      ValueError: Called with an input of another shape, or in training with one value per channel.

    Example:
      >>> import narrows.nn as nn
      >>> norm = nn.BatchNorm(2)
      >>> norm(mx.array([[1.0, 4.0], [3.0, 8.0]])).round(3).tolist()
      [[-1.0, -1.0], [1.0, 1.0]]
      >>> norm.running_mean.tolist()
      [0.20000000298023224, 0.6000000238418579]
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = mx.ones((num_features,))
            self.bias = mx.zeros((num_features,))
        if track_running_stats:
            self.running_mean = mx.zeros((num_features,))
            self.running_var = mx.ones((num_features,))
            self._freeze_averages()

    def _freeze_averages(self) -> None:
        self.freeze(keys=["running_mean", "running_var"], recurse=False)

    def unfreeze(self, *args, **kwargs) -> Module:
        """Makes weight and bias trainable again; the running averages never are.

        Args:
          *args: As for `Module.unfreeze()`.
          **kwargs: As for `Module.unfreeze()`.

        Returns:
          Module: The module itself.

        Example:
          >>> import narrows.nn as nn
          >>> list(nn.BatchNorm(2).unfreeze().trainable_parameters())
          ['weight', 'bias']
        """
        super().unfreeze(*args, **kwargs)
        if self.track_running_stats:
            self._freeze_averages()
        return self

    def _extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={'weight' in self}, track_running_stats={self.track_running_stats}"
        )

    def _update_averages(self, count: int, mean: mx.array, variance: mx.array) -> None:
        old, new = 1 - self.momentum, self.momentum
        mean, variance = (
            value.astype(average.dtype)
            for value, average in ((mean, self.running_mean), (variance, self.running_var))
        )
        unbiased = variance * (count / (count - 1))
        self.running_mean = old * self.running_mean + new * mean
        self.running_var = old * self.running_var + new * unbiased

    def _normalize_batch(self, x: mx.array) -> mx.array:
        count = x.size // self.num_features
        if self.training and count == 1:
            raise ValueError(
                f"[BatchNorm] input of shape {x.shape} in training, "
                "expected more than one value per channel"
            )
        affine = (self.weight, self.bias) if "weight" in self else (None, None)
        y, mean, variance = mx.fast.batch_norm(x, *affine, self.eps)
        if self.training and self.track_running_stats and count > 0:
            self._update_averages(count, mean, variance)
        return y

    def __call__(self, x: mx.array) -> mx.array:
        check_dimensions(self, x, 2, 4, f"(batch, ..., {self.num_features})")
        check_last_dimension(self, x, self.num_features)
        if self.training or not self.track_running_stats:
            return self._normalize_batch(x)
        x = (x - self.running_mean) * mx.rsqrt(self.running_var + self.eps)
        return self.weight * x + self.bias if "weight" in self else x
