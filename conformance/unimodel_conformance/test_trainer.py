"""The trainer: the same curve on every backend, the same order and noise, batches, means, modes and epochs, judged by PyTorch's curves, by closed forms and by laws."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.backend import Capability
from unimodel.graph import Array
from unimodel_conformance.problems import PROBLEMS, SEED, Line, Losses, Problem, Sum, descend, line, line_data
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
