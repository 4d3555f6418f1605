"""Metrics of classifiers."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.graph import FLOATS
from unimodel.metrics.metric import MeanMetric


class Accuracy(MeanMetric):
    """The share of right answers.

    Predictions (N, C, ...) of scores are right where the largest is at the target's class index; predictions of the target's own shape are taken as logits
    of two classes, right where their sign says so (``threshold`` is 0 for logits, 0.5 for probabilities).
    """

    def __init__(self, threshold: float = 0.0, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold = threshold

    def values(self, input: Any, target: Any) -> Any:
        if input.ndim == target.ndim + 1:
            right = ops.equal(ops.argmax(input, axis=1), target)
        elif input.shape == target.shape and target.dtype in FLOATS and input.ndim == 2 and input.shape[1] != 1:
            right = ops.equal(ops.argmax(input, axis=1), ops.argmax(target, axis=1))
        elif input.shape == target.shape:
            right = ops.equal(ops.greater(input, self.threshold), ops.greater(target, 0.5))
        else:
            raise ShapeError(
                "accuracy cannot compare these.",
                expected="scores (N, C) with class indices (N,), or both of one shape",
                given=f"{input.dtype} {input.shape} and {target.dtype} {target.shape}",
            )
        return ops.astype(right, "float32")
