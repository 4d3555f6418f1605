"""What all schedules share: a count, and a rate for each of the optimizer's groups at any count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unimodel.arguments import ChecksArguments
from unimodel.errors import DataError
from unimodel.optimizer import Optimizer


class LRScheduler(ChecksArguments):
    """Base of schedules: ``rate(initial_lr, t)`` is the learning rate when t epochs (or steps) have passed.

    ``last_epoch`` is where an earlier run ended, whose first rate is the optimizer's ``lr`` (or a group's ``initial_lr``); ``Trainer.load`` needs none of this.
    A subclass sets its own attributes before ``super().__init__``, which asks for the first rate, as in PyTorch.
    """

    def __init__(self, optimizer: Optimizer, interval: str | None = "epoch", last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise DataError("a schedule takes an optimizer, as in PyTorch.", given=type(optimizer).__name__)
        if interval not in ("epoch", "step", None):
            raise DataError("interval is 'epoch', 'step' or None.", given=repr(interval))
        self.optimizer = optimizer
        self.interval = interval
        if isinstance(last_epoch, bool) or not hasattr(last_epoch, "__index__") or last_epoch < -1:
            raise DataError("last_epoch is the count that an earlier run ended at, or -1.", expected="an integer of at least -1", given=repr(last_epoch))
        self.first = last_epoch + 1
        """The count that a new run begins with."""
        self.last_epoch = self.first
        before, own = optimizer.scheduler, getattr(self, "schedulers", [])
        rivals = [s for s in (*optimizer.rivals, before) if s is not None and s not in own and s.last_epoch == s.first]
        optimizer.scheduler = self
        optimizer.__dict__["rivals"] = tuple(rivals)
        if optimizer.bound:
            self.apply()

    # what a schedule says
    def rate(self, initial_lr: float, t: int) -> float:
        """The rate at the count t."""
        raise NotImplementedError

    def group_rate(self, index: int, initial_lr: float, t: int) -> float:
        """The rate of one group at the count t."""
        return self.rate(initial_lr, t)

    def chained_rate(self, index: int, lr: float, initial_lr: float, t: int) -> float:
        """The rate of one group at the count t, where other schedules have had their say too and made it ``lr``."""
        return self.group_rate(index, initial_lr, t)

    def rate_after(self, index: int, before: float, initial_lr: float, t: int) -> float:
        """The rate of one group t counts after another schedule, which left it at ``before``, has ended."""
        return self.group_rate(index, initial_lr, t)

    def options(self, index: int, t: int) -> Mapping[str, Any]:
        """What else of a group the schedule sets at the count t."""
        return {}

    # what drives it
    def step(self) -> None:
        """One epoch (or step) further."""
        self.last_epoch += 1
        self.apply()

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        """Called by the trainer after each epoch and its validation, with what they gave."""
        if self.interval == "epoch":
            self.step()

    def apply(self) -> None:
        """Set each group's learning rate for the present count."""
        for index, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self.group_rate(index, group.setdefault("initial_lr", group["lr"]), self.last_epoch)
            for name, value in self.options(index, self.last_epoch).items():
                group.vary(name, value)

    def get_last_lr(self) -> list[float]:
        return [float(g["lr"]) for g in self.optimizer.param_groups]

    # saving
    def counters(self) -> dict[str, Any]:
        """What a resumed run needs, as JSON."""
        return {"last_epoch": self.last_epoch}

    def restore(self, counters: Mapping[str, Any]) -> None:
        self.last_epoch = int(counters["last_epoch"])
        self.apply()

    def each_group(self, name: str, value: Any, index: int) -> Any:
        """One group's part of an argument that is one for all groups, or a list of one for each."""
        if not isinstance(value, Sequence):
            return value
        groups = len(self.optimizer.param_groups)
        if len(value) != groups:
            raise DataError(f"{name} is one for all parameter groups, or one for each.", expected=f"{groups} of them", given=repr(value))
        return value[index]


def positive_count(**arguments: int) -> None:
    """Each must be an integer of at least 1."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise DataError(f"{name} must be a positive integer.", given=repr(value))
