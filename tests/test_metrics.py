"""Each metric, summed over batches of any sizes, with weights and without, is scikit-learn's on all samples at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um

sk = pytest.importorskip("sklearn.metrics", reason="oracle missing: scikit-learn is not installed")

Weights = np.ndarray | None
COUNT, CLASSES = 24, 4
seeds = st.integers(0, 2**32 - 1)


def over_batches(metric: um.metrics.Metric, input: np.ndarray, target: np.ndarray, weights: Weights, cuts: list[int]) -> Any:
    """The metric of all samples, which come in batches that end at these places."""
    total: Any = None
    for part in np.split(np.arange(len(input)), sorted(set(cuts))):
        if len(part):
            arguments = (input[part], target[part]) if weights is None else (input[part], target[part], weights[part])
            total = metric.merge(total, np.asarray(um.run(metric.measure, *arguments)))
    return metric.result(total)


def drawn(seed: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, targets and weights of a kind."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 3.0, COUNT)
    if kind == "classes":
        return rng.standard_normal((COUNT, CLASSES)), np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, COUNT - CLASSES)]), weights
    if kind == "binary":
        return rng.standard_normal(COUNT), np.concatenate([[0, 1], rng.integers(0, 2, COUNT - 2)]), weights
    return rng.standard_normal((COUNT, 3)), rng.standard_normal((COUNT, 3)) + 5.0, weights


def averaged(function: Callable[..., Any], average: Any) -> Callable[..., Any]:
    def judged(x: np.ndarray, y: np.ndarray, w: Weights) -> Any:
        guess = x > 0 if average == "binary" else x.argmax(1)
        return function(y, guess, average=average, sample_weight=w, zero_division=0)

    return judged


def confusion(normalize: str | None) -> Callable[..., Any]:
    return lambda x, y, w: sk.confusion_matrix(y, x.argmax(1), labels=range(CLASSES), sample_weight=w, normalize=normalize)


def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


METRICS: dict[str, tuple[str, Callable[[], um.metrics.Metric], Callable[[np.ndarray, np.ndarray, Weights], Any]]] = {
    "Accuracy": ("classes", um.metrics.Accuracy, lambda x, y, w: sk.accuracy_score(y, x.argmax(1), sample_weight=w)),
    "Accuracy of two": ("binary", um.metrics.Accuracy, lambda x, y, w: sk.accuracy_score(y, x > 0, sample_weight=w)),
    "TopKAccuracy": ("classes", lambda: um.metrics.TopKAccuracy(2), lambda x, y, w: sk.top_k_accuracy_score(y, x, k=2, sample_weight=w)),
    **{
        f"{name} {average}": ("binary" if average == "binary" else "classes", lambda n=name, a=average: getattr(um.metrics, n)(a), averaged(function, average))
        for name, function in (("Precision", sk.precision_score), ("Recall", sk.recall_score), ("F1Score", sk.f1_score))
        for average in ("binary", "macro", "micro", "weighted", None)
    },
    **{
        f"ConfusionMatrix {normalize}": ("classes", lambda n=normalize: um.metrics.ConfusionMatrix(n), confusion(normalize))
        for normalize in (None, "true", "pred", "all")
    },
    "AUROC": ("binary", um.metrics.AUROC, lambda x, y, w: sk.roc_auc_score(y, x, sample_weight=w)),
    "Perplexity": ("classes", um.metrics.Perplexity, lambda x, y, w: np.exp(sk.log_loss(y, softmax(x), sample_weight=w, labels=range(CLASSES)))),
    "MeanAbsoluteError": ("numbers", um.metrics.MeanAbsoluteError, lambda x, y, w: sk.mean_absolute_error(y, x, sample_weight=w)),
    "MeanSquaredError": ("numbers", um.metrics.MeanSquaredError, lambda x, y, w: sk.mean_squared_error(y, x, sample_weight=w)),
    "RootMeanSquaredError": ("numbers", um.metrics.RootMeanSquaredError, lambda x, y, w: sk.mean_squared_error(y, x, sample_weight=w) ** 0.5),
    "R2Score": ("numbers", um.metrics.R2Score, lambda x, y, w: sk.r2_score(y, x, sample_weight=w)),
    "R2Score None": ("numbers", lambda: um.metrics.R2Score(None), lambda x, y, w: sk.r2_score(y, x, sample_weight=w, multioutput="raw_values")),
}


@pytest.mark.parametrize("name", METRICS)
@examples(4)
@given(seed=seeds, cuts=st.lists(st.integers(1, COUNT - 1), max_size=2), weighted=st.booleans())
def test_a_metric_is_scikit_learns(name: str, seed: int, cuts: list[int], weighted: bool) -> None:
    kind, make, judge = METRICS[name]
    input, target, weights = drawn(seed, kind)
    ours = over_batches(make(), input, target, weights if weighted else None, cuts)
    np.testing.assert_allclose(ours, judge(input, target, weights if weighted else None), rtol=1e-6, atol=1e-9)


def test_every_metric_has_a_judge() -> None:
    assert {name.split()[0] for name in METRICS} == set(um.metrics.__all__) - {"Metric"}
