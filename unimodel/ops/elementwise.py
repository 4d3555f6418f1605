"""Arithmetic and functions of each element, with the Array API standard's names and broadcasting (https://data-apis.org/array-api/2023.12/)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import unimodel.ops as ops
from unimodel.dim import Dim
from unimodel.graph import FLOATS, TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.creation import default_float
from unimodel.ops.rules import (
    BOTH,
    need_float,
    need_number,
    same_kind,
    same_number,
)
from unimodel.ops.samples import Sample, distinct, integers, nonzero, normal, uniform
from unimodel.tensor_operators import TensorLike
from unimodel.tracing import Tensor, current_trace

__all__ = [
    "abs",
    "add",
    "as_float",
    "astype",
    "cast",
    "ceil",
    "clamp",
    "clip",
    "cos",
    "divide",
    "erf",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "pow",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "square",
    "subtract",
    "tanh",
    "true_divide",
]


@primitive(
    samples=[
        Sample(normal(2, 3), "float32", gradient=False),
        Sample(integers(-3, 3, 4), "float64", gradient=False),
        Sample(nonzero(3), "int64", gradient=False),
    ]
)
def cast(x: TensorSpec, dtype: str) -> TensorSpec:
    """Another dtype; floats go to integers by truncation towards zero, to bool by ``!= 0``."""
    return x.with_dtype(dtype)


@cast.vjp
def _(node: Application, g: Tensor) -> Any:
    return astype(g, node.inputs[0].dtype) if node.inputs[0].dtype in FLOATS else None


def astype(x: Any, dtype: Any) -> Tensor:
    """``x`` in another dtype, itself where it has it already."""
    name = "bool" if dtype is bool else dtype if isinstance(dtype, str) else np.dtype(dtype).name
    trace = current_trace()
    if trace is not None and isinstance(x, TensorLike):
        tensor = trace.as_tensor(x)
        return tensor if tensor.dtype == name else cast(tensor, name)
    return cast(x, name)


def unbroadcast(g: Tensor, like: Tensor) -> Tensor:
    """A gradient summed over the axes along which ``like`` was broadcast."""
    if g.shape == like.shape:
        return g
    lead = g.ndim - like.ndim
    axes = tuple(range(lead)) + tuple(i + lead for i, s in enumerate(like.shape) if s == 1 and g.shape[i + lead] != 1)
    total = ops.sum(g, axis=axes, keepdims=True)
    return ops.reshape(total, like.shape)


BINARY = [Sample(normal(2, 3), nonzero(2, 3)), Sample(normal(2, 3), nonzero(3)), Sample(normal(2, 1, 3), nonzero(4, 1)), Sample(normal(3), 2.0)]


@primitive(promote=BOTH, samples=[*BINARY, Sample(integers(-9, 9, 3), integers(-9, 9, 3), gradient=False)])
def add(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 + x2``, elementwise."""
    return same_kind(x1, x2)


@add.vjp
def _(node: Application, g: Tensor) -> Any:
    return unbroadcast(g, node.inputs[0]), unbroadcast(g, node.inputs[1])


