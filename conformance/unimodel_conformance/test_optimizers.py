"""Optimizers and schedules against PyTorch's along 50 steps, and a witness for every option that it bites."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.backend import Capability
from unimodel.errors import DataError
from unimodel.graph import Array
from unimodel.optim import lr_scheduler
from unimodel_conformance import golden
from unimodel_conformance.subject import Subject, as_dtype, assert_close, difference
from unimodel_conformance.tables import FIRST_RATE, KEPT, MATRICES_ONLY, OPTIMIZERS, RATES, SCHEDULE_STEPS, SCHEDULES, STEPS, Entry

pytestmark = [pytest.mark.concerns("optimizer"), pytest.mark.needs(Capability.TRAINING)]

FLOAT64 = pytest.mark.needs(Capability.FLOAT64)
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


class Curve(um.Model):
    """tanh(x @ weight.T + bias) * scale, the golden files' problem."""

    def __init__(self, matrices_only: bool = False) -> None:
        start = golden.part("optimizers", "start")
        self.weight = um.Parameter(start["weight"])
        if not matrices_only:
            self.bias = um.Parameter(start["bias"])
            self.scale = um.Parameter(start["scale"])
        self.matrices_only = matrices_only

    def forward(self, x: Any) -> Any:
        y = x @ self.weight.T
        return ops.tanh(y) if self.matrices_only else ops.tanh(y + self.bias) * self.scale


class Bench(um.Trainer):
    """Trains each of several models with its own optimizer on the same batch, all in one program."""

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        found = {}
        for name, optimizer in self.optimizers.items():
            model = self.models[name]

            def loss(model: um.Model = model) -> Any:
                error = model(x) - y
                return ops.mean(error * error)

            found[f"{name}/loss"], grads = um.value_and_grad(loss, wrt=list(model.parameters()))
            optimizer.update(grads)
        return found


def make(entry: Entry) -> um.Optimizer:
    optimizer: um.Optimizer = getattr(um.optim, entry.name)(**entry.kwargs)
    return optimizer


def trajectories(entries: list[Entry], dtype: str, way: str = "auto") -> dict[str, Any]:
    """Of each entry, the parameters after the steps that the golden files keep."""
    bench = Bench({e.id: Curve(e.name in MATRICES_ONLY) for e in entries}, optimizer={e.id: make(e) for e in entries}, precision=dtype, differentiation=way)
    x, y = golden.load("optimizers")["x"], golden.load("optimizers")["y"]
    kept: dict[str, dict[str, list[Array]]] = {e.id: {} for e in entries}
    for step in range(1, STEPS + 1):
        if step - 1 in RATES:
            for entry in entries:
                bench.optimizers[entry.id].lr = entry.kwargs["lr"] * RATES[step - 1]
        bench.train_step((x[step - 1], y[step - 1]))
        if step in KEPT:
            for entry in entries:
                for name, array in bench.models[entry.id].state_dict().items():
                    kept[entry.id].setdefault(name, []).append(array)
    return {key: {name: np.stack(arrays) for name, arrays in each.items()} for key, each in kept.items()}


def together(subject: Subject, name: str, dtype: str) -> dict[str, Any]:
    """All entries of one optimizer, trained in one program; where that fails, each alone."""
    key = ("optimizers", name, dtype)
    if key not in subject.cache:
        entries = [e for e in OPTIMIZERS if e.name == name]
        try:
            subject.cache[key] = trajectories(entries, dtype)
        except Exception:
            subject.cache[key] = {k: v for e in entries for k, v in _alone(e, dtype).items()}
    found: dict[str, Any] = subject.cache[key]
    return found


def _alone(entry: Entry, dtype: str) -> dict[str, Any]:
    try:
        return trajectories([entry], dtype)
    except Exception as error:
        return {entry.id: error}


def compare(entry: Entry, given: Any, dtype: str) -> None:
    if isinstance(given, Exception):
        raise given
    wanted = golden.part("optimizers", entry.id)
    assert given.keys() == wanted.keys(), f"{entry.id}: parameters {list(given)}, expected {list(wanted)}"
    for name, arrays in wanted.items():
        for step, a, e in zip(KEPT, given[name], arrays, strict=True):
            d = difference(a, as_dtype(e, dtype), TOLERANCE[dtype])
            assert not d, f"{entry.name}({_text(entry)}), {name} after step {step} ({dtype}): {d}"


def _text(entry: Entry) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in entry.kwargs.items())


@FLOAT64
@pytest.mark.parametrize("entry", OPTIMIZERS, ids=lambda e: e.id)
def test_trajectory(subject: Subject, entry: Entry) -> None:
    """50 steps in float64, the learning rate changing on the way."""
    compare(entry, together(subject, entry.name, "float64")[entry.id], "float64")


