"""The trainer keeps its promises: what fit, evaluate, predict and train_step compute, count, report and leave alone.

The judge is a linear regression written out in NumPy (``Descent``); where PyTorch has the function in question, PyTorch itself.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unimodel as um
from unimodel.callbacks import Callback, EarlyStopping, ModelCheckpoint
from unimodel.errors import DataError, NonFiniteError, TraceError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 3))
Y = X @ np.array([[1.0], [-2.0], [0.5]]) + 0.3 + 0.1 * RNG.standard_normal((23, 1))


def trainer(model: um.Model | None = None, **options: Any) -> um.Trainer:
    defaults = {"loss": um.losses.MSELoss(), "optimizer": um.optim.SGD(lr=0.1), "backend": "numpy", "precision": "float64"}
    return um.Trainer(model or um.nn.Linear(3, 1), **{**defaults, **options})


class Descent:
    """Linear regression by gradient descent on the mean squared error, by hand."""

    def __init__(self, weights: dict[str, np.ndarray], lr: float = 0.1) -> None:
        self.weight, self.bias, self.lr = weights["weight"].copy(), weights["bias"].copy(), lr

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        return float(((x @ self.weight.T + self.bias - y) ** 2).mean())

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        error = x @ self.weight.T + self.bias - y
        loss = float((error**2).mean())
        self.weight -= self.lr * 2 * error.T @ x / error.size
        self.bias -= self.lr * 2 * error.sum(axis=0) / error.size
        return loss

    def agrees(self, model: um.Model) -> None:
        np.testing.assert_allclose(model.state_dict()["weight"], self.weight, rtol=1e-12)
        np.testing.assert_allclose(model.state_dict()["bias"], self.bias, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------------- fit


@given(st.integers(1, 30), st.integers(1, 3))
def test_fit_descends_batch_by_batch_the_last_smaller_one_included(batch_size: int, epochs: int) -> None:
    t = trainer()
    by_hand = Descent(t.model.state_dict())
    history = t.fit((X, Y), epochs=epochs, batch_size=batch_size, shuffle=False, verbose=False)
    means = []
    for _ in range(epochs):
        losses = [(by_hand.step(X[i : i + batch_size], Y[i : i + batch_size]), len(X[i : i + batch_size])) for i in range(0, len(X), batch_size)]
        means.append(sum(loss * n for loss, n in losses) / len(X))
    by_hand.agrees(t.model)
    np.testing.assert_allclose(history.history["loss"], means, rtol=1e-12)
    assert t.global_step == epochs * math.ceil(len(X) / batch_size)


def test_history_has_one_entry_an_epoch_for_every_metric_and_validation() -> None:
    t = trainer(metrics=[um.metrics.MeanAbsoluteError(), um.metrics.MeanSquaredError(name="mse")])
    history = t.fit((X, Y), epochs=4, validation_data=(X[:5], Y[:5]), verbose=False)
    assert sorted(history.history) == sorted(["loss", "mean_absolute_error", "mse", "val_loss", "val_mean_absolute_error", "val_mse"])
    assert all(len(values) == 4 and all(type(v) is float for v in values) for values in history.history.values())
    assert history.epoch == [0, 1, 2, 3]
    np.testing.assert_allclose(history.history["loss"], history.history["mse"], rtol=1e-12)


def test_validation_is_what_evaluate_gives_after_the_epoch() -> None:
    t = trainer(metrics=[um.metrics.MeanAbsoluteError()])
    for _ in range(3):
        history = t.fit((X, Y), validation_data=(X[:9], Y[:9]), verbose=False).history
        assert {name: history[f"val_{name}"][0] for name in ("loss", "mean_absolute_error")} == t.evaluate((X[:9], Y[:9]))


def test_fit_runs_more_epochs_and_the_count_persists() -> None:
    t = trainer()
    assert t.fit((X, Y), epochs=2, verbose=False).epoch == [0, 1]
    assert t.fit((X, Y), epochs=2, verbose=False).epoch == [2, 3]
    assert t.epoch == 4
    assert t.fit((X, Y), epochs=0, verbose=False).history == {}


def test_two_fits_are_one_longer_fit() -> None:
    whole, parts = trainer(), trainer()
    expected = whole.fit((X, Y), epochs=5, batch_size=4, verbose=False).history["loss"]
    given_ = parts.fit((X, Y), epochs=2, batch_size=4, verbose=False).history["loss"] + parts.fit((X, Y), epochs=3, batch_size=4, verbose=False).history["loss"]
    assert given_ == expected


def test_max_steps_ends_the_run_at_exactly_that_step() -> None:
    t = trainer()
    by_hand = Descent(t.model.state_dict())
    history = t.fit((X, Y), epochs=100, batch_size=10, shuffle=False, max_steps=7, verbose=False)
    assert t.global_step == 7
    assert len(history.history["loss"]) == 3
    for k in range(7):
        rows = slice(10 * (k % 3), 10 * (k % 3) + 10)
        by_hand.step(X[rows], Y[rows])
    by_hand.agrees(t.model)
    stream = trainer()
    stream.fit([(X[:10], Y[:10])] * 4, epochs=100, max_steps=7, verbose=False)
    assert stream.global_step == 7


def test_max_steps_of_a_thousand_steps_in_one_epoch() -> None:
    """More steps than are handed over together, and than wait unread."""
    t = trainer(optimizer=um.optim.SGD(lr=0.001))
    by_hand = Descent(t.model.state_dict(), 0.001)
    x, y = np.tile(X, (60, 1)), np.tile(Y, (60, 1))
    history = t.fit((x, y), batch_size=1, shuffle=False, max_steps=1000, verbose=False)
    losses = [by_hand.step(x[i : i + 1], y[i : i + 1]) for i in range(1000)]
    by_hand.agrees(t.model)
    np.testing.assert_allclose(history.history["loss"], [np.mean(losses)], rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------ data order


class Order(um.Trainer):
    """Reports which sample each step saw; the data are the samples' numbers."""

    def step(self, batch: Any) -> dict[str, Any]:
        return {"loss": um.ops.sum(batch)}


