"""The affine map, and rows looked up by integers."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.dim import product
from unimodel.errors import ShapeError
from unimodel.ops.definition import Application, composite
from unimodel.ops.rules import (
    known,
    need_integer,
    sizes_agree,
)
from unimodel.ops.samples import Sample, integers, normal
from unimodel.tracing import Tensor

__all__ = [
    "embedding",
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
