"""Loss: from predictions and targets to the one number that training makes small.

A loss is any callable of ops that returns a 0-d tensor: a plain function, or a subclass with ``forward``. A subclass that gives ``terms`` instead, a loss for
each sample, gets reductions and sample weights for nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from unimodel import ops
from unimodel.arguments import ChecksArguments
from unimodel.errors import DataError, UnsupportedError


class Loss(ChecksArguments):
    """Base of losses. ``reduction`` is "mean", "sum" or "none"."""

    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")
    reduction = "mean"

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in self.reductions:
            raise DataError(f"a reduction is {', '.join(map(repr, self.reductions[:-1]))} or {self.reductions[-1]!r}.", given=reduction)
        self.reduction = reduction

    def terms(self, input: Any, target: Any) -> Any:
        """The loss of each element, or a pair of that and the weights they count with in a mean."""
        raise NotImplementedError(f"{type(self).__name__} defines neither terms(self, input, target) nor forward(self, input, target)")

    def forward(self, input: Any, target: Any) -> Any:
        return self.reduce(input, target, None)

    def __call__(self, input: Any, target: Any, sample_weight: Any = None) -> Any:
        if sample_weight is None:
            return self.forward(input, target)
        if type(self).terms is Loss.terms:
            raise UnsupportedError(
                f"{type(self).__name__} has no loss per sample, so sample weights cannot be applied.",
                remedy="define terms(self, input, target), which returns the loss of each sample, instead of forward",
            )
        return self.reduce(input, target, sample_weight)

    def reduce(self, input: Any, target: Any, sample_weight: Any) -> Any:
        """Terms weighted and reduced. A mean divides by the weights' sum: a weight of 0 is an absent sample, 2 is the sample twice."""
        result = self.terms(input, target)
        losses, weights = result if isinstance(result, tuple) else (result, None)
        if sample_weight is not None:
            if sample_weight.ndim != 1:
                raise DataError(
                    "sample weights are one number per sample.", expected="shape (N,)", given=str(sample_weight.shape), remedy="reshape them with .reshape(-1)"
                )
            each = ops.reshape(ops.astype(sample_weight, losses.dtype), (-1,) + (1,) * (losses.ndim - 1))
            losses = losses * each
            weights = ops.broadcast_to(each, losses.shape) if weights is None else weights * each
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return ops.sum(losses)
        return ops.mean(losses) if weights is None else ops.sum(losses) / ops.sum(weights)
