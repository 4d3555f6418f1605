"""The trainer: the same curve on every backend, and everything around the step, judged by PyTorch's curves, by closed forms and by laws."""

from __future__ import annotations

import gc
import math
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.backend import Capability
from unimodel.graph import Array
from unimodel_conformance.problems import PROBLEMS, SEED, Losses, Problem
from unimodel_conformance.subject import Subject, assert_close, difference

pytestmark = [pytest.mark.concerns("trainer"), pytest.mark.needs(Capability.TRAINING)]

FLOAT64 = pytest.mark.needs(Capability.FLOAT64)
DIABETES, DIGITS, SEQUENCE = PROBLEMS


def by_name(problem: Problem) -> str:
    return problem.name


# ------------------------------------------------------------------------------------------------------------ same numbers


@FLOAT64
@pytest.mark.parametrize("problem", PROBLEMS, ids=by_name)
def test_same_curve(subject: Subject, problem: Problem) -> None:
    """Float64, free-running over 200 steps, dropout on: losses, epoch means, validation, metrics, weights and predictions are PyTorch's to 1e-8."""
    trainer = problem.trainer(precision="float64")
    for name, array in trainer.model.state_dict().items():
        if f"initial/{name}" in problem.golden:
            assert not (d := difference(array, problem.golden[f"initial/{name}"], 1e-14)), f"initial {name}: {d}"
    losses = Losses()
    history = problem.fit(trainer, validation_data=problem.validation, callbacks=[losses])
    given, wanted = np.array(losses.values), problem.losses
    assert given.shape == wanted.shape, f"{len(given)} steps, expected {len(wanted)}"
    part = np.abs(given - wanted) / np.abs(wanted)
    first = int(np.argmax(part > 1e-8)) if (part > 1e-8).any() else -1
    assert first < 0, f"the loss parts at step {first + 1}: given {given[first]!r}, PyTorch {wanted[first]!r} (largest relative difference {part.max():.1e})"
    for ours, theirs in {"loss": "epoch_loss", "val_loss": "val_loss", "metric": "metric", "val_metric": "val_metric"}.items():
        assert not (d := difference(np.array(history.history[ours]), problem.golden[theirs], 1e-8)), f"{ours} of each epoch: {d}"
    for name, array in trainer.model.state_dict().items():
        if f"final/{name}" in problem.golden:
            assert not (d := difference(array, problem.golden[f"final/{name}"], 1e-7)), f"{name} in the end: {d}"
    assert_close(trainer.predict(problem.validation[0]), problem.golden["prediction"], 1e-7, "predictions in the end")


@FLOAT64
@pytest.mark.parametrize("problem", PROBLEMS, ids=by_name)
@pytest.mark.parametrize("way", ["core", pytest.param("native", marks=pytest.mark.needs(Capability.NATIVE_DIFFERENTIATION))])
def test_same_curve_either_way(subject: Subject, problem: Problem, way: str) -> None:
    """The first epochs by each way of differentiation, several steps at a call."""
    trainer = problem.trainer(precision="float64", differentiation=way)
    history = problem.fit(trainer, 3)
    assert not (d := difference(np.array(history.history["loss"]), problem.golden["epoch_loss"][:3], 1e-9)), f"epoch means ({way}): {d}"


class Lockstep(um.Trainer):
    """Returns the gradients beside the loss."""

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        parameters = dict(self.model.named_parameters())
        loss, grads = um.value_and_grad(lambda: self.loss(self.model(x), y), wrt=list(parameters.values()))
        self.optimizer.update(self.clip(grads))
        return {"loss": loss, **{f"gradient of {n}": g for n, g in zip(parameters, grads, strict=True)}}


@pytest.mark.parametrize("problem", PROBLEMS, ids=by_name)
def test_float32_lockstep(subject: Subject, problem: Problem, tmp_path: Path) -> None:
    """Float32, one step from each of 200 states along the float64 reference's path: loss within 2e-6, gradients and new parameters within 1e-4 of their norm.

    A gradient is compared with 1e-6 of the whole model's norm where it is smaller than a hundredth of that. Where maxima are pooled, a near-tie may part 2 steps of the 200.
    """
    reference = problem.trainer(Lockstep, backend="numpy", precision="float64")
    trainer = problem.trainer(Lockstep, precision="float32")
    x, y = problem.data
    size, parted = problem.batch_size, []
    for step in range(200):
        rows = um.random.permutation(SEED, "lockstep", step // 6, len(x))[(step % 6) * size : (step % 6 + 1) * size]
        reference.save(tmp_path / "state.um")
        trainer.load(tmp_path / "state.um")
        wanted, given = reference.train_step((x[rows], y[rows])), trainer.train_step((x[rows], y[rows]))
        a, e = float(given["loss"]), float(wanted["loss"])
        assert abs(a - e) <= 2e-6 * abs(e), f"step {step}: loss {a!r}, reference {e!r} (relative {abs(a - e) / abs(e):.1e})"
        gradients = {n: np.asarray(v) for n, v in wanted.items() if n != "loss"}
        whole = math.sqrt(sum(float(np.sum(v**2)) for v in gradients.values()))
        after = trainer.model.state_dict()
        found = [_apart(np.asarray(given[n]), v, n, 1e-6 * whole) for n, v in gradients.items()]
        found += [_apart(after[n], v, f"new {n}", 0.0) for n, v in reference.model.state_dict().items()]
        if any(found):
            parted.append(f"step {step}: {next(filter(None, found))}")
        assert len(parted) <= 2 * problem.max_pooling, "; ".join(parted)


def _apart(given: Array, wanted: Array, what: str, least: float) -> str:
    norm = float(np.linalg.norm(wanted))
    error = float(np.linalg.norm(np.asarray(given, "float64") - wanted))
    return "" if error <= max(1e-4 * norm, least) else f"{what} is off by {error:.1e}, {error / max(norm, 1e-300):.1e} of its norm"


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if not p.max_pooling], ids=by_name)
def test_float32_curve(subject: Subject, problem: Problem) -> None:
    """Float32, free-running: within 1e-3 of the initial loss over 100 steps."""
    losses = Losses()
    problem.fit(problem.trainer(precision="float32"), max_steps=100, callbacks=[losses])
    wanted = problem.losses[:100]
    worst = np.abs(np.array(losses.values) - wanted).max()
    assert len(losses.values) == 100 and worst <= 1e-3 * wanted[0], f"the curve parts by {worst:.1e}; the initial loss is {wanted[0]:.3f}"


