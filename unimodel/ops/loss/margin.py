"""Losses of classifiers by margin: every wrong class must score less than the right ones, and by a distance."""

from __future__ import annotations

import unimodel.ops as ops
from unimodel.errors import DataError, ShapeError
from unimodel.op import composite
from unimodel.ops.rules import known, need_integer, shapes_agree
from unimodel.ops.samples import Sample, integers, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "multi_margin",
    "multilabel_margin",
]


@composite(
    samples=[
        Sample(normal(4, 3), integers(0, 3, 4), margin=0.55),
        Sample(normal(4, 3), integers(0, 3, 4), uniform(0.5, 2, 3), p=2),
        Sample(normal(3), integers(0, 3)),
    ]
)
def multi_margin(input: Tensor, target: Tensor, weight: Tensor | None = None, p: int = 1, margin: float = 1.0) -> Tensor:
    """The mean over classes i of ``max(0, margin - input[target] + input[i]) ** p`` without the target's own, per sample: (N, C) and (N,) give (N,)."""
    need_integer(target.spec, "class indices")
    if p not in (1, 2):
        raise DataError("p is 1 or 2.", given=repr(p))
    if input.ndim not in (1, 2) or not shapes_agree(target.shape, input.shape[:-1]):
        raise ShapeError("one class index per sample.", expected=f"scores (N, C) with int64 (N,); here int64 {input.shape[:-1]}", given=str(target.spec))
    classes = known(input.shape[-1])
    axis = input.ndim - 1
    right = ops.take_along_axis(input, ops.expand_dims(target, axis), axis=axis)
    short = ops.relu(margin - right + input)
    if p == 2:
        short = short * short
    if weight is not None:
        short = short * ops.expand_dims(ops.take(weight, target), axis)
    own = ops.equal(ops.expand_dims(target, axis), ops.arange(classes, dtype=target.dtype))
    return ops.sum(ops.where(own, 0.0, short), axis=axis) / classes


@composite(samples=[Sample(normal(3, 4), integers(-1, 4, 3, 4))])
def multilabel_margin(input: Tensor, target: Tensor) -> Tensor:
    """The sum over right classes j and wrong classes i of ``max(0, 1 - input[j] + input[i])``, over the number of classes, per sample.

    Each row of ``target`` (N, C) lists the right classes up to its first -1.
    """
    need_integer(target.spec, "class indices")
    if input.ndim not in (1, 2) or not shapes_agree(target.shape, input.shape):
        raise ShapeError("targets list classes in as many places as there are.", expected=f"int64 {input.shape}", given=str(target.spec))
    classes = known(input.shape[-1])
    axis = input.ndim - 1
    listed = ops.equal(ops.cumulative_sum(ops.astype(ops.less(target, 0), "int64"), axis=axis), 0)
    index = ops.where(listed, target, 0)
    right = ops.take_along_axis(input, index, axis=axis)
    named = ops.logical_and(ops.expand_dims(listed, axis + 1), ops.equal(ops.expand_dims(index, axis + 1), ops.arange(classes, dtype=index.dtype)))
    wrong = ops.logical_not(ops.any(named, axis=axis, keepdims=True))
    short = ops.relu(1.0 - ops.expand_dims(right, axis + 1) + ops.expand_dims(input, axis))
    counted = ops.logical_and(ops.expand_dims(listed, axis + 1), wrong)
    return ops.sum(ops.where(counted, short, 0.0), axis=(axis, axis + 1)) / classes
