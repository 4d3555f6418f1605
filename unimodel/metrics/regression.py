"""Metrics of regressions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unimodel import ops
from unimodel.errors import DataError, ShapeError
from unimodel.graph import Array
from unimodel.metrics.metric import MeanMetric, Metric, element_weights
from unimodel.ops.rules import shapes_agree


class MeanAbsoluteError(MeanMetric):
    """The mean of ``abs(input - target)``."""

    def values(self, input: Any, target: Any) -> Any:
        return ops.absolute_error(input, target)


class MeanSquaredError(MeanMetric):
    """The mean of ``(input - target) ** 2``."""

    def values(self, input: Any, target: Any) -> Any:
        return ops.squared_error(input, target)


class RootMeanSquaredError(MeanSquaredError):
    """The square root of the mean of ``(input - target) ** 2`` over all elements."""

    def result(self, total: Array) -> float:
        return math.sqrt(super().result(total))


class R2Score(Metric):
    """The share of the targets' variance that the predictions explain: ``1 - sum((y - input) ** 2) / sum((y - mean(y)) ** 2)``.

    Of (N, D) each column has its own; ``average`` is "uniform" (their mean) or None (an array). A column of equal targets gives 1 where predicted
    exactly, else 0. Each batch brings its own mean and spread about it, and they are merged exactly (Chan et al. 1979), so that nothing is lost where the
    mean is large beside the variance. Equal to scikit-learn's ``r2_score``.
    """

    name = "r2_score"

    def __init__(self, average: str | None = "uniform", name: str | None = None) -> None:
        if average not in ("uniform", None):
            raise DataError("average is 'uniform' or None.", given=repr(average), remedy="choose one of these")
        super().__init__(name)
        self.average = average

    def measure(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        if not shapes_agree(tuple(input.shape), tuple(target.shape)):
            raise ShapeError("r2_score cannot compare these.", expected=f"targets of shape {input.shape}", given=target.shape, remedy="reshape the targets")
        predicted, actual = (ops.reshape(t, (t.shape[0], -1)) for t in (input, ops.astype(target, input.dtype)))
        weights = element_weights(actual, sample_weight)
        count = ops.sum(weights, axis=0)
        mean = ops.sum(weights * actual, axis=0) / ops.where(ops.equal(count, 0.0), 1.0, count)
        spread, error = (actual - mean, actual - predicted)
        return ops.stack([count, mean, ops.sum(weights * spread * spread, axis=0), ops.sum(weights * error * error, axis=0)])

    def merge(self, total: Array | None, part: Array) -> Array:
        if total is None:
            return part
        count = total[0] + part[0]
        share = np.divide(part[0], count, out=np.zeros_like(count), where=count > 0)
        apart = part[1] - total[1]
        spread = total[2] + part[2] + apart * apart * total[0] * share
        return np.stack([count, total[1] + apart * share, spread, total[3] + part[3]])

    def result(self, total: Array) -> Any:
        exact = np.where(total[3] == 0, 1.0, 0.0)
        each = np.where(total[2] > 0, 1.0 - total[3] / np.where(total[2] > 0, total[2], 1.0), exact)
        each = np.where(total[0] > 0, each, np.nan)
        return each if self.average is None else float(each.mean())
