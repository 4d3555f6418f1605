"""The matrix product."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.ops.definition import Application, primitive
from unimodel.ops.elementwise import unbroadcast
from unimodel.ops.rules import (
    BOTH,
    broadcast_shapes,
    need_float,
    sizes_agree,
)
from unimodel.ops.samples import Sample, normal
from unimodel.tracing import Tensor

__all__ = [
    "matmul",
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
