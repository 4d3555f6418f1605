"""Comparison, logic, and choosing by a condition."""

from __future__ import annotations

from typing import Any

from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.elementwise import unbroadcast
from unimodel.ops.rules import (
    BOTH,
    broadcast_shapes,
)
from unimodel.ops.samples import Sample, booleans, integers, normal
from unimodel.tracing import Tensor

__all__ = [
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "stop_gradient",
    "where",
]


def _comparison(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    return TensorSpec(broadcast_shapes(x1.shape, x2.shape), "bool")


COMPARISONS = [
    Sample(normal(2, 3), normal(3), gradient=False),
    Sample(integers(0, 3, 6), integers(0, 3, 6), gradient=False),
    Sample(integers(0, 3, 6), 1, gradient=False),
]


@primitive(promote=BOTH, samples=COMPARISONS)
def equal(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 == x2``, elementwise, bool."""
    return _comparison(x1, x2)


@primitive(promote=BOTH, samples=COMPARISONS)
def not_equal(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 != x2``, elementwise, bool."""
    return _comparison(x1, x2)


@primitive(promote=BOTH, samples=COMPARISONS)
def less(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 < x2``, elementwise, bool."""
    return _comparison(x1, x2)


@primitive(promote=BOTH, samples=COMPARISONS)
def less_equal(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 <= x2``, elementwise, bool."""
    return _comparison(x1, x2)


@primitive(promote=BOTH, samples=COMPARISONS)
def greater(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 > x2``, elementwise, bool."""
    return _comparison(x1, x2)


@primitive(promote=BOTH, samples=COMPARISONS)
def greater_equal(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 >= x2``, elementwise, bool."""
    return _comparison(x1, x2)


def _logical(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    for x in (x1, x2):
        if x.dtype != "bool":
            raise ShapeError("logic is for booleans.", expected="bool", given=str(x), remedy="compare first: x != 0")
    return _comparison(x1, x2)


LOGIC = [Sample(booleans(4), booleans(4), gradient=False), Sample(booleans(2, 3), booleans(3), gradient=False)]


@primitive(samples=LOGIC)
def logical_and(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """Both."""
    return _logical(x1, x2)


@primitive(samples=LOGIC)
def logical_or(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """Either or both."""
    return _logical(x1, x2)


@primitive(samples=LOGIC)
def logical_xor(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """One but not both."""
    return _logical(x1, x2)


@primitive(samples=[Sample(booleans(5), gradient=False)])
def logical_not(x: TensorSpec) -> TensorSpec:
    """The opposite."""
    return _logical(x, x)


@primitive(samples=[Sample(normal(3), gradient=False)])
def isnan(x: TensorSpec) -> TensorSpec:
    """Whether each element is NaN."""
    return x.with_dtype("bool")


@primitive(samples=[Sample(normal(3), gradient=False)])
def isfinite(x: TensorSpec) -> TensorSpec:
    """Whether each element is neither NaN nor infinite."""
    return x.with_dtype("bool")


@primitive(
    promote=BOTH, samples=[Sample(booleans(2, 3), normal(2, 3), normal(3)), Sample(booleans(3), normal(2, 3), 0.0), Sample(booleans(3, 1), 1.0, normal(4))]
)
def where(condition: TensorSpec, x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1`` where the condition holds, ``x2`` elsewhere; all three broadcast."""
    if condition.dtype != "bool":
        raise ShapeError("the condition must be boolean.", expected="bool", given=str(condition), remedy="compare first: x > 0")
    return TensorSpec(broadcast_shapes(condition.shape, x1.shape, x2.shape), x1.dtype)


@where.vjp
def _(node: Application, g: Tensor) -> Any:
    c, a, b = node.inputs
    return None, unbroadcast(where(c, g, 0.0), a), unbroadcast(where(c, 0.0, g), b)


@composite(samples=[Sample(normal(3), gradient=False)])
def stop_gradient(x: Tensor) -> Tensor:
    """``x`` itself, through which no gradient flows (PyTorch's ``detach``)."""
    return x


@stop_gradient.vjp
def _(node: Application, g: Tensor) -> Any:
    return None
