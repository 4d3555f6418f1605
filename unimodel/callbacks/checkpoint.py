"""Save after epochs."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from unimodel.callbacks.callback import Callback
from unimodel.callbacks.monitor import Monitor
from unimodel.errors import DataError

if TYPE_CHECKING:
    from unimodel.trainer import Trainer


class ModelCheckpoint(Callback):
    """Saves to ``path`` after every epoch, or only when ``monitor`` has improved.

    ``path`` may hold ``{epoch}``, which counts from 0 as callbacks do, and names of logs, ``"run-{epoch}-{val_loss:.3f}.um"``. ``mode`` says which way is
    better: "min", "max", or "auto", which is "max" for accuracy and other scores.
    """

    def __init__(self, path: str | os.PathLike[str], monitor: str | None = None, mode: str = "auto") -> None:
        self.path = os.fspath(path)
        self.monitor = None if monitor is None else Monitor("ModelCheckpoint", monitor, mode)
        self.best = math.inf

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        if self.monitor is not None:
            value = self.monitor.cost(logs)
            if value >= self.best:
                return
            self.best = value
        try:
            path = self.path.format(epoch=epoch, **logs)
        except (KeyError, IndexError, ValueError) as error:
            given = f"{self.path}: {error}"
            raise DataError(
                "ModelCheckpoint's path names what is not reported.", expected="epoch, " + ", ".join(logs), given=given, remedy="mend the path"
            ) from error
        trainer.save(path)
