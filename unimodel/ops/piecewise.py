"""Activations made of straight (or nearly straight) pieces; at a joint the gradient is that of the piece PyTorch takes there."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.op import composite
from unimodel.ops.rules import known, need_number, sizes_agree
from unimodel.ops.samples import Sample, distinct, nonzero, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "prelu",
    "relu6",
    "softshrink",
    "threshold",
]


@composite(samples=[Sample(distinct(2, 3)), Sample(uniform(-2, 2, 6), -0.51, 0.73)])
def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``x`` held between two bounds; the gradient at and beyond them is 0."""
    need_number(x.spec)
    return ops.where(ops.less_equal(x, min_val), min_val, ops.where(ops.greater_equal(x, max_val), max_val, x))


def relu6(x: Any) -> Tensor:
    """``x`` held between 0 and 6."""
    return hardtanh(x, 0.0, 6.0)


@composite(samples=[Sample(uniform(-5, 5, 2, 6))])
def hardsigmoid(x: Tensor) -> Tensor:
    """``(x + 3) / 6`` held between 0 and 1."""
    need_number(x.spec)
    return ops.where(ops.less_equal(x, -3.0), 0.0, ops.where(ops.greater_equal(x, 3.0), 1.0, (x + 3.0) / 6.0))


@composite(samples=[Sample(uniform(-5, 5, 2, 6))])
def hardswish(x: Tensor) -> Tensor:
    """``x * hardsigmoid(x)`` (Howard et al. 2019)."""
    need_number(x.spec)
    return x * hardsigmoid(x)


@composite(samples=[Sample(uniform(-2, 2, 6)), Sample(uniform(-2, 2, 6), 0.2)])
def hardshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """``x`` where its magnitude is above ``lambd``, 0 elsewhere."""
    need_number(x.spec)
    return ops.where(ops.less_equal(ops.abs(x), lambd), 0.0, x)


@composite(samples=[Sample(uniform(-2, 2, 6)), Sample(uniform(-2, 2, 6), 0.2)])
def softshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """``x`` moved towards 0 by ``lambd``, and no further."""
    need_number(x.spec)
    return ops.where(ops.less_equal(ops.abs(x), lambd), 0.0, x - ops.sign(x) * lambd)


@composite(samples=[Sample(nonzero(6), 0.05, -1.0)])
def threshold(x: Tensor, threshold: float, value: float) -> Tensor:
    """``x`` where it is above ``threshold``, ``value`` elsewhere."""
    need_number(x.spec)
    return ops.where(ops.less_equal(x, threshold), value, x)


@composite(samples=[Sample(nonzero(2, 3), uniform(0.1, 0.3, 1)), Sample(nonzero(2, 3, 4), normal(3)), Sample(nonzero(2, 3), normal(3))])
def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """``x`` where positive, ``weight * x`` elsewhere; weight (1,), or (C,) for x (N, C, *) (He et al. 2015)."""
    need_number(x.spec)
    count = known(weight.shape[0])
    if count != 1 and (x.ndim < 2 or not sizes_agree(x.shape[1], count)):
        raise ShapeError("one weight, or one per channel.", expected=f"(N, {count}, *)", given=str(x.spec))
    slope = ops.reshape(weight, (count,) + (1,) * (x.ndim - 2)) if x.ndim > 1 else ops.reshape(weight, (1,) * x.ndim)
    return ops.where(ops.greater(x, 0.0), x, slope * x)
