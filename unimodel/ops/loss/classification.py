"""Losses of classifiers: cross-entropies, from logits and from probabilities, and divergence."""

from __future__ import annotations

from typing import Any

import unimodel.ops as ops
from unimodel.dim import Size
from unimodel.errors import ShapeError
from unimodel.graph import FLOATS
from unimodel.op import Application, composite
from unimodel.ops.activation import log_softmax, softplus
from unimodel.ops.loss.regression import same_shape
from unimodel.ops.rules import known, shapes_agree
from unimodel.ops.samples import Sample, integers, normal, uniform
from unimodel.tracing import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "nll",
]


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
            remedy=_remedy(input, target, shape),
        )
    classes = known(input.shape[axis])
    log_p = log_softmax(input, axis=axis)
    losses, weights, counted = _picked(log_p, target, weight, ignore_index, axis)
    if label_smoothing:
        weighted = log_p if weight is None else log_p * _along_classes(weight, input.ndim)
        smooth = ops.where(counted, -ops.sum(weighted, axis=axis), 0.0)
        losses = (1.0 - label_smoothing) * losses + (label_smoothing / classes) * smooth
    return losses, weights


def _remedy(input: Tensor, target: Tensor, shape: tuple[Size, ...]) -> str:
    if target.shape == shape:
        return "convert labels with y.astype('int64')"
    if input.ndim > 2 and target.shape == input.shape[:-1]:  # as language models have it
        moved = (0, input.ndim - 1, *range(1, input.ndim - 1))
        return (
            f"classes are dimension 1, as in PyTorch: permute the logits, um.ops.permute_dims(logits, {moved}), "
            f"or let every place be a sample, logits.reshape(-1, {input.shape[-1]}) with target.reshape(-1)"
        )
    return "give one class index per sample, y.reshape(-1)"


def _picked(log_p: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted losses of the target classes, their weights, and where the target is not ignored: what stands there may be infinite, and does not count."""
    counted = ops.not_equal(target, ignore_index)
    index = ops.where(counted, target, 0) if not 0 <= ignore_index < known(log_p.shape[axis]) else target
    mask = ops.astype(counted, log_p.dtype)
    picked = ops.squeeze(ops.take_along_axis(log_p, ops.expand_dims(index, axis), axis=axis), axis)
    losses = ops.where(counted, -picked, 0.0)
    if weight is None:
        return losses, mask, counted
    weights = ops.take(weight, index) * mask
    return losses * weights, weights, counted


def _probabilities(input: Tensor, target: Tensor, weight: Tensor | None, label_smoothing: float, axis: int) -> Any:
    target = ops.astype(target, input.dtype)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / known(input.shape[axis])
    terms = log_softmax(input, axis=axis) * target
    if weight is not None:
        terms = terms * _along_classes(weight, input.ndim)
    losses = -ops.sum(terms, axis=axis)
    return losses, ops.ones_like(losses)  # as in PyTorch, class weights do not enter the mean's divisor here


@composite(
    samples=[
        Sample(uniform(-3.0, -0.1, 4, 3), integers(0, 3, 4)),
        Sample(uniform(-3.0, -0.1, 2, 3, 2), integers(0, 3, 2, 2), uniform(0.5, 2, 3), ignore_index=1),
    ]
)
def nll(input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100) -> Any:
    """Minus the log-probability of the target class, and the weight each sample counts with in a mean; shapes as for ``cross_entropy``."""
    axis = 0 if input.ndim == 1 else 1
    shape: tuple[Size, ...] = (*input.shape[:axis], *input.shape[axis + 1 :])
    if target.dtype in FLOATS or target.dtype == "bool" or not shapes_agree(target.shape, shape):
        raise ShapeError(
            "negative log-likelihood takes class indices.",
            expected=f"int64 {shape} with classes in [0, {input.shape[axis]})",
            given=str(target.spec),
            remedy="convert labels with y.astype('int64')",
        )
    losses, weights, _ = _picked(input, target, weight, ignore_index, axis)
    return losses, weights


@composite(samples=[Sample(uniform(0.1, 0.9, 4, 3), uniform(0, 1, 4, 3))])
def binary_cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of probabilities against targets in [0, 1], per element; logarithms stop at -100, as in PyTorch, and the gradient's divisor at 1e-12."""
    target = same_shape(input, target)
    held = ops.stop_gradient(input)
    losses = (target - 1.0) * ops.maximum(ops.log1p(-held), -100.0) - target * ops.maximum(ops.log(held), -100.0)
    # plus 0, for a framework that differentiates this body: its gradient of the logarithms at their ends would be NaN
    return losses + (input - held) * ops.stop_gradient((held - target) / ops.maximum(held * (1.0 - held), 1e-12))


@binary_cross_entropy.vjp
def _(node: Application, g: Tensor) -> Any:
    input, target = node.inputs
    wide = same_shape(input, target)
    d_target = g * (ops.maximum(ops.log1p(-input), -100.0) - ops.maximum(ops.log(input), -100.0))
    if target.shape == ():
        d_target = ops.sum(d_target)
    return g * (input - wide) / ops.maximum(input * (1.0 - input), 1e-12), d_target


@composite(
    samples=[Sample(normal(4, 3), uniform(0.1, 0.9, 4, 3)), Sample(normal(4, 3), uniform(-2.0, -0.1, 4, 3), log_target=True)],
)
def kl_div(input: Tensor, target: Tensor, log_target: bool = False) -> Tensor:
    """``target * (log(target) - input)`` per element: input holds log-probabilities, target probabilities (or their logarithms); 0 where target is 0."""
    target = same_shape(input, target)
    if log_target:
        return ops.exp(target) * (target - input)
    zero = ops.equal(target, 0.0)
    return ops.where(zero, 0.0, target * ops.log(ops.where(zero, 1.0, target))) - target * input