# --------------------------------------------------------------------------------------------------------- seeds and order


class Sum(um.Model):
    """Its prediction is the sum of a batch's features; one idle parameter."""

    def __init__(self) -> None:
        self.w = um.Parameter(np.array(0.0))

    def forward(self, x: Any) -> Any:
        return ops.sum(x, axis=1) + self.w


def watching(**options: Any) -> um.Trainer:
    """A trainer whose loss is the mean of the batch's inputs, and which stays where it is."""
    return um.Trainer(Sum(), lambda prediction, target: ops.mean(prediction), um.optim.SGD(lr=0.0), **options)


def seen(trainer: um.Trainer, x: Array, epochs: int = 1, **options: Any) -> list[list[float]]:
    """The samples in the order in which each epoch took them."""
    found = []
    for _ in range(epochs):
        losses = Losses()
        trainer.fit((x[:, None], x), epochs=1, batch_size=1, callbacks=[losses], verbose=False, **options)
        found.append(losses.values)
    return found


@pytest.mark.concerns("trainer", "data order")
def test_order(subject: Subject) -> None:
    """Every sample once an epoch, in another order each epoch and with each seed, in the specified one; as they are without shuffling."""
    x = np.arange(12.0, dtype="float32")
    first, second, third = seen(watching(seed=4), x, 3)
    assert sorted(first) == sorted(second) == x.tolist(), "an epoch leaves samples out or repeats them"
    assert first != second != third, "two epochs have the same order"
    assert seen(watching(seed=4), x, 2) == [first, second], "the same seed gives another order"
    assert seen(watching(seed=5), x)[0] != first, "another seed gives the same order"
    assert first == um.random.permutation(4, "shuffle", 0, 12).tolist(), "the order is not the one that (seed, epoch) names"
    assert seen(watching(seed=4), x, 2, shuffle=False) == [x.tolist()] * 2, "without shuffling the order changes"


@pytest.mark.concerns("trainer", "seeds")
def test_seeds(subject: Subject) -> None:
    """The same seed gives the same bits; another seed other weights, order and masks."""

    def run(seed: int) -> tuple[dict[str, Array], list[float]]:
        trainer, losses = DIGITS.trainer(seed=seed), Losses()
        start = trainer.model.state_dict()
        DIGITS.fit(trainer, 1, max_steps=4, callbacks=[losses])
        return start, losses.values

    (start, curve), (start_again, again), (start_other, other) = run(1), run(1), run(2)
    assert curve == again, "the same seed gives another curve"
    assert all(np.array_equal(start[n], start_again[n]) for n in start), "the same seed gives other weights"
    assert curve != other and not np.array_equal(start["fc.weight"], start_other["fc.weight"]), "another seed gives the same weights"


@pytest.mark.concerns("trainer", "random numbers")
def test_random_numbers_of_a_step(subject: Subject) -> None:
    """What a step draws with ``ops.random`` is what (seed, kind and place, step) name, drawn anew at each step, alone and several steps at a time."""

    class Drawing(um.Trainer):
        def step(self, batch: Any) -> Any:
            x, _ = batch
            drawn = [ops.random.normal(x.shape), ops.random.uniform((3,)), ops.random.randint(0, 100, (4,)), ops.randperm(x.shape[0])]
            return {
                f"d{i}": ops.sum(ops.astype(d, "float32") * ops.arange(1, 1 + d.shape[0], dtype="float32")[(..., *(None,) * (d.ndim - 1))])
                for i, d in enumerate(drawn)
            }

    trainer = Drawing(Line(), optimizer=um.optim.SGD(lr=0.1), backend=subject.name, seed=6)
    x, y = line_data(8)
    for step in range(3):
        given = trainer.train_step((x, y))
        n = np.arange(1.0, len(x) + 1)
        wanted = [
            (um.random.normal(6, "normal/0/", x.shape, step) * n[:, None]).sum(),
            (um.random.uniform(6, "uniform/0/", (3,), step) * n[:3]).sum(),
            (um.random.integers(6, "integers/0/", (4,), 100, step) * n[:4]).sum(),
            (um.random.permutation(6, "permutation/0/", step, len(x)) * n).sum(),
        ]
        for i, e in enumerate(wanted):
            assert abs(float(given[f"d{i}"]) - e) <= 1e-5 * max(1.0, abs(e)), f"draw {i} of step {step}"


@pytest.mark.concerns("trainer", "random numbers")
def test_random_numbers_of_a_batch_that_is_no_step(subject: Subject) -> None:
    """Each batch of evaluate and of predict draws its own: what (seed, kind and place, step, number of the batch) name."""

    class Noise(um.Model):
        def forward(self, x: Any) -> Any:
            return x + ops.random.normal(x.shape)

    trainer = um.Trainer(Noise(), lambda p, t: ops.mean(p), backend=subject.name, seed=6)
    x = np.zeros((4, 3), "float32")
    wanted = np.concatenate([um.random.normal(6, "normal/0/Noise", (2, 3), um.random.beside(0, batch)) for batch in (1, 2)])
    assert np.allclose(trainer.predict(x, batch_size=2), wanted, rtol=1e-5, atol=1e-6)
    assert abs(trainer.evaluate((x, x), batch_size=2)["loss"] - wanted.mean()) < 1e-5
    assert np.array_equal(trainer.predict(x, batch_size=2), trainer.predict(x, batch_size=2)), "the same call gives other numbers"


# ------------------------------------------------------------------------------------------------- batches, means, weights


