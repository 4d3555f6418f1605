"""Stop when nothing gets better."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unimodel.callbacks.callback import Callback
from unimodel.callbacks.monitor import Monitor
from unimodel.graph import Array

if TYPE_CHECKING:
    from unimodel.trainer import Trainer


class EarlyStopping(Callback):
    """Ends the run when ``monitor`` has not improved by more than ``min_delta`` for ``patience`` epochs (0 means 1); can put the best weights back.

    ``mode`` says which way is better: "min", "max", or "auto", which is "max" for accuracy and other scores.
    """

    def __init__(self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0, mode: str = "auto", restore_best_weights: bool = False) -> None:
        self.monitor = Monitor("EarlyStopping", monitor, mode)
        self.min_delta, self.patience, self.restore_best_weights = min_delta, patience, restore_best_weights

    def on_train_begin(self, trainer: Trainer) -> None:
        self.best = math.inf
        self.waited = 0
        self.weights: dict[str, dict[str, Array]] = {}

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        value = self.monitor.cost(logs)
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            if self.restore_best_weights:
                self.weights = {key: model.state_dict() for key, model in trainer.models.items()}
            return
        self.waited += 1
        if self.waited >= max(1, self.patience):
            epochs = "1 epoch" if self.waited == 1 else f"{self.waited} epochs"
            trainer.stop_training = f"{self.monitor.name} has not improved on {self.monitor.sign * self.best:.4g} for {epochs}"

    def on_train_end(self, trainer: Trainer) -> None:
        for key, weights in self.weights.items():
            trainer.models[key].load_state_dict(weights)
