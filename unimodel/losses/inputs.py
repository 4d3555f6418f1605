"""Losses of more than one prediction, which PyTorch calls with all of them in a row and a trainer with a tuple and the target."""

from __future__ import annotations

from typing import Any, ClassVar

from unimodel.errors import DataError
from unimodel.loss import Loss


class SeveralInputs(Loss):
    """A loss whose ``terms`` gets a tuple of predictions.

    ``loss(a, b, target)`` is PyTorch's call, in the order of ``order``; ``loss((a, b), target)`` and ``loss((a, b), target, sample_weight)`` are a trainer's.
    """

    order: ClassVar[tuple[str, ...]] = ()

    def __call__(self, *inputs: Any, sample_weight: Any = None, **named: Any) -> Any:
        if inputs and isinstance(inputs[0], tuple) and 2 <= len(inputs) <= 3:
            prediction, target, *weight = inputs
            return super().__call__(prediction, target, weight[0] if weight else sample_weight)
        given = {**dict(zip(self.order, inputs, strict=False)), **named}
        if len(inputs) > len(self.order) or set(given) != set(self.order):
            raise DataError(
                f"{type(self).__name__} takes {', '.join(self.order)}.",
                given=f"{len(inputs)} in a row" + (f", and {', '.join(named)}" if named else ""),
                remedy="in a trainer, let the model return the predictions as a tuple",
            )
        target = given.pop("target", None)
        return super().__call__(tuple(given.values()), target, sample_weight)