class Line(um.Model):
    """y = w · x + b from given numbers."""

    def __init__(self, w: Any = (0.5, -1.0), b: float = 0.25) -> None:
        self.w = um.Parameter(np.array(w, "float32"))
        self.b = um.Parameter(np.array(b, "float32"))

    def forward(self, x: Any) -> Any:
        return x @ self.w + self.b


def line_data(count: int = 10) -> tuple[Array, Array]:
    rng = np.random.default_rng(count)
    return rng.standard_normal((count, 2)).astype("float32"), rng.standard_normal(count).astype("float32")


def line(lr: float = 0.1, **options: Any) -> um.Trainer:
    return um.Trainer(Line(), um.losses.MSELoss(), um.optim.SGD(lr=lr), **options)


def descend(batches: list[tuple[Array, Array]], lr: float = 0.1, weights: list[Array] | None = None) -> tuple[Array, float, list[float]]:
    """Gradient descent on the line by hand, in float64."""
    w, b, losses = np.array([0.5, -1.0]), 0.25, []
    for i, (x, y) in enumerate(batches):
        share = np.full(len(x), 1 / len(x)) if weights is None else weights[i] / weights[i].sum()
        error = x.astype("float64") @ w + b - y
        losses.append(float(np.sum(share * error**2)))
        w, b = w - lr * 2 * (x.T @ (share * error)), b - lr * 2 * float(np.sum(share * error))
    return w, b, losses


@pytest.mark.concerns("trainer", "last partial batch")
def test_last_partial_batch(subject: Subject) -> None:
    """The last, smaller batch is trained on as a batch of its own size, and counts with its size in the epoch's mean."""
    x, y = line_data(10)
    trainer, losses = line(), Losses()
    history = trainer.fit((x, y), batch_size=4, shuffle=False, callbacks=[losses], verbose=False)
    w, b, wanted = descend([(x[i : i + 4], y[i : i + 4]) for i in (0, 4, 8)])
    assert len(losses.values) == 3, f"{len(losses.values)} steps for 10 samples in batches of 4, expected 3"
    assert np.allclose(losses.values, wanted, rtol=1e-5), f"losses {losses.values}, by hand {wanted}"
    state = trainer.model.state_dict()
    assert np.allclose(state["w"], w, rtol=1e-5) and np.allclose(state["b"], b, rtol=1e-5), "weights after the epoch"
    mean = (4 * wanted[0] + 4 * wanted[1] + 2 * wanted[2]) / 10
    assert math.isclose(history.history["loss"][0], mean, rel_tol=1e-5), f"the epoch's loss is {history.history['loss'][0]}, the mean over samples {mean}"


@pytest.mark.concerns("trainer", "last partial batch")
@pytest.mark.parametrize("size", [1, 3, 10, 64])
def test_any_batch_size(subject: Subject, size: int) -> None:
    """Batches of one, of an odd size, of all samples, and larger than the data."""
    x, y = line_data(10)
    trainer = line(lr=0.01)
    trainer.fit((x, y), batch_size=size, shuffle=False, verbose=False)
    w, b, _ = descend([(x[i : i + size], y[i : i + size]) for i in range(0, 10, size)], lr=0.01)
    state = trainer.model.state_dict()
    assert np.allclose(state["w"], w, rtol=1e-5) and np.allclose(state["b"], b, rtol=1e-5), f"batch_size={size}: {state}"


@pytest.mark.concerns("trainer", "fit and train_step")
def test_fit_is_train_step(subject: Subject) -> None:
    """Many steps that fit hands over together are the same bits as single steps."""
    x, y = line_data(150)
    together, single = line(lr=0.01), line(lr=0.01)
    together.fit((x, y), batch_size=2, shuffle=False, verbose=False)
    for i in range(0, 150, 2):
        single.train_step((x[i : i + 2], y[i : i + 2]))
    a, e = together.model.state_dict(), single.model.state_dict()
    assert_close(a, e, 1e-6, "75 steps by fit, against 75 by train_step")


