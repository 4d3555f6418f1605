"""Schedules that only come down."""

from __future__ import annotations

from collections.abc import Iterable

from unimodel.errors import DataError
from unimodel.optim.lr_scheduler.scheduler import LRScheduler, positive_count
from unimodel.optimizer import Optimizer


class StepLR(LRScheduler):
    """The rate times ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        positive_count(step_size=step_size)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, interval, last_epoch)

    def rate(self, initial_lr: float, t: int) -> float:
        return float(initial_lr * self.gamma ** (t // self.step_size))

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        return lr * self.gamma if t and t % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """The rate times ``gamma`` at each of the milestones."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        self.milestones = sorted(milestones)
        if any(not hasattr(m, "__index__") or m < 0 for m in self.milestones):
            raise DataError("milestones are counts of at least 0.", given=repr(self.milestones))
        self.gamma = gamma
        super().__init__(optimizer, interval, last_epoch)

    def rate(self, initial_lr: float, t: int) -> float:
        return float(initial_lr * self.gamma ** sum(m <= t for m in self.milestones))

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        return float(lr * self.gamma ** self.milestones.count(t))


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        self.gamma = gamma
        super().__init__(optimizer, interval, last_epoch)

    def rate(self, initial_lr: float, t: int) -> float:
        return float(initial_lr * self.gamma**t)

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        return lr * self.gamma if t else lr


class PolynomialLR(LRScheduler):
    """Down to 0 in ``total_iters`` epochs as ``(1 - t / total_iters) ** power``."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        positive_count(total_iters=total_iters)
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, interval, last_epoch)

    def rate(self, initial_lr: float, t: int) -> float:
        return float(initial_lr * self._left(t) ** self.power)

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        return float(lr * (self._left(t) / self._left(t - 1)) ** self.power) if 0 < t <= self.total_iters else lr

    def _left(self, t: int) -> float:
        return 1.0 - min(self.total_iters, t) / self.total_iters
