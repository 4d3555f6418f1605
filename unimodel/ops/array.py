"""Array ops, with the names and meaning of the Array API standard (https://data-apis.org/array-api/2023.12/).

First what makes tensors, then elementwise ops, reductions, manipulation, indexing. Reductions, comparisons and shape changes are primitives;
what can be said in terms of others is a composite or a plain function.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodel.dim import Dim, Size, product
from unimodel.errors import ShapeError, TraceError
from unimodel.graph import FLOATS, ArrayLiteral, TensorSpec
from unimodel.ops.definition import Application, composite, primitive
from unimodel.ops.rules import (
    axes_of,
    axis_index,
    broadcast_shapes,
    canonical_axes,
    canonical_axis,
    known,
    need_float,
    need_integer,
    reduced,
    same_kind,
)
from unimodel.ops.samples import Sample, booleans, distinct, integers, nonzero, normal, uniform
from unimodel.tracing import Scalar, Tensor, TensorLike, Variable, current_trace

__all__ = [
    "abs",
    "add",
    "all",
    "any",
    "arange",
    "arg_max",
    "arg_min",
    "argmax",
    "argmin",
    "as_float",
    "asarray",
    "astype",
    "broadcast_to",
    "cast",
    "ceil",
    "chunk",
    "clamp",
    "clip",
    "concat",
    "constant",
    "cos",
    "cumulative_sum",
    "divide",
    "equal",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "extent",
    "eye",
    "flatten",
    "flip",
    "floor",
    "floor_divide",
    "full",
    "full_like",
    "getitem",
    "greater",
    "greater_equal",
    "iota",
    "isfinite",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "moveaxis",
    "multiply",
    "negative",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "pad_constant",
    "permute_dims",
    "pow",
    "prod",
    "remainder",
    "reshape",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "slice",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "stop_gradient",
    "subtract",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "take_along_axis_gradient",
    "take_gradient",
    "tanh",
    "tril",
    "triu",
    "true_divide",
    "var",
    "where",
    "zeros",
    "zeros_like",
]

# ---------------------------------------------------------------------------------------------------------------- creation


@primitive(samples=[Sample(2.5, dtype="float32", gradient=False), Sample(3, dtype="int64", gradient=False)])
def constant(*, value: Any, dtype: str) -> TensorSpec:
    """A number or array fixed in the graph. A Python number makes a 0-d tensor."""
    return TensorSpec(value.array.shape if isinstance(value, ArrayLiteral) else (), dtype)


def _constant(value: Any, dtype: str) -> Tensor:
    trace = current_trace()
    if trace is None:
        raise TraceError("constants belong to a trace.")
    return trace.constant(value, dtype)


@primitive(samples=[])
def extent(*, dim: Any, dtype: str) -> TensorSpec:
    """A symbolic size as a 0-d tensor, for arithmetic with it."""
    return TensorSpec((), dtype)


@primitive(samples=[Sample(start=0, stop=5, step=1, dtype="int64", gradient=False), Sample(start=1.0, stop=2.0, step=0.25, dtype="float32", gradient=False)])
def iota(*, start: Any, stop: Any, step: Any, dtype: str) -> TensorSpec:
    """Evenly spaced numbers in [start, stop), 1-d; the backend's side of ``arange``."""
    size: Size = stop - start if step == 1 and (isinstance(stop, (Dim, int)) and isinstance(start, (Dim, int))) else max_size(start, stop, step)
    return TensorSpec((size,), dtype)


def max_size(start: Any, stop: Any, step: Any) -> int:
    return builtins.max(0, int(math.ceil((stop - start) / step)))


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: str | None = None) -> Tensor:
    """Evenly spaced numbers in [start, stop), shape (ceil((stop - start) / step),); with one argument from 0. int64 for integers."""
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        floats = builtins.any(isinstance(v, float) for v in (start, stop, step))
        dtype = _default_float() if floats else "int64"
    return iota(start=start, stop=stop, step=step, dtype=dtype)


def full(shape: Any, fill_value: Any, *, dtype: str | None = None) -> Tensor:
    """A tensor of one value."""
    shape = (shape,) if isinstance(shape, (int, Dim)) else tuple(shape)
    if not isinstance(fill_value, TensorLike) and dtype is None:
        dtype = "bool" if isinstance(fill_value, bool) else "int64" if isinstance(fill_value, int) else _default_float()
    value = astype(fill_value, dtype) if isinstance(fill_value, TensorLike) and dtype else fill_value
    return broadcast_to(value if isinstance(value, TensorLike) else _constant(value, str(dtype)), shape)


def zeros(shape: Any, *, dtype: str | None = None) -> Tensor:
    """A tensor of zeros, by default of the trainer's precision."""
    return full(shape, 0, dtype=dtype or _default_float())