@pytest.mark.concerns("trainer", "changing batch sizes")
def test_batches_of_changing_size(subject: Subject) -> None:
    """A stream of batches of any sizes."""
    x, y = line_data(30)
    cuts = [0, 4, 5, 12, 14, 18, 30]
    batches = [(x[a:b], y[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
    trainer, losses = line(), Losses()
    trainer.fit(batches, verbose=False, callbacks=[losses])
    w, b, wanted = descend(batches)
    assert np.allclose(losses.values, wanted, rtol=1e-5) and np.allclose(trainer.model.state_dict()["w"], w, rtol=1e-5)


@pytest.mark.concerns("trainer", "sample_weight")
def test_sample_weight(subject: Subject) -> None:
    """Weights enter gradient and means; a weight of 0 is an absent sample."""
    x, y = line_data(10)
    weight = np.array([1.0, 0, 2, 1, 0.5, 0, 1, 3, 1, 1], "float32")
    trainer = line()
    history = trainer.fit((x, y), batch_size=5, shuffle=False, sample_weight=weight, verbose=False)
    parts = [slice(0, 5), slice(5, 10)]
    w, _, losses = descend([(x[p], y[p]) for p in parts], weights=[weight[p] for p in parts])
    assert np.allclose(trainer.model.state_dict()["w"], w, rtol=1e-5), (
        f"weights of samples do not enter the gradient: {trainer.model.state_dict()['w']}, by hand {w}"
    )
    mean = (losses[0] * weight[:5].sum() + losses[1] * weight[5:].sum()) / weight.sum()
    assert math.isclose(history.history["loss"][0], mean, rel_tol=1e-5), f"the epoch's loss is {history.history['loss'][0]}, the weighted mean {mean}"


@pytest.mark.concerns("trainer", "metrics")
def test_metrics_and_evaluate(subject: Subject) -> None:
    """Loss and metrics over a data set are means over its samples whatever the batches, of the network in eval mode; evaluating moves nothing."""
    x, y = DIGITS.validation
    trainer = DIGITS.trainer()
    DIGITS.fit(trainer, 1)
    before = trainer.model.state_dict()
    scores = trainer.predict(x).astype("float64")
    log_p = scores - np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1, keepdims=True)) - scores.max(1, keepdims=True)
    loss = -np.mean(0.9 * log_p[np.arange(len(y)), y] + 0.1 * log_p.mean(1))
    for size in (len(y), 7, 1):
        given = trainer.evaluate((x, y), batch_size=size)
        assert math.isclose(given["loss"], loss, rel_tol=1e-4), f"batch_size={size}: loss {given['loss']}, by hand {loss}"
        assert math.isclose(given["metric"], np.mean(scores.argmax(1) == y), rel_tol=1e-6), f"batch_size={size}: accuracy {given['metric']}"
        assert_close(trainer.predict(x, batch_size=size), scores.astype("float32"), 1e-4, f"predictions in batches of {size}")
    after = trainer.model.state_dict()
    assert all(np.array_equal(before[n], after[n]) for n in before), "evaluating or predicting changed the model"
    assert trainer.model.training, "the model is not in train mode any more"
    regression = um.Trainer(Line(), um.losses.MSELoss(), metrics=[um.metrics.MeanAbsoluteError(), um.metrics.MeanSquaredError()])
    x, y = line_data(9)
    error = x.astype("float64") @ [0.5, -1.0] + 0.25 - y
    given = regression.evaluate((x, y), batch_size=4)
    wanted = {"loss": np.mean(error**2), "mean_absolute_error": np.mean(np.abs(error)), "mean_squared_error": np.mean(error**2)}
    assert given.keys() == wanted.keys() and all(math.isclose(given[k], wanted[k], rel_tol=1e-5) for k in wanted), f"{given}, by hand {wanted}"


@pytest.mark.concerns("trainer", "train and eval mode")
def test_modes(subject: Subject) -> None:
    """Fit trains in train mode; validation, evaluate and predict run in eval mode, in which dropout rests and batch norm uses its running statistics."""

    class Moded(um.Model):
        def __init__(self) -> None:
            self.drop = um.nn.Dropout(0.5)
            self.norm = um.nn.BatchNorm1d(3)
            self.w = um.Parameter(np.array(0.0))

        def forward(self, x: Any) -> Any:
            return self.norm(self.drop(x)) + self.w

    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3)).astype("float32") + 2
    trainer = um.Trainer(Moded(), um.losses.MSELoss(), um.optim.SGD(lr=0.0))
    fresh = x / np.sqrt(np.float32(1 + 1e-5))
    assert_close(trainer.predict(x), fresh, 1e-5, "predict of a fresh network: not in eval mode")
    history = trainer.fit((x, x), epochs=1, batch_size=16, validation_data=(x, x), verbose=False)
    state = trainer.model.state_dict()
    assert state["norm.num_batches_tracked"] == 4, f"{state['norm.num_batches_tracked']} batches tracked after 4 steps and a validation"
    assert np.abs(state["norm.running_mean"]).max() > 0.3, "running statistics did not move"
    wanted = (x - state["norm.running_mean"]) / np.sqrt(state["norm.running_var"] + 1e-5)
    assert_close(trainer.predict(x), wanted, 1e-4, "predict after training: not by running statistics")
    assert math.isclose(history.history["val_loss"][0], float(np.mean((wanted - x) ** 2)), rel_tol=1e-4), "validation is not in eval mode"
    assert trainer.model.training and trainer.model.drop.training
    trainer.model.drop.eval()
    trainer.fit((x, x), batch_size=64, verbose=False)
    assert not trainer.model.drop.training, "fit changed the mode of a layer that was put in eval mode"


@pytest.mark.concerns("trainer", "clipping")
def test_clipping(subject: Subject) -> None:
    """``clip_grad_norm`` scales all gradients together by one factor and only if their norm is larger; ``clip_grad_value`` cuts each element."""
    x, y = line_data(10)
    y = y + 20

    def moved(**options: Any) -> Array:
        trainer = line(lr=1.0, **options)
        trainer.train_step((x, y))
        state = trainer.model.state_dict()
        return np.array([*(np.float32([0.5, -1.0]) - state["w"]), np.float32(0.25) - state["b"]], "float64")

    plain = moved()
    norm = np.linalg.norm(plain)
    assert norm > 5
    for limit in (1.0, 0.01):
        given = moved(clip_grad_norm=limit)
        assert np.allclose(given, plain * limit / (norm + 1e-6), rtol=1e-3, atol=1e-6), f"clip_grad_norm={limit}: {given}, expected {plain * limit / norm}"
    assert np.allclose(moved(clip_grad_norm=10 * norm), plain, rtol=1e-5), "a limit above the norm changes the gradients"
    limit = float(np.sort(np.abs(plain))[1] * 0.9)
    given = moved(clip_grad_value=limit)
    assert np.allclose(given, np.clip(plain, -limit, limit), rtol=1e-4, atol=1e-6), (
        f"clip_grad_value={limit}: {given}, expected {np.clip(plain, -limit, limit)}"
    )
    both = np.clip(plain, -limit, limit)
    assert np.allclose(moved(clip_grad_value=limit, clip_grad_norm=0.5), both * 0.5 / np.linalg.norm(both), rtol=1e-3), "by value first, then by norm"