@primitive(promote=BOTH, samples=[*BINARY, Sample(integers(-9, 9, 3), integers(-9, 9, 3), gradient=False)])
def subtract(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 - x2``, elementwise."""
    return same_number(x1, x2)


@subtract.vjp
def _(node: Application, g: Tensor) -> Any:
    return unbroadcast(g, node.inputs[0]), unbroadcast(-g, node.inputs[1])


@primitive(promote=BOTH, samples=[*BINARY, Sample(integers(-9, 9, 3), integers(-9, 9, 3), gradient=False)])
def multiply(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 * x2``, elementwise."""
    return same_kind(x1, x2)


@multiply.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    if a.value is b.value:  # a square
        return g * 2.0 * a
    return unbroadcast(g * b, a), unbroadcast(g * a, b)


@primitive(promote=BOTH, samples=BINARY)
def true_divide(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 / x2`` of floats, elementwise; ``divide`` takes integers too."""
    need_float(x1)
    return same_kind(x1, x2)


@true_divide.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    return unbroadcast(g / b, a), unbroadcast(-g * node.outputs[0] / b, b)


def divide(x1: Any, x2: Any) -> Tensor:
    """``x1 / x2``, elementwise; two integers give the trainer's float dtype."""
    return true_divide(as_float(x1), x2)


def as_float(x: Any) -> Any:
    """An integer or boolean tensor in the trainer's float dtype; anything else as it is."""
    if isinstance(x, TensorLike):
        return x if x.dtype in FLOATS else astype(x, default_float())
    if isinstance(x, Dim):
        trace = current_trace()
        return ops.extent(dim=x, dtype=default_float()) if trace is not None else x
    if isinstance(x, np.ndarray):
        return x if x.dtype.kind == "f" else x.astype(default_float())
    return float(x) if isinstance(x, (int, np.integer)) else x


@primitive(promote=BOTH, samples=[Sample(normal(6), nonzero(6), gradient=False), Sample(integers(-9, 9, 6), 4, gradient=False)])
def floor_divide(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The largest integer not above ``x1 / x2``, elementwise."""
    return same_number(x1, x2)


@primitive(promote=BOTH, samples=[Sample(distinct(6), 0.7), Sample(integers(-9, 9, 6), 4, gradient=False)])
def remainder(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """What is left of ``x1`` after floor division, with the sign of ``x2``."""
    return same_number(x1, x2)


@remainder.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    return unbroadcast(g, a), unbroadcast(-g * floor(a / b), b)


@primitive(promote=BOTH, samples=[Sample(uniform(0.2, 2, 3), normal(2, 3)), Sample(normal(3), 2.0), Sample(uniform(0.1, 2, 3), -0.5)])
def pow(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 ** x2``, elementwise."""
    return same_number(x1, x2)


@pow.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    da = ops.where(ops.equal(b, 0), 0.0, b * pow(a, b - 1.0))
    positive = ops.greater(a, 0)
    db = node.outputs[0] * ops.where(positive, log(ops.where(positive, a, 1.0)), 0.0)
    return unbroadcast(g * da, a), unbroadcast(g * db, b)


@primitive(promote=BOTH, samples=[Sample(distinct(2, 3), 0.01), Sample(distinct(4), -distinct(4).low + 0.033), Sample(integers(-9, 9, 4), 2, gradient=False)])
def maximum(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The larger, elementwise; NaN if either is. A tie shares its gradient in halves, as in PyTorch."""
    return same_kind(x1, x2)


@primitive(promote=BOTH, samples=[Sample(distinct(2, 3), 0.01), Sample(integers(-9, 9, 4), 2, gradient=False)])
def minimum(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The smaller, elementwise; NaN if either is. A tie shares its gradient in halves, as in PyTorch."""
    return same_kind(x1, x2)


def _selected(g: Tensor, a: Tensor, b: Tensor, wins: Tensor) -> Any:
    share = ops.where(wins, 1.0, ops.where(ops.equal(a, b), 0.5, 0.0))
    share = astype(share, g.dtype)
    return unbroadcast(g * share, a), unbroadcast(g * (1.0 - share), b)


@maximum.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    return _selected(g, a, b, ops.greater(a, b))


@minimum.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    return _selected(g, a, b, ops.less(a, b))


UNARY = [Sample(normal(2, 3)), Sample(normal())]
POSITIVE = [Sample(uniform(0.1, 3, 2, 3))]


@primitive(samples=[*UNARY, Sample(integers(-5, 5, 3), gradient=False)])
def negative(x: TensorSpec) -> TensorSpec:
    """``-x``."""
    return need_number(x)


@negative.vjp
def _(node: Application, g: Tensor) -> Any:
    return -g


@primitive(samples=[Sample(nonzero(2, 3)), Sample(integers(-5, 5, 3), gradient=False)])
def abs(x: TensorSpec) -> TensorSpec:
    """The magnitude; its gradient at 0 is 0."""
    return need_number(x)


@abs.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * sign(node.inputs[0])


@primitive(samples=[Sample(nonzero(2, 3))])
def sign(x: TensorSpec) -> TensorSpec:
    """-1, 0 or 1."""
    return need_number(x)


@sign.vjp
def _(node: Application, g: Tensor) -> Any:
    return None


@primitive(samples=UNARY)
def exp(x: TensorSpec) -> TensorSpec:
    """e to the power of x."""
    need_float(x)
    return x


@exp.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * node.outputs[0]


@primitive(samples=UNARY)
def expm1(x: TensorSpec) -> TensorSpec:
    """``exp(x) - 1``, exact near 0."""
    need_float(x)
    return x


@expm1.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * (node.outputs[0] + 1.0)


@primitive(samples=POSITIVE)
def log(x: TensorSpec) -> TensorSpec:
    """The natural logarithm."""
    need_float(x)
    return x


@log.vjp
def _(node: Application, g: Tensor) -> Any:
    return g / node.inputs[0]


@primitive(samples=POSITIVE)
def log1p(x: TensorSpec) -> TensorSpec:
    """``log(1 + x)``, exact near 0."""
    need_float(x)
    return x


@log1p.vjp
def _(node: Application, g: Tensor) -> Any:
    return g / (node.inputs[0] + 1.0)


@primitive(samples=POSITIVE)
def sqrt(x: TensorSpec) -> TensorSpec:
    """The square root."""
    need_float(x)
    return x


@sqrt.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * 0.5 / node.outputs[0]


@primitive(samples=UNARY)
def sin(x: TensorSpec) -> TensorSpec:
    """The sine of x in radians."""
    need_float(x)
    return x


@sin.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * cos(node.inputs[0])


@primitive(samples=UNARY)
def cos(x: TensorSpec) -> TensorSpec:
    """The cosine of x in radians."""
    need_float(x)
    return x


@cos.vjp
def _(node: Application, g: Tensor) -> Any:
    return -g * sin(node.inputs[0])


@primitive(samples=UNARY)
def tanh(x: TensorSpec) -> TensorSpec:
    """The hyperbolic tangent."""
    need_float(x)
    return x


@tanh.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * (1.0 - node.outputs[0] * node.outputs[0])


@primitive(samples=UNARY)
def sigmoid(x: TensorSpec) -> TensorSpec:
    """``1 / (1 + exp(-x))``, without overflow."""
    need_float(x)
    return x


@sigmoid.vjp
def _(node: Application, g: Tensor) -> Any:
    y = node.outputs[0]
    return g * y * (1.0 - y)


@primitive(samples=UNARY)
def erf(x: TensorSpec) -> TensorSpec:
    """The error function."""
    need_float(x)
    return x


@erf.vjp
def _(node: Application, g: Tensor) -> Any:
    x = node.inputs[0]
    return g * (2.0 / math.sqrt(math.pi)) * exp(-x * x)


@primitive(samples=[Sample(distinct(6))])
def floor(x: TensorSpec) -> TensorSpec:
    """The largest integer not above x, in x's dtype."""
    return need_number(x)


@primitive(samples=[Sample(distinct(6))])
def ceil(x: TensorSpec) -> TensorSpec:
    """The smallest integer not below x, in x's dtype."""
    return need_number(x)


@primitive(samples=[Sample(distinct(6)), Sample(uniform(-3, 3, 6), gradient=False)])
def round(x: TensorSpec) -> TensorSpec:
    """The nearest integer, halves to even, in x's dtype."""
    return need_number(x)


for _flat in (floor, ceil, round):

    @_flat.vjp
    def _(node: Application, g: Tensor) -> Any:
        return None


@composite(samples=UNARY)
def square(x: Tensor) -> Tensor:
    """``x * x``."""
    need_number(x.spec)
    return x * x


@composite(samples=POSITIVE)
def rsqrt(x: Tensor) -> Tensor:
    """``1 / sqrt(x)``."""
    return 1.0 / sqrt(x)


@rsqrt.vjp
def _(node: Application, g: Tensor) -> Any:
    y = node.outputs[0]
    return g * -0.5 * y * y * y


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """``x`` held between ``min`` and ``max``, either of which may be None. As in PyTorch, the gradient is 1 at the bounds."""
    result: Tensor = x
    if min is not None:
        result = ops.where(ops.less(x, min), min, result)
    if max is not None:
        result = ops.where(ops.greater(x, max), max, result)
    return result


clamp = clip
