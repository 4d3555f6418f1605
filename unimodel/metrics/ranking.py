"""Metrics of rankings, which need all scores at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel import ops
from unimodel.errors import DataError, ShapeError
from unimodel.graph import Array
from unimodel.metrics.metric import Metric, element_weights
from unimodel.ops.rules import known, shapes_agree


class AUROC(Metric):
    """The area under the curve of true against false positives: how likely a positive scores above a negative, ties counting half.

    Exact: an epoch's scores and targets are kept on the host, one row per element. Scores of the targets' own shape rank the positives (targets above 0.5);
    scores (N, C) with class indices (N,) are, for two classes, ranked by their difference, for more by their softmax (by themselves with
    ``from_logits=False``), each class against the rest, and ``average`` is "macro", "weighted" (by how often a class occurs) or None (an array). NaN where a
    class or its rest does not occur. Equal to scikit-learn's ``roc_auc_score``.
    """

    name = "auroc"

    def __init__(self, average: str | None = "macro", from_logits: bool = True, name: str | None = None) -> None:
        if average not in ("macro", "weighted", None):
            raise DataError("average is 'macro', 'weighted' or None.", given=repr(average), remedy="choose one of these")
        super().__init__(name)
        self.average = average
        self.from_logits = from_logits

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        if input.ndim == 2 and target.ndim == 1 and input.ndim == target.ndim + 1:
            scores = input
            if known(input.shape[1]) == 2:
                scores = input[:, 1:] - input[:, :1] if self.from_logits else input[:, 1:]
            elif self.from_logits:
                scores = ops.softmax(input, axis=1)
        elif shapes_agree(tuple(input.shape), tuple(target.shape)):
            scores = ops.reshape(input, (-1, 1))
        else:
            raise ShapeError(
                "auroc cannot rank these.",
                expected="scores (N, C) with class indices (N,), or both of one shape",
                given=f"{input.dtype} {input.shape} and {target.dtype} {target.shape}",
                remedy="reshape the targets, e.g. y.reshape(-1), or squeeze the predictions",
            )
        actual = ops.astype(target, scores.dtype)
        weights = element_weights(actual, sample_weight)
        return ops.concat([scores, ops.reshape(actual, (-1, 1)), ops.reshape(weights, (-1, 1))], axis=1)

    def merge(self, total: list[Array] | None, part: Array) -> list[Array]:
        if total is None:
            return [part]
        total.append(part)
        return total

    def result(self, total: list[Array]) -> Any:
        rows = np.concatenate(total)
        scores, target, weights = rows[:, :-2], rows[:, -2], rows[:, -1]
        if scores.shape[1] == 1:
            return area(scores[:, 0], target > 0.5, weights)
        each = np.array([area(scores[:, c], target == c, weights) for c in range(scores.shape[1])])
        if self.average is None:
            return each
        shares = None if self.average == "macro" else np.array([weights[target == c].sum() for c in range(scores.shape[1])])
        return float(np.average(each, weights=shares))


def area(scores: Array, positive: Array, weights: Array) -> float:
    """The weighted share of pairs of a positive and a negative that are in order; pairs of equal scores count half."""
    _, place = np.unique(scores, return_inverse=True)
    above, below = (np.bincount(place, weights * chosen) for chosen in (positive, ~positive))
    before = np.concatenate([[0.0], np.cumsum(below)[:-1]])
    pairs = above.sum() * below.sum()
    return float((above * (before + 0.5 * below)).sum() / pairs) if pairs else float("nan")
