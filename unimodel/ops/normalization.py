"""Batch and layer normalisation, with gradient rules of their own where frameworks have fused backward kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import unimodel.ops as ops
from unimodel.dim import product
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite
from unimodel.ops.rules import need_float, shapes_agree
from unimodel.ops.samples import Sample, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "batch_norm_gradient",
    "batch_norm_inference",
    "batch_norm_training",
    "layer_norm",
    "layer_norm_gradient",
]


def _channelwise(v: Tensor, rank: int) -> Tensor:
    return ops.reshape(v, (-1,) + (1,) * (rank - 2)) if rank > 2 else v


@composite(
    samples=[Sample(normal(4, 3, 2, 2), normal(3), uniform(0.5, 2, 3), normal(3), normal(3)), Sample(normal(4, 3), normal(3), uniform(0.5, 2, 3), eps=1e-3)]
)
def batch_norm_inference(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """x (N, C, *) normalised per channel with given statistics, then scaled and shifted."""
    need_float(x.spec)
    scale = ops.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    y = (x - _channelwise(mean, x.ndim)) * _channelwise(scale, x.ndim)
    return y if bias is None else y + _channelwise(bias, x.ndim)


BATCH_NORM = [Sample(normal(4, 3, 2, 2), normal(3), normal(3)), Sample(normal(5, 3), normal(3), normal(3), eps=1e-3), Sample(normal(5, 3))]


@composite(samples=BATCH_NORM)
def batch_norm_training(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Any:
    """x (N, C, *) normalised per channel with the batch's own statistics; returns (y, mean, biased variance) (Ioffe and Szegedy 2015)."""
    need_float(x.spec)
    axes = (0, *range(2, x.ndim))
    mean = ops.mean(x, axis=axes)
    centred = x - _channelwise(mean, x.ndim)
    variance = ops.mean(centred * centred, axis=axes)
    scale = ops.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    y = centred * _channelwise(scale, x.ndim)
    return (y if bias is None else y + _channelwise(bias, x.ndim)), mean, variance


@batch_norm_training.vjp
def _(node: Application, g: Tensor | None, g_mean: Tensor | None, g_variance: Tensor | None) -> Any:
    x, weight, bias = node.inputs
    _, mean, variance = node.outputs
    dx = dw = db = None
    if g is not None:
        dx, dw, db = batch_norm_gradient(g, x, mean, variance, weight, eps=node.attrs["eps"])
    count = product(tuple(x.shape[i] for i in range(x.ndim) if i != 1))
    if g_mean is not None:
        extra = ops.broadcast_to(_channelwise(g_mean / count, x.ndim), x.shape)
        dx = extra if dx is None else dx + extra
    if g_variance is not None:
        extra = _channelwise(g_variance * 2.0 / count, x.ndim) * (x - _channelwise(mean, x.ndim))
        dx = extra if dx is None else dx + extra
    return dx, None if weight is None else dw, None if bias is None else db


@composite(samples=[Sample(normal(4, 3, 2, 2), normal(4, 3, 2, 2), normal(3), uniform(0.5, 2, 3), normal(3), gradient=False)])
def batch_norm_gradient(g: Tensor, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None = None, eps: float = 1e-5) -> Any:
    """The gradients of batch_norm_training for (x, weight, bias), given the batch's statistics."""
    axes = (0, *range(2, x.ndim))
    scale = ops.rsqrt(variance + eps)
    normalised = (x - _channelwise(mean, x.ndim)) * _channelwise(scale, x.ndim)
    db = ops.sum(g, axis=axes)
    dw = ops.sum(g * normalised, axis=axes)
    count = product(tuple(x.shape[i] for i in axes))
    inner = g - _channelwise(db / count, x.ndim) - normalised * _channelwise(dw / count, x.ndim)
    return inner * _channelwise(scale if weight is None else scale * weight, x.ndim), dw, db


LAYER_NORM = [
    Sample(normal(4, 6), (6,), normal(6), normal(6)),
    Sample(normal(2, 3, 4), (3, 4), normal(3, 4), normal(3, 4), eps=1e-3),
    Sample(normal(2, 5), (5,)),
]


def canonical_normalized_shape(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    """``normalized_shape`` as a tuple, which the input's last sizes must be."""
    shape = attrs["normalized_shape"]
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    attrs["normalized_shape"] = shape
    if not shapes_agree(specs[0].shape[specs[0].ndim - len(shape) :], shape):
        raise ShapeError(
            "the input's last sizes are not the layer's normalized_shape.",
            expected=f"(..., {', '.join(map(str, shape))})",
            given=str(specs[0]),
            remedy="make normalized_shape equal to the last sizes of what comes in",
        )


@composite(canonical=canonical_normalized_shape, samples=LAYER_NORM)
def layer_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """The last dimensions normalised to mean 0 and (biased) variance 1, then scaled and shifted (Ba et al. 2016)."""
    need_float(input.spec)
    axes = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    centred = input - ops.mean(input, axis=axes, keepdims=True)
    y = centred * ops.rsqrt(ops.mean(centred * centred, axis=axes, keepdims=True) + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


@layer_norm.vjp
def _(node: Application, g: Tensor) -> Any:
    x, weight, bias = node.inputs
    dx, dw, db = layer_norm_gradient(g, x, weight, **node.attrs)
    return dx, None if weight is None else dw, None if bias is None else db


@composite(samples=[Sample(normal(4, 6), normal(4, 6), normal(6), normalized_shape=(6,), gradient=False)])
def layer_norm_gradient(g: Tensor, x: Tensor, weight: Tensor | None = None, *, normalized_shape: Any, eps: float = 1e-5) -> Any:
    """The gradients of layer_norm for (input, weight, bias)."""
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    lead = tuple(range(x.ndim - len(normalized_shape)))
    centred = x - ops.mean(x, axis=axes, keepdims=True)
    scale = ops.rsqrt(ops.mean(centred * centred, axis=axes, keepdims=True) + eps)
    normalised = centred * scale
    dw = ops.sum(g * normalised, axis=lead)
    db = ops.sum(g, axis=lead)
    inner = g if weight is None else g * weight
    mean_inner = ops.mean(inner, axis=axes, keepdims=True)
    mean_product = ops.mean(inner * normalised, axis=axes, keepdims=True)
    return scale * (inner - mean_inner - normalised * mean_product), dw, db
