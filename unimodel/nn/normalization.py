"""Layers that normalise."""

from __future__ import annotations

from typing import Any

from unimodel import init, ops
from unimodel.dim import Dim, Size, product
from unimodel.errors import ShapeError
from unimodel.model import Buffer, Model, Parameter
from unimodel.nn.arguments import positive
from unimodel.tracing import Tensor, require_at_least


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
        if not self.training and self.running_mean is not None:
            return ops.batch_norm_inference(input, self.running_mean, self.running_var, self.weight, self.bias, self.eps)
        count = product(tuple(s for i, s in enumerate(input.shape) if i != 1))
        require_at_least(
            count,
            2,
            ShapeError(
                f"{type(self).__name__} needs more than one value per channel to train.",
                expected="at least 2 values per channel",
                given=f"{input.dtype} {input.shape}" + (", a batch of 1" if isinstance(count, Dim) else ""),
                remedy="choose a batch_size that leaves no single sample for the last batch, or put the layer in eval() mode",
            ),
        )
        y, mean, variance = ops.batch_norm_training(input, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self._track(count, mean, variance, self.running_mean, self.running_var, self.num_batches_tracked)
        return y

    def _track(self, count: Size, mean: Any, variance: Any, running_mean: Buffer, running_var: Buffer, tracked: Buffer) -> None:
        number = ops.as_float(count)
        unbiased = variance * (number / (number - 1.0))
        tracked.assign(tracked + 1)
        factor = 1.0 / ops.astype(tracked, mean.dtype) if self.momentum is None else self.momentum
        running_mean.assign(running_mean * (1.0 - factor) + ops.stop_gradient(mean) * factor)
        running_var.assign(running_var * (1.0 - factor) + ops.stop_gradient(unbiased) * factor)

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
