"""Normalisation of each sample by itself: by groups of channels, by the root of the mean square, by neighbouring channels."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.op import Application, composite
from unimodel.ops.indexing import cut_axis
from unimodel.ops.normalization import canonical_normalized_shape
from unimodel.ops.rules import EPSILON, known, need_float
from unimodel.ops.samples import Sample, normal
from unimodel.tracing import Tensor

__all__ = [
    "group_norm",
    "group_norm_gradient",
    "local_response_norm",
    "rms_norm",
    "rms_norm_gradient",
]


def _per_channel(v: Tensor, rank: int) -> Tensor:
    return ops.reshape(v, (-1,) + (1,) * (rank - 2))


def _normalised_groups(x: Tensor, num_groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """x as (N, groups, elements) of mean 0 and variance 1, and what it was scaled by."""
    if x.ndim < 2 or known(x.shape[1]) % num_groups:
        raise ShapeError("num_groups must divide the channels.", expected=f"(N, C, *) with C a multiple of {num_groups}", given=str(x.spec))
    grouped = ops.reshape(x, (x.shape[0], num_groups, -1))
    centred = grouped - ops.mean(grouped, axis=-1, keepdims=True)
    scale = ops.rsqrt(ops.mean(centred * centred, axis=-1, keepdims=True) + eps)
    return centred * scale, scale


@composite(
    samples=[
        Sample(normal(2, 4, 3), 2, normal(4), normal(4)),
        Sample(normal(2, 3, 2, 2), 3, eps=1e-3),
        Sample(normal(3, 4), 1, normal(4)),
    ]
)
def group_norm(x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """x (N, C, *) with each of ``num_groups`` of its channels normalised by its own mean and (biased) variance (Wu and He 2018), then scaled and shifted."""
    need_float(x.spec)
    y = ops.reshape(_normalised_groups(x, num_groups, eps)[0], x.shape)
    if weight is not None:
        y = y * _per_channel(weight, x.ndim)
    return y if bias is None else y + _per_channel(bias, x.ndim)


@group_norm.vjp
def _(node: Application, g: Tensor) -> Any:
    x, weight, bias = node.inputs
    dx, dw, db = group_norm_gradient(g, x, weight, **node.attrs)
    return dx, None if weight is None else dw, None if bias is None else db


@composite(samples=[Sample(normal(2, 4, 3), normal(2, 4, 3), normal(4), num_groups=2, gradient=False)])
def group_norm_gradient(g: Tensor, x: Tensor, weight: Tensor | None = None, *, num_groups: int, eps: float = 1e-5) -> Any:
    """The gradients of group_norm for (x, weight, bias)."""
    normalised, scale = _normalised_groups(x, num_groups, eps)
    axes = (0, *range(2, x.ndim))
    dw = ops.sum(g * ops.reshape(normalised, x.shape), axis=axes)
    db = ops.sum(g, axis=axes)
    inner = ops.reshape(g if weight is None else g * _per_channel(weight, x.ndim), normalised.shape)
    mean = ops.mean(inner, axis=-1, keepdims=True)
    product = ops.mean(inner * normalised, axis=-1, keepdims=True)
    return ops.reshape(scale * (inner - mean - normalised * product), x.shape), dw, db


RMS_NORM = [
    Sample(normal(4, 6), (6,), normal(6)),
    Sample(normal(2, 3, 4), (3, 4), normal(3, 4), eps=1e-3),
    Sample(normal(2, 5), (5,)),
]


def _root_mean_square(x: Tensor, normalized_shape: Any, eps: float | None) -> Tensor:
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    return ops.rsqrt(ops.mean(x * x, axis=axes, keepdims=True) + (EPSILON[x.dtype] if eps is None else eps))


@composite(canonical=canonical_normalized_shape, samples=RMS_NORM)
def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """The last dimensions over the root of their mean square (Zhang and Sennrich 2019), then scaled; ``eps`` is by default the dtype's epsilon."""
    need_float(input.spec)
    y = input * _root_mean_square(input, normalized_shape, eps)
    return y if weight is None else y * weight


@rms_norm.vjp
def _(node: Application, g: Tensor) -> Any:
    x, weight = node.inputs
    dx, dw = rms_norm_gradient(g, x, weight, **node.attrs)
    return dx, None if weight is None else dw


@composite(samples=[Sample(normal(4, 6), normal(4, 6), normal(6), normalized_shape=(6,), gradient=False)])
def rms_norm_gradient(g: Tensor, x: Tensor, weight: Tensor | None = None, *, normalized_shape: Any, eps: float | None = None) -> Any:
    """The gradients of rms_norm for (input, weight)."""
    lead = x.ndim - len(normalized_shape)
    scale = _root_mean_square(x, normalized_shape, eps)
    normalised = x * scale
    inner = g if weight is None else g * weight
    product = ops.mean(inner * normalised, axis=tuple(range(lead, x.ndim)), keepdims=True)
    return scale * (inner - normalised * product), ops.sum(g * normalised, axis=tuple(range(lead)))


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x (N, C, *) over ``(k + alpha * m) ** beta``, with m the mean square of ``size`` neighbouring channels, zeros beyond the last."""
    x = ops.asarray(input)
    need_float(x.spec)
    channels = known(x.shape[1])
    widths = ((0, 0), (size // 2, (size - 1) // 2), *((0, 0),) * (x.ndim - 2))
    squares = ops.pad_constant(x * x, widths)
    total = cut_axis(squares, 1, 0, channels)
    for i in range(1, size):
        total = total + cut_axis(squares, 1, i, i + channels)
    return x / ops.pow(total * (alpha / size) + k, beta)
