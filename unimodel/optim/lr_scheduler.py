"""Learning-rate schedules, with PyTorch's names and arguments (https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate).

A schedule attaches itself to its optimizer, and the trainer advances it: after each epoch, or with ``interval="step"`` after each step (``interval=None``
leaves it to the user's calls of ``step()``). Each schedule is a function of the count and the initial rate, so that a resumed run is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from unimodel.errors import DataError
from unimodel.optimizer import Optimizer


class LRScheduler:
    """Base of schedules: ``rate(initial_lr, t)`` is the learning rate when t epochs (or steps) have passed.

    A subclass sets its own attributes before ``super().__init__``, which asks for the first rate, as in PyTorch.
    """

    def __init__(self, optimizer: Optimizer, interval: str | None = "epoch") -> None:
        if not isinstance(optimizer, Optimizer):
            raise DataError("a schedule takes an optimizer, as in PyTorch.", given=type(optimizer).__name__)
        if interval not in ("epoch", "step", None):
            raise DataError("interval is 'epoch', 'step' or None.", given=repr(interval))
        self.optimizer = optimizer
        self.interval = interval
        self.last_epoch = 0
        optimizer.scheduler = self
        if optimizer.bound:
            self.apply()

    def rate(self, initial_lr: float, t: int) -> float:
        raise NotImplementedError

    def step(self) -> None:
        """One epoch (or step) further."""
        self.last_epoch += 1
        self.apply()

    def apply(self) -> None:
        """Set each group's learning rate for the present count."""
        for index, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self.group_rate(index, group.setdefault("initial_lr", group["lr"]))

    def group_rate(self, index: int, initial_lr: float) -> float:
        """The present rate of one group."""
        return self.rate(initial_lr, self.last_epoch)

    def get_last_lr(self) -> list[float]:
        return [float(g["lr"]) for g in self.optimizer.param_groups]


class StepLR(LRScheduler):
    """The rate times ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, *, interval: str | None = "epoch") -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, interval)

    def rate(self, initial_lr: float, t: int) -> float:
        return float(initial_lr * self.gamma ** (t // self.step_size))


class CosineAnnealingLR(LRScheduler):
    """From the initial rate down to ``eta_min`` along half a cosine in ``T_max`` epochs (Loshchilov and Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, *, interval: str | None = "epoch") -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, interval)

    def rate(self, initial_lr: float, t: int) -> float:
        return self.eta_min + (initial_lr - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class LambdaLR(LRScheduler):
    """The initial rate times a function of the count, one for all groups or one for each."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]], *, interval: str | None = "epoch") -> None:
        self.lr_lambda: Any = lr_lambda
        super().__init__(optimizer, interval)

    def apply(self) -> None:
        groups = len(self.optimizer.param_groups)
        if not callable(self.lr_lambda) and len(self.lr_lambda) != groups:
            raise DataError("LambdaLR takes one function, or one for each parameter group.", expected=groups, given=len(self.lr_lambda))
        super().apply()

    def group_rate(self, index: int, initial_lr: float) -> float:
        function = self.lr_lambda if callable(self.lr_lambda) else self.lr_lambda[index]
        return float(initial_lr * function(self.last_epoch))