@pytest.mark.parametrize("entry", OPTIMIZERS, ids=lambda e: e.id)
def test_float32_trajectory(subject: Subject, entry: Entry) -> None:
    """The same in float32, where backends use their fused kernels."""
    compare(entry, together(subject, entry.name, "float32")[entry.id], "float32")


@pytest.mark.parametrize("name", sorted({e.name for e in OPTIMIZERS}))
def test_each_option_bites(subject: Subject, name: str) -> None:
    """Each option of the optimizer changes where it goes: none is accepted and ignored."""
    found = together(subject, name, "float32")
    ends = {e.id: found[e.id] for e in OPTIMIZERS if e.name == name}
    for each in ends.values():
        if isinstance(each, Exception):
            raise each
    plain = ends[name]["weight"]
    for entry in OPTIMIZERS:
        if entry.name == name and entry.id != name:
            moved = np.abs(ends[entry.id]["weight"] - plain).max()
            assert moved > 1e-4, f"{name}({_text(entry)}) goes where {name} goes without these options (largest difference {moved:.1e})"


@FLOAT64
@pytest.mark.parametrize("entry", [e for e in OPTIMIZERS if e.id in ("SGD-all", "Adam-amsgrad", "AdamW-weight_decay")], ids=lambda e: e.id)
def test_fit_is_the_same_steps(subject: Subject, entry: Entry) -> None:
    """Steps that ``fit`` hands over together are those that ``train_step`` does one by one, by either way of differentiation."""
    wanted = golden.part("optimizers", entry.id)
    x, y = golden.load("optimizers")["x"], golden.load("optimizers")["y"]
    first = min(RATES)
    for way in subject.ways:
        trainer = um.Trainer(Curve(), um.losses.MSELoss(), make(entry), precision="float64", differentiation=way)
        trainer.fit((x[:first].reshape(-1, 3), y[:first].reshape(-1, 4)), batch_size=6, shuffle=False, verbose=False)
        for name, array in trainer.model.state_dict().items():
            d = difference(array, wanted[name][KEPT.index(first)], 1e-10)
            assert not d, f"{entry.id} by fit ({way}), {name} after {first} steps: {d}"


# -------------------------------------------------------------------------------------------------------- groups, frozen, rate


def small(**options: Any) -> um.Trainer:
    return um.Trainer(Curve(), um.losses.MSELoss(), precision="float32", **options)


BATCH = (golden.load("optimizers")["x"][0], golden.load("optimizers")["y"][0])


@pytest.mark.concerns("optimizer", "parameter groups")
def test_parameter_groups(subject: Subject) -> None:
    """Each group has its own rate and options; a group's options override the optimizer's."""
    net = Curve()
    groups = [{"params": [net.weight], "lr": 0.2}, {"params": [net.bias], "weight_decay": 0.5}, {"params": [net.scale], "momentum": 0.9}]
    trainer = um.Trainer(net, um.losses.MSELoss(), um.optim.SGD(groups, lr=0.1))
    singles = {}
    for name, options in {"weight": {"lr": 0.2}, "bias": {"lr": 0.1, "weight_decay": 0.5}, "scale": {"lr": 0.1, "momentum": 0.9}}.items():
        singles[name] = small(optimizer=um.optim.SGD(**options))
    start = net.state_dict()
    trainer.train_step(BATCH)
    for name, single in singles.items():
        single.train_step(BATCH)
        given, wanted = net.state_dict()[name], single.model.state_dict()[name]
        assert_close(given, wanted, 1e-6, f"{name} in its group")
        assert np.abs(given - start[name]).max() > 1e-4, f"{name} did not move"


