"""Schedules along a cosine (Loshchilov and Hutter 2017)."""

from __future__ import annotations

import math

from unimodel.optim.lr_scheduler.scheduler import LRScheduler, positive_count
from unimodel.optimizer import Optimizer


class CosineAnnealingLR(LRScheduler):
    """From the initial rate down to ``eta_min`` along half a cosine in ``T_max`` epochs, and up again after."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        positive_count(T_max=T_max)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, interval, last_epoch)

    def rate(self, initial_lr: float, t: int) -> float:
        return self.eta_min + (initial_lr - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        if t == 0:
            return lr
        if (t - 1 - self.T_max) % (2 * self.T_max) == 0:  # one after the lowest point, where there is nothing left to scale
            return lr + (initial_lr - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        factor = (1 + math.cos(math.pi * t / self.T_max)) / (1 + math.cos(math.pi * (t - 1) / self.T_max))
        return self.eta_min + (lr - self.eta_min) * factor


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial rate down to ``eta_min`` in ``T_0`` epochs, then anew, each time ``T_mult`` times as long."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1, *, interval: str | None = "epoch") -> None:
        positive_count(T_0=T_0, T_mult=T_mult)
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, interval, last_epoch)

    def rate(self, initial_lr: float, t: int) -> float:
        length = self.T_0
        if self.T_mult == 1:
            t %= length
        while t >= length:
            t -= length
            length *= self.T_mult
        return self.eta_min + (initial_lr - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2
