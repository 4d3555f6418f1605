"""Callbacks hear of a run in order, stop it, and keep its best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from regression import Descent, X, Y, trainer

import unimodel as um
from unimodel.callbacks import Callback, EarlyStopping, ModelCheckpoint
from unimodel.errors import DataError, NonFiniteError


class Recorder(Callback):
    """Writes down every event."""

    def __init__(self, events: list[Any], name: str = "") -> None:
        self.events, self.name = events, name

    def on_train_begin(self, trainer: um.Trainer) -> None:
        self.events.append((self.name, "train begin"))

    def on_epoch_begin(self, trainer: um.Trainer, epoch: int) -> None:
        self.events.append((self.name, "epoch begin", epoch))

    def on_step_end(self, trainer: um.Trainer, step: int, logs: dict[str, float]) -> None:
        self.events.append((self.name, "step end", step, sorted(logs)))

    def on_epoch_end(self, trainer: um.Trainer, epoch: int, logs: dict[str, float]) -> None:
        self.events.append((self.name, "epoch end", epoch, sorted(logs)))

    def on_train_end(self, trainer: um.Trainer) -> None:
        self.events.append((self.name, "train end"))


def test_events_come_in_order_and_to_callbacks_in_turn() -> None:
    events: list[Any] = []
    t = trainer(metrics=[um.metrics.MeanAbsoluteError()])
    t.fit((X, Y), epochs=2, batch_size=12, validation_data=(X, Y), callbacks=[Recorder(events, "a"), Recorder(events, "b")], verbose=False)
    names = ["loss", "mean_absolute_error"]
    expected: list[tuple[Any, ...]] = [("train begin",)]
    for epoch in range(2):
        expected += [("epoch begin", epoch), ("step end", 2 * epoch + 1, names), ("step end", 2 * epoch + 2, names)]
        expected += [("epoch end", epoch, sorted([*names, *(f"val_{n}" for n in names)]))]
    expected += [("train end",)]
    assert events == [(name, *event) for event in expected for name in "ab"]
    events.clear()
    t.fit((X, Y), callbacks=[Recorder(events)], verbose=False)
    assert ("", "epoch begin", 2) in events and ("", "step end", 5, names) in events


def test_step_logs_are_the_steps_own_numbers() -> None:
    seen: list[float] = []

    class Losses(Callback):
        def on_step_end(self, trainer: um.Trainer, step: int, logs: dict[str, float]) -> None:
            seen.append(logs["loss"])
            assert type(logs["loss"]) is float

    t = trainer()
    by_hand = Descent(t.model.state_dict())
    t.fit((X, Y), batch_size=4, shuffle=False, callbacks=[Losses()], verbose=False)
    assert seen == pytest.approx([by_hand.step(X[i : i + 4], Y[i : i + 4]) for i in range(0, 23, 4)], rel=1e-12)


def test_train_end_comes_also_when_training_fails() -> None:
    events: list[Any] = []
    with pytest.raises(NonFiniteError):
        trainer(optimizer=um.optim.SGD(lr=1e200)).fit((X, Y), epochs=5, callbacks=[Recorder(events)], verbose=False)
    assert events[-1] == ("", "train end")


def test_stop_training_ends_after_the_epoch_and_not_the_next_fit() -> None:
    class Stop(Callback):
        def on_epoch_end(self, trainer: um.Trainer, epoch: int, logs: dict[str, float]) -> None:
            trainer.stop_training = epoch >= 1

    t = trainer()
    assert t.fit((X, Y), epochs=10, callbacks=[Stop()], verbose=False).epoch == [0, 1]
    assert t.fit((X, Y), epochs=2, verbose=False).epoch == [2, 3]


class Script(um.Trainer):
    """Reports a fixed number each epoch, and moves the weight so that epochs can be told apart."""

    values: list[float]

    def evaluation_step(self, batch: Any) -> dict[str, Any]:
        return {"loss": self.now}

    def step(self, batch: Any) -> dict[str, Any]:
        self.model.weight.assign(self.model.weight + 1.0)
        return {"loss": um.ops.mean(batch)}


def scripted(values: list[float], callbacks: list[Callback]) -> tuple[int, float, um.Trainer]:
    """How many epochs a run takes whose validation loss is ``values`` in turn, and the weight it ends with (epochs counted from 1)."""
    now = um.Scalar(0.0)

    class Next(Callback):
        def on_epoch_begin(self, trainer: um.Trainer, epoch: int) -> None:
            now.value = values[epoch]

    class Net(um.Model):
        def __init__(self) -> None:
            self.weight = um.Parameter((1,), init=um.init.zeros)

    t = Script(Net(), backend="numpy")
    t.now = now
    history = t.fit(np.ones(4), epochs=len(values), batch_size=4, validation_data=np.ones(4), callbacks=[Next(), *callbacks], verbose=False)
    return len(history.epoch), float(t.model.weight.data[0]), t


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([3, 2, 1, 0], {}, 4),
        ([3, 2, 2, 1], {}, 3),
        ([3, 2, 2.5, 2.5, 1], {"patience": 1}, 3),
        ([3, 2, 2.5, 2.5, 2.5, 1, 1], {"patience": 3}, 5),
        ([3, 2, 2.5, 1, 1.5, 1.5, 0], {"patience": 2}, 6),
        ([3, 2.9, 2.8, 2.7], {"min_delta": 0.15}, 2),
        ([1, 2, 3, 2, 9], {"mode": "max"}, 4),
        ([3, float("nan"), float("nan"), 1], {"patience": 2}, 3),
    ],
)
def test_early_stopping_ends_after_patience_epochs_without_improvement(values: list[float], options: dict[str, Any], epochs: int) -> None:
    assert scripted(values, [EarlyStopping(**options)])[0] == epochs


def test_early_stopping_restores_the_best_weights() -> None:
    values = [3.0, 1.0, 2.0, 2.0, 0.0]
    assert scripted(values, [EarlyStopping(patience=2)])[:2] == (4, 4.0)
    assert scripted(values, [EarlyStopping(patience=2, restore_best_weights=True)])[:2] == (4, 2.0)
    assert scripted(values[:3], [EarlyStopping(patience=5, restore_best_weights=True)])[:2] == (3, 2.0), "also when the run ends by itself"


def test_early_stopping_of_a_number_that_is_not_reported() -> None:
    with pytest.raises(DataError, match="EarlyStopping"):
        trainer().fit((X, Y), callbacks=[EarlyStopping(monitor="val_loss")], verbose=False)


def test_early_stopping_is_reset_for_the_next_fit() -> None:
    stopping = EarlyStopping(patience=1)
    assert scripted([3, 4], [stopping])[0] == 2
    assert scripted([9, 8, 7], [stopping])[0] == 3


def test_model_checkpoint_saves_every_epoch_or_the_best(tmp_path: Any) -> None:
    every = ModelCheckpoint(str(tmp_path / "e{epoch}-{val_loss:.1f}.um"))
    best = ModelCheckpoint(str(tmp_path / "best.um"), monitor="val_loss")
    highest = ModelCheckpoint(str(tmp_path / "highest.um"), monitor="val_loss", mode="max")
    _, _, t = scripted([3.0, 1.0, 2.0, 4.0], [every, best, highest])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.um", "e0-3.0.um", "e1-1.0.um", "e2-2.0.um", "e3-4.0.um", "highest.um"]
    assert t.load(tmp_path / "best.um").epoch == 2
    assert t.load(tmp_path / "highest.um").epoch == 4
    assert t.load(tmp_path / "e0-3.0.um").model.weight.data[0] == 1.0
