"""Angles and hyperbolas: one primitive, ``atan2``, and what is made of it and of exponentials without losing digits."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.elementwise import unbroadcast
from unimodel.ops.rules import BOTH, need_float, same_kind
from unimodel.ops.samples import Sample, nonzero, normal
from unimodel.tracing import Tensor

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cosh",
    "hypot",
    "sinh",
    "tan",
]


@primitive(promote=BOTH, samples=[Sample(nonzero(2, 3), nonzero(3)), Sample(nonzero(3), 2.0)])
def atan2(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The angle in radians, in [-π, π], of the point (x2, x1): ``atan(x1 / x2)`` in the right quadrant."""
    need_float(x1)
    return same_kind(x1, x2)


@atan2.vjp
def _(node: Application, g: Tensor) -> Any:
    y, x = node.inputs
    g = g / (x * x + y * y)
    return unbroadcast(g * x, y), unbroadcast(-g * y, x)


def atan(x: Any) -> Tensor:
    """The angle in (-π/2, π/2) whose tangent is x."""
    return atan2(x, 1.0)


def asin(x: Any) -> Tensor:
    """The angle in [-π/2, π/2] whose sine is x; NaN outside of [-1, 1]."""
    return atan2(x, _beside(x))


def acos(x: Any) -> Tensor:
    """The angle in [0, π] whose cosine is x; NaN outside of [-1, 1]."""
    return atan2(_beside(x), x)


def _beside(x: Any) -> Tensor:
    """The other side of a triangle of hypotenuse 1, exact also near 1."""
    return ops.sqrt((1.0 - x) * (1.0 + x))


def tan(x: Any) -> Tensor:
    """The tangent of x in radians."""
    return ops.sin(x) / ops.cos(x)


def sinh(x: Any) -> Tensor:
    """The hyperbolic sine, ``(exp(x) - exp(-x)) / 2``, exact near 0."""
    return 0.5 * (ops.expm1(x) - ops.expm1(-x))


def cosh(x: Any) -> Tensor:
    """The hyperbolic cosine, ``(exp(x) + exp(-x)) / 2``."""
    return 0.5 * (ops.exp(x) + ops.exp(-x))


@composite(samples=[Sample(nonzero(2, 3))])
def asinh(x: Tensor) -> Tensor:
    """The number whose hyperbolic sine is x: ``log(x + sqrt(x * x + 1))``, exact near 0 and without overflow."""
    size = ops.abs(x)
    inverse = 1.0 / size
    return ops.sign(x) * ops.log1p(size + size / (inverse + ops.sqrt(inverse * inverse + 1.0)))


@asinh.vjp
def _(node: Application, g: Tensor) -> Any:
    x = node.inputs[0]
    return g / hypot(x, 1.0)


def acosh(x: Any) -> Tensor:
    """The number above 0 whose hyperbolic cosine is x; NaN below 1."""
    above = x - 1.0
    return ops.log1p(above + ops.sqrt(above) * ops.sqrt(above + 2.0))


def atanh(x: Any) -> Tensor:
    """The number whose hyperbolic tangent is x; NaN outside of [-1, 1]."""
    return 0.5 * (ops.log1p(x) - ops.log1p(-x))


@composite(promote=BOTH, samples=[Sample(nonzero(2, 3), nonzero(3)), Sample(normal(3), 2.0)])
def hypot(x1: Tensor, x2: Tensor) -> Tensor:
    """``sqrt(x1 ** 2 + x2 ** 2)`` without overflow; infinite where either is. Its gradient at (0, 0) is 0."""
    a, b = ops.abs(x1), ops.abs(x2)
    larger = ops.maximum(a, b)
    infinite = ops.logical_or(ops.isinf(a), ops.isinf(b))
    unit = ops.stop_gradient(ops.where(ops.logical_or(infinite, ops.equal(larger, 0.0)), 1.0, larger))
    length = unit * ops.sqrt((x1 / unit) * (x1 / unit) + (x2 / unit) * (x2 / unit))
    return ops.where(infinite, ops.asarray(float("inf"), dtype=length.dtype), length)


@hypot.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    y = node.outputs[0]
    g = g / ops.where(ops.equal(y, 0.0), 1.0, y)
    return unbroadcast(g * a, a), unbroadcast(g * b, b)
