"""The loss of a sequence whose alignment with its target is not known."""

from __future__ import annotations

import math

import unimodel.ops as ops
from unimodel.errors import ShapeError
from unimodel.op import composite
from unimodel.ops.rules import known, need_integer, need_rank
from unimodel.ops.samples import Sample, integers, uniform
from unimodel.tracing import Tensor

__all__ = [
    "ctc",
]

NEVER = -1e30
"""The log-probability of what cannot be, in place of minus infinity, whose gradients would be NaN."""


@composite(
    samples=[
        Sample(uniform(-3, -0.5, 5, 2, 4), integers(1, 4, 2, 2), integers(4, 6, 2), integers(1, 3, 2)),
        Sample(uniform(-3, -0.5, 4, 2, 3), integers(0, 2, 2, 3), integers(4, 5, 2), integers(0, 2, 2), blank=2),
    ]
)
def ctc(log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int = 0) -> Tensor:
    """Minus the log-probability of all alignments of a target with a sequence (Graves et al. 2006): (N,), infinite where the sequence is too short.

    log_probs (T, N, C), targets (N, S) without blanks, lengths (N,). The recursion over time is written out, so the program grows with T.
    """
    need_rank(log_probs.spec, 3, "log_probs", "(T, N, C)")
    need_rank(targets.spec, 2, "targets", "(N, S), padded to one length")
    for what, indices in (("targets", targets), ("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        need_integer(indices.spec, what)
    steps, classes, labels = known(log_probs.shape[0]), known(log_probs.shape[2]), known(targets.shape[1])
    if not 0 <= blank < classes:
        raise ShapeError("blank is a class.", expected=f"[0, {classes})", given=blank)
    count = targets.shape[0]
    real = ops.less(ops.arange(labels), ops.expand_dims(ops.astype(target_lengths, "int64"), 1))
    named = ops.where(real, ops.astype(targets, "int64"), blank)
    # the target with a blank before, between and after its labels: (N, 2 S + 1)
    spaced = ops.stack([ops.full((count, labels), blank), named], axis=2)
    path = ops.concat([ops.reshape(spaced, (count, 2 * labels)), ops.full((count, 1), blank)], axis=1)
    emissions = ops.take_along_axis(log_probs, ops.broadcast_to(ops.expand_dims(path, 0), (steps, count, 2 * labels + 1)), axis=2)
    # a label may follow the one before without a blank between them where the two differ
    earlier = ops.concat([ops.full((count, 2), blank), path[:, : 2 * labels - 1]], axis=1)
    skips = ops.logical_and(ops.not_equal(path, blank), ops.not_equal(path, earlier))
    begins = ops.less(ops.arange(2 * labels + 1), 2)
    alpha = ops.where(begins, emissions[0], NEVER)
    for t in range(1, steps):
        one, two = (ops.concat([ops.full((count, k), NEVER, dtype=alpha.dtype), alpha[:, : 2 * labels + 1 - k]], axis=1) for k in (1, 2))
        two = ops.where(skips, two, NEVER)
        top = ops.stop_gradient(ops.maximum(ops.maximum(alpha, one), two))
        total = ops.log(ops.exp(alpha - top) + ops.exp(one - top) + ops.exp(two - top)) + top + emissions[t]
        alpha = ops.where(ops.expand_dims(ops.less(t, input_lengths), 1), total, alpha)
    last = ops.expand_dims(2 * ops.astype(target_lengths, "int64"), 1)
    with_blank = ops.squeeze(ops.take_along_axis(alpha, last, axis=1), 1)
    empty = ops.equal(target_lengths, 0)
    without = ops.squeeze(ops.take_along_axis(alpha, ops.where(ops.expand_dims(empty, 1), 0, last - 1), axis=1), 1)
    without = ops.where(empty, NEVER, without)
    top = ops.stop_gradient(ops.maximum(with_blank, without))
    likelihood = ops.log(ops.exp(with_blank - top) + ops.exp(without - top)) + top
    return ops.where(ops.less(likelihood, NEVER / 2), math.inf, -likelihood)
