"""Metrics of regressions."""

from __future__ import annotations

from typing import Any

from unimodel import ops
from unimodel.metrics.metric import MeanMetric


class MeanAbsoluteError(MeanMetric):
    """The mean of ``abs(input - target)``."""

    def values(self, input: Any, target: Any) -> Any:
        return ops.absolute_error(input, target)


class MeanSquaredError(MeanMetric):
    """The mean of ``(input - target) ** 2``."""

    def values(self, input: Any, target: Any) -> Any:
        return ops.squared_error(input, target)
