"""Layers that normalise each sample by itself."""

from __future__ import annotations

from typing import Any

from unimodel import init, ops
from unimodel.errors import ShapeError
from unimodel.model import Buffer, Model, Parameter
from unimodel.nn.arguments import positive
from unimodel.nn.batch import batched
from unimodel.nn.functional.normalization import instance_norm
from unimodel.ops.rules import sizes_agree
from unimodel.tracing import Tensor


class GroupNorm(Model):
    """(N, num_channels, *): each of ``num_groups`` groups of channels normalised to mean 0 and variance 1 per sample, then scaled and shifted by channel.
    Source: https://pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, bias: bool = True) -> None:
        positive(num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ShapeError("num_groups must divide num_channels.", given=f"num_groups={num_groups}, num_channels={num_channels}")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.weight = Parameter((num_channels,), init.ones) if affine else None
        self.bias = Parameter((num_channels,), init.zeros) if affine and bias else None

    def forward(self, input: Any) -> Tensor:
        if input.ndim < 2 or not sizes_agree(input.shape[1], self.num_channels):
            raise ShapeError("GroupNorm got other channels than it is made for.", expected=f"(N, {self.num_channels}, *)", given=f"{input.dtype} {input.shape}")
        return ops.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}"


class _InstanceNorm(Model):
    """(N, num_features, *spatial), or one sample without N: each channel of each sample normalised to mean 0 and variance 1 (Ulyanov et al. 2016).

    With ``track_running_stats`` the running mean and unbiased variance move by ``momentum`` in train mode, and normalise in eval mode. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.InstanceNorm2d.html
    """

    rank = 0

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False, track_running_stats: bool = False, *, bias: bool = True
    ) -> None:
        positive(num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = Parameter((num_features,), init.ones) if affine else None
        self.bias = Parameter((num_features,), init.zeros) if affine and bias else None
        self.running_mean = Buffer((num_features,), 0.0) if track_running_stats else None
        self.running_var = Buffer((num_features,), 1.0) if track_running_stats else None
        self.num_batches_tracked = Buffer((), 0, dtype="int64") if track_running_stats else None

    def forward(self, input: Any) -> Tensor:
        result: Tensor = batched(self._batch, input, self.rank + 1)
        return result

    def _batch(self, x: Any) -> Tensor:
        if x.ndim != self.rank + 2 or not sizes_agree(x.shape[1], self.num_features):
            meaning = f"(N, {self.num_features}, *spatial) of {self.rank + 2} dimensions"
            raise ShapeError(f"{type(self).__name__} got another shape than it is made for.", expected=meaning, given=f"{x.dtype} {x.shape}")
        own = self.training or self.running_mean is None
        result: Tensor = instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias, own, self.momentum, self.eps, type(self).__name__)
        return result

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class InstanceNorm1d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    rank = 1


class InstanceNorm2d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    rank = 2


class InstanceNorm3d(_InstanceNorm):
    __doc__ = _InstanceNorm.__doc__
    rank = 3


class RMSNorm(Model):
    """The last dimensions, of sizes ``normalized_shape``, over the root of their mean square, then scaled (Zhang and Sennrich 2019).

    ``eps`` is by default the dtype's epsilon. Source: https://pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html
    """

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float | None = None, elementwise_affine: bool = True, *, bias: bool = True) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        for size in shape:
            positive(normalized_shape=size)
        self.normalized_shape = shape
        self.eps = eps
        self.weight = Parameter(shape, init.ones) if elementwise_affine else None

    def forward(self, input: Any) -> Tensor:
        return ops.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class LocalResponseNorm(Model):
    """(N, C, *) over a power of the mean square of ``size`` neighbouring channels (Krizhevsky et al. 2012). Source:
    https://pytorch.org/docs/stable/generated/torch.nn.LocalResponseNorm.html
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        positive(size=size)
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Any) -> Tensor:
        if input.ndim < 3:
            raise ShapeError("LocalResponseNorm needs (N, C, *spatial).", expected="at least 3 dimensions", given=f"{input.dtype} {input.shape}")
        return ops.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