def order_of(n: int, seed: int = 0, shuffle: bool = True, epochs: int = 1) -> list[list[int]]:
    seen: list[list[int]] = []

    class Watch(Callback):
        def on_epoch_begin(self, trainer: um.Trainer, epoch: int) -> None:
            seen.append([])

        def on_step_end(self, trainer: um.Trainer, step: int, logs: dict[str, float]) -> None:
            seen[-1].append(int(logs["loss"]))

    Order(um.nn.Identity(), backend="numpy", seed=seed).fit(np.arange(n), batch_size=1, shuffle=shuffle, epochs=epochs, callbacks=[Watch()], verbose=False)
    return seen


@given(st.integers(1, 50), st.integers(0, 5))
def test_every_epoch_sees_every_sample_once(n: int, seed: int) -> None:
    for epoch in order_of(n, seed, epochs=2):
        assert sorted(epoch) == list(range(n))


def test_order_is_named_by_seed_and_epoch() -> None:
    first, second = order_of(40, seed=1, epochs=2)
    assert first != second
    assert [first, second] == order_of(40, seed=1, epochs=2)
    assert order_of(40, seed=2) != [first]
    assert order_of(40, shuffle=False) == [list(range(40))]


def test_two_arrays_stay_aligned_when_shuffled() -> None:
    class Aligned(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            a, b = batch
            return {"loss": um.ops.sum(um.ops.abs(a * 2 - b))}

    history = Aligned(um.nn.Identity(), backend="numpy").fit((X, 2 * X), epochs=3, batch_size=5, verbose=False)
    assert history.history["loss"] == [0.0, 0.0, 0.0]


# ----------------------------------------------------------------------------------------------------------------- seeds


def dropping() -> um.Model:
    return um.nn.Sequential(um.nn.Linear(3, 8), um.nn.Tanh(), um.nn.Dropout(0.4), um.nn.Linear(8, 1))


def test_same_seed_same_run_other_seed_other_run() -> None:
    def run(seed: int) -> tuple[dict[str, np.ndarray], list[float]]:
        t = trainer(dropping(), seed=seed)
        start = t.model.state_dict()
        return start, t.fit((X, Y), epochs=3, batch_size=4, verbose=False).history["loss"]

    (weights, losses), (again, same), (others, different) = run(7), run(7), run(8)
    assert losses == same
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    assert losses != different
    assert not any(np.array_equal(weights[name], others[name]) for name in weights)


def test_seed_alone_decides_on_dropout_masks() -> None:
    """Same weights, same data, no shuffling: only the masks differ between seeds, and from step to step."""
    weights = dropping().state_dict()

    def losses(seed: int) -> list[float]:
        t = trainer(dropping(), seed=seed, optimizer=um.optim.SGD(lr=0.0))
        t.model.load_state_dict(weights)
        return t.fit((X, Y), epochs=3, batch_size=23, shuffle=False, verbose=False).history["loss"]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)
    assert len(set(losses(1))) == 3


# -------------------------------------------------------------------------------------------------------- sample weights


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0]), min_size=8, max_size=8).filter(any))
def test_training_with_weights_is_training_on_repeated_samples(weights: list[float]) -> None:
    weighted, repeated = trainer(metrics=[um.metrics.MeanAbsoluteError()]), trainer(metrics=[um.metrics.MeanAbsoluteError()])
    rows = np.repeat(np.arange(8), np.array(weights, int))
    ours = weighted.fit((X[:8], Y[:8]), epochs=3, batch_size=8, sample_weight=np.array(weights), verbose=False).history
    theirs = repeated.fit((X[rows], Y[rows]), epochs=3, batch_size=100, verbose=False).history
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-10)
    np.testing.assert_allclose(weighted.model.state_dict()["weight"], repeated.model.state_dict()["weight"], rtol=1e-10)


def test_weights_of_an_epoch_of_several_batches_count_by_their_sum() -> None:
    weight = np.array([1.0, 0.0, 3.0, 0.5] * 5)
    t = trainer(optimizer=um.optim.SGD(lr=0.0), metrics=[um.metrics.MeanAbsoluteError()])
    error = t.predict(X[:20]) - Y[:20]
    expected = {"loss": float((error[:, 0] ** 2 * weight).sum() / weight.sum()), "mean_absolute_error": float((abs(error[:, 0]) * weight).sum() / weight.sum())}
    for logs in (
        t.evaluate((X[:20], Y[:20], weight), batch_size=7),
        {name: values[0] for name, values in t.fit((X[:20], Y[:20]), sample_weight=weight, batch_size=7, verbose=False).history.items()},
        {name: values[0] for name, values in t.fit((X[:20], Y[:20], weight), batch_size=7, verbose=False).history.items()},
    ):
        assert logs == pytest.approx(expected, rel=1e-12)


