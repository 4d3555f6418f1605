"""The events of a training run. Override those of interest; ``trainer.stop_training = True``, or a text that says why, ends the run after the present epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unimodel.arguments import ChecksArguments
from unimodel.errors import DataError
from unimodel.names import closest

if TYPE_CHECKING:
    from unimodel.trainer import Trainer


class Callback(ChecksArguments):
    """Base of callbacks. ``logs`` maps names to numbers; ``epoch`` counts from 0 and goes on from one fit to the next."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Before the first epoch of a fit."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before an epoch."""

    def on_step_end(self, trainer: Trainer, step: int, logs: dict[str, float]) -> None:
        """After each step. A callback that overrides this makes fit read every step's results back at once."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """After an epoch and its validation."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when an error or an interrupt ended it."""


def refuse_unknown_events(callback: Callback) -> None:
    """Raises ``DataError`` for a method that is named like an event and is none, such as another library's."""
    events = [name for name in dir(Callback) if name.startswith("on_")]
    for name in dir(callback):
        if name.startswith("on_") and name not in events:
            raise DataError(
                f"{type(callback).__name__}.{name} would never be called.",
                expected=", ".join(events),
                given=name,
                remedy=f"rename it, perhaps to {closest(name, events, like=0.0)}",
            )