def ones(shape: Any, *, dtype: str | None = None) -> Tensor:
    """A tensor of ones, by default of the trainer's precision."""
    return full(shape, 1, dtype=dtype or _default_float())


def full_like(x: Any, fill_value: Any, *, dtype: str | None = None) -> Tensor:
    return full(x.shape, fill_value, dtype=dtype or x.dtype)


def zeros_like(x: Any, *, dtype: str | None = None) -> Tensor:
    return full_like(x, 0, dtype=dtype)


def ones_like(x: Any, *, dtype: str | None = None) -> Tensor:
    return full_like(x, 1, dtype=dtype)


def eye(n_rows: Size, n_cols: Size | None = None, *, k: int = 0, dtype: str | None = None) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere."""
    columns = n_rows if n_cols is None else n_cols
    return astype(equal(expand_dims(arange(n_rows), 1) + k, arange(columns)), dtype or _default_float())


def _default_float() -> str:
    trace = current_trace()
    return trace.root.float_dtype if trace is not None else "float32"


def asarray(x: Any, *, dtype: str | None = None) -> Tensor:
    """Anything an op accepts, as a tensor of the current trace."""
    trace = current_trace()
    if trace is None:
        raise TraceError("asarray works inside a trace.")
    tensor = trace.as_tensor(x)
    return astype(tensor, dtype) if dtype else tensor


# ------------------------------------------------------------------------------------------------------------- elementwise


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
    total = sum(g, axis=axes, keepdims=True)
    return reshape(total, like.shape)


BINARY = [Sample(normal(2, 3), nonzero(2, 3)), Sample(normal(2, 3), nonzero(3)), Sample(normal(2, 1, 3), nonzero(4, 1)), Sample(normal(3), 2.0)]
BOTH = ("x1", "x2")


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
    return same_kind(x1, x2)


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
    return unbroadcast(g * b, a), unbroadcast(g * a, b)


@primitive(promote=BOTH, samples=BINARY)
def true_divide(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 / x2`` of floats, elementwise."""
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
        return x if x.dtype in FLOATS else astype(x, _default_float())
    if isinstance(x, Dim):
        trace = current_trace()
        return extent(dim=x, dtype=_default_float()) if trace is not None else x
    if isinstance(x, np.ndarray):
        return x if x.dtype.kind == "f" else x.astype(_default_float())
    return float(x) if isinstance(x, (int, np.integer)) else x