def test_a_third_array_of_a_step_of_ones_own_is_no_weight() -> None:
    class Triplet(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            anchor, _, labels = batch
            return {"loss": um.ops.mean(anchor), "labels": um.ops.mean(um.ops.astype(labels, anchor.dtype))}

    x, labels = np.arange(6.0).reshape(6, 1), np.array([0, 0, 0, 5, 5, 5])
    logs = Triplet(um.nn.Identity(), backend="numpy", precision="float64").fit((x, x, labels), batch_size=3, shuffle=False, verbose=False).history
    assert logs == {"loss": [2.5], "labels": [2.5]}


# -------------------------------------------------------------------------------------------------- evaluate and predict


@given(st.integers(1, 40))
def test_evaluate_and_predict_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    t = trainer(metrics=[um.metrics.MeanAbsoluteError()])
    prediction = t.predict(X, batch_size=batch_size)
    weights = t.model.state_dict()
    np.testing.assert_allclose(prediction, X @ weights["weight"].T + weights["bias"], rtol=1e-12)
    logs = t.evaluate((X, Y), batch_size=batch_size)
    assert logs == pytest.approx({"loss": ((prediction - Y) ** 2).mean(), "mean_absolute_error": abs(prediction - Y).mean()}, rel=1e-12)


def test_evaluate_without_a_loss_gives_the_metrics() -> None:
    t = trainer(loss=None, optimizer=None, metrics=[um.metrics.MeanAbsoluteError()])
    assert list(t.evaluate((X, Y))) == ["mean_absolute_error"]


def test_evaluation_changes_nothing_and_is_in_eval_mode() -> None:
    model = um.nn.Sequential(um.nn.Linear(3, 4), um.nn.BatchNorm1d(4), um.nn.Dropout(0.9), um.nn.Linear(4, 1))
    t = trainer(model)
    t.fit((X, Y), batch_size=8, verbose=False)
    before = model.state_dict()
    first = t.predict(X)
    assert np.array_equal(first, t.predict(X))
    assert t.evaluate((X, Y)) == t.evaluate((X, Y))
    assert model.training
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())


def test_modes_are_given_back_per_module() -> None:
    model = um.nn.Sequential(um.nn.Linear(3, 3), um.nn.BatchNorm1d(3), um.nn.Linear(3, 1))
    model[1].eval()
    t = trainer(model)
    t.predict(X)
    assert [m.training for m in model] == [True, False, True]
    start = model.state_dict()
    t.fit((X, Y), verbose=False)
    after = model.state_dict()
    assert np.array_equal(start["1.running_mean"], after["1.running_mean"]), "a layer put in eval mode stays in it while the others train"
    assert not np.array_equal(start["1.weight"], after["1.weight"])


def test_fit_trains_in_train_mode_whatever_mode_the_model_was_left_in() -> None:
    model = um.nn.Sequential(um.nn.BatchNorm1d(3), um.nn.Linear(3, 1))
    t = trainer(model)
    model.eval()
    t.fit((X, Y), verbose=False)
    assert model.state_dict()["0.num_batches_tracked"] == 1
    assert not model.training and not model[0].training


def test_predict_gives_the_nest_that_forward_returns() -> None:
    class Two(um.Model):
        def forward(self, x: Any) -> Any:
            return {"double": 2 * x, "both": (x, [x + 1])}

    result = trainer(Two(), loss=None, optimizer=None).predict(X, batch_size=4)
    np.testing.assert_array_equal(result["double"], 2 * X)
    np.testing.assert_array_equal(result["both"][0], X)
    np.testing.assert_array_equal(result["both"][1][0], X + 1)
    assert isinstance(result["both"], tuple) and isinstance(result["both"][1], list)


def test_metrics_over_an_epoch_are_exact() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 4)), rng.integers(0, 3, 50)
    t = trainer(um.nn.Linear(4, 3), loss=um.losses.CrossEntropyLoss(), metrics=[um.metrics.Accuracy()])
    expected = (t.predict(x).argmax(axis=1) == y).mean()
    assert t.evaluate((x, y), batch_size=7)["accuracy"] == pytest.approx(expected, abs=1e-12)
    binary = trainer(um.nn.Linear(4, 1), loss=um.losses.BCEWithLogitsLoss(), metrics=[um.metrics.Accuracy()])
    labels = rng.integers(0, 2, (50, 1)).astype("float64")
    assert binary.evaluate((x, labels), batch_size=7)["accuracy"] == pytest.approx(((binary.predict(x) > 0) == labels).mean(), abs=1e-12)


# ------------------------------------------------------------------------------------------------------------ train_step


def test_train_step_is_one_step() -> None:
    t = trainer()
    by_hand = Descent(t.model.state_dict())
    for n in (4, 4, 7, 1):
        assert float(t.train_step((X[:n], Y[:n]))["loss"]) == pytest.approx(by_hand.step(X[:n], Y[:n]), rel=1e-12)
    by_hand.agrees(t.model)
    assert t.global_step == 4