@pytest.mark.concerns("trainer", "epochs")
def test_epochs_and_callbacks(subject: Subject) -> None:
    """``epochs`` more epochs each time, counters that go on, callbacks in order, runs that end early."""
    events: list[Any] = []

    class Watch(um.callbacks.Callback):
        def on_train_begin(self, trainer: Any) -> None:
            events.append("begin")

        def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
            events.append(("epoch", epoch))

        def on_step_end(self, trainer: Any, step: int, logs: Any) -> None:
            events.append(step)

        def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
            events.append(("end", epoch, sorted(logs)))
            if epoch == 3:
                trainer.stop_training = True

        def on_train_end(self, trainer: Any) -> None:
            events.append("done")

    x, y = line_data(4)
    trainer = line(lr=0.01)
    history = trainer.fit((x, y), epochs=2, batch_size=2, validation_data=(x, y), callbacks=[Watch()], verbose=False)
    assert events == ["begin", ("epoch", 0), 1, 2, ("end", 0, ["loss", "val_loss"]), ("epoch", 1), 3, 4, ("end", 1, ["loss", "val_loss"]), "done"]
    assert history.epoch == [0, 1] and len(history.history["loss"]) == len(history.history["val_loss"]) == 2
    events.clear()
    history = trainer.fit((x, y), epochs=5, batch_size=4, callbacks=[Watch()], verbose=False)
    assert history.epoch == [2, 3], f"stop_training after epoch 3, but the epochs were {history.epoch}"
    assert trainer.epoch == 4 and trainer.global_step == 6
    assert trainer.fit((x, y), epochs=10, batch_size=2, max_steps=3, verbose=False) and trainer.global_step == 9
    assert trainer.fit((x, y), epochs=0, verbose=False).history == {}


@pytest.mark.concerns("trainer", "early stopping")
def test_early_stopping(subject: Subject) -> None:
    """Ends when nothing gets better, and can put the best weights back."""
    x, y = line_data(8)
    trainer = line(lr=0.0)
    history = trainer.fit((x, y), epochs=20, validation_data=(x, y), callbacks=[um.callbacks.EarlyStopping(patience=2)], verbose=False)
    assert 2 < len(history.epoch) < 6, f"{len(history.epoch)} epochs without improvement at patience 2"
    diverging = um.Trainer(Line(), um.losses.MSELoss(), um.optim.SGD(lr=3.0), check_finite=False)
    start = diverging.evaluate((x, y))["loss"]
    stop = um.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    history = diverging.fit((x, y), epochs=6, validation_data=(x, y), callbacks=[stop], verbose=False)
    best = min(history.history["val_loss"])
    assert math.isclose(diverging.evaluate((x, y))["loss"], best, rel_tol=1e-4), f"best weights were not put back ({start=})"


# --------------------------------------------------------------------------------------------------- data in other clothes


