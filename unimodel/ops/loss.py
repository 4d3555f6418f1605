"""Loss functions, with PyTorch's names, arguments and meaning (https://pytorch.org/docs/stable/nn.functional.html#loss-functions).

Each is a composite from predictions and targets to a loss per element; ``unimodel.losses`` weighs and averages them.
"""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.graph import FLOATS
from unimodel.ops.activation import log_softmax, softplus
from unimodel.ops.definition import composite
from unimodel.ops.rules import known, shapes_agree
from unimodel.ops.samples import Sample, distinct, integers, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "absolute_error",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "squared_error",
]

PAIR = [Sample(distinct(4, 2), normal(4, 2)), Sample(distinct(5), normal(5))]


def same_shape(input: Tensor, target: Tensor) -> Tensor:
    """``target`` in the input's dtype and shape. A single number stands for all elements; other shapes are refused, since broadcasting (N, 1)
    with (N,) is never what was meant."""
    if target.shape == ():
        return ops.full_like(input, target)
    if not shapes_agree(input.shape, target.shape):
        raise ShapeError(
            "predictions and targets must have the same shape.",
            expected=f"targets of shape {input.shape}",
            given=str(target.spec),
            remedy="reshape the targets, e.g. y.reshape(-1, 1), or squeeze the predictions",
        )
    return ops.astype(target, input.dtype)


@composite(samples=PAIR)
def squared_error(input: Tensor, target: Tensor) -> Tensor:
    """``(input - target) ** 2`` per element."""
    difference = input - same_shape(input, target)
    return difference * difference


@composite(samples=[Sample(distinct(4, 2), uniform(0.01, 0.04, 4, 2))])
def absolute_error(input: Tensor, target: Tensor) -> Tensor:
    """``abs(input - target)`` per element."""
    return ops.abs(input - same_shape(input, target))


@composite(
    samples=[
        Sample(normal(4, 3), uniform(0, 1, 4, 3)),
        Sample(normal(4, 3), uniform(0, 1, 4, 3), uniform(0.5, 3, 3)),
        Sample(uniform(-80, 80, 6), uniform(0, 1, 6), gradient=False),
    ]
)
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of sigmoid(input) against targets in [0, 1], per element, without overflow; ``pos_weight`` weighs the positive part."""
    target = same_shape(input, target)
    rest = softplus(-input)
    if pos_weight is not None:
        rest = rest * (1.0 + (pos_weight - 1.0) * target)
    return (1.0 - target) * input + rest


CROSS_ENTROPY = [
    Sample(normal(4, 3), integers(0, 3, 4)),
    Sample(normal(4, 3), integers(0, 3, 4), uniform(0.5, 2, 3), label_smoothing=0.1, ignore_index=1),
    Sample(normal(2, 3, 2, 2), integers(0, 3, 2, 2, 2), uniform(0.5, 2, 3)),
    Sample(normal(4, 3), uniform(0.1, 0.9, 4, 3), uniform(0.5, 2, 3), label_smoothing=0.1),
]


def _along_classes(weight: Tensor, rank: int) -> Tensor:
    return ops.reshape(weight, (-1,) + (1,) * (rank - 2)) if rank > 1 else weight


@composite(samples=CROSS_ENTROPY)
def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, label_smoothing: float = 0.0) -> Any:
    """Cross-entropy of softmax(input) per sample, and the weight each one counts with in a mean.

    input is (C,), (N, C) or (N, C, ...) of logits. target holds class indices (integers of the shape without C) or probabilities (floats of the input's
    shape). Returns two tensors of the shape without C: losses, already weighted, and weights, which are 0 where ``target == ignore_index``.
    """
    axis = 0 if input.ndim == 1 else 1
    shape = (*input.shape[:axis], *input.shape[axis + 1 :])
    if target.dtype in FLOATS and shapes_agree(target.shape, input.shape):
        return _probabilities(input, target, weight, label_smoothing, axis)
    if target.dtype in FLOATS or target.dtype == "bool" or not shapes_agree(target.shape, shape):
        raise ShapeError(
            "cross-entropy takes class indices, or a probability for each class.",
            expected=f"int64 {shape} with classes in [0, {input.shape[axis]}), or {input.spec} of probabilities",
            given=str(target.spec),
            remedy="convert labels with y.astype('int64')" if target.shape == shape else "give one class index per sample, y.reshape(-1)",
        )
    classes = known(input.shape[axis])
    log_p = log_softmax(input, axis=axis)
    counted = ops.not_equal(target, ignore_index)
    index = ops.where(counted, target, 0) if not 0 <= ignore_index < classes else target
    mask = ops.astype(counted, input.dtype)
    picked = ops.squeeze(ops.take_along_axis(log_p, ops.expand_dims(index, axis), axis=axis), axis)
    weights = mask if weight is None else ops.take(weight, index) * mask
    losses = -picked * weights
    if label_smoothing:
        weighted = log_p if weight is None else log_p * _along_classes(weight, input.ndim)
        smooth = -ops.sum(weighted, axis=axis) * mask
        losses = (1.0 - label_smoothing) * losses + (label_smoothing / classes) * smooth
    return losses, weights


def _probabilities(input: Tensor, target: Tensor, weight: Tensor | None, label_smoothing: float, axis: int) -> Any:
    target = ops.astype(target, input.dtype)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / known(input.shape[axis])
    terms = log_softmax(input, axis=axis) * target
    if weight is not None:
        terms = terms * _along_classes(weight, input.ndim)
    losses = -ops.sum(terms, axis=axis)
    return losses, ops.ones_like(losses)  # as in PyTorch, class weights do not enter the mean's divisor here
