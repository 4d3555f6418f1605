"""Several schedules of one optimizer: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from unimodel.errors import DataError
from unimodel.optim.lr_scheduler.plateau import ReduceLROnPlateau
from unimodel.optim.lr_scheduler.scheduler import LRScheduler
from unimodel.optimizer import Optimizer


def _check(schedulers: Sequence[LRScheduler], optimizer: Any, what: str) -> list[LRScheduler]:
    if not schedulers:
        raise DataError(f"{what} takes at least one schedule.")
    for index, scheduler in enumerate(schedulers):
        if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
            raise DataError(f"{what} takes schedules that are functions of the count.", given=f"{type(scheduler).__name__} at index {index}")
        if scheduler.optimizer is not optimizer:
            raise DataError(f"{what} takes schedules of one optimizer.", given=f"the schedule at index {index} has another")
    return list(schedulers)


class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins, at its own count 0, at each of the milestones.

    Source: https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.SequentialLR.html
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1, *, interval: str | None = "epoch"
    ) -> None:
        self.schedulers = _check(schedulers, optimizer, "SequentialLR")
        self.milestones = list(milestones)
        if len(self.milestones) != len(self.schedulers) - 1 or any(b <= a for a, b in zip([0, *self.milestones], self.milestones, strict=False)):
            raise DataError(
                "milestones rise, one between each schedule and the next.",
                expected=f"{len(self.schedulers) - 1} counts, the first above 0",
                given=repr(self.milestones),
            )
        super().__init__(optimizer, interval, last_epoch)

    def group_rate(self, index: int, initial_lr: float, t: int) -> float:
        present = bisect_right(self.milestones, t)
        if present == 0:
            return self.schedulers[0].group_rate(index, initial_lr, t)
        start = self.milestones[present - 1]
        before = self.group_rate(index, initial_lr, start - 1)
        return self.schedulers[present].rate_after(index, before, initial_lr, t - start)

    def options(self, index: int, t: int) -> Mapping[str, Any]:
        starts = [0, *self.milestones]
        present = bisect_right(self.milestones, t)
        found: dict[str, Any] = {}
        for later in self.schedulers[present + 1 :]:  # a cycle to come already holds the momentum where it begins
            found.update(later.options(index, 0))
        for i, scheduler in enumerate(self.schedulers[: present + 1]):
            found.update(scheduler.options(index, (t if i == present else self.milestones[i] - 1) - starts[i]))
        return found


class ChainedScheduler(LRScheduler):
    """All schedules at once, each changing the rate that those before it have left.

    Source: https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ChainedScheduler.html
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None, *, interval: str | None = "epoch") -> None:
        first = schedulers[0].optimizer if optimizer is None and schedulers else optimizer
        self.schedulers = _check(schedulers, first, "ChainedScheduler")
        self._known: dict[tuple[int, float], tuple[int, float]] = {}
        super().__init__(self.schedulers[0].optimizer, interval)

    def group_rate(self, index: int, initial_lr: float, t: int) -> float:
        done, lr = self._known.get((index, initial_lr), (-1, initial_lr))
        if done > t:
            done, lr = -1, initial_lr
        for count in range(done + 1, t + 1):
            lr = self.chained_rate(index, lr, initial_lr, count)
        self._known[index, initial_lr] = t, lr
        return lr

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        for scheduler in self.schedulers:
            lr = scheduler.chained_rate(index, lr, initial_lr, t)
        return lr

    def options(self, index: int, t: int) -> Mapping[str, Any]:
        return {name: value for s in self.schedulers for name, value in s.options(index, t).items()}
