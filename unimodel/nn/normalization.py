"""Layers that normalise."""

from __future__ import annotations

from typing import Any

from unimodel import init, ops
from unimodel.errors import ShapeError
from unimodel.model import Buffer, Model, Parameter
from unimodel.nn.arguments import positive
from unimodel.nn.functional.normalization import batch_norm
from unimodel.tracing import Tensor


class _BatchNorm(Model):
    """Batch normalisation per channel (Ioffe and Szegedy 2015).

    In train mode the batch's mean and biased variance normalise, and the running ones move towards the batch's mean and unbiased variance by ``momentum``
    (by the cumulative average where it is None); in eval mode the running ones normalise. State-dict keys are PyTorch's: weight, bias, running_mean,
    running_var, num_batches_tracked. Source: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
    """

    ranks: tuple[int, ...] = ()
    meaning = ""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True, *, bias: bool = True
    ) -> None:
        positive(num_features=num_features)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight = Parameter((num_features,), init.ones) if affine else None
        self.bias = Parameter((num_features,), init.zeros) if affine and bias else None
        self.running_mean = Buffer((num_features,), 0.0) if track_running_stats else None
        self.running_var = Buffer((num_features,), 1.0) if track_running_stats else None
        self.num_batches_tracked = Buffer((), 0, dtype="int64") if track_running_stats else None

    def forward(self, input: Any) -> Any:
        if input.ndim not in self.ranks or input.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__} got another shape than it is made for.",
                expected=self.meaning.format(C=self.num_features),
                given=f"{input.dtype} {input.shape}",
                remedy="make num_features equal to the channels of what comes in",
            )
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.assign(self.num_batches_tracked + 1)
            momentum = 1.0 / ops.as_float(ops.asarray(self.num_batches_tracked)) if momentum is None else momentum
        by_batch = self.training or self.running_mean is None
        return batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum, self.eps, type(self).__name__)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"


class BatchNorm1d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    ranks = (2, 3)
    meaning = "(N, {C}) or (N, {C}, L)"


class BatchNorm2d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    ranks = (4,)
    meaning = "(N, {C}, H, W)"


class BatchNorm3d(_BatchNorm):
    __doc__ = _BatchNorm.__doc__
    ranks = (5,)
    meaning = "(N, {C}, D, H, W)"


class LayerNorm(Model):
    """The last dimensions, of sizes ``normalized_shape``, normalised to mean 0 and variance 1 per sample, then scaled and shifted (Ba et al. 2016).
    Source: https://pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html
    """

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        for size in shape:
            positive(normalized_shape=size)
        self.normalized_shape = shape
        self.eps = eps
        self.weight = Parameter(shape, init.ones) if elementwise_affine else None
        self.bias = Parameter(shape, init.zeros) if elementwise_affine and bias else None

    def forward(self, input: Any) -> Tensor:
        return ops.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"
