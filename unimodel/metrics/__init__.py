"""Metrics: numbers about predictions that training reports but does not minimise."""

from unimodel.metrics.classification import Accuracy
from unimodel.metrics.metric import Metric
from unimodel.metrics.regression import MeanAbsoluteError, MeanSquaredError

__all__ = ["Accuracy", "MeanAbsoluteError", "MeanSquaredError", "Metric"]