@pytest.mark.concerns("trainer", "data")
def test_nests_and_kinds(subject: Subject) -> None:
    """Dicts and tuples of arrays in and out, integers that stay integers, float64 data in a float32 trainer."""

    class Two(um.Model):
        def __init__(self) -> None:
            self.embed = um.nn.Embedding(5, 2)
            self.line = um.nn.Linear(2, 2)

        def forward(self, ids: Any, x: Any) -> Any:
            h = self.embed(ids) + self.line(x)
            return {"sum": ops.sum(h, axis=1), "both": (h, ids)}

    ids, x = np.array([0, 4, 2], "int32"), np.arange(6.0).reshape(3, 2)
    trainer = um.Trainer(Two())
    state = trainer.model.state_dict()
    h = state["embed.weight"][ids] + x.astype("float32") @ state["line.weight"].T + state["line.bias"]
    for given in (trainer.predict({"ids": ids, "x": x}, batch_size=2), trainer.predict((ids, x), batch_size=2)):
        assert_close(given["both"][0], h, 1e-5, "an array in a nest of results")
        assert_close(given["sum"], h.sum(1), 1e-5, "another one")
        assert given["both"][1].tolist() == ids.tolist() and given["both"][1].dtype.kind == "i", "integers went through a float"

    class Dictionary(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            loss, grads = um.value_and_grad(lambda: self.loss(self.model(batch["x"]), batch["y"]), wrt=self.model.parameters())
            self.optimizer.update(grads)
            return {"loss": loss}

    x, y = line_data(6)
    trainer = Dictionary(Line(), um.losses.MSELoss(), um.optim.SGD(lr=0.1))
    trainer.fit({"y": y, "x": x}, batch_size=6, shuffle=False, verbose=False)
    assert np.allclose(trainer.model.state_dict()["w"], descend([(x, y)])[0], rtol=1e-5)


@pytest.mark.concerns("trainer", "data")
def test_streams(subject: Subject) -> None:
    """Anything that yields batches, anew each epoch."""
    x, y = line_data(8)

    class Stream:
        def __iter__(self) -> Iterator[Any]:
            for i in range(0, 8, 4):
                yield x[i : i + 4], y[i : i + 4]

    trainer = line()
    history = trainer.fit(Stream(), epochs=2, validation_data=Stream(), verbose=False)
    w, _, losses = descend([(x[i : i + 4], y[i : i + 4]) for i in (0, 4, 0, 4)])
    assert np.allclose(trainer.model.state_dict()["w"], w, rtol=1e-5)
    assert math.isclose(history.history["loss"][1], (losses[2] + losses[3]) / 2, rel_tol=1e-5)


@pytest.mark.concerns("trainer", "data")
def test_arrays_may_be_overwritten(subject: Subject) -> None:
    """The caller's arrays are free once ``train_step`` returns; what it returned stays valid, whenever it is looked at."""
    x, y = line_data(4)
    trainer, other = line(), line()
    wanted = []
    for i in range(4):
        wanted.append(float(other.train_step((x + i, y))["loss"]))
    buffer_x, results = np.empty_like(x), []
    for i in range(4):
        buffer_x[...] = x + i
        results.append(trainer.train_step((buffer_x, y)))
        buffer_x[...] = np.nan
    assert [float(r["loss"]) for r in reversed(results)] == wanted[::-1]
    assert np.array_equal(trainer.model.state_dict()["w"], other.model.state_dict()["w"])


# -------------------------------------------------------------------------------------------- what may change between steps


@pytest.mark.concerns("trainer", "host scalars")
def test_host_scalars(subject: Subject) -> None:
    """``um.Scalar``, the step and epoch numbers change from step to step; plain attributes are constants until they are set anew."""
    temperature = um.Scalar(2.0)

    class Numbers(um.Trainer):
        factor = 10.0

        def step(self, batch: Any) -> dict[str, Any]:
            return {"scalar": temperature * 1.0, "step": self.global_step * 1.0, "epoch": self.epoch * 1.0, "factor": ops.mean(batch) * self.factor}

    trainer = Numbers(Sum())
    x = np.ones((2, 1), "float32")

    def step() -> list[float]:
        return [float(v) for v in trainer.train_step(x).values()]

    assert step() == [2, 0, 0, 10]
    temperature.value = 0.5
    assert step() == [0.5, 1, 0, 10]
    trainer.factor = 20.0
    assert step() == [0.5, 2, 0, 20], "an attribute set anew did not take effect"
    trainer.fit(x, epochs=2, batch_size=1, verbose=False)
    assert step() == [0.5, 7, 2, 20]


@pytest.mark.concerns("trainer", "weights set by hand")
def test_weights_set_by_hand(subject: Subject) -> None:
    """``load_state_dict`` and ``parameter.data`` take effect at the next step, in every program."""
    x, y = line_data(4)
    trainer = line()
    net: Any = trainer.model
    trainer.train_step((x, y))
    trainer.predict(x)
    net.load_state_dict({"w": np.array([1.0, 2.0]), "b": np.array(-1.0)})
    assert_close(trainer.predict(x), (x @ np.float32([1, 2]) - 1).astype("float32"), 1e-5, "predict after load_state_dict")
    error = x.astype("float64") @ [1.0, 2.0] - 1 - y
    assert math.isclose(float(trainer.train_step((x, y))["loss"]), np.mean(error**2), rel_tol=1e-5)
    net.w.data = np.zeros(2)
    net.b.data = np.array(3.0)
    assert_close(trainer.predict(x), np.full(4, 3.0, "float32"), 1e-6, "predict after .data = …")
    assert_close(net(x), np.full(4, 3.0, "float32"), 1e-6, "a direct call after .data = …")
    assert net.b.data == 3.0


@pytest.mark.concerns("trainer", "changing attributes")
def test_changed_attributes(subject: Subject) -> None:
    """Setting a layer's attribute traces anew."""

    class Scaled(um.Model):
        def __init__(self) -> None:
            self.scale = 2.0
            self.drop = um.nn.Dropout(0.0)

        def forward(self, x: Any) -> Any:
            return self.drop(x * self.scale)

    trainer = um.Trainer(Scaled())
    x = np.ones((50, 4), "float32")
    assert (trainer.predict(x) == 2).all()
    trainer.model.scale = 3.0
    assert (trainer.predict(x) == 3).all(), "an old constant is still in the program"


# ----------------------------------------------------------------------------------------------------- several side by side


@pytest.mark.concerns("trainer", "side by side")
def test_two_trainers_side_by_side(subject: Subject) -> None:
    """Trainers on this backend and on NumPy, step by step in turn, each go their own way as if alone."""

    def steps(trainer: um.Trainer, count: int) -> Iterator[float]:
        x, y = DIABETES.data
        for i in range(count):
            yield float(trainer.train_step((x[i * 20 : i * 20 + 20], y[i * 20 : i * 20 + 20]))["loss"])

    alone = [list(steps(DIABETES.trainer(seed=s), 6)) for s in (1, 2)]
    pairs = list(zip(*(steps(DIABETES.trainer(seed=s, backend=b), 6) for s, b in ((1, None), (2, None), (1, "numpy"))), strict=True))
    assert [p[0] for p in pairs] == alone[0] and [p[1] for p in pairs] == alone[1], "trainers side by side disturb each other"
    assert np.allclose([p[2] for p in pairs], alone[0], rtol=1e-4), "NumPy beside this backend gives another curve"


@pytest.mark.concerns("trainer", "side by side")
def test_second_trainer_copies(subject: Subject) -> None:
    """A model taken into a second trainer starts there with the weights of that moment; the first trainer keeps its own."""
    x, y = line_data(4)
    first = line()
    first.train_step((x, y))
    kept = first.predict(x)
    second = um.Trainer(first.model, um.losses.MSELoss(), um.optim.SGD(lr=0.5))
    assert_close(second.predict(x), kept, 1e-6, "the second trainer's weights")
    second.train_step((x, y))
    assert not np.allclose(second.predict(x), kept)


@pytest.mark.concerns("trainer", "threads")
def test_threads(subject: Subject) -> None:
    """Trainers in threads of their own, and one trainer that predicts for several threads, give the numbers they give alone."""

    def train(seed: int) -> list[float]:
        trainer, losses = DIABETES.trainer(seed=seed), Losses()
        DIABETES.fit(trainer, 2, callbacks=[losses])
        return losses.values

    alone = {seed: train(seed) for seed in (1, 2, 3)}
    found: dict[Any, Any] = {}

    def guarded(key: Any, function: Any, *args: Any) -> None:
        from unimodel import plugins

        try:
            with plugins.use_backend(subject.name):
                found[key] = function(*args)
        except BaseException as error:
            found[key] = error

    threads = [threading.Thread(target=guarded, args=(seed, train, seed)) for seed in alone]
    shared = DIABETES.trainer()
    x, _ = DIABETES.data
    wanted = shared.predict(x[:64])
    threads += [threading.Thread(target=guarded, args=(f"predict {i}", lambda: [shared.predict(x[:64]) for _ in range(10)])) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for key, value in found.items():
        if isinstance(value, BaseException):
            raise value
        if isinstance(key, int):
            assert value == alone[key], f"seed {key} in a thread: another curve"
        else:
            assert all(np.array_equal(v, wanted) for v in value), f"{key}: other predictions"
    assert len(found) == 5, "a thread did not come to an end"


@pytest.mark.concerns("trainer", "threads")
def test_threads_that_predict(subject: Subject) -> None:
    """Two threads that predict with one trainer: who came first ends while the other is between two batches, which stays without dropout."""
    trainer = um.Trainer(um.nn.Sequential(um.nn.Linear(10, 32), um.nn.Dropout(0.5), um.nn.Linear(32, 1)), loss=um.losses.MSELoss(), optimizer=um.optim.SGD())
    x = DIABETES.data[0][:8]
    wanted, found = trainer.predict(x), {}
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def first() -> Iterator[Array]:
        yield x
        first_is_in.set()
        assert second_is_in.wait(60)

    def second() -> Iterator[Array]:
        yield x
        second_is_in.set()
        assert first_is_out.wait(60)
        yield x
        yield x

    def predict(name: str, batches: Iterator[Array]) -> None:
        with um.use_backend(subject.name):
            found[name] = trainer.predict(batches)

    threads = [threading.Thread(target=predict, args=("first", first())), threading.Thread(target=predict, args=("second", second()))]
    threads[0].start()
    assert first_is_in.wait(60)
    threads[1].start()
    threads[0].join(60)
    first_is_out.set()
    threads[1].join(60)
    assert sorted(found) == ["first", "second"], "a thread did not come to an end"
    assert np.array_equal(found["first"], wanted), "the first thread's predictions are others than alone"
    assert np.array_equal(found["second"], np.concatenate([wanted] * 3)), "the second thread's predictions are others than alone"


# ---------------------------------------------------------------------------------------------------------- steps of one's own


@pytest.mark.concerns("trainer", "a step of one's own")
def test_two_optimizers(subject: Subject) -> None:
    """A step with two models and two optimizers in turn, the second seeing the first's update: by hand, and several steps long."""

    class Pair(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            g, d = self.models["g"], self.models["d"]
            loss_d, grads = um.value_and_grad(lambda: ops.mean((d(batch) - 1.0) ** 2) + ops.mean(d(g(batch)) ** 2), wrt=d.parameters())
            self.optimizers["d"].update(grads)
            loss_g, grads = um.value_and_grad(lambda: ops.mean((d(g(batch)) - 1.0) ** 2), wrt=g.parameters())
            self.optimizers["g"].update(grads)
            return {"loss_d": loss_d, "loss_g": loss_g}

    class Scale(um.Model):
        def __init__(self, w: float) -> None:
            self.w = um.Parameter(np.array(w, "float32"))

        def forward(self, x: Any) -> Any:
            return x * self.w

    trainer = Pair({"g": Scale(0.5), "d": Scale(-0.3)}, optimizer={"g": um.optim.SGD(lr=0.05), "d": um.optim.SGD(lr=0.1, momentum=0.9)})
    x = np.array([1.0, -2.0, 0.5], "float32")
    g, d, m = 0.5, -0.3, 0.0
    xs = x.astype("float64")
    for step in range(5):
        results = trainer.train_step(x)
        loss_d = np.mean((d * xs - 1) ** 2) + np.mean((d * g * xs) ** 2)
        m = 0.9 * m + np.mean(2 * (d * xs - 1) * xs) + np.mean(2 * d * g * g * xs * xs)
        d -= 0.1 * m
        loss_g = np.mean((d * g * xs - 1) ** 2)
        g -= 0.05 * np.mean(2 * (d * g * xs - 1) * d * xs)
        given = float(results["loss_d"]), float(results["loss_g"])
        assert np.allclose(given, (loss_d, loss_g), rtol=1e-4), f"step {step}: losses {given}, by hand {(loss_d, loss_g)}"
    assert math.isclose(float(trainer.models["g"].state_dict()["w"]), g, rel_tol=1e-4) and math.isclose(
        float(trainer.models["d"].state_dict()["w"]), d, rel_tol=1e-4
    )


@pytest.mark.concerns("trainer", "a step of one's own")
def test_gradient_accumulation_and_averages(subject: Subject) -> None:
    """Two regions in one step whose gradients are added, an update, and a buffer that follows the weights and sees the new ones."""

    class Follow(um.Model):
        def __init__(self) -> None:
            self.line = Line()
            self.average = um.Buffer((2,), 0.0)

        def forward(self, x: Any) -> Any:
            return self.line(x)

    class Halves(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            (xa, ya), (xb, yb) = batch
            wrt = list(self.model.parameters())
            total, loss = None, 0.0
            for x, y in ((xa, ya), (xb, yb)):
                value, grads = um.value_and_grad(lambda x=x, y=y: self.loss(self.model(x), y), wrt=wrt)
                total = grads if total is None else [a + b for a, b in zip(total, grads, strict=True)]
                loss = loss + value / 2
            self.optimizer.update([g / 2 for g in total])
            net: Any = self.model
            net.average.assign(net.average * 0.5 + net.line.w * 0.5)
            return {"loss": loss, "w": net.line.w * 1.0}

    x, y = line_data(8)
    trainer = Halves(Follow(), um.losses.MSELoss(), um.optim.SGD(lr=0.1))
    average = np.zeros(2)
    for step in range(3):
        results = trainer.train_step(((x[:4], y[:4]), (x[4:], y[4:])))
        w, _, losses = descend([(x, y)] * (step + 1))
        average = 0.5 * average + 0.5 * w
        assert math.isclose(float(results["loss"]), losses[-1], rel_tol=1e-4)
        assert np.allclose(np.asarray(results["w"]), w, rtol=1e-4), "what is read after update() is not the new value"
    assert np.allclose(trainer.model.state_dict()["average"], average, rtol=1e-4)


# ----------------------------------------------------------------------------------------------------- what comes back, memory


@pytest.mark.concerns("trainer", "pickling")
def test_pickling(subject: Subject) -> None:
    """Histories, results of steps, predictions, state dicts and errors go through pickle without the framework."""
    x, y = line_data(4)
    trainer = line()
    history = trainer.fit((x, y), epochs=2, validation_data=(x, y), verbose=False)
    result = trainer.train_step((x, y))
    copy = pickle.loads(pickle.dumps({"history": history, "result": result, "prediction": trainer.predict(x), "state": trainer.model.state_dict()}))
    assert copy["history"].history == history.history and copy["history"].epoch == history.epoch
    assert float(copy["result"]["loss"]) == float(result["loss"])
    assert np.array_equal(copy["prediction"], trainer.predict(x)) and np.array_equal(copy["state"]["w"], trainer.model.state_dict()["w"])
    try:
        trainer.train_step((x[:, :1], y))
    except um.errors.ShapeError as error:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)
    else:
        raise AssertionError("a batch of another shape was taken")


@pytest.mark.concerns("trainer", "memory")
def test_memory_does_not_grow(subject: Subject) -> None:
    """Over 2,000 steps neither the process nor the number of Python objects grows, whether results are read or not."""
    x, y = line_data(256)
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((32, 64)).astype("float32")
    net = um.nn.Sequential(um.nn.Linear(64, 128), um.nn.ReLU(), um.nn.Dropout(0.2), um.nn.Linear(128, 8))
    trainer = um.Trainer(net, um.losses.MSELoss(), um.optim.Adam(lr=1e-4))
    target = np.zeros((32, 8), "float32")

    def steps(count: int) -> None:
        for i in range(count):
            result = trainer.train_step((wide, target))
            if i % 3 == 0:
                float(result["loss"])

    steps(300)
    trainer.fit((np.tile(wide, (40, 1)), np.tile(target, (40, 1))), batch_size=32, verbose=False)
    gc.collect()
    objects, resident = len(gc.get_objects()), _resident()
    steps(1500)
    trainer.fit((np.tile(wide, (50, 1)), np.tile(target, (50, 1))), epochs=10, batch_size=32, verbose=False)
    gc.collect()
    grown = _resident() - resident
    more = len(gc.get_objects()) - objects
    assert more < 3000, f"{more} more Python objects after 2,000 steps"
    assert grown < 24 << 20, f"the process grew by {grown / 2**20:.0f} MiB over 2,000 steps"


def _resident() -> int:
    """Bytes of memory this process holds, 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096


@pytest.mark.concerns("trainer", "not finite")
def test_loss_that_is_not_finite(subject: Subject) -> None:
    """A loss that becomes NaN or infinite ends the run with its own error, which names the step; with check_finite=False it goes on."""
    x, y = line_data(8)
    y[5] = np.nan
    with pytest.raises(um.errors.NonFiniteError, match="step 2"):
        line().fit((x, y), batch_size=4, shuffle=False, verbose=False)
    with pytest.raises(um.errors.NonFiniteError):
        float(line().train_step((x, y))["loss"])
    history = line(check_finite=False).fit((x, y), epochs=2, batch_size=4, shuffle=False, verbose=False)
    assert math.isnan(history.history["loss"][0])


@pytest.mark.concerns("trainer", "not finite")
@pytest.mark.parametrize("way", ["core", pytest.param("native", marks=pytest.mark.needs(Capability.NATIVE_DIFFERENTIATION))])
def test_not_a_number_anywhere(subject: Subject, way: str) -> None:
    """NaN in a weight or in a batch reaches the loss through relu and pooling, in a training step as in ``predict``; once the weight is right again, so is the loss."""
    net = um.nn.Sequential(um.nn.Conv2d(1, 2, 3, padding=1), um.nn.ReLU(), um.nn.MaxPool2d(2), um.nn.Flatten(), um.nn.Linear(8, 1))
    trainer = um.Trainer(net, um.losses.MSELoss(), um.optim.SGD(lr=0.0), check_finite=False, differentiation=way)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((3, 1, 4, 4)).astype("float32"), np.zeros((3, 1), "float32")
    wrong_x = x.copy()
    wrong_x[1, 0, 2, 2] = np.nan
    state = net.state_dict()
    spoilt = {n: a.copy() for n, a in state.items()}
    spoilt["0.weight"][1, 0, 1, 1] = np.nan
    right = float(trainer.train_step((x, y))["loss"])
    for _ in range(2):
        net.load_state_dict(spoilt)
        assert math.isnan(float(trainer.train_step((x, y))["loss"])), "NaN in a weight does not reach the loss"
        assert np.isnan(trainer.predict(x)).all(), "NaN in a weight does not reach predictions"
        net.load_state_dict(state)
        assert float(trainer.train_step((x, y))["loss"]) == right, "the loss after the weight was right again"
        assert math.isnan(float(trainer.train_step((wrong_x, y))["loss"])), "NaN in a batch does not reach the loss"
        net.load_state_dict(state)
        assert np.isnan(trainer.predict(wrong_x)).ravel().tolist() == [False, True, False], "NaN in one sample reaches other predictions"
        assert float(trainer.train_step((x, y))["loss"]) == right, "the loss after a batch with NaN"


@FLOAT64
@pytest.mark.concerns("trainer", "precision")
def test_precision(subject: Subject) -> None:
    """In float64 everything is float64, to the last digits; in float32 everything is float32."""
    x, y = line_data(4)
    x64 = x.astype("float64") + 1e-9
    for precision, wanted in (("float64", x64 @ np.array([0.5, -1.0]) + 0.25), ("float32", x64.astype("float32") @ np.float32([0.5, -1]) + np.float32(0.25))):
        trainer = line(precision=precision)
        predicted = trainer.predict(x64)
        assert predicted.dtype == precision, f"predictions in {precision} are {predicted.dtype}"
        assert_close(predicted, wanted.astype(precision), 1e-15 if precision == "float64" else 1e-6, f"predictions in {precision}")
        assert all(v.dtype == precision for v in trainer.model.state_dict().values())
        third = um.Trainer(Line((1 / 3, 2 / 3), 0.0), precision=precision)
        third.model.load_state_dict({"w": np.array([1 / 3, 1e-12]), "b": np.array(1.0)})
        given = third.predict(np.array([[3.0, 1.0]]))[0]
        assert (given == 1 / 3 * 3 + 1e-12 + 1) == (precision == "float64"), f"1e-12 beside 2 in {precision}: {given!r}"
    trainer = line(precision="float64", lr=1e-9)
    trainer.train_step((x64, y.astype("float64")))
    w, _, _ = descend([(x64, y)], lr=1e-9)
    assert_close(trainer.model.state_dict()["w"], w, 1e-15, "a step of 1e-9 in float64")
