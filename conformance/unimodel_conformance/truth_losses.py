"""What every loss is, said a second time: sums and logarithms over the classes of one sample after the other. As ``truth.py``, without anything of unimodel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from unimodel_conformance.truth import truth


@truth("binary_cross_entropy_with_logits")
def _(input: Any, target: Any, pos_weight: Any = None) -> Any:
    positive = -scipy.special.log_expit(input) * (1 if pos_weight is None else pos_weight)
    return target * positive - (1 - target) * scipy.special.log_expit(-input)


@truth("cross_entropy")
def _(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, label_smoothing: float = 0.0) -> Any:
    axis = 0 if input.ndim == 1 else 1
    logits = np.moveaxis(input, axis, -1)
    classes = logits.shape[-1]
    class_weights = np.ones(classes, input.dtype) if weight is None else weight
    losses, weights = np.zeros(logits.shape[:-1], input.dtype), np.zeros(logits.shape[:-1], input.dtype)
    probabilities = np.moveaxis(target, axis, -1) if target.dtype.kind == "f" else None
    for place in np.ndindex(losses.shape):
        log_p = logits[place] - scipy.special.logsumexp(logits[place])
        if probabilities is not None:
            share, weights[place] = probabilities[place], 1
        elif target[place] == ignore_index:
            continue
        else:
            share = np.eye(classes)[target[place]]
            weights[place] = class_weights[target[place]]
        share = (1 - label_smoothing) * share + label_smoothing / classes
        losses[place] = -np.sum(share * log_p * class_weights)
    return losses, weights


def _rows(input: Any) -> tuple[Any, int]:
    """The scores with the classes last, and how many classes there are."""
    scores = np.moveaxis(input, 0 if input.ndim == 1 else 1, -1)
    return scores, scores.shape[-1]


@truth("nll")
def _(input: Any, target: Any, weight: Any = None, ignore_index: int = -100) -> Any:
    scores, classes = _rows(input)
    losses, weights = np.zeros(scores.shape[:-1], input.dtype), np.zeros(scores.shape[:-1], input.dtype)
    for place in np.ndindex(losses.shape):
        if target[place] != ignore_index:
            weights[place] = 1 if weight is None else weight[target[place]]
            losses[place] = -scores[place][target[place]] * weights[place]
    return losses, weights


@truth("binary_cross_entropy")
def _(input: Any, target: Any) -> Any:
    return -scipy.special.xlogy(target, input) - scipy.special.xlog1py(1 - target, -input)


@truth("kl_div")
def _(input: Any, target: Any, log_target: bool = False) -> Any:
    p = np.exp(target) if log_target else target
    return scipy.special.xlogy(p, p) - p * input


@truth("smooth_l1_error")
def _(input: Any, target: Any, beta: float = 1.0) -> Any:
    return scipy.special.huber(beta, input - target) / beta


@truth("huber_error")
def _(input: Any, target: Any, delta: float = 1.0) -> Any:
    return scipy.special.huber(delta, input - target)


@truth("poisson_nll")
def _(input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Any:
    rate = np.exp(input) if log_input else input
    losses = rate - target * np.log(rate if log_input else rate + eps)
    stirling = target * np.log(np.maximum(target, 1)) - target + 0.5 * np.log(2 * math.pi * np.maximum(target, 1))
    return losses + np.where(target > 1, stirling, 0) if full else losses


@truth("gaussian_nll")
def _(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6) -> Any:
    likelihood = scipy.stats.norm.logpdf(target, input, np.sqrt(np.maximum(var, eps)))
    return -likelihood - (0 if full else 0.5 * math.log(2 * math.pi))


@truth("multi_margin")
def _(input: Any, target: Any, weight: Any = None, p: int = 1, margin: float = 1.0) -> Any:
    scores, classes = _rows(input)
    losses = np.zeros(scores.shape[:-1], input.dtype)
    for place in np.ndindex(losses.shape):
        right = int(target[place])
        short = [max(0.0, margin - scores[place][right] + scores[place][i]) ** p for i in range(classes) if i != right]
        losses[place] = sum(short) / classes * (1 if weight is None else weight[right])
    return losses


@truth("multilabel_margin")
def _(input: Any, target: Any) -> Any:
    scores, classes = _rows(input)
    losses = np.zeros(scores.shape[:-1], input.dtype)
    for place in np.ndindex(losses.shape):
        labels = [int(t) for t in target[place]]
        right = labels[: labels.index(-1)] if -1 in labels else labels
        wrong = [i for i in range(classes) if i not in right]
        losses[place] = sum(max(0.0, 1 - scores[place][j] + scores[place][i]) for j in right for i in wrong) / classes
    return losses