def test_arrays_may_be_overwritten_after_train_step_and_results_stay() -> None:
    t = trainer()
    by_hand = Descent(t.model.state_dict())
    x, y, results = np.empty((5, 3)), np.empty((5, 1)), []
    for i in range(3):
        x[:], y[:] = X[5 * i : 5 * i + 5], Y[5 * i : 5 * i + 5]
        results.append(t.train_step((x, y)))
        x[:], y[:] = np.nan, np.nan
    expected = [by_hand.step(X[5 * i : 5 * i + 5], Y[5 * i : 5 * i + 5]) for i in range(3)]
    assert [float(r["loss"]) for r in results] == pytest.approx(expected, rel=1e-12)
    by_hand.agrees(t.model)


def test_what_train_step_returns_behaves_like_a_number() -> None:
    t = trainer()
    loss = t.train_step((X, Y))["loss"]
    number = float(loss)
    assert loss.item() == number and loss == number and hash(loss) == hash(number)
    assert f"{loss:.3f}" == f"{number:.3f}" and repr(loss) == repr(number)
    assert (loss + 1, 1 + loss, loss - 1, 1 - loss, 2 * loss, loss / 2, 1 / loss, -loss, abs(loss)) == (
        (number + 1, 1 + number, number - 1, 1 - number, 2 * number, number / 2, 1 / number, -number, abs(number))
    )
    assert loss**2 == number**2 and 2**loss == 2**number and round(loss, 2) == round(number, 2)
    assert loss < number + 1 and loss > number - 1 and loss <= number and loss >= number and max(loss, 0.0) == number
    assert int(loss) == int(number) and math.isfinite(loss) and math.sqrt(loss) == math.sqrt(number)
    assert sum([loss, loss]) == 2 * number and np.mean([loss, loss]) == number
    assert bool(loss) is True and not bool(loss * 0)


def test_a_list_is_a_batch_as_a_data_loader_gives_it() -> None:
    one, other = trainer(), trainer()
    assert float(one.train_step([X, Y])["loss"]) == float(other.train_step((X, Y))["loss"])


def test_another_batch_length_is_fine_and_traces_once() -> None:
    traces = []

    class Counting(um.Model):
        def __init__(self) -> None:
            self.layer = um.nn.Linear(3, 1)

        def forward(self, x: Any) -> Any:
            traces.append(x.shape)
            return self.layer(x)

    t = trainer(Counting())
    for n in (5, 1, 23, 5):
        t.train_step((X[:n], Y[:n]))
    assert len(traces) == 1


# -------------------------------------------------------------------------------------------------------------- clipping


@pytest.mark.torch_oracle
@pytest.mark.parametrize("norm", [None, 0.05, 1.0, 1e6])
@pytest.mark.parametrize("value", [None, 0.02, 1e6])
def test_clipping_is_pytorchs(norm: float | None, value: float | None) -> None:
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    model = um.nn.Sequential(um.nn.Linear(3, 5), um.nn.Tanh(), um.nn.Linear(5, 1))
    model.load_state_dict(module.state_dict())
    t = trainer(model, clip_grad_norm=norm, clip_grad_value=value, optimizer=um.optim.SGD(lr=0.1, momentum=0.9))
    theirs = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(20):
        t.train_step((X, Y))
        theirs.zero_grad()
        torch.nn.functional.mse_loss(module(torch.tensor(X)), torch.tensor(Y)).backward()
        if value is not None:
            torch.nn.utils.clip_grad_value_(module.parameters(), value)
        if norm is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), norm)
        theirs.step()
    for name, tensor in module.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], tensor.numpy(), rtol=1e-10, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------- callbacks


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


# ------------------------------------------------------------------------------------------------------ steps of one's own


class GAN(um.Trainer):
    """Goodfellow et al. 2014: the step of the documentation, with fixed noise as data."""

    def step(self, batch: Any) -> dict[str, Any]:
        real, z = batch
        g, d = self.models["generator"], self.models["discriminator"]
        bce = um.losses.BCEWithLogitsLoss()
        loss_d, grads = um.value_and_grad(lambda: bce(d(real), 1.0) + bce(d(g(z)), 0.0), wrt=d.parameters())
        self.optimizers["discriminator"].update(grads)
        loss_g, grads = um.value_and_grad(lambda: bce(d(g(z)), 1.0), wrt=g.parameters())
        self.optimizers["generator"].update(grads)
        return {"loss_d": loss_d, "loss_g": loss_g}


def nets(nn: Any) -> tuple[Any, Any]:
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 3)), nn.Sequential(nn.Linear(3, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1))


def paired_nets(torch: Any) -> tuple[Any, Any, Any, Any]:
    torch.manual_seed(0)
    modules, models = [m.double() for m in nets(torch.nn)], nets(um.nn)
    for model, module in zip(models, modules, strict=True):
        model.load_state_dict(module.state_dict())
    return (*models, *modules)


