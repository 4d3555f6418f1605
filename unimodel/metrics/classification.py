"""Metrics of classifiers, from counts of right and wrong decisions."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel import ops
from unimodel.errors import DataError, ShapeError
from unimodel.graph import Array
from unimodel.metrics.decisions import decisions
from unimodel.metrics.metric import MeanMetric, Metric, element_weights
from unimodel.nn.arguments import positive
from unimodel.ops.rules import known, need_integer, shapes_agree


class Accuracy(MeanMetric):
    """The share of right answers.

    Predictions (N, C, ...) of scores are right where the largest is at the target's class index; predictions of the target's own shape are taken as logits
    of two classes, right where their sign says so, or as probabilities if a sigmoid made them: ``threshold`` is 0 then, or 0.5, where it is not given.
    """

    def __init__(self, threshold: float | None = None, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold = threshold

    def values(self, input: Any, target: Any) -> Any:
        found = decisions(input, target, self.threshold, "accuracy")
        return ops.astype(ops.equal(found.predicted, found.actual), "float32")


class TopKAccuracy(MeanMetric):
    """The share of targets (N, ...) whose class is among the ``k`` of the largest scores (N, C, ...); of equal scores the later class comes first.

    Equal to scikit-learn's ``top_k_accuracy_score``.
    """

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        positive(k=k)
        super().__init__(name)
        self.k = k

    def values(self, input: Any, target: Any) -> Any:
        need_integer(ops.asarray(target).spec, "class indices")
        if input.ndim != target.ndim + 1 or not shapes_agree((input.shape[0], *input.shape[2:]), tuple(target.shape)):
            raise ShapeError(
                "top-k accuracy cannot compare these.", expected="scores (N, C) with class indices (N,)", given=f"{input.shape} and {target.shape}"
            )
        index = ops.expand_dims(target, 1)
        own = ops.take_along_axis(input, index, axis=1)
        places = ops.reshape(ops.arange(known(input.shape[1]), dtype=target.dtype), (-1,) + (1,) * (input.ndim - 2))
        ahead = ops.logical_or(ops.greater(input, own), ops.logical_and(ops.equal(input, own), ops.greater(places, index)))
        return ops.astype(ops.less(ops.sum(ahead, axis=1), self.k), "float32")


class _Counted(Metric):
    """A metric of true positives, predicted and actual positives.

    ``average`` is "binary" for two classes (of the second, or of what is above ``threshold``: where it is not given, 0.5 for what a sigmoid made, else 0), else "macro" (the mean over
    classes that occur), "micro" (all decisions together), "weighted" (by how often a class occurs) or None (an array of one number per class). Where nothing can
    be divided by, the result is 0. Equal to scikit-learn's of the same name.
    """

    def __init__(self, average: str | None = "binary", threshold: float | None = None, name: str | None = None) -> None:
        if average not in ("binary", "macro", "micro", "weighted", None):
            raise DataError("average is 'binary', 'macro', 'micro', 'weighted' or None.", given=repr(average), remedy="choose one of these")
        super().__init__(name)
        self.average = average
        self.threshold = threshold

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        found = decisions(input, target, self.threshold, self.name)
        if self.average == "binary" and found.classes != 2:
            raise ShapeError(f"{self.name} of {found.classes} classes needs an average.", given="average='binary'", remedy="pass average='macro' or 'micro'")
        predicted, actual = (ops.one_hot(ops.reshape(t, (-1,)), found.classes) for t in (found.predicted, found.actual))
        weights = ops.reshape(element_weights(ops.astype(found.actual, predicted.dtype), sample_weight), (-1, 1))
        return ops.stack([ops.sum(t * weights, axis=0) for t in (predicted * actual, predicted, actual)])

    def of(self, right: Array, predicted: Array, actual: Array) -> Array:
        """The metric of these counts, elementwise."""
        raise NotImplementedError

    def result(self, total: Array) -> Any:
        if self.average == "micro":
            return float(self.of(*total.sum(axis=1)))
        each = self.of(*total)
        if self.average is None:
            return each
        if self.average == "binary":
            return float(each[1])
        weights = total[2] if self.average == "weighted" else (total[1] + total[2] > 0).astype("float64")
        return float((each * weights).sum() / weights.sum()) if weights.sum() else 0.0


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(np.asarray(below, "float64")), where=np.asarray(below) > 0)


class Precision(_Counted):
    __doc__ = f"The share of positive decisions that are right. {_Counted.__doc__}"

    def of(self, right: Array, predicted: Array, actual: Array) -> Array:
        return _ratio(right, predicted)


class Recall(_Counted):
    __doc__ = f"The share of actual positives that were found. {_Counted.__doc__}"

    def of(self, right: Array, predicted: Array, actual: Array) -> Array:
        return _ratio(right, actual)


class F1Score(_Counted):
    __doc__ = f"The harmonic mean of precision and recall. {_Counted.__doc__}"

    name = "f1_score"

    def of(self, right: Array, predicted: Array, actual: Array) -> Array:
        return _ratio(2.0 * right, predicted + actual)


class ConfusionMatrix(Metric):
    """How often class i (row) was taken for class j (column): an array (C, C), weighted by sample weights.

    ``normalize`` is None, "true" (rows add up to 1), "pred" (columns) or "all". Equal to scikit-learn's ``confusion_matrix`` with all classes as labels.
    """

    def __init__(self, normalize: str | None = None, threshold: float | None = None, name: str | None = None) -> None:
        if normalize not in (None, "true", "pred", "all"):
            raise DataError("normalize is None, 'true', 'pred' or 'all'.", given=repr(normalize), remedy="choose one of these")
        super().__init__(name)
        self.normalize = normalize
        self.threshold = threshold

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        found = decisions(input, target, self.threshold, self.name)
        predicted, actual = (ops.one_hot(ops.reshape(t, (-1,)), found.classes) for t in (found.predicted, found.actual))
        weights = ops.reshape(element_weights(ops.astype(found.actual, predicted.dtype), sample_weight), (-1, 1))
        return ops.matmul(ops.matrix_transpose(actual), predicted * weights)

    def result(self, total: Array) -> Array:
        if self.normalize is None:
            return np.array(total)
        axis = {"true": 1, "pred": 0, "all": None}[self.normalize]
        return _ratio(total, np.broadcast_to(total.sum(axis=axis, keepdims=True), total.shape))


class Perplexity(Metric):
    """``exp`` of the mean cross-entropy of logits (N, C, ...) against class indices (N, ...), those equal to ``ignore_index`` left out."""

    def __init__(self, ignore_index: int = -100, name: str | None = None) -> None:
        super().__init__(name)
        self.ignore_index = ignore_index

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        losses, counted = ops.cross_entropy(input, target, None, self.ignore_index)
        weights = element_weights(losses, sample_weight)
        return ops.stack([ops.sum(losses * weights), ops.sum(counted * weights)])

    def result(self, total: Array) -> float:
        return float(np.exp(total[0] / total[1])) if total[1] else float("nan")
