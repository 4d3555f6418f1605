"""The trainer keeps its promises: what fit, evaluate, predict and train_step compute, count, report and leave alone.

The judge is a linear regression written out in NumPy (``Descent``); where PyTorch has the function in question, PyTorch itself.
"""

from __future__ import annotations

import math
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression import Descent, X, Y, trainer

import unimodel as um
from unimodel.callbacks import Callback, EarlyStopping, ModelCheckpoint
from unimodel.errors import DataError, NonFiniteError, TraceError

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