def same_weights(*pairs: tuple[um.Model, Any]) -> None:
    for model, module in pairs:
        for name, tensor in module.state_dict().items():
            np.testing.assert_allclose(model.state_dict()[name], tensor.numpy(), rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.torch_oracle
def test_a_gan_step_with_two_models_and_optimizers() -> None:
    """The generator's gradient is taken after the discriminator's update, which it must see."""
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
    g, d, tg, td = paired_nets(torch)
    t = GAN(
        {"generator": g, "discriminator": d},
        optimizer={"generator": um.optim.Adam(lr=0.01), "discriminator": um.optim.SGD(lr=0.05, momentum=0.5)},
        backend="numpy",
        precision="float64",
    )
    opt_g, opt_d = torch.optim.Adam(tg.parameters(), lr=0.01), torch.optim.SGD(td.parameters(), lr=0.05, momentum=0.5)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    z = np.random.default_rng(1).standard_normal((23, 2))
    losses = []
    for _ in range(20):
        real, noise = torch.tensor(X), torch.tensor(z)
        opt_d.zero_grad()
        out_real, out_fake = td(real), td(tg(noise).detach())
        loss_d = bce(out_real, torch.ones_like(out_real)) + bce(out_fake, torch.zeros_like(out_fake))
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        out = td(tg(noise))
        loss_g = bce(out, torch.ones_like(out))
        loss_g.backward()
        opt_g.step()
        losses.append((loss_d.item(), loss_g.item()))
        logs = t.train_step((X, z))
        assert (float(logs["loss_d"]), float(logs["loss_g"])) == pytest.approx(losses[-1], rel=1e-9)
    same_weights((g, tg), (d, td))
    assert list(t.fit((X, z), epochs=2, verbose=False).history) == ["loss_d", "loss_g"]
    assert set(t.models["generator"].state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.torch_oracle
def test_a_gradient_penalty_differentiates_a_gradient() -> None:
    """Gulrajani et al. 2017."""
    torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")

    class Critic(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            real, fake = batch

            def objective() -> Any:
                middle = 0.3 * real + 0.7 * fake
                _, slope = um.value_and_grad(lambda: um.ops.sum(self.model(middle)), wrt=middle)
                norm = um.ops.sqrt(um.ops.sum(slope * slope, axis=1))
                penalty = um.ops.mean((norm - 1.0) ** 2)
                return um.ops.mean(self.model(fake)) - um.ops.mean(self.model(real)) + 10.0 * penalty, penalty

            (loss, penalty), grads = um.value_and_grad(objective, wrt=self.model.parameters(), has_aux=True)
            self.optimizer.update(grads)
            return {"loss": loss, "penalty": penalty}

    torch.manual_seed(1)

    def build(nn: Any) -> Any:
        return nn.Sequential(nn.Linear(3, 6), nn.GELU(), nn.LayerNorm(6), nn.Linear(6, 1))

    critic, module = build(um.nn), build(torch.nn).double()
    critic.load_state_dict(module.state_dict())
    t = Critic(critic, optimizer=um.optim.Adam(lr=0.01), backend="numpy", precision="float64")
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    fake = np.random.default_rng(2).standard_normal((23, 3))
    for _ in range(10):
        logs = t.train_step((X, fake))
        optimizer.zero_grad()
        middle = (0.3 * torch.tensor(X) + 0.7 * torch.tensor(fake)).requires_grad_()
        (slope,) = torch.autograd.grad(module(middle).sum(), middle, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1.0) ** 2).mean()
        loss = module(torch.tensor(fake)).mean() - module(torch.tensor(X)).mean() + 10.0 * penalty
        loss.backward()
        optimizer.step()
        assert (float(logs["loss"]), float(logs["penalty"])) == pytest.approx((loss.item(), penalty.item()), rel=1e-9)
    same_weights((critic, module))


def test_distillation_leaves_the_teacher_alone() -> None:
    class Distill(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            teacher, student = self.models["teacher"], self.models["student"]
            loss, grads = um.value_and_grad(lambda: um.losses.MSELoss()(student(batch), teacher(batch)), wrt=student.parameters())
            self.optimizers["student"].update(grads)
            return {"loss": loss}

    teacher, student = um.nn.Linear(3, 1), um.nn.Linear(3, 1)
    t = Distill({"teacher": teacher, "student": student}, optimizer={"student": um.optim.SGD(lr=0.1)}, backend="numpy", precision="float64")
    before = teacher.state_dict()
    losses = t.fit(X, epochs=200, verbose=False).history["loss"]
    assert losses[-1] < 1e-8 < losses[0]
    assert all(np.array_equal(value, before[name]) for name, value in teacher.state_dict().items())
    np.testing.assert_allclose(student.state_dict()["weight"], before["weight"], atol=1e-3)


def test_reads_after_an_update_see_the_new_values() -> None:
    class Twice(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            loss = um.losses.MSELoss()
            first, grads = um.value_and_grad(lambda: loss(self.model(batch[0]), batch[1]), wrt=self.model.parameters())
            self.optimizer.update(grads)
            second, grads = um.value_and_grad(lambda: loss(self.model(batch[0]), batch[1]), wrt=self.model.parameters())
            self.optimizer.update(grads)
            return {"first": first, "second": second, "third": loss(self.model(batch[0]), batch[1])}

    t = Twice(um.nn.Linear(3, 1), optimizer=um.optim.SGD(lr=0.1), backend="numpy", precision="float64")
    by_hand = Descent(t.model.state_dict())
    logs = t.train_step((X, Y))
    expected = [by_hand.step(X, Y), by_hand.step(X, Y), by_hand.loss(X, Y)]
    assert [float(logs[name]) for name in ("first", "second", "third")] == pytest.approx(expected, rel=1e-12)
    assert t.optimizer.steps == 2


def test_gradient_accumulation_over_two_steps() -> None:
    """State of one's own in buffers; every second step updates with the mean gradient of two batches."""

    class Net(um.Model):
        def __init__(self) -> None:
            self.layer = um.nn.Linear(3, 1)
            self.sums = um.nn.ModuleList([])
            self.weight_sum, self.bias_sum = um.Buffer((1, 3)), um.Buffer((1,))

        def forward(self, x: Any) -> Any:
            return self.layer(x)

    class Accumulate(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            net = self.model
            sums = [net.weight_sum, net.bias_sum]
            loss, grads = um.value_and_grad(lambda: um.losses.MSELoss()(net(batch[0]), batch[1]), wrt=net.parameters())
            due = self.global_step % 2 == 1
            for parameter, total, grad in zip(net.parameters(), sums, grads, strict=True):
                gathered = total + grad / 2
                parameter.assign(um.ops.where(due, parameter - 0.1 * gathered, parameter))
                total.assign(um.ops.where(due, um.ops.zeros_like(gathered), gathered))
            return {"loss": loss}

    t = Accumulate(Net(), backend="numpy", precision="float64")
    by_hand = Descent({"weight": t.model.layer.weight.data, "bias": t.model.layer.bias.data})
    for _ in range(3):
        t.train_step((X[:10], Y[:10]))
        t.train_step((X[10:20], Y[10:20]))
        by_hand.step(X[:20], Y[:20])
    by_hand.agrees(t.model.layer)


# ------------------------------------------------------------------------------------------- what changes between steps


class Watched(um.Trainer):
    """Counts how often its step is traced, and reports what it sees."""

    traces = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        self.temperature = um.Scalar(0.5)
        self.factor = 2.0
        super().__init__(*args, **options)

    def step(self, batch: Any) -> dict[str, Any]:
        type(self).traces += 1
        logs = super().step(batch)
        return {**logs, "step": self.global_step, "epoch": self.epoch, "temperature": self.temperature * 1.0, "factor": um.ops.full((), self.factor)}


@pytest.fixture
def watched() -> Watched:
    Watched.traces = 0
    return Watched(um.nn.Linear(3, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy", precision="float64")


def test_host_scalars_change_without_tracing_anew(watched: Watched) -> None:
    for i, temperature in enumerate((0.5, 0.25, -3.0)):
        watched.temperature.value = temperature
        watched.optimizer.lr = 0.1 / (i + 1)
        logs = watched.train_step((X, Y))
        assert (float(logs["step"]), float(logs["temperature"])) == (i, temperature)
    history = watched.fit((X, Y), epochs=3, batch_size=10, verbose=False).history
    assert history["epoch"] == [0.0, 1.0, 2.0]
    assert watched.traces == 1
    watched.evaluate((X, Y))
    watched.predict(X)
    watched.fit((X, Y), validation_data=(X, Y), epochs=2, verbose=False)
    watched.stop_training = True
    watched.train_step((X, Y))
    assert watched.traces == 1


def test_learning_rate_is_no_constant_of_the_trace(watched: Watched) -> None:
    by_hand = Descent(watched.model.state_dict())
    for lr in (0.1, 0.01, 0.3):
        watched.optimizer.lr = by_hand.lr = lr
        watched.train_step((X, Y))
        by_hand.step(X, Y)
    by_hand.agrees(watched.model)
    assert watched.traces == 1


def test_a_plain_attribute_is_a_constant_and_changing_it_traces_anew(watched: Watched) -> None:
    assert float(watched.train_step((X, Y))["factor"]) == 2.0
    watched.factor = 5.0
    assert float(watched.train_step((X, Y))["factor"]) == 5.0
    assert watched.traces == 2
    watched.factor = 2.0
    assert float(watched.train_step((X, Y))["factor"]) == 2.0
    assert watched.traces == 2, "what was compiled before is found again"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t.model[1], "p", 0.0),
        lambda t: t.model[1].eval(),
        lambda t: setattr(t.model[0].bias, "requires_grad", False),
        lambda t: setattr(t.loss, "reduction", "sum"),
        lambda t: t.optimizer.param_groups[0].__setitem__("weight_decay", 0.1),
        lambda t: setattr(t, "clip_grad_norm", 0.1),
    ],
    ids=["a layer's attribute", "a layer's mode", "frozen", "the loss's attribute", "an optimizer's option", "clipping"],
)
def test_whatever_a_step_takes_as_constant_is_noticed(change: Callable[[um.Trainer], Any]) -> None:
    """Changed between two steps, it acts as if it had been so from the beginning."""

    def run(before: bool) -> dict[str, np.ndarray]:
        t = trainer(um.nn.Sequential(um.nn.Linear(3, 4), um.nn.Dropout(0.5), um.nn.Linear(4, 1)), optimizer=um.optim.SGD(lr=0.0))
        if before:
            change(t)
        t.train_step((X, Y))
        if not before:
            change(t)
        t.optimizer.lr = 0.1
        start = t.model.state_dict()
        t.train_step((X, Y))
        return {name: value - start[name] for name, value in t.model.state_dict().items()}

    late, early, unchanged = run(False), run(True), {}
    t = trainer(um.nn.Sequential(um.nn.Linear(3, 4), um.nn.Dropout(0.5), um.nn.Linear(4, 1)), optimizer=um.optim.SGD(lr=0.0))
    t.train_step((X, Y))
    t.optimizer.lr = 0.1
    start = t.model.state_dict()
    t.train_step((X, Y))
    unchanged = {name: value - start[name] for name, value in t.model.state_dict().items()}
    assert all(np.array_equal(late[name], early[name]) for name in late)
    assert any(not np.array_equal(late[name], unchanged[name]) for name in late)


# ------------------------------------------------------------------------------------------------------------ data forms


class Loader:
    """An iterable of batches that starts anew each time."""

    def __init__(self, kind: type = tuple) -> None:
        self.kind = kind

    def __iter__(self) -> Iterator[Any]:
        for i in range(0, len(X), 8):
            yield self.kind((X[i : i + 8], Y[i : i + 8]))


def data_forms() -> list[Any]:
    def torch_loader() -> Any:
        torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8)

    def torch_tensors() -> Any:
        torch = pytest.importorskip("torch", reason="oracle missing: PyTorch is not installed")
        return torch.tensor(X), torch.tensor(Y)

    def frames() -> Any:
        pandas = pytest.importorskip("pandas", reason="optional library missing: pandas is not installed")
        return pandas.DataFrame(X), pandas.DataFrame(Y)

    return [
        pytest.param(lambda: (X, Y), id="tuple of arrays"),
        pytest.param(lambda: (X.tolist(), Y.tolist()), id="tuple of lists"),
        pytest.param(lambda: (np.asfortranarray(X), np.repeat(Y, 2, axis=0)[::2]), id="arrays of other layouts"),
        pytest.param(lambda: Loader(), id="iterable of tuples"),
        pytest.param(lambda: Loader(list), id="iterable of lists"),
        pytest.param(lambda: list(Loader()), id="list of batches"),
        pytest.param(lambda: iter(list(Loader())), id="iterator, once"),
        pytest.param(torch_loader, id="torch DataLoader"),
        pytest.param(torch_tensors, id="torch tensors"),
        pytest.param(frames, id="pandas frames"),
    ]


@pytest.mark.parametrize("form", data_forms())
def test_data_of_any_form_trains_alike(form: Callable[[], Any]) -> None:
    t = trainer()
    by_hand = Descent(t.model.state_dict())
    t.fit(form(), batch_size=8, shuffle=False, verbose=False)
    expected = [by_hand.step(x, y) for x, y in Loader()]
    by_hand.agrees(t.model)
    assert t.evaluate(form(), batch_size=8)["loss"] == pytest.approx(by_hand.loss(X, Y), rel=1e-12)
    assert len(expected) == 3


def test_inputs_may_be_nested() -> None:
    class Two(um.Model):
        def __init__(self) -> None:
            self.left, self.right = um.nn.Linear(3, 1), um.nn.Linear(3, 1)

        def forward(self, left: Any, right: Any) -> Any:
            return self.left(left) + self.right(right)

    by_name, by_place = trainer(Two()), trainer(Two())
    named = by_name.fit(({"left": X, "right": 2 * X}, Y), epochs=2, verbose=False).history
    placed = by_place.fit(((X, 2 * X), Y), epochs=2, verbose=False).history
    assert named == placed
    np.testing.assert_array_equal(by_name.predict({"right": 2 * X, "left": X}), by_place.predict((X, 2 * X)))


def test_a_dict_is_a_data_set_for_a_step_of_ones_own() -> None:
    class Named(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            return super().step((batch["features"], batch["labels"]))

    t = Named(um.nn.Linear(3, 1), loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy", precision="float64")
    by_hand = Descent(t.model.state_dict())
    t.fit({"features": X, "labels": Y}, batch_size=8, shuffle=False, verbose=False)
    for x, y in Loader():
        by_hand.step(x, y)
    by_hand.agrees(t.model)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floating_inputs_are_cast_to_the_precision(dtype: str) -> None:
    for precision in ("float32", "float64"):
        t = trainer(precision=precision)
        t.train_step((X.astype(dtype), Y.astype(dtype)))
        assert t.predict(X.astype(dtype)).dtype == precision
        assert all(value.dtype == precision for value in t.model.state_dict().values())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint32"])
def test_index_arrays_stay_integers(dtype: str) -> None:
    model = um.nn.Sequential(um.nn.Embedding(5, 3), um.nn.Linear(3, 2))
    t = trainer(model, loss=um.losses.CrossEntropyLoss())
    x, y = np.array([0, 4, 2, 1], dtype), np.array([0, 1, 1, 0], dtype)
    assert math.isfinite(t.train_step((x, y))["loss"])
    weights = model.state_dict()
    np.testing.assert_allclose(t.predict(x), weights["0.weight"][x.astype(int)] @ weights["1.weight"].T + weights["1.bias"], rtol=1e-12)


def test_a_generator_is_used_up_after_one_epoch() -> None:
    t = trainer()
    t.fit((batch for batch in Loader()), verbose=False)
    with pytest.raises(DataError, match="yields no batch") as caught:
        t.fit((batch for batch in Loader()), epochs=2, verbose=False)
    assert "used up" in caught.value.remedy


# ----------------------------------------------------------------------------------------------------- models and trainers


def test_a_model_called_outside_a_step_computes_with_the_trainers_weights() -> None:
    t = trainer()
    t.fit((X, Y), epochs=2, verbose=False)
    np.testing.assert_array_equal(t.model(X), t.predict(X))


def test_a_second_trainer_copies_the_weights_of_that_moment() -> None:
    model = um.nn.Linear(3, 1)
    first = trainer(model)
    first.fit((X, Y), verbose=False)
    weights = model.state_dict()
    second = trainer(model, seed=9)
    assert all(np.array_equal(value, weights[name]) for name, value in second.model.state_dict().items())
    second.fit((X, Y), verbose=False)
    assert not np.array_equal(second.model.state_dict()["weight"], weights["weight"])


def test_a_plain_function_is_a_loss_and_a_loss_of_ones_own_takes_weights() -> None:
    def cubed(input: Any, target: Any) -> Any:
        return um.ops.mean(um.ops.abs(input - target) ** 3)

    class Cubed(um.Loss):
        def terms(self, input: Any, target: Any) -> Any:
            return um.ops.abs(input - target) ** 3

    plain, subclass = trainer(loss=cubed), trainer(loss=Cubed())
    assert plain.fit((X, Y), epochs=3, verbose=False).history == subclass.fit((X, Y), epochs=3, verbose=False).history
    expected = (abs(subclass.predict(X) - Y)[:, 0] ** 3)[:4]
    assert subclass.evaluate((X[:4], Y[:4], np.array([0.0, 1.0, 0.0, 3.0])))["loss"] == pytest.approx((expected[1] + 3 * expected[3]) / 4, rel=1e-12)
    with pytest.raises(DataError, match="sample weights"):
        plain.fit((X, Y), sample_weight=np.ones(23), verbose=False)


def test_check_finite_names_the_step_or_trains_on() -> None:
    y = Y.copy()
    y[13] = np.nan
    with pytest.raises(NonFiniteError, match="step 4"):
        trainer().fit((X, y), batch_size=4, shuffle=False, verbose=False)
    history = trainer(check_finite=False).fit((X, y), batch_size=4, shuffle=False, verbose=False).history
    assert math.isnan(history["loss"][0])


def test_an_optimizer_taken_by_a_second_trainer_begins_anew_there() -> None:
    """Reusing one object for several runs, as when backends are compared, gives every run the same beginning."""
    optimizer = um.optim.Adam(lr=0.1)
    um.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    runs = []
    for _ in range(2):
        t = trainer(optimizer=optimizer)
        runs.append(t.fit((X, Y), epochs=3, verbose=False).history["loss"])
        assert (optimizer.steps, optimizer.lr) == (3, 0.0125)
    assert runs[0] == runs[1]


def test_a_trainer_whose_optimizer_was_taken_away_says_so() -> None:
    optimizer = um.optim.Adam(lr=0.1)
    first = trainer(optimizer=optimizer)
    first.fit((X, Y), verbose=False)
    trainer(optimizer=optimizer).fit((X, Y), verbose=False)
    for use in (lambda: first.fit((X, Y), verbose=False), lambda: first.train_step((X, Y))):
        with pytest.raises(TraceError, match="another Trainer") as caught:
            use()
        assert "an optimizer for each" in (caught.value.remedy or "")


def test_a_dict_is_forwards_keyword_arguments_or_its_only_argument() -> None:
    class Named(um.Model):
        def forward(self, left: Any, right: Any) -> Any:
            return left - right

    class Whole(um.Model):
        def forward(self, batch: Any) -> Any:
            return batch["left"] - batch["right"]

    x = {"left": X, "right": 2 * X}
    for net in (Named(), Whole()):
        np.testing.assert_array_equal(um.Trainer(net, backend="numpy", precision="float64").predict(x), -X)
    with pytest.raises(DataError, match="up"):
        um.Trainer(Named(), backend="numpy").predict({"left": X, "up": X})


def test_what_is_better_follows_from_the_name() -> None:
    """Accuracy grows: a run that watches it stops, and puts back, where it was highest."""
    stop = EarlyStopping(monitor="val_accuracy", patience=2, restore_best_weights=True)
    t = trainer()
    stop.on_train_begin(t)
    for epoch, accuracy in enumerate([0.85, 0.95, 0.925]):
        stop.on_epoch_end(t, epoch, {"val_accuracy": accuracy})
    assert not t.stop_training
    stop.on_epoch_end(t, 3, {"val_accuracy": 0.9})
    assert t.stop_training


def test_a_checkpoint_that_watches_or_is_named_after_what_is_not_reported_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="watches a number"):
        trainer().fit((X, Y), verbose=False, callbacks=[ModelCheckpoint(tmp_path / "a.um", monitor="val_los")])
    with pytest.raises(DataError, match="path names") as caught:
        trainer().fit((X, Y), verbose=False, callbacks=[ModelCheckpoint(tmp_path / "{val_los}.um")])
    assert "loss" in str(caught.value.expected)
    trainer().fit((X, Y), verbose=False, callbacks=[ModelCheckpoint(tmp_path / "a.um")])
    assert (tmp_path / "a.um").is_file()


def test_threads_that_predict_leave_each_other_in_eval_mode() -> None:
    net = um.nn.Sequential(um.nn.Linear(10, 32), um.nn.Dropout(0.5), um.nn.Linear(32, 1))
    trainer = um.Trainer(net, loss=um.losses.MSELoss(), optimizer=um.optim.SGD(lr=0.1), backend="numpy")
    x = np.ones((8, 10), "float32")
    wanted, alike = trainer.predict(x), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: alike.extend(np.array_equal(trainer.predict(x), wanted) for _ in range(300))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(alike) == 1200 and all(alike)
    assert net.training
