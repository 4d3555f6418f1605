"""Schedules that hold the rate down at the start."""

from __future__ import annotations

from unimodel.errors import DataError
from unimodel.optim.lr_scheduler.scheduler import LRScheduler, positive_count
from unimodel.optimizer import Optimizer


class ConstantLR(LRScheduler):
    """The rate times ``factor`` for the first ``total_iters`` epochs."""

    def __init__(self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        if not 0 <= factor <= 1:
            raise DataError("factor is a number in [0, 1].", given=repr(factor))
        positive_count(total_iters=total_iters)
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, interval, last_epoch)

    def rate(self, initial_lr: float, t: int) -> float:
        return initial_lr * self.factor if t < self.total_iters else initial_lr

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        return lr * self.factor if t == 0 else lr / self.factor if t == self.total_iters else lr


class LinearLR(LRScheduler):
    """The rate times a factor that goes from ``start_factor`` to ``end_factor`` in ``total_iters`` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
        *,
        interval: str | None = "epoch",
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise DataError("start_factor is in (0, 1], end_factor in [0, 1].", given=f"start_factor={start_factor}, end_factor={end_factor}")
        positive_count(total_iters=total_iters)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, interval, last_epoch)

    def rate(self, initial_lr: float, t: int) -> float:
        return initial_lr * self._factor(t)

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        return lr * self.start_factor if t == 0 else lr * (self._factor(t) / self._factor(t - 1)) if t <= self.total_iters else lr

    def _factor(self, t: int) -> float:
        return self.start_factor + (self.end_factor - self.start_factor) * min(self.total_iters, t) / self.total_iters
