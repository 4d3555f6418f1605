"""Losses as functions, each of them the class of ``um.losses`` called once. What PyTorch calls ``size_average`` and ``reduce`` is left out: it has replaced them by ``reduction``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unimodel import losses, ops
from unimodel.errors import ShapeError


def cross_entropy(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> Any:
    """CrossEntropyLoss."""
    return losses.CrossEntropyLoss(weight, ignore_index, reduction, label_smoothing)(input, target)


def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """NLLLoss."""
    return losses.NLLLoss(weight, ignore_index, reduction)(input, target)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """BCELoss."""
    return losses.BCELoss(weight, reduction)(input, target)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> Any:
    """BCEWithLogitsLoss."""
    return losses.BCEWithLogitsLoss(weight, reduction, pos_weight)(input, target)


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """KLDivLoss."""
    return losses.KLDivLoss(reduction, log_target)(input, target)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """MSELoss; ``weight`` of the input's shape weighs elements, and the mean is over weights."""
    return _weighted(losses.MSELoss, reduction, input, target, weight)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """L1Loss; ``weight`` of the input's shape weighs elements, and the mean is over weights."""
    return _weighted(losses.L1Loss, reduction, input, target, weight)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """HuberLoss; ``weight`` of the input's shape weighs elements, and the mean is, as PyTorch's here, over elements."""
    if weight is None:
        return losses.HuberLoss(reduction, delta)(input, target)
    each = losses.HuberLoss("none", delta)(input, target) * _like(weight, input)
    return each if losses.HuberLoss(reduction).reduction == "none" else ops.sum(each) if reduction == "sum" else ops.mean(each)


def _weighted(kind: Any, reduction: str, input: Any, target: Any, weight: Any) -> Any:
    loss = kind(reduction)
    if weight is None:
        return loss(input, target)
    weight = _like(weight, input)
    each = kind("none")(input, target) * weight
    return each if reduction == "none" else ops.sum(each) if reduction == "sum" else ops.sum(each) / ops.sum(weight)


def _like(weight: Any, input: Any) -> Any:
    if tuple(weight.shape) != tuple(input.shape):
        raise ShapeError("weights are one for each element.", expected=f"the input's shape, {tuple(input.shape)}", given=f"weight {tuple(weight.shape)}")
    return ops.astype(ops.asarray(weight), input.dtype)


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Any:
    """SmoothL1Loss."""
    return losses.SmoothL1Loss(reduction, beta)(input, target)


def poisson_nll_loss(input: Any, target: Any, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean") -> Any:
    """PoissonNLLLoss."""
    return losses.PoissonNLLLoss(log_input, full, eps, reduction)(input, target)


def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Any:
    """GaussianNLLLoss."""
    return losses.GaussianNLLLoss(full=full, eps=eps, reduction=reduction)(input, target, var)


def soft_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """SoftMarginLoss."""
    return losses.SoftMarginLoss(reduction)(input, target)


def multi_margin_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean") -> Any:
    """MultiMarginLoss."""
    return losses.MultiMarginLoss(p, margin, weight, reduction)(input, target)


def multilabel_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """MultiLabelMarginLoss."""
    return losses.MultiLabelMarginLoss(reduction)(input, target)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """MultiLabelSoftMarginLoss."""
    return losses.MultiLabelSoftMarginLoss(weight, reduction)(input, target)


def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
) -> Any:
    """CTCLoss."""
    return losses.CTCLoss(blank, reduction, zero_infinity)(log_probs, targets, input_lengths, target_lengths)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean") -> Any:
    """MarginRankingLoss."""
    return losses.MarginRankingLoss(margin, reduction)(input1, input2, target)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Any:
    """HingeEmbeddingLoss."""
    return losses.HingeEmbeddingLoss(margin, reduction)(input, target)


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean") -> Any:
    """CosineEmbeddingLoss."""
    return losses.CosineEmbeddingLoss(margin, reduction)(input1, input2, target)


def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"
) -> Any:
    """TripletMarginLoss."""
    return losses.TripletMarginLoss(margin, p, eps, swap, reduction)(anchor, positive, negative)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """TripletMarginWithDistanceLoss."""
    return losses.TripletMarginWithDistanceLoss(distance_function=distance_function, margin=margin, swap=swap, reduction=reduction)(anchor, positive, negative)