@pytest.mark.concerns("optimizer", "frozen parameters")
def test_frozen_parameters(subject: Subject) -> None:
    """A parameter with requires_grad=False does not move, not even by weight decay; freezing and unfreezing takes effect at the next step."""
    trainer = small(optimizer=um.optim.AdamW(lr=0.1, weight_decay=0.5))
    net: Any = trainer.model
    net.bias.requires_grad = False
    start = net.state_dict()
    trainer.train_step(BATCH)
    middle = net.state_dict()
    assert np.array_equal(middle["bias"], start["bias"]), "a frozen parameter moved"
    assert not np.array_equal(middle["weight"], start["weight"])
    net.bias.requires_grad, net.weight.requires_grad = True, False
    trainer.train_step(BATCH)
    end = net.state_dict()
    assert not np.array_equal(end["bias"], middle["bias"]), "an unfrozen parameter stays"
    assert np.array_equal(end["weight"], middle["weight"]), "a parameter frozen later moves on"

    class Given(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            self.optimizer.update([p * 0.0 + 1.0 for p in self.model.parameters()])
            return {"mean": ops.mean(batch[0])}

    handed = Given(Curve(), optimizer=um.optim.SGD(lr=0.1))
    held: Any = handed.model
    held.bias.requires_grad = False
    start = held.state_dict()
    handed.train_step(BATCH)
    moved = {n: a - start[n] for n, a in held.state_dict().items()}
    assert not moved["bias"].any(), "a frozen parameter moved by a gradient that the step handed over"
    assert_close(moved["weight"], np.full((4, 3), -0.1, "float32"), 1e-5, "the parameters beside it")


class Pulled(um.Trainer):
    """Each model is two matrices, pulled along by gradients that are the batch: what an optimizer makes of one has nothing to do with the other."""

    def step(self, batch: Any) -> dict[str, Any]:
        for name, optimizer in self.optimizers.items():
            parameters = list(self.models[name].parameters())
            optimizer.update([batch[0, i] for i in range(len(parameters))])
        return {"size": ops.mean(batch)}


class Matrices(um.Model):
    def __init__(self, names: str = "ab") -> None:
        for i, name in enumerate(names):
            setattr(self, name, um.Parameter(golden.part("optimizers", "start")["weight"] * (1.0 - 0.5 * i)))


PULLS = np.random.default_rng(4).standard_normal((5, 1, 2, 4, 3)).astype("float32")


def pulled(trainer: um.Trainer, pulls: Array = PULLS) -> dict[str, dict[str, list[Array]]]:
    """Of each model, the path of each matrix."""
    found: dict[str, dict[str, list[Array]]] = {key: {name: [] for name in model.state_dict()} for key, model in trainer.models.items()}
    for pull in pulls:
        trainer.train_step(pull)
        for key, model in trainer.models.items():
            for name, array in model.state_dict().items():
                found[key][name].append(array)
    return found


@pytest.mark.concerns("optimizer", "parameter groups")
@pytest.mark.parametrize("name", sorted({e.name for e in OPTIMIZERS}))
def test_groups_go_their_own_way(subject: Subject, name: str) -> None:
    """A group with options of its own goes as under an optimizer of its own with these options, whatever the other group has, for every set of options."""
    entries = [e for e in OPTIMIZERS if e.name == name]
    kind, plain = getattr(um.optim, name), entries[0].kwargs
    models, optimizers = {}, {}
    for entry in entries:
        both = models[f"{entry.id} grouped"] = Matrices()
        groups = [{"params": [both.a], **entry.kwargs}, {"params": [both.b], "lr": 0.5 * plain["lr"]}]
        optimizers[f"{entry.id} grouped"] = kind(groups, **plain)
        models[f"{entry.id} alone"], optimizers[f"{entry.id} alone"] = Matrices("a"), make(entry)
    models["rest"] = Matrices()
    optimizers["rest"] = kind(lr=0.5 * plain["lr"])
    found = pulled(Pulled(models, optimizer=optimizers))
    for entry in entries:
        for step in range(len(PULLS)):
            where = f"{name}({_text(entry)}) in a group of its own, step {step + 1}"
            assert_close(found[f"{entry.id} grouped"]["a"][step], found[f"{entry.id} alone"]["a"][step], 2e-5, where)
            assert_close(found[f"{entry.id} grouped"]["b"][step], found["rest"]["b"][step], 2e-5, f"beside {where}, the other group")


class Reading(um.Trainer):
    """Reads parameters before and after their update, and uses the old ones for something that is computed later."""

    def step(self, batch: Any) -> dict[str, Any]:
        found = {}
        for name, optimizer in self.optimizers.items():
            parameters = list(self.models[name].parameters())
            before = [p * 1.0 for p in parameters]
            optimizer.update([batch[0, i] for i in range(len(parameters))])
            for i, (old, p) in enumerate(zip(before, parameters, strict=True)):
                found |= {f"{name}/{i}/old": ops.reshape(old, (-1,)), f"{name}/{i}/new": p * 1.0, f"{name}/{i}/moved": p - old}
        return found


@pytest.mark.concerns("optimizer", "old and new values")
@pytest.mark.parametrize("name", sorted({e.name for e in OPTIMIZERS}))
def test_old_and_new_values(subject: Subject, name: str) -> None:
    """A kernel that updates in place leaves the old numbers to whoever still reads them: what a step saw before the update, after it, and the difference."""
    entries = [e for e in OPTIMIZERS if e.name == name]
    trainer, plain = (kind({e.id: Matrices() for e in entries}, optimizer={e.id: make(e) for e in entries}) for kind in (Reading, Pulled))
    old = {key: list(model.state_dict().values()) for key, model in plain.models.items()}
    for step, pull in enumerate(PULLS[:3], 1):
        given = trainer.train_step(pull)
        plain.train_step(pull)
        for key, model in plain.models.items():
            new = list(model.state_dict().values())
            for i, (a, b) in enumerate(zip(old[key], new, strict=True)):
                for what, wanted in (("old", a.ravel()), ("new", b), ("moved", b - a)):
                    assert_close(np.asarray(given[f"{key}/{i}/{what}"]), wanted, 1e-6, f"{key}, the {what} numbers of matrix {i} in step {step}")
            old[key] = new


@pytest.mark.concerns("optimizer", "frozen parameters")
@pytest.mark.parametrize("name", sorted({e.name for e in OPTIMIZERS}))
def test_unfrozen_later(subject: Subject, name: str) -> None:
    """A parameter that is unfrozen later begins with its own first step: fresh averages, corrected as at the beginning; the others go on."""
    entry = max((e for e in OPTIMIZERS if e.name == name and not e.kwargs.get("maximize")), key=lambda e: len(e.kwargs))
    late, alone = (Pulled(Matrices(), optimizer=make(entry)) for _ in range(2))
    net: Any = late.model
    net.b.requires_grad = False
    first = pulled(late, PULLS[:2])[""]
    assert np.array_equal(first["b"][-1], Matrices().state_dict()["b"]), "a frozen parameter moved"
    net.b.requires_grad = True
    then = pulled(late, PULLS[2:])[""]
    other = pulled(alone)[""]
    assert_close([*first["a"], *then["a"]], other["a"], 2e-5, f"{name}: the parameter beside the frozen one")
    fresh = pulled(Pulled(Matrices(), optimizer=make(entry)), PULLS[2:])[""]
    assert_close(then["b"], fresh["b"], 2e-5, f"{name}: a parameter unfrozen after two steps, against one that begins there")


@pytest.mark.concerns("optimizer", "learning rate")
def test_learning_rate(subject: Subject) -> None:
    """Steps are proportional to the rate of the moment; a rate of 0 does not move, and setting it takes effect at once."""
    trainer = small(optimizer=um.optim.SGD(lr=0.1))
    grads = []
    for rate in (0.1, 0.3, 0.0, 0.05):
        trainer.model.load_state_dict(golden.part("optimizers", "start"))
        trainer.optimizer.lr = rate
        before = trainer.model.state_dict()["weight"]
        trainer.train_step(BATCH)
        moved = before - trainer.model.state_dict()["weight"]
        if rate == 0:
            assert not moved.any(), "a rate of 0 moves the parameters"
        else:
            grads.append(moved / np.float32(rate))
    assert_close(grads[1], grads[0], 1e-4, "gradient seen through a rate of 0.3")
    assert_close(grads[2], grads[0], 1e-4, "gradient seen through a rate of 0.05")


@pytest.mark.concerns("optimizer", "weight decay")
def test_decay_without_gradient(subject: Subject) -> None:
    """Where the gradient is zero, decay alone moves: Adam's is an L2 term and takes a full step, AdamW's and SGD's shrink by lr × decay."""

    class Idle(um.Model):
        def __init__(self) -> None:
            self.w = um.Parameter(np.array([2.0, -4.0], "float32"))

        def forward(self, x: Any) -> Any:
            return ops.sum(self.w) * 0.0 + x

    for optimizer, wanted in {
        um.optim.AdamW(lr=0.1, weight_decay=0.5): [1.9, -3.8],
        um.optim.SGD(lr=0.1, weight_decay=0.5): [1.9, -3.8],
        um.optim.Adam(lr=0.1, weight_decay=0.5): [1.9, -3.9],
        um.optim.AdamW(lr=0.1, weight_decay=0.0): [2.0, -4.0],
    }.items():
        trainer = um.Trainer(Idle(), um.losses.MSELoss(), optimizer)
        trainer.train_step((np.ones((2, 1), "float32"), np.zeros((2, 1), "float32")))
        given = trainer.model.state_dict()["w"]
        assert_close(given, np.array(wanted, "float32"), 1e-5, f"{type(optimizer).__name__} after one step without gradient")


@pytest.mark.concerns("optimizer", "a optimizer of one's own")
def test_own_optimizer(subject: Subject) -> None:
    """``update_param`` written in ops runs with state, rate and step numbers of its own."""

    class Averaging(um.Optimizer):
        def update_param(self, param: Any, grad: Any, state: Any, lr: Any) -> Any:
            count = self.step_scalar(lambda t: float(t))
            mean = state["mean"] + (grad - state["mean"]) / count
            return param - lr * mean, {"mean": mean}

    trainer, plain = small(optimizer=Averaging(lr=0.1)), small(optimizer=um.optim.SGD(lr=1.0))
    net = trainer.model
    grads: list[Array] = []
    for _ in range(3):
        plain.model.load_state_dict(net.state_dict())
        before = net.state_dict()["weight"]
        plain.train_step(BATCH)
        grads.append(before - plain.model.state_dict()["weight"])
        trainer.train_step(BATCH)
        assert_close(before - net.state_dict()["weight"], np.float32(0.1) * np.mean(grads, axis=0), 1e-4, f"step {len(grads)} along the mean of all gradients")


# ---------------------------------------------------------------------------------------------------------------- schedules


def schedule(entry: Entry, optimizer: um.Optimizer, interval: str | None = "epoch") -> Any:
    kwargs = {k: _function(v) if k == "lr_lambda" else v for k, v in entry.kwargs.items()}
    return getattr(lr_scheduler, entry.name)(optimizer, **kwargs, interval=interval)


def _function(text: str) -> Callable[[int], float]:
    return lambda t: float(eval(text, {"math": math, "t": t}))


class Slope(um.Model):
    """Its loss's gradient is 1, so that each step of SGD moves it by the rate of the moment."""

    def __init__(self) -> None:
        self.w = um.Parameter(np.array(0.0))

    def forward(self, x: Any) -> Any:
        return self.w + x * 0.0


@pytest.mark.concerns("schedule")
@pytest.mark.parametrize("entry", SCHEDULES, ids=lambda e: e.id)
def test_schedule(subject: Subject, entry: Entry) -> None:
    """The rate that each epoch, or each step, really moves by, and what is reported, is PyTorch's."""
    wanted = golden.load("schedules")[entry.id]
    for interval in ("epoch", "step"):
        optimizer = um.optim.SGD(lr=FIRST_RATE)
        planned = schedule(entry, optimizer, interval)
        trainer = um.Trainer(Slope(), lambda prediction, _: ops.mean(prediction), optimizer, precision="float64" if subject.best == "float64" else "float32")
        moved, position = [], 0.0
        for t in range(SCHEDULE_STEPS):
            assert math.isclose(planned.get_last_lr()[0], wanted[t], rel_tol=1e-9, abs_tol=1e-12), f"{entry.id}: the rate at {interval} {t}"
            if interval == "epoch":
                trainer.fit((np.zeros((4, 1)), np.zeros((4, 1))), epochs=1, batch_size=2, verbose=False)
            else:
                trainer.train_step((np.zeros((2, 1)), np.zeros((2, 1))))
            now = float(trainer.model.state_dict()["w"])
            moved.append((position - now) / (2 if interval == "epoch" else 1))
            position = now
        assert np.allclose(
            moved, wanted[:SCHEDULE_STEPS], rtol=1e-4 if subject.best == "float32" else 1e-9, atol=1e-6 if subject.best == "float32" else 1e-12
        ), f"{entry.id}, advanced each {interval}: steps of {moved}, PyTorch's rates are {wanted[:SCHEDULE_STEPS].tolist()}"


@pytest.mark.concerns("optimizer", "arguments")
def test_every_option_has_a_witness(subject: Subject) -> None:
    """The tables hold, for each optimizer they name, an entry in which each option is not at its default."""
    for name in {e.name for e in OPTIMIZERS}:
        kind = getattr(um.optim, name)
        options = {p.name: p.default for p in inspect.signature(kind).parameters.values() if p.name not in ("params", "lr")}
        tried = {k for e in OPTIMIZERS if e.name == name for k, v in e.kwargs.items() if k in options and v != options[k]}
        assert tried == options.keys(), f"{name}: no entry tries {sorted(options.keys() - tried)}"


@pytest.mark.concerns("optimizer", "arguments")
def test_bad_arguments(subject: Subject) -> None:
    """Rates and decays below 0 and betas outside [0, 1) are refused when the optimizer is made."""
    for make_bad in (
        lambda: um.optim.SGD(lr=-0.1),
        lambda: um.optim.SGD(lr=0.1, momentum=-0.5),
        lambda: um.optim.SGD(lr=0.1, weight_decay=-1.0),
        lambda: um.optim.SGD(lr=0.1, nesterov=True),
        lambda: um.optim.Adam(betas=(0.9, 1.0)),
        lambda: um.optim.Adam(eps=-1.0),
    ):
        with pytest.raises(DataError):
            make_bad()
