"""Order: one primitive that says in which, and what follows from it.

NaN counts as the largest. Equal elements keep their order, in descending order too, so that every backend gives the same indices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.graph import TensorSpec
from unimodel.op import primitive
from unimodel.ops.indexing import cut_axis
from unimodel.ops.rules import axis_index, canonical_axis, known, need_rank
from unimodel.ops.samples import Sample, distinct, integers
from unimodel.tracing import Tensor

__all__ = [
    "arg_sort",
    "argsort",
    "bucketize",
    "isin",
    "kthvalue",
    "median",
    "quantile",
    "searchsorted",
    "sort",
    "topk",
]


@primitive(
    canonical=canonical_axis,
    samples=[Sample(distinct(3, 5), axis=1, gradient=False), Sample(integers(0, 3, 20, 2), axis=0, descending=True, gradient=False)],
)
def arg_sort(x: TensorSpec, axis: int, descending: bool = False) -> TensorSpec:
    """The indices that put ``x`` in order along one axis, int64; equal elements in the order they had, NaN as the largest."""
    return x.with_dtype("int64")


def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that put ``x`` in order along one axis, int64. The order of equal elements is kept, whatever ``stable`` asks."""
    return arg_sort(x, axis, descending)


def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along one axis. (PyTorch's also returns the indices: that is ``topk`` with k the size.)"""
    return ops.take_along_axis(x, arg_sort(x, axis, descending), axis=axis)


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The ``k`` largest (or smallest) elements along one dimension and their indices, in order whatever ``sorted`` asks."""
    x = ops.asarray(x)
    axis = axis_index(dim, x.ndim)
    if not 0 <= k <= known(x.shape[axis]):
        raise ShapeError("there are fewer elements than asked for.", expected=f"k in [0, {x.shape[axis]}]", given=f"k={k}", remedy="ask for fewer")
    indices = cut_axis(arg_sort(x, axis, largest), axis, 0, k)
    return ops.take_along_axis(x, indices, axis=axis), indices


def kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th smallest element along one dimension, counted from 1, and its index."""
    x = ops.asarray(x)
    axis = axis_index(dim, x.ndim)
    if not 1 <= k <= known(x.shape[axis]):
        raise ShapeError("there is no such element.", expected=f"k in [1, {x.shape[axis]}]", given=f"k={k}", remedy="k counts from 1")
    index = cut_axis(arg_sort(x, axis), axis, k - 1, k)
    value = ops.take_along_axis(x, index, axis=axis)
    return (value, index) if keepdim else (ops.squeeze(value, axis), ops.squeeze(index, axis))


def quantile(x: Any, q: Any, axis: int | None = None, keepdims: bool = False, interpolation: str = "linear") -> Tensor:
    """The number below which a share ``q`` (one number, or several along a new first dimension) of the elements lies, as NumPy and PyTorch interpolate it.

    ``interpolation`` between two neighbours: "linear", "lower", "higher", "nearest" or "midpoint". NaN among the elements gives NaN.
    """
    x = ops.asarray(x)
    shape = (1,) * x.ndim
    if axis is None:
        x, axis = ops.reshape(x, (-1,)), 0
        shape = shape if keepdims else ()
    else:
        axis = axis_index(axis, x.ndim)
        shape = tuple(1 if i == axis else s for i, s in enumerate(x.shape) if keepdims or i != axis)
    ordered, last = sort(x, axis), known(x.shape[axis]) - 1
    found = []
    for share in q if isinstance(q, Sequence) else [q]:
        if not 0.0 <= share <= 1.0 or interpolation not in ("linear", "lower", "higher", "nearest", "midpoint"):
            raise ShapeError(
                "a quantile asks for a share of the elements.", expected="0 <= q <= 1, and an interpolation it knows", given=f"q={q}, {interpolation!r}"
            )
        place = share * last
        low = math.floor(place) if interpolation != "nearest" else round(place)
        high = low if interpolation in ("lower", "nearest") else math.ceil(place)
        if interpolation == "higher":
            low = high
        part = 0.5 if interpolation == "midpoint" else place - low
        below, above = (ops.reshape(cut_axis(ordered, axis, i, i + 1), shape) for i in (low, high))
        found.append(below if low == high else below + part * (above - below))
    result = ops.stack(found) if isinstance(q, Sequence) else found[0]
    return ops.where(ops.reshape(ops.any(ops.isnan(x), axis=axis), shape), math.nan, result)


def median(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The element in the middle; of two in the middle the lower, as in PyTorch (``quantile`` of 0.5 is their mean). NaN among the elements gives NaN."""
    return quantile(x, 0.5, axis, keepdims, "lower")


def searchsorted(x1: Any, x2: Any, side: str = "left") -> Tensor:
    """Where each element of ``x2`` would go in ``x1``, 1-d and in order: before its equals ("left") or after ("right"); int64 of x2's shape.

    By comparison with every element: a table of some thousand bounds is fine, a long one costs its length for each element.
    """
    x1, x2 = ops.asarray(x1), ops.asarray(x2)
    need_rank(x1.spec, 1, "x1", "(bounds,)")
    if side not in ("left", "right"):
        raise ShapeError("a side is left or right.", expected="'left' or 'right'", given=repr(side))
    compare = ops.less if side == "left" else ops.less_equal
    return ops.sum(compare(x1, ops.expand_dims(x2, -1)), axis=-1)


def bucketize(input: Any, boundaries: Any, right: bool = False) -> Tensor:
    """PyTorch's ``searchsorted`` with the arguments the other way round; with ``right`` a bound belongs to the bucket above it."""
    return searchsorted(boundaries, input, "right" if right else "left")


def isin(x1: Any, x2: Any, *, invert: bool = False) -> Tensor:
    """Whether each element of ``x1`` is among those of ``x2``; of x1's shape, bool."""
    x1, x2 = ops.asarray(x1), ops.asarray(x2)
    found = ops.any(ops.equal(ops.expand_dims(x1, x1.ndim), ops.reshape(x2, (-1,))), axis=-1)
    return ops.logical_not(found) if invert else found
