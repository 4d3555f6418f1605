"""Metrics: numbers about predictions that training reports but does not minimise."""

from unimodel.metrics.classification import Accuracy, ConfusionMatrix, F1Score, Perplexity, Precision, Recall, TopKAccuracy
from unimodel.metrics.metric import Metric
from unimodel.metrics.ranking import AUROC
from unimodel.metrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError
from unimodel.names import missing

__all__ = [
    "AUROC",
    "Accuracy",
    "ConfusionMatrix",
    "F1Score",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "TopKAccuracy",
]

__getattr__ = missing("um.metrics")
