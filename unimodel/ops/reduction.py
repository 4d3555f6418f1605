"""Sums, extremes, means and running sums along axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import unimodel.ops as ops
from unimodel.dim import Dim, product
from unimodel.graph import TensorSpec
from unimodel.op import Application, composite, primitive
from unimodel.ops.rules import (
    axis_index,
    canonical_axes,
    canonical_axis,
    known,
    need_number,
    reduced,
)
from unimodel.ops.samples import Sample, booleans, distinct, integers, nonzero, normal
from unimodel.tracing import Tensor

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "arg_max",
    "arg_min",
    "argmax",
    "argmin",
    "count_nonzero",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "logcumsumexp",
    "logsumexp",
    "max",
    "mean",
    "min",
    "nanmean",
    "nansum",
    "prod",
    "std",
    "sum",
    "var",
]

REDUCTIONS = [Sample(distinct(2, 3, 4)), Sample(distinct(2, 3, 4), axis=1), Sample(distinct(2, 3, 4), axis=(0, -1), keepdims=True), Sample(distinct(4), axis=0)]


@primitive(canonical=canonical_axes, samples=[*REDUCTIONS, Sample(integers(-5, 5, 2, 3), axis=0, gradient=False)])
def sum(x: TensorSpec, axis: Any = None, keepdims: bool = False) -> TensorSpec:
    """The sum over ``axis`` (a number, several, or None for all). Booleans and int32 are counted in int64."""
    return reduced(x, axis, keepdims, "int64" if x.dtype in ("bool", "int32") else None)


def _restore(g: Tensor, node: Application) -> Tensor:
    """A gradient that broadcasts against the input: reduced axes are put back as size 1, except leading ones, which broadcasting puts back."""
    axes = node.attrs["axis"]
    if node.attrs["keepdims"] or axes == tuple(range(len(axes))):
        return g
    return ops.reshape(g, tuple(1 if i in axes else s for i, s in enumerate(node.inputs[0].shape)))


@sum.vjp
def _(node: Application, g: Tensor) -> Any:
    return ops.broadcast_to(_restore(g, node), node.inputs[0].shape)


@primitive(canonical=canonical_axes, samples=[Sample(nonzero(2, 3)), Sample(nonzero(2, 3), axis=1)])
def prod(x: TensorSpec, axis: Any = None, keepdims: bool = False) -> TensorSpec:
    """The product over ``axis``, booleans and int32 in int64."""
    return reduced(x, axis, keepdims, "int64" if x.dtype in ("bool", "int32") else None)


@prod.vjp
def _(node: Application, g: Tensor) -> Any:
    # Exact where elements are zero: with one zero only that element has a gradient, the product of the others; with two or more none has.
    x = node.inputs[0]
    zero = ops.equal(x, 0.0)
    zeros_here = sum(ops.astype(zero, x.dtype), axis=node.attrs["axis"], keepdims=True)
    others = prod(ops.where(zero, 1.0, x), axis=node.attrs["axis"], keepdims=True)
    alone = ops.where(zero, ops.where(ops.equal(zeros_here, 1.0), others, 0.0), ops.where(ops.equal(zeros_here, 0.0), others / ops.where(zero, 1.0, x), 0.0))
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
        chosen = ops.astype(ops.equal(x, _restore(node.outputs[0], node)), x.dtype)
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
    return reduced(need_number(x), (axis,), keepdims, "int64")


@primitive(canonical=_canonical_argument, samples=[Sample(distinct(3, 4), axis=1, gradient=False), Sample(integers(0, 3, 3, 5), axis=0, gradient=False)])
def arg_min(x: TensorSpec, axis: int, keepdims: bool = False) -> TensorSpec:
    """The index of the first smallest element along one axis, int64."""
    return reduced(need_number(x), (axis,), keepdims, "int64")


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first largest element, along ``axis`` or of the flattened tensor; int64."""
    return arg_max(ops.reshape(x, (-1,)), 0) if axis is None else arg_max(x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first smallest element, along ``axis`` or of the flattened tensor; int64."""
    return arg_min(ops.reshape(x, (-1,)), 0) if axis is None else arg_min(x, axis, keepdims)


@primitive(canonical=canonical_axis, samples=[Sample(normal(2, 5), axis=1), Sample(normal(4), axis=0)])
def cumulative_sum(x: TensorSpec, axis: int = -1) -> TensorSpec:
    """Running sums along one axis, of x's shape."""
    return x.with_dtype("int64") if x.dtype in ("bool", "int32") else x


@cumulative_sum.vjp
def _(node: Application, g: Tensor) -> Any:
    axis = node.attrs["axis"]
    return ops.flip(cumulative_sum(ops.flip(g, axis=axis), axis=axis), axis=axis)


@composite(canonical=canonical_axes, samples=REDUCTIONS)
def mean(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over ``axis``; integers are averaged in the trainer's float dtype."""
    x = ops.as_float(x)
    count = product(tuple(x.shape[a] for a in axis))
    return sum(x, axis=axis, keepdims=keepdims) / count


@mean.vjp
def _(node: Application, g: Tensor) -> Any:
    shape = node.inputs[0].shape
    return ops.broadcast_to(_restore(g / product(tuple(shape[a] for a in node.attrs["axis"])), node), shape)


@composite(canonical=canonical_axes, samples=REDUCTIONS)
def var(x: Tensor, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over ``axis``, divided by ``n - correction`` (the Array API's default 0 is the biased one)."""
    count = product(tuple(x.shape[a] for a in axis))
    centred = x - mean(x, axis=axis, keepdims=True)
    total = sum(centred * centred, axis=axis, keepdims=keepdims)
    return total / (ops.as_float(count) - correction if isinstance(count, Dim) else count - correction)


def std(x: Any, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The square root of ``var``."""
    return ops.sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


@composite(canonical=canonical_axes, samples=REDUCTIONS)
def logsumexp(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over ``axis``, without overflow."""
    top = ops.stop_gradient(max(x, axis=axis, keepdims=True))
    top = ops.where(ops.isfinite(top), top, 0.0)
    total = ops.log(sum(ops.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else ops.squeeze(total, axis)


# ------------------------------------------------------------------------------------------- other runs, and names of PyTorch's


def _running(x: Tensor, axis: int, combine: Callable[[Tensor, Tensor], Tensor], neutral: float) -> Tensor:
    """Each element combined with all before it, in ``log2(n)`` rounds (Hillis and Steele 1986): the gradient needs no division, and no loop."""
    size, step = known(x.shape[axis]), 1
    while step < size:
        edge = tuple(step if i == axis else s for i, s in enumerate(x.shape))
        start, stop = [0] * x.ndim, list(x.shape)
        stop[axis] = size - step
        x = combine(x, ops.concat([ops.full(edge, neutral, dtype=x.dtype), ops.slice(x, tuple(start), tuple(stop), (1,) * x.ndim)], axis=axis))
        step *= 2
    return x


@composite(canonical=canonical_axis, samples=[Sample(nonzero(2, 5), axis=1), Sample(integers(-3, 4, 4), axis=0, gradient=False)])
def cumulative_prod(x: Tensor, axis: int = -1) -> Tensor:
    """Running products along one axis, of x's shape; booleans and int32 in int64. Its gradient is exact at zeros too."""
    return _running(ops.astype(x, "int64") if x.dtype in ("bool", "int32") else x, axis, ops.multiply, 1.0)


def logcumsumexp(x: Any, axis: int = -1) -> Tensor:
    """``log(cumulative_sum(exp(x)))`` along one axis without overflow."""
    x = ops.asarray(x)
    return _running(x, axis_index(axis, x.ndim), ops.logaddexp, -float("inf"))


def cumsum(input: Any, dim: int) -> Tensor:
    """PyTorch's name for ``cumulative_sum``."""
    return cumulative_sum(input, axis=dim)


def cumprod(input: Any, dim: int) -> Tensor:
    """PyTorch's name for ``cumulative_prod``."""
    return cumulative_prod(input, axis=dim)


def amax(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """PyTorch's name for ``max`` over any dimensions."""
    return max(input, axis=dim, keepdims=keepdim)


def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """PyTorch's name for ``min`` over any dimensions."""
    return min(input, axis=dim, keepdims=keepdim)


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0, over ``axis``; int64."""
    return sum(ops.not_equal(x, 0), axis=axis, keepdims=keepdims)


def nansum(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The sum over ``axis`` of what is not NaN."""
    return sum(ops.where(ops.isnan(x), 0.0, x), axis=axis, keepdims=keepdims)


def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The mean over ``axis`` of what is not NaN; NaN where nothing is left."""
    there = ops.astype(ops.logical_not(ops.isnan(x)), x.dtype)
    return nansum(x, axis, keepdims) / sum(there, axis=axis, keepdims=keepdims)
