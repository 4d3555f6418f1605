"""Save after epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unimodel.callbacks.callback import Callback
from unimodel.errors import DataError

if TYPE_CHECKING:
    from unimodel.trainer import Trainer


class ModelCheckpoint(Callback):
    """Saves to ``path`` (which may hold ``{epoch}`` and names of logs) after every epoch, or only when ``monitor`` has improved."""

    def __init__(self, path: str, monitor: str | None = None, mode: str = "min") -> None:
        if mode not in ("min", "max"):
            raise DataError("mode is 'min' or 'max'.", given=mode)
        self.path, self.monitor, self.mode = path, monitor, mode
        self.best = math.inf

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        if self.monitor is not None:
            value = logs[self.monitor] if self.mode == "min" else -logs[self.monitor]
            if value >= self.best:
                return
            self.best = value
        trainer.save(self.path.format(epoch=epoch, **logs))