@primitive(promote=BOTH, samples=[Sample(normal(6), nonzero(6), gradient=False), Sample(integers(-9, 9, 6), 4, gradient=False)])
def floor_divide(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """The largest integer not above ``x1 / x2``, elementwise."""
    return same_kind(x1, x2)


@primitive(promote=BOTH, samples=[Sample(distinct(6), 0.7), Sample(integers(-9, 9, 6), 4, gradient=False)])
def remainder(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """What is left of ``x1`` after floor division, with the sign of ``x2``."""
    return same_kind(x1, x2)


@remainder.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    return unbroadcast(g, a), unbroadcast(-g * floor(a / b), b)


@primitive(promote=BOTH, samples=[Sample(uniform(0.2, 2, 3), normal(2, 3)), Sample(normal(3), 2.0), Sample(uniform(0.1, 2, 3), -0.5)])
def pow(x1: TensorSpec, x2: TensorSpec) -> TensorSpec:
    """``x1 ** x2``, elementwise."""
    return same_kind(x1, x2)


@pow.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    da = where(equal(b, 0), 0.0, b * pow(a, b - 1.0))
    positive = greater(a, 0)
    db = node.outputs[0] * where(positive, log(where(positive, a, 1.0)), 0.0)
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
    share = where(wins, 1.0, where(equal(a, b), 0.5, 0.0))
    share = astype(share, g.dtype)
    return unbroadcast(g * share, a), unbroadcast(g * (1.0 - share), b)


@maximum.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    return _selected(g, a, b, greater(a, b))


@minimum.vjp
def _(node: Application, g: Tensor) -> Any:
    a, b = node.inputs
    return _selected(g, a, b, less(a, b))


UNARY = [Sample(normal(2, 3)), Sample(normal())]
POSITIVE = [Sample(uniform(0.1, 3, 2, 3))]


@primitive(samples=[*UNARY, Sample(integers(-5, 5, 3), gradient=False)])
def negative(x: TensorSpec) -> TensorSpec:
    """``-x``."""
    return x


@negative.vjp
def _(node: Application, g: Tensor) -> Any:
    return -g


@primitive(samples=[Sample(nonzero(2, 3)), Sample(integers(-5, 5, 3), gradient=False)])
def abs(x: TensorSpec) -> TensorSpec:
    """The magnitude; its gradient at 0 is 0."""
    return x


@abs.vjp
def _(node: Application, g: Tensor) -> Any:
    return g * sign(node.inputs[0])


@primitive(samples=[Sample(nonzero(2, 3))])
def sign(x: TensorSpec) -> TensorSpec:
    """-1, 0 or 1."""
    return x


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
    return x


@primitive(samples=[Sample(distinct(6))])
def ceil(x: TensorSpec) -> TensorSpec:
    """The smallest integer not below x, in x's dtype."""
    return x


@primitive(samples=[Sample(distinct(6)), Sample(uniform(-3, 3, 6), gradient=False)])
def round(x: TensorSpec) -> TensorSpec:
    """The nearest integer, halves to even, in x's dtype."""
    return x


for _flat in (floor, ceil, round):

    @_flat.vjp
    def _(node: Application, g: Tensor) -> Any:
        return None


@composite(samples=UNARY)
def square(x: Tensor) -> Tensor:
    """``x * x``."""
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
        result = where(less(x, min), min, result)
    if max is not None:
        result = where(greater(x, max), max, result)
    return result


clamp = clip

# -------------------------------------------------------------------------------------------------- comparison and logic


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


# -------------------------------------------------------------------------------------------------------------- reductions

REDUCTIONS = [Sample(distinct(2, 3, 4)), Sample(distinct(2, 3, 4), axis=1), Sample(distinct(2, 3, 4), axis=(0, -1), keepdims=True), Sample(distinct(4), axis=0)]


@primitive(canonical=canonical_axes, samples=[*REDUCTIONS, Sample(integers(-5, 5, 2, 3), axis=0, gradient=False)])
def sum(x: TensorSpec, axis: Any = None, keepdims: bool = False) -> TensorSpec:
    """The sum over ``axis`` (a number, several, or None for all). Booleans and int32 are counted in int64."""
    return reduced(x, axis, keepdims, "int64" if x.dtype in ("bool", "int32") else None)


def _restore(g: Tensor, node: Application) -> Tensor:
    """A gradient with reduced axes put back as size 1."""
    if node.attrs["keepdims"]:
        return g
    axes = node.attrs["axis"]
    return reshape(g, tuple(1 if i in axes else s for i, s in enumerate(node.inputs[0].shape)))


@sum.vjp
def _(node: Application, g: Tensor) -> Any:
    return broadcast_to(_restore(g, node), node.inputs[0].shape)


@primitive(canonical=canonical_axes, samples=[Sample(nonzero(2, 3)), Sample(nonzero(2, 3), axis=1)])
def prod(x: TensorSpec, axis: Any = None, keepdims: bool = False) -> TensorSpec:
    """The product over ``axis``."""
    return reduced(x, axis, keepdims)


@prod.vjp
def _(node: Application, g: Tensor) -> Any:
    # Exact where elements are zero: with one zero only that element has a gradient, the product of the others; with two or more none has.
    x = node.inputs[0]
    zero = equal(x, 0.0)
    zeros_here = sum(astype(zero, x.dtype), axis=node.attrs["axis"], keepdims=True)
    others = prod(where(zero, 1.0, x), axis=node.attrs["axis"], keepdims=True)
    alone = where(zero, where(equal(zeros_here, 1.0), others, 0.0), where(equal(zeros_here, 0.0), others / where(zero, 1.0, x), 0.0))
    return _restore(g, node) * alone


@primitive(canonical=canonical_axes, samples=REDUCTIONS)
def max(x: TensorSpec, axis: Any = None, keepdims: bool = False) -> TensorSpec:
    """The largest over ``axis``; NaN if any is. Equal largest elements share the gradient evenly, as PyTorch's amax."""
    return reduced(x, axis, keepdims)


@primitive(canonical=canonical_axes, samples=REDUCTIONS)
def min(x: TensorSpec, axis: Any = None, keepdims: bool = False) -> TensorSpec:
    """The smallest over ``axis``; NaN if any is. Equal smallest elements share the gradient evenly, as PyTorch's amin."""
    return reduced(x, axis, keepdims)


for _extreme in (max, min):

    @_extreme.vjp
    def _(node: Application, g: Tensor) -> Any:
        x = node.inputs[0]
        chosen = astype(equal(x, _restore(node.outputs[0], node)), x.dtype)
        return _restore(g, node) * chosen / sum(chosen, axis=node.attrs["axis"], keepdims=True)


LOGIC_REDUCTIONS = [Sample(booleans(2, 3), gradient=False), Sample(booleans(2, 3), axis=0, keepdims=True, gradient=False)]


@primitive(canonical=canonical_axes, samples=LOGIC_REDUCTIONS)
def all(x: TensorSpec, axis: Any = None, keepdims: bool = False) -> TensorSpec:
    """Whether every element holds; for bool tensors."""
    return reduced(x, axis, keepdims)


@primitive(canonical=canonical_axes, samples=LOGIC_REDUCTIONS)
def any(x: TensorSpec, axis: Any = None, keepdims: bool = False) -> TensorSpec:
    """Whether any element holds; for bool tensors."""
    return reduced(x, axis, keepdims)


def _canonical_argument(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    attrs["axis"] = axis_index(attrs["axis"], specs[0].ndim)


@primitive(
    canonical=_canonical_argument, samples=[Sample(distinct(3, 4), axis=1, gradient=False), Sample(integers(0, 3, 3, 5), axis=0, keepdims=True, gradient=False)]
)
def arg_max(x: TensorSpec, axis: int, keepdims: bool = False) -> TensorSpec:
    """The index of the first largest element along one axis, int64."""
    return reduced(x, (axis,), keepdims, "int64")


@primitive(canonical=_canonical_argument, samples=[Sample(distinct(3, 4), axis=1, gradient=False), Sample(integers(0, 3, 3, 5), axis=0, gradient=False)])
def arg_min(x: TensorSpec, axis: int, keepdims: bool = False) -> TensorSpec:
    """The index of the first smallest element along one axis, int64."""
    return reduced(x, (axis,), keepdims, "int64")


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first largest element, along ``axis`` or of the flattened tensor; int64."""
    return arg_max(reshape(x, (-1,)), 0) if axis is None else arg_max(x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first smallest element, along ``axis`` or of the flattened tensor; int64."""
    return arg_min(reshape(x, (-1,)), 0) if axis is None else arg_min(x, axis, keepdims)


@primitive(canonical=canonical_axis, samples=[Sample(normal(2, 5), axis=1), Sample(normal(4), axis=0)])
def cumulative_sum(x: TensorSpec, axis: int = -1) -> TensorSpec:
    """Running sums along one axis, of x's shape."""
    return x.with_dtype("int64") if x.dtype in ("bool", "int32") else x


@cumulative_sum.vjp
def _(node: Application, g: Tensor) -> Any:
    axis = node.attrs["axis"]
    return flip(cumulative_sum(flip(g, axis=axis), axis=axis), axis=axis)


@composite(canonical=canonical_axes, samples=REDUCTIONS)
def mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over ``axis``; integers are averaged in the trainer's float dtype."""
    x = as_float(x)
    count = product(tuple(x.shape[a] for a in axis))
    return sum(x, axis=axis, keepdims=keepdims) / count


@composite(canonical=canonical_axes, samples=REDUCTIONS)
def var(x: Tensor, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over ``axis``, divided by ``n - correction`` (the Array API's default 0 is the biased one)."""
    count = product(tuple(x.shape[a] for a in axis))
    centred = x - mean(x, axis=axis, keepdims=True)
    total = sum(centred * centred, axis=axis, keepdims=keepdims)
    return total / (as_float(count) - correction if isinstance(count, Dim) else count - correction)


def std(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The square root of ``var``."""
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


@composite(canonical=canonical_axes, samples=REDUCTIONS)
def logsumexp(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over ``axis``, without overflow."""
    top = stop_gradient(max(x, axis=axis, keepdims=True))
    top = where(isfinite(top), top, 0.0)
    total = log(sum(exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else squeeze(total, axis)


# ------------------------------------------------------------------------------------------------------------ manipulation


def _canonical_reshape(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    shape = attrs["shape"]
    target = list((shape,) if isinstance(shape, (int, Dim)) else shape)
    total = product(specs[0].shape)
    unknown = [i for i, s in enumerate(target) if s == -1]
    if len(unknown) > 1:
        raise ShapeError("only one size can be left to be found.", given=shape)
    if unknown:
        rest = product(tuple(s for s in target if s != -1))
        if rest == 0 or total % rest != 0:  # type: ignore[operator]  # a symbolic divisor of a number makes the trace start anew
            raise ShapeError("the elements do not fill this shape.", expected=f"a multiple of {rest} elements", given=f"{specs[0]}, shape {shape}")
        target[unknown[0]] = total // rest
    attrs["shape"] = tuple(target)


@primitive(
    canonical=_canonical_reshape,
    samples=[Sample(normal(2, 6), (3, 4)), Sample(normal(2, 6), (-1,)), Sample(normal(2, 3, 4), (2, -1, 2)), Sample(normal(1), ())],
)
def reshape(x: TensorSpec, shape: Any) -> TensorSpec:
    """The same elements in row-major order in another shape; one size may be -1."""
    if product(shape) != product(x.shape):
        raise ShapeError("the number of elements must stay.", expected=f"{product(x.shape)} elements", given=f"{x} to shape {shape}")
    return x.with_shape(*shape)


@reshape.vjp
def _(node: Application, g: Tensor) -> Any:
    return reshape(g, node.inputs[0].shape)


def _canonical_permutation(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    rank = specs[0].ndim
    axes = tuple(axis_index(a, rank) for a in attrs["axes"])
    if sorted(axes) != list(range(rank)):
        raise ShapeError("axes must name every dimension once.", expected=f"a permutation of 0 to {rank - 1}", given=attrs["axes"])
    attrs["axes"] = axes


@primitive(canonical=_canonical_permutation, samples=[Sample(normal(2, 3), (1, 0)), Sample(normal(2, 3, 4), (2, 0, 1)), Sample(normal(2, 3, 4), (0, -1, 1))])
def permute_dims(x: TensorSpec, axes: Any) -> TensorSpec:
    """The dimensions in another order."""
    return x.with_shape(*(x.shape[a] for a in axes))


@permute_dims.vjp
def _(node: Application, g: Tensor) -> Any:
    return permute_dims(g, tuple(int(i) for i in np.argsort(node.attrs["axes"])))


@primitive(samples=[Sample(normal(3), (2, 3)), Sample(normal(2, 1), (2, 4)), Sample(normal(), (2,)), Sample(normal(2, 1, 3), (5, 2, 4, 3))])
def broadcast_to(x: TensorSpec, shape: Any) -> TensorSpec:
    """``x`` repeated along its dimensions of size 1, and new leading ones, to this shape."""
    if broadcast_shapes(x.shape, shape) != tuple(shape):
        raise ShapeError("the shape does not broadcast to the target.", expected=f"a shape that broadcasts to {shape}", given=str(x))
    return x.with_shape(*shape)


@broadcast_to.vjp
def _(node: Application, g: Tensor) -> Any:
    return unbroadcast(g, node.inputs[0])


def _canonical_concat(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    if not specs:
        raise ShapeError("nothing to join.", expected="at least one tensor")
    attrs["axis"] = axis_index(attrs["axis"], specs[0].ndim)


@primitive(
    promote=("arrays",),
    canonical=_canonical_concat,
    samples=[Sample([normal(2, 3), normal(4, 3)]), Sample([normal(2, 3), normal(2, 1), normal(2, 2)], axis=-1)],
)
def concat(arrays: Sequence[TensorSpec], axis: int = 0) -> TensorSpec:
    """Tensors joined along an existing axis."""
    first = arrays[0]
    for x in arrays:
        if x.ndim != first.ndim or builtins.any(a != b for i, (a, b) in enumerate(zip(x.shape, first.shape, strict=True)) if i != axis):
            raise ShapeError(f"all sizes but axis {axis} must agree.", given=" and ".join(str(a) for a in arrays))
    total: Size = 0
    for x in arrays:
        total = total + x.shape[axis]
    return first.with_shape(*(total if i == axis else s for i, s in enumerate(first.shape)))


@concat.vjp
def _(node: Application, g: Tensor) -> Any:
    axis = node.attrs["axis"]
    pieces, start = [], 0
    for x in node.inputs:
        stop = start + x.shape[axis]
        pieces.append(_slice_axis(g, axis, start, stop))
        start = stop
    return tuple(pieces)


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return concat([expand_dims(a, axis) for a in arrays], axis=axis)


def split(x: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """PyTorch's split: pieces of one size (the last may be smaller) or of the given sizes along ``dim``."""
    axis = axis_index(dim, x.ndim)
    total = known(x.shape[axis])
    sizes = split_size_or_sections
    if isinstance(sizes, int):
        sizes = [builtins.min(sizes, total - i) for i in range(0, total, sizes)]
    if builtins.sum(sizes) != total:
        raise ShapeError("the pieces must add up.", expected=f"sizes that add up to {total}", given=sizes)
    starts = np.cumsum([0, *sizes])
    return tuple(_slice_axis(x, axis, int(a), int(b)) for a, b in zip(starts[:-1], starts[1:], strict=True))


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """PyTorch's chunk: at most ``chunks`` pieces of equal size along ``dim``."""
    return split(x, -(-known(x.shape[axis_index(dim, x.ndim)]) // chunks), dim)


def expand_dims(x: Any, axis: int) -> Tensor:
    """``x`` with a new dimension of size 1 at ``axis``."""
    shape = list(x.shape)
    shape.insert(axis_index(axis, len(shape) + 1), 1)
    return reshape(x, tuple(shape))


def squeeze(x: Any, axis: int | tuple[int, ...]) -> Tensor:
    """``x`` without these dimensions, which must have size 1."""
    axes = axes_of(axis, x.ndim)
    if builtins.any(x.shape[a] != 1 for a in axes):
        raise ShapeError("only dimensions of size 1 can be left out.", given=f"shape {x.shape}, axis {axis}")
    return reshape(x, tuple(s for i, s in enumerate(x.shape) if i not in axes))


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from ``start_dim`` to ``end_dim`` made one, as PyTorch's flatten."""
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = axis_index(start_dim, x.ndim), axis_index(end_dim, x.ndim)
    return reshape(x, (*x.shape[:first], product(tuple(x.shape[first : last + 1])), *x.shape[last + 1 :]))


def matrix_transpose(x: Any) -> Tensor:
    """The last two dimensions swapped."""
    return swapaxes(x, -1, -2)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two dimensions swapped (PyTorch's ``transpose``)."""
    axes = list(range(x.ndim))
    a, b = axis_index(axis1, x.ndim), axis_index(axis2, x.ndim)
    axes[a], axes[b] = axes[b], axes[a]
    return permute_dims(x, tuple(axes))


def moveaxis(x: Any, source: int, destination: int) -> Tensor:
    """One dimension moved to another place."""
    axes = [i for i in range(x.ndim) if i != axis_index(source, x.ndim)]
    axes.insert(axis_index(destination, x.ndim), axis_index(source, x.ndim))
    return permute_dims(x, tuple(axes))


@primitive(canonical=canonical_axes, samples=[Sample(normal(3, 2)), Sample(normal(3, 2), axis=0)])
def flip(x: TensorSpec, axis: Any = None) -> TensorSpec:
    """The elements in reverse order along ``axis``."""
    return x


@flip.vjp
def _(node: Application, g: Tensor) -> Any:
    return flip(g, axis=node.attrs["axis"])


def _canonical_pad(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    widths = tuple(tuple(w) for w in attrs["widths"])
    if len(widths) != specs[0].ndim or builtins.any(len(w) != 2 for w in widths):
        raise ShapeError("widths needs one (before, after) pair per dimension.", given=attrs["widths"])
    attrs["widths"] = widths


@primitive(
    canonical=_canonical_pad, samples=[Sample(normal(2, 3), ((0, 1), (2, 0))), Sample(normal(3), ((1, 1),), value=-1.5), Sample(normal(2, 3), ((0, 0), (0, 0)))]
)
def pad_constant(x: TensorSpec, widths: Any, value: float = 0.0) -> TensorSpec:
    """``x`` surrounded by a constant: (before, after) counts per dimension, none negative."""
    if builtins.any(isinstance(n, int) and n < 0 for w in widths for n in w):
        raise ShapeError("widths must not be negative.", given=widths, remedy="slice instead")
    return x.with_shape(*(s + lo + hi for s, (lo, hi) in zip(x.shape, widths, strict=True)))


@pad_constant.vjp
def _(node: Application, g: Tensor) -> Any:
    shape = node.inputs[0].shape
    lows = [w[0] for w in node.attrs["widths"]]
    return _slice(g, lows, [lo + s for lo, s in zip(lows, shape, strict=True)])


# ---------------------------------------------------------------------------------------------------------------- indexing


@primitive(
    samples=[
        Sample(normal(4, 5), start=(1, 0), stop=(3, 5), step=(1, 2)),
        Sample(normal(6), start=(1,), stop=(6,), step=(3,)),
        Sample(normal(3, 4), start=(0, 2), stop=(3, 2), step=(1, 1), gradient=False),
    ]
)
def slice(x: TensorSpec, start: Any, stop: Any, step: Any) -> TensorSpec:
    """Elements ``start`` to ``stop`` by a positive ``step``, one of each per dimension, none negative or past the end."""
    sizes = tuple(b - a if s == 1 else -(-builtins.max(0, known(b) - known(a)) // s) for a, b, s in zip(start, stop, step, strict=True))
    return x.with_shape(*sizes)


@slice.vjp
def _(node: Application, g: Tensor) -> Any:
    shape = node.inputs[0].shape
    start, step = node.attrs["start"], node.attrs["step"]
    for axis, s in enumerate(step):
        if s != 1:
            g = spread(g, axis, s)
    after = tuple(n - a - m for n, a, m in zip(shape, start, g.shape, strict=True))
    cut = tuple(m if not isinstance(w, int) or w >= 0 else m + w for m, w in zip(g.shape, after, strict=True))
    if cut != g.shape:
        g = _slice(g, [0] * g.ndim, list(cut))
    after = tuple(w if not isinstance(w, int) else builtins.max(w, 0) for w in after)
    return pad_constant(g, tuple(zip(start, after, strict=True)))


def spread(x: Tensor, axis: int, step: int) -> Tensor:
    """``x`` with ``step - 1`` zeros after each element along ``axis``."""
    wide = expand_dims(x, axis + 1)
    widths = [(0, 0)] * wide.ndim
    widths[axis + 1] = (0, step - 1)
    shape = tuple(s * step if i == axis else s for i, s in enumerate(x.shape))
    return reshape(pad_constant(wide, tuple(widths)), shape)


def _slice(x: Tensor, start: Sequence[Size], stop: Sequence[Size], step: Sequence[int] | None = None) -> Tensor:
    step = tuple(step or (1,) * x.ndim)
    if tuple(stop) == x.shape and builtins.all(a == 0 for a in start) and builtins.all(s == 1 for s in step):
        return x
    return slice(x, tuple(start), tuple(stop), step)


def _slice_axis(x: Tensor, axis: int, start: Size, stop: Size, step: int = 1) -> Tensor:
    starts: list[Size] = [0] * x.ndim
    stops, steps = list(x.shape), [1] * x.ndim
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return _slice(x, starts, stops, steps)


def getitem(x: Any, key: Any) -> Tensor:
    """``x[key]`` with integers, slices, ``...``, None, and one integer tensor or array (taken along its dimension)."""
    x = asarray(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    real = [k for k in keys if k is not None and k is not Ellipsis]
    if builtins.sum(k is Ellipsis for k in keys) > 1 or len(real) > x.ndim:
        raise ShapeError("too many indices.", expected=f"at most {x.ndim}", given=len(real))
    if Ellipsis not in [k for k in keys if not isinstance(k, (TensorLike, np.ndarray))]:
        keys.append(Ellipsis)
    place = next(i for i, k in enumerate(keys) if k is Ellipsis)
    keys[place : place + 1] = [_ALL] * (x.ndim - len(real))
    start: list[Size] = []
    stop: list[Size] = []
    step: list[int] = []
    shape: list[Size | None] = []
    flips, takes = [], []
    axis = 0
    for k in keys:
        if k is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(k, (TensorLike, np.ndarray, list)):
            takes.append((len(shape), k))
            start.append(0)
            stop.append(size)
            step.append(1)
            shape.append(size)
        elif isinstance(k, builtins.slice):
            a, b, s = _slice_bounds(k, size)
            if s < 0:
                flips.append(axis)
            start.append(a)
            stop.append(b)
            step.append(builtins.abs(s))
            shape.append(b - a if builtins.abs(s) == 1 else -(-(known(b) - known(a)) // builtins.abs(s)))
        elif isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            index = int(k)
            if isinstance(size, int) and not -size <= index < size:
                raise ShapeError(f"index {index} is out of range.", expected=f"[{-size}, {size})", given=f"dimension {axis} of shape {x.shape}")
            position: Size = index if index >= 0 else size + index
            start.append(position)
            stop.append(position + 1)
            step.append(1)
        else:
            raise ShapeError(
                "this is no index.",
                expected="integers, slices, ..., None, or an integer tensor",
                given=type(k).__name__,
                remedy="choose by a boolean mask with um.ops.where: a traced shape cannot depend on values",
            )
        axis += 1
    result: Tensor = x
    if flips:
        result = flip(result, axis=tuple(flips))
    result = _slice(result, start, stop, step)
    if tuple(shape) != result.shape:
        result = reshape(result, tuple(shape))
    if len(takes) > 1:
        raise ShapeError("one tensor index at a time.", given=f"{len(takes)} tensor indices", remedy="index twice, or use um.ops.take_along_axis")
    for position_, indices in takes:
        result = take(result, indices, axis=position_)
    return result


_ALL = builtins.slice(None)


def _slice_bounds(key: Any, size: Size) -> tuple[Size, Size, int]:
    """Start, stop and step of a slice; with a negative step the bounds are those in the reversed dimension."""
    step = 1 if key.step is None else int(key.step)
    if step == 0:
        raise ShapeError("a slice's step cannot be 0.")
    if isinstance(size, Dim):
        if key.start is None and key.stop is None:
            return 0, size, step
        bounds = []
        for bound, default in ((key.start, 0), (key.stop, size)):
            if bound is None:
                bounds.append(default)
            elif isinstance(bound, Dim):
                bounds.append(bound)
            else:
                known(size)  # clipping to the end needs the number
        if step > 0:
            return bounds[0], bounds[1], step
        known(size)
    a, b, s = key.indices(known(size))
    if s < 0:
        a, b = size - 1 - a, size - 1 - b
    return a, builtins.max(a, b), s


def _canonical_take(attrs: dict[str, Any], specs: Sequence[TensorSpec]) -> None:
    attrs["axis"] = axis_index(attrs["axis"], specs[0].ndim)


@primitive(
    canonical=_canonical_take,
    samples=[Sample(normal(5, 3), integers(0, 5, 4)), Sample(normal(2, 5), integers(0, 5, 2, 3), axis=1), Sample(normal(4), integers(0, 4), axis=0)],
)
def take(x: TensorSpec, indices: TensorSpec, axis: int = 0) -> TensorSpec:
    """Elements along one axis by integer indices in [0, size): shape ``x.shape[:axis] + indices.shape + x.shape[axis+1:]``."""
    need_integer(indices, "indices")
    return x.with_shape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@take.vjp
def _(node: Application, g: Tensor) -> Any:
    x, indices = node.inputs
    axis = node.attrs["axis"]
    return take_gradient(g, indices, axis=axis, size=x.shape[axis]), None


@primitive(samples=[Sample(normal(4, 3), integers(0, 5, 4), axis=0, size=5), Sample(normal(2, 2, 3), integers(0, 4, 2, 3), axis=1, size=4)])
def take_gradient(g: TensorSpec, indices: TensorSpec, axis: int, size: Any) -> TensorSpec:
    """The transpose of ``take``: zeros of ``size`` along ``axis``, to which each slice of ``g`` is added at its index."""
    return g.with_shape(*g.shape[:axis], size, *g.shape[axis + indices.ndim :])


@take_gradient.vjp
def _(node: Application, g: Tensor) -> Any:
    return take(g, node.inputs[1], axis=node.attrs["axis"]), None


@primitive(canonical=canonical_axis, samples=[Sample(normal(3, 4), integers(0, 4, 3, 2), axis=1), Sample(normal(3, 4), integers(0, 3, 1, 4), axis=0)])
def take_along_axis(x: TensorSpec, indices: TensorSpec, axis: int = -1) -> TensorSpec:
    """For each place of ``indices``, the element of ``x`` at that index along ``axis`` and the same place otherwise."""
    need_integer(indices, "indices")
    if indices.ndim != x.ndim or builtins.any(a != b for i, (a, b) in enumerate(zip(indices.shape, x.shape, strict=True)) if i != axis):
        raise ShapeError(f"indices must have the input's shape but for axis {axis}.", expected=str(x), given=str(indices))
    return x.with_shape(*indices.shape)


@take_along_axis.vjp
def _(node: Application, g: Tensor) -> Any:
    x, indices = node.inputs
    axis = node.attrs["axis"]
    return take_along_axis_gradient(g, indices, axis=axis, size=x.shape[axis]), None


@primitive(samples=[Sample(normal(3, 2), integers(0, 4, 3, 2), axis=1, size=4), Sample(normal(2, 4), integers(0, 3, 2, 4), axis=0, size=3)])
def take_along_axis_gradient(g: TensorSpec, indices: TensorSpec, axis: int, size: Any) -> TensorSpec:
    """The transpose of ``take_along_axis``: zeros of ``size`` along ``axis``, to which ``g`` is added at the indices."""
    return g.with_shape(*(size if i == axis else s for i, s in enumerate(g.shape)))


@take_along_axis_gradient.vjp
def _(node: Application, g: Tensor) -> Any:
    return take_along_axis(g, node.inputs[1], axis=node.attrs["axis"]), None


@composite(samples=[Sample(integers(0, 4, 5), 4, gradient=False), Sample(integers(0, 3, 2, 2), 3, dtype="int64", gradient=False)])
def one_hot(x: Tensor, num_classes: int, dtype: str | None = None) -> Tensor:
    """1 at each index and 0 elsewhere along a new last dimension of size ``num_classes``."""
    need_integer(x.spec, "class indices")
    return astype(equal(expand_dims(x, x.ndim), arange(num_classes, dtype=x.dtype)), dtype or _default_float())


def tril(x: Any, k: int = 0) -> Tensor:
    """``x`` with zeros above the k-th diagonal of its last two dimensions."""
    return where(less_equal(arange(x.shape[-1]), expand_dims(arange(x.shape[-2]), 1) + k), x, 0)


def triu(x: Any, k: int = 0) -> Tensor:
    """``x`` with zeros below the k-th diagonal of its last two dimensions."""
    return where(greater_equal(arange(x.shape[-1]), expand_dims(arange(x.shape[-2]), 1) + k), x, 0)


# ----------------------------------------------------------------------------------------------------------- linear algebra


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
    if x1.ndim == 0 or x2.ndim == 0 or a[-1] != b[-2]:
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
    a2 = expand_dims(a, 0) if a.ndim == 1 else a
    b2 = expand_dims(b, 1) if b.ndim == 1 else b
    if a.ndim == 1:
        g = expand_dims(g, g.ndim - 1 if b.ndim > 1 else g.ndim)
    if b.ndim == 1:
        g = expand_dims(g, g.ndim)
    da = unbroadcast(matmul(g, matrix_transpose(b2)), a2)
    db = unbroadcast(matmul(matrix_transpose(a2), g), b2)
    return reshape(da, a.shape) if a.ndim == 1 else da, reshape(db, b.shape) if b.ndim == 1 else db
