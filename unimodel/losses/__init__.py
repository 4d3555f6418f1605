"""Losses, with PyTorch's names, arguments and defaults. The formulas stand in ``unimodel.ops.loss``."""

from __future__ import annotations

from typing import Any

import numpy as np

from unimodel import ops
from unimodel.errors import ShapeError
from unimodel.loss import Loss
from unimodel.nn.arguments import probability
from unimodel.ops.rules import sizes_agree

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss", "L1Loss", "MSELoss"]


class MSELoss(Loss):
    """The mean of ``(input - target) ** 2``; both of one shape.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.MSELoss.html
    """

    def terms(self, input: Any, target: Any) -> Any:
        return ops.squared_error(input, target)


class L1Loss(Loss):
    """The mean of ``abs(input - target)``; both of one shape.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.L1Loss.html
    """

    def terms(self, input: Any, target: Any) -> Any:
        return ops.absolute_error(input, target)


class CrossEntropyLoss(Loss):
    """Cross-entropy of softmax(input), logits (N, C) or (N, C, ...), against class indices (N, ...) or probabilities of the input's shape.

    ``weight`` (C,) weighs classes, and the mean divides by the weights of the targets; targets equal to ``ignore_index`` do not count;
    ``label_smoothing`` moves that share of each target evenly to all classes. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> None:
        super().__init__(reduction)
        probability("label_smoothing", label_smoothing)
        self.weight = None if weight is None else np.asarray(weight, "float64")
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def terms(self, input: Any, target: Any) -> Any:
        if self.weight is not None and not sizes_agree(input.shape[min(1, input.ndim - 1)], self.weight.size):
            raise ShapeError("weight needs one number per class.", expected=f"({input.shape[min(1, input.ndim - 1)]},)", given=self.weight.shape)
        return ops.cross_entropy(input, target, self.weight, self.ignore_index, self.label_smoothing)


class BCEWithLogitsLoss(Loss):
    """Cross-entropy of sigmoid(input) against targets in [0, 1] of the same shape; ``weight`` weighs elements, ``pos_weight`` the positive class.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.weight = None if weight is None else np.asarray(weight, "float64")
        self.pos_weight = None if pos_weight is None else np.asarray(pos_weight, "float64")

    def terms(self, input: Any, target: Any) -> Any:
        losses = ops.binary_cross_entropy_with_logits(input, target, self.pos_weight)
        return losses if self.weight is None else losses * self.weight
