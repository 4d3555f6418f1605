"""Schedules given as functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unimodel.optim.lr_scheduler.scheduler import LRScheduler
from unimodel.optimizer import Optimizer

Functions = Callable[[int], float] | Sequence[Callable[[int], float]]


class LambdaLR(LRScheduler):
    """The initial rate times a function of the count, one for all groups or one for each."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Functions, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        self.lr_lambda = lr_lambda
        super().__init__(optimizer, interval, last_epoch)

    def group_rate(self, index: int, initial_lr: float, t: int) -> float:
        return float(initial_lr * self.each_group("lr_lambda", self.lr_lambda, index)(t))


class MultiplicativeLR(LRScheduler):
    """The rate times a function of the count, every epoch; one for all groups or one for each."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Functions, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        self.lr_lambda = lr_lambda
        self._known: dict[int, tuple[int, float]] = {}
        super().__init__(optimizer, interval, last_epoch)

    def _factor(self, index: int, t: int) -> float:
        return float(self.each_group("lr_lambda", self.lr_lambda, index)(t))

    def _product(self, index: int, t: int) -> float:
        """The product of all factors so far, found from that of the count before."""
        start, product = self._known.get(index, (0, 1.0))
        if start > t:
            start, product = 0, 1.0
        for i in range(start + 1, t + 1):
            product *= self._factor(index, i)
        self._known[index] = t, product
        return product

    def group_rate(self, index: int, initial_lr: float, t: int) -> float:
        return initial_lr * self._product(index, t)

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        return lr * self._factor(index, t) if t else lr

    def rate_after(self, index: int, before: float, initial_lr: float, t: int) -> float:
        return before * self._factor(index, 0) * self._product(index, t)
