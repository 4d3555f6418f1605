"""Losses of embeddings: what belongs together is near, what does not is far, at least by a margin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unimodel import ops
from unimodel.errors import DataError
from unimodel.loss import Loss
from unimodel.losses.inputs import SeveralInputs


class MarginRankingLoss(SeveralInputs):
    """``max(0, -target * (input1 - input2) + margin)``: with target 1 the first should rank higher, with -1 the second.

    Called as ``loss(input1, input2, target)``; from a trainer the model returns ``(input1, input2)``. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.MarginRankingLoss.html
    """

    order = ("input1", "input2", "target")

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def terms(self, input: Any, target: Any) -> Any:
        first, second = input
        return ops.clip(-ops.astype(target, first.dtype) * (first - second) + self.margin, min=0.0)


class HingeEmbeddingLoss(Loss):
    """The distance ``input`` itself where target is 1, ``max(0, margin - input)`` where it is -1.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.HingeEmbeddingLoss.html
    """

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def terms(self, input: Any, target: Any) -> Any:
        apart = ops.where(ops.not_equal(target, 1), ops.clip(self.margin - input, min=0.0), 0.0)
        return apart + ops.where(ops.not_equal(target, -1), input, 0.0)


class CosineEmbeddingLoss(SeveralInputs):
    """``1 - cosine`` of two vectors where target is 1, ``max(0, cosine - margin)`` where it is -1.

    Called as ``loss(input1, input2, target)``; from a trainer the model returns ``(input1, input2)``. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html
    """

    order = ("input1", "input2", "target")

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not -1 <= margin <= 1:
            raise DataError("margin is a cosine.", expected="-1 <= margin <= 1", given=repr(margin))
        self.margin = margin

    def terms(self, input: Any, target: Any) -> Any:
        first, second = input
        # PyTorch adds 1e-12 to the squares here, where its cosine_similarity bounds the lengths
        squares = (ops.sum(first * first, axis=-1) + 1e-12) * (ops.sum(second * second, axis=-1) + 1e-12)
        cosine = ops.sum(first * second, axis=-1) / ops.sqrt(squares)
        apart = ops.where(ops.equal(target, -1), ops.clip(cosine - self.margin, min=0.0), 0.0)
        return apart + ops.where(ops.equal(target, 1), 1.0 - cosine, 0.0)


class TripletMarginWithDistanceLoss(SeveralInputs):
    """``max(0, margin + distance(anchor, positive) - distance(anchor, negative))``; ``swap`` takes the positive's distance from the negative if that is less.

    Called as ``loss(anchor, positive, negative)``; from a trainer the model returns all three, and the target is not looked at. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.TripletMarginWithDistanceLoss.html
    """

    order = ("anchor", "positive", "negative")

    def __init__(self, *, distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0, swap: bool = False, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if not margin > 0:
            raise DataError("margin is above 0.", given=repr(margin))
        self.distance_function = distance_function
        self.margin = margin
        self.swap = swap

    def distance(self, x1: Any, x2: Any) -> Any:
        return (self.distance_function or ops.pairwise_distance)(x1, x2)

    def terms(self, input: Any, target: Any) -> Any:
        anchor, positive, negative = input
        far = self.distance(anchor, negative)
        if self.swap:
            far = ops.minimum(far, self.distance(positive, negative))
        return ops.clip(self.margin + self.distance(anchor, positive) - far, min=0.0)


class TripletMarginLoss(TripletMarginWithDistanceLoss):
    """``max(0, margin + d(anchor, positive) - d(anchor, negative))`` with the p-norm of the difference as distance (Balntas et al. 2016).

    Called as ``loss(anchor, positive, negative)``; from a trainer the model returns all three, and the target is not looked at. Source:
    https://pytorch.org/docs/stable/generated/torch.nn.TripletMarginLoss.html
    """

    def __init__(self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean") -> None:
        super().__init__(margin=margin, swap=swap, reduction=reduction)
        self.p = p
        self.eps = eps

    def distance(self, x1: Any, x2: Any) -> Any:
        return ops.pairwise_distance(x1, x2, self.p, self.eps)
