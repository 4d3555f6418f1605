"""The matrix product, and norms."""

from __future__ import annotations

import math
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.elementwise import unbroadcast
from unimodel.ops.rules import (
    BOTH,
    broadcast_shapes,
    canonical_axes,
    need_float,
    sizes_agree,
)
from unimodel.ops.samples import Sample, distinct, normal
from unimodel.tracing import Tensor

__all__ = [
    "matmul",
    "vector_norm",
]


@primitive(
    promote=BOTH,
    samples=[
        Sample(normal(2, 3), normal(3, 4)),
        Sample(normal(5, 2, 3), normal(5, 3, 4)),
        Sample(normal(2, 1, 3, 4), normal(5, 4, 6)),
        Sample(normal(3), normal(3)),
        Sample(normal(2, 3), normal(3)),
        Sample(normal(3), normal(3, 2)),
    ],
)
def matmul(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The matrix product of the last two dimensions, leading ones broadcast; vectors as in NumPy."""
    need_float(x1, "matmul's operands")
    a = x1.shape if x1.ndim > 1 else (1, *x1.shape)
    b = x2.shape if x2.ndim > 1 else (*x2.shape, 1)
    if x1.ndim == 0 or x2.ndim == 0 or not sizes_agree(a[-1], b[-2]):
        raise ShapeError("the inner sizes must agree.", expected="x1's last size equal to x2's last but one", given=f"{x1} and {x2}")
    shape = (*broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]) if len(a) > 2 or len(b) > 2 else (a[-2], b[-1])
    if x1.ndim == 1:
        shape = (*shape[:-2], shape[-1])
    if x2.ndim == 1:
        shape = shape[:-1]
    return x1.with_shape(*shape)


@matmul.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    a2 = ops.expand_dims(a, 0) if a.ndim == 1 else a
    b2 = ops.expand_dims(b, 1) if b.ndim == 1 else b
    if a.ndim == 1:
        g = ops.expand_dims(g, g.ndim - 1 if b.ndim > 1 else g.ndim)
    if b.ndim == 1:
        g = ops.expand_dims(g, g.ndim)
    da = unbroadcast(matmul(g, ops.matrix_transpose(b2)), a2)
    db = unbroadcast(matmul(ops.matrix_transpose(a2), g), b2)
    return ops.reshape(da, a.shape) if a.ndim == 1 else da, ops.reshape(db, b.shape) if b.ndim == 1 else db


@composite(
    canonical=canonical_axes,
    samples=[
        Sample(normal(2, 3)),
        Sample(normal(2, 3, 4), axis=(0, -1), keepdims=True),
        Sample(distinct(3, 4), axis=1, ord=1),
        Sample(distinct(3, 4), axis=1, ord=math.inf),
        Sample(normal(3, 4), axis=0, ord=3.5),
    ],
)
def vector_norm(x: Tensor, axis: Any = None, keepdims: bool = False, ord: float = 2.0) -> Tensor:
    """The ``ord``-norm over ``axis`` (all by default), ``sum(abs(x) ** ord) ** (1 / ord)``; also 0 (how many are not 0) and plus or minus infinity.

    Its gradient at a vector of zeros is 0; equal largest elements share that of the infinite norms evenly, as in PyTorch.
    """
    need_float(x.spec)
    if ord == 2:
        return ops.sqrt(ops.sum(x * x, axis=axis, keepdims=keepdims))
    if ord == 0:
        return ops.sum(ops.astype(ops.not_equal(x, 0.0), x.dtype), axis=axis, keepdims=keepdims)
    size = ops.abs(x)
    if ord == 1:
        return ops.sum(size, axis=axis, keepdims=keepdims)
    if math.isinf(ord):
        return ops.max(size, axis=axis, keepdims=keepdims) if ord > 0 else ops.min(size, axis=axis, keepdims=keepdims)
    return ops.pow(ops.sum(ops.pow(size, ord), axis=axis, keepdims=keepdims), 1.0 / ord)


@vector_norm.vjp
def _(node: Application, g: Tensor) -> Any:
    x, ord, axes = node.inputs[0], node.attrs["ord"], node.attrs["axis"]
    shape = tuple(1 if i in axes else s for i, s in enumerate(x.shape))
    g, norm = ops.reshape(g, shape), ops.reshape(node.outputs[0], shape)
    if ord == 0:
        return None
    if ord == 1:
        return g * ops.sign(x)
    if math.isinf(ord):
        chosen = ops.astype(ops.equal(ops.abs(x), norm), x.dtype)
        return g * ops.sign(x) * chosen / ops.sum(chosen, axis=axes, keepdims=True)
    nothing = ops.equal(norm, 0.0)
    unit = x / ops.where(nothing, 1.0, norm)
    if ord != 2:
        zero = ops.equal(x, 0.0)
        unit = ops.where(zero, 0.0, ops.sign(x) * ops.pow(ops.where(zero, 1.0, ops.abs(unit)), ord - 1.0))
    return g * ops.where(nothing, 0.0, unit)
