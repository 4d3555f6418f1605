"""Losses of classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel import ops
from unimodel.dim import product
from unimodel.errors import DataError, ShapeError
from unimodel.loss import Loss
from unimodel.nn.arguments import probability
from unimodel.ops.rules import sizes_agree
from unimodel.tensor_operators import TensorLike


def _array(weight: Any) -> Any:
    """Weights as an array; those that are computed in the step stay as they are."""
    return weight if weight is None or isinstance(weight, TensorLike) else np.asarray(weight, "float64")


def _check_classes(weight: Any, input: Any) -> None:
    """Class weights must be one per class of what came in."""
    if weight is not None and not sizes_agree(input.shape[min(1, input.ndim - 1)], product(tuple(weight.shape))):
        raise ShapeError("weight needs one number per class.", expected=f"({input.shape[min(1, input.ndim - 1)]},)", given=weight.shape)


class CrossEntropyLoss(Loss):
    """Cross-entropy of softmax(input), logits (N, C) or (N, C, ...), against class indices (N, ...) or probabilities of the input's shape.

    ``weight`` is one number per class, and the mean is over the weights of the targets; targets equal to ``ignore_index`` do not count;
    ``label_smoothing`` moves that share of each target evenly to all classes. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__(reduction)
        probability("label_smoothing", label_smoothing)
        self.weight = _array(weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def terms(self, input: Any, target: Any) -> Any:
        _check_classes(self.weight, input)
        return ops.cross_entropy(input, target, self.weight, self.ignore_index, self.label_smoothing)


class NLLLoss(Loss):
    """Minus the log-probability, which input (N, C) or (N, C, ...) holds, of the target class; ``weight`` and ``ignore_index`` as in CrossEntropyLoss.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = _array(weight)
        self.ignore_index = ignore_index

    def terms(self, input: Any, target: Any) -> Any:
        _check_classes(self.weight, input)
        return ops.nll(input, target, self.weight, self.ignore_index)


class BCEWithLogitsLoss(Loss):
    """Cross-entropy of sigmoid(input) against targets in [0, 1] of the same shape; ``weight`` weighs elements, ``pos_weight`` the positive class.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.weight = _array(weight)
        self.pos_weight = _array(pos_weight)

    def terms(self, input: Any, target: Any) -> Any:
        losses = ops.binary_cross_entropy_with_logits(input, target, self.pos_weight)
        return losses if self.weight is None else losses * self.weight


class BCELoss(Loss):
    """Cross-entropy of probabilities against targets in [0, 1] of the same shape; ``weight`` weighs elements. BCEWithLogitsLoss is more exact.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.BCELoss.html
    """

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = _array(weight)

    def terms(self, input: Any, target: Any) -> Any:
        losses = ops.binary_cross_entropy(input, target)
        return losses if self.weight is None else losses * self.weight


class KLDivLoss(Loss):
    """Kullback-Leibler divergence of log-probabilities ``input`` from ``target``, probabilities or with ``log_target`` their logarithms.

    ``reduction`` is also "batchmean", the sum over the size of the batch, which is the divergence proper. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html
    """

    reductions = (*Loss.reductions, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def terms(self, input: Any, target: Any) -> Any:
        losses = ops.kl_div(input, target, self.log_target)
        return ops.sum(losses, axis=tuple(range(1, losses.ndim))) if self.reduction == "batchmean" and losses.ndim > 1 else losses


class SoftMarginLoss(Loss):
    """``log(1 + exp(-target * input))`` for targets of 1 and -1, without overflow.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.SoftMarginLoss.html
    """

    def terms(self, input: Any, target: Any) -> Any:
        return ops.softplus(-ops.astype(target, input.dtype) * input)


class MultiLabelSoftMarginLoss(Loss):
    """Each of C classes by itself, from logits (N, C) and targets of 0 and 1; the mean over classes is a sample's loss. ``weight`` is one number per class.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.MultiLabelSoftMarginLoss.html
    """

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = _array(weight)

    def terms(self, input: Any, target: Any) -> Any:
        losses = ops.binary_cross_entropy_with_logits(input, target)
        return ops.mean(losses if self.weight is None else losses * self.weight, axis=-1)


class MultiMarginLoss(Loss):
    """The target class must score more than each other by ``margin``; what is short, to the power of ``p`` (1 or 2), is a sample's loss.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.MultiMarginLoss.html
    """

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if p not in (1, 2):
            raise DataError("p is 1 or 2.", given=repr(p))
        self.weight = _array(weight)
        if self.weight is not None and self.weight.ndim != 1:
            raise DataError("weight is one number per class.", given=self.weight.shape)
        self.p = p
        self.margin = float(margin)

    def terms(self, input: Any, target: Any) -> Any:
        _check_classes(self.weight, input)
        return ops.multi_margin(input, target, self.weight, self.p, self.margin)


class MultiLabelMarginLoss(Loss):
    """Each right class must score more than each wrong one by 1. A row of ``target`` (N, C) lists the right classes up to its first -1.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.MultiLabelMarginLoss.html
    """

    def terms(self, input: Any, target: Any) -> Any:
        return ops.multilabel_margin(input, target)
