"""The affine map, and rows looked up by integers."""

from __future__ import annotations

import math
from typing import Any

import unimodel.ops as ops
from unimodel.dim import product
from unimodel.errors import ShapeError
from unimodel.op import Application, composite
from unimodel.ops.rules import (
    known,
    need_float,
    need_integer,
    shapes_agree,
    sizes_agree,
)
from unimodel.ops.samples import Sample, integers, normal
from unimodel.tracing import Tensor

__all__ = [
    "bilinear",
    "embedding",
    "embedding_bag",
    "linear",
]


@composite(
    samples=[
        Sample(normal(4, 3), normal(2, 3), normal(2)),
        Sample(normal(4, 3), normal(2, 3)),
        Sample(normal(2, 4, 3), normal(2, 3), normal(2)),
        Sample(normal(3), normal(2, 3), normal(2)),
    ]
)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``: x (..., in_features), weight (out_features, in_features), bias (out_features,)."""
    if x.ndim == 0 or weight.ndim != 2 or not sizes_agree(x.shape[-1], weight.shape[1]):
        raise ShapeError(
            "the input's last size is not the layer's in_features.",
            expected=f"(..., {weight.shape[-1]})",
            given=str(x.spec),
            remedy="make in_features equal to the features of what comes in, or reshape what comes in (um.nn.Flatten)",
        )
    need_float(x.spec)  # a framework's kernel would fail on integers, or take them for floats
    y = ops.matmul(x, ops.matrix_transpose(weight))
    return y if bias is None else y + bias


@linear.vjp
def _(node: Application, g: Tensor) -> Any:
    x, weight, bias = node.inputs
    flat_x = ops.reshape(x, (-1, x.shape[-1]))
    flat_g = ops.reshape(g, (product(tuple(g.shape[:-1])), g.shape[-1]))
    dx = ops.matmul(g, weight)
    dw = ops.matmul(ops.matrix_transpose(flat_g), flat_x)
    return dx, dw, None if bias is None else ops.sum(flat_g, axis=0)


@composite(samples=[Sample(integers(0, 5, 2, 3), normal(5, 4)), Sample(integers(0, 5, 3), normal(5, 2), padding_idx=1, gradient=False)])
def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of ``weight`` (num_embeddings, dim) at integer indices: (..., dim). The row ``padding_idx`` gets no gradient."""
    need_integer(input.spec, "indices of an embedding")
    if padding_idx is not None:
        row = padding_idx % known(weight.shape[0])
        keep = ops.expand_dims(ops.equal(ops.arange(weight.shape[0]), row), 1)
        weight = ops.where(keep, ops.stop_gradient(weight), weight)
    return ops.take(weight, input, axis=0)


def embedding_bag(input: Any, weight: Any, mode: str = "mean", padding_idx: int | None = None, per_sample_weights: Any = None) -> Tensor:
    """The mean, sum or maximum of the rows of ``weight`` at the integers (N, L) of each bag: (N, dim). The row ``padding_idx`` does not count."""
    rows = embedding(input, weight, padding_idx)
    if per_sample_weights is not None:
        if mode != "sum":
            raise ShapeError("per_sample_weights are for mode 'sum'.", given=f"mode {mode!r}", remedy="use mode='sum'")
        rows = rows * ops.expand_dims(per_sample_weights, 2)
    if padding_idx is None:
        return ops.max(rows, axis=1) if mode == "max" else ops.sum(rows, axis=1) if mode == "sum" else ops.mean(rows, axis=1)
    counted = ops.expand_dims(ops.not_equal(input, padding_idx % known(weight.shape[0])), 2)
    count = ops.sum(ops.astype(counted, rows.dtype), axis=1)
    if mode == "max":
        largest = ops.max(ops.where(counted, rows, -math.inf), axis=1)
        return ops.where(ops.equal(count, 0.0), 0.0, largest)
    total = ops.sum(ops.where(counted, rows, 0.0), axis=1)
    return total if mode == "sum" else total / ops.maximum(count, 1.0)


@composite(
    samples=[
        Sample(normal(4, 2), normal(4, 3), normal(5, 2, 3), normal(5)),
        Sample(normal(2, 3, 2), normal(2, 3, 1), normal(4, 2, 1)),
    ]
)
def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x1 @ weight[k] @ x2 + bias[k]`` for each output k: x1 (..., in1), x2 (..., in2), weight (out, in1, in2) give (..., out)."""
    outputs, first, second = (known(s) for s in weight.shape)
    if not sizes_agree(x1.shape[-1], first) or not sizes_agree(x2.shape[-1], second) or not shapes_agree(x1.shape[:-1], x2.shape[:-1]):
        raise ShapeError("the inputs' last sizes are not the layer's.", expected=f"(..., {first}) and (..., {second})", given=f"{x1.spec} and {x2.spec}")
    joined = ops.reshape(ops.permute_dims(weight, (1, 0, 2)), (first, outputs * second))
    left = ops.reshape(ops.matmul(x1, joined), (*x1.shape[:-1], outputs, second))
    y = ops.sum(left * ops.expand_dims(x2, x2.ndim - 1), axis=-1)
    return y if bias is None else y + bias
