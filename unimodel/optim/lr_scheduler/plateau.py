"""The schedule that looks at results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unimodel.errors import DataError
from unimodel.optim.arguments import not_negative
from unimodel.optim.lr_scheduler.scheduler import LRScheduler
from unimodel.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """The rate times ``factor`` where a number has not got better for more than ``patience`` epochs.

    In ``fit`` the number is ``monitor`` of the epoch's logs: by default "val_loss", or "loss" where there is no validation. With ``interval=None`` the
    user's calls of ``step(number)`` drive it. Source: https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
        *,
        monitor: str | None = None,
        interval: str | None = "epoch",
    ) -> None:
        if not factor < 1:
            raise DataError("factor is below 1.", given=repr(factor))
        if mode not in ("min", "max"):
            raise DataError("mode is 'min' or 'max'.", given=repr(mode))
        if threshold_mode not in ("rel", "abs"):
            raise DataError("threshold_mode is 'rel' or 'abs'.", given=repr(threshold_mode))
        if interval == "step":
            raise DataError("ReduceLROnPlateau looks at whole epochs.", expected="interval='epoch', or None to call step(number) oneself", given=repr(interval))
        not_negative(patience=patience, cooldown=cooldown)
        self.mode, self.factor, self.patience, self.threshold, self.threshold_mode = mode, factor, patience, threshold, threshold_mode
        self.cooldown, self.min_lr, self.eps, self.monitor = cooldown, min_lr, eps, monitor
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        super().__init__(optimizer, interval)

    def apply(self) -> None:
        """The rates are the optimizer's own, which only a step changes."""

    def end_epoch(self, logs: Mapping[str, float]) -> None:
        if self.interval is None:
            return
        name = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        if name not in logs:
            raise DataError("ReduceLROnPlateau does not find the number it looks at.", expected=f"one of {', '.join(logs)}", given=name)
        self.step(logs[name])

    def step(self, metrics: Any = None) -> None:
        """One epoch further, with what it gave."""
        if metrics is None:
            raise DataError("ReduceLROnPlateau.step takes the number it looks at.", remedy="step(val_loss)")
        current = float(metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _is_better(self, value: float) -> bool:
        if self.mode == "min":
            return value < (self.best * (1.0 - self.threshold) if self.threshold_mode == "rel" else self.best - self.threshold)
        return value > (self.best * (1.0 + self.threshold) if self.threshold_mode == "rel" else self.best + self.threshold)

    def _reduce(self) -> None:
        for index, group in enumerate(self.optimizer.param_groups):
            new = max(group["lr"] * self.factor, float(self.each_group("min_lr", self.min_lr, index)))
            if group["lr"] - new > self.eps:
                group["lr"] = new

    def counters(self) -> dict[str, Any]:
        best = self.best if math.isfinite(self.best) else None
        return {**super().counters(), "best": best, "cooldown_counter": self.cooldown_counter, "num_bad_epochs": self.num_bad_epochs}

    def restore(self, counters: Mapping[str, Any]) -> None:
        super().restore(counters)
        self.best = counters["best"] if counters["best"] is not None else math.inf if self.mode == "min" else -math.inf
        self.cooldown_counter = int(counters["cooldown_counter"])
        self.num_bad_epochs = int(counters["num_bad_epochs"])
