"""Runs that stop and go on: on the same backend to the bit, on another one as if nothing had happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import unimodel as um
from unimodel import ops
from unimodel.backend import Capability
from unimodel.errors import CheckpointError
from unimodel.graph import Array
from unimodel.optim import lr_scheduler
from unimodel_conformance.problems import PROBLEMS, Losses, Problem
from unimodel_conformance.subject import Subject, assert_close
from unimodel_conformance.tables import OPTIMIZERS
from unimodel_conformance.test_optimizers import BATCH, Bench, Curve

pytestmark = [pytest.mark.concerns("checkpoint"), pytest.mark.needs(Capability.TRAINING)]

FLOAT64 = pytest.mark.needs(Capability.FLOAT64)
DIABETES, DIGITS, SEQUENCE = PROBLEMS


def on(problem: Problem, trainer: um.Trainer, epochs: int) -> list[float]:
    losses = Losses()
    problem.fit(trainer, epochs, callbacks=[losses])
    return losses.values


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_resume(subject: Subject, problem: Problem, tmp_path: Path) -> None:
    """A run that is saved and loaded into a fresh trainer, of another seed, goes on to the bit: weights, buffers, slots, schedule, order and masks."""
    whole = problem.trainer()
    on(problem, whole, 2)
    whole.save(tmp_path / "run.um")
    wanted = on(problem, whole, 2)
    fresh = problem.trainer(seed=99)
    assert fresh.load(tmp_path / "run.um") is fresh
    assert fresh.epoch == 2 and fresh.global_step == 2 * -(-len(problem.data[0]) // problem.batch_size)
    given = on(problem, fresh, 2)
    parted = [i for i, (a, e) in enumerate(zip(given, wanted, strict=True)) if a != e]
    assert not parted, f"the resumed run parts at its step {parted[0] + 1}: loss {given[parted[0]]!r}, uninterrupted {wanted[parted[0]]!r}"
    assert_close(fresh.model.state_dict(), whole.model.state_dict(), 0.0, "state after the resumed run")


@pytest.mark.parametrize("kind", sorted({e.name for e in OPTIMIZERS}))
def test_resume_each_optimizer(subject: Subject, kind: str, tmp_path: Path) -> None:
    """Each optimizer's whole state is in the file, with every set of options: slots, step counts, rates."""
    entries = [e for e in OPTIMIZERS if e.name == kind]

    def make() -> um.Trainer:
        optimizers = {e.id: getattr(um.optim, kind)(**e.kwargs) for e in entries}
        for optimizer in optimizers.values():
            lr_scheduler.StepLR(optimizer, 2, 0.7, interval="step")
        return Bench({e.id: Curve(kind == "Muon") for e in entries}, optimizer=optimizers)

    whole, fresh = make(), make()
    for _ in range(3):
        whole.train_step(BATCH)
    whole.save(tmp_path / "run.um")
    fresh.load(tmp_path / "run.um")
    assert all(fresh.optimizers[e.id].lr == whole.optimizers[e.id].lr for e in entries), "the learning rates in the file"
    for step in range(3):
        wanted, given = whole.train_step(BATCH), fresh.train_step(BATCH)
        for entry in entries:
            loss = f"{entry.id}/loss"
            assert float(given[loss]) == float(wanted[loss]), f"{entry.id}: the resumed run parts at its step {step + 1}"
            assert_close(fresh.models[entry.id].state_dict(), whole.models[entry.id].state_dict(), 0.0, f"{entry.id} resumed, after step {step + 1}")


@FLOAT64
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
@pytest.mark.parametrize("direction", ["to numpy", "from numpy"])
def test_save_here_load_there(subject: Subject, problem: Problem, direction: str, tmp_path: Path) -> None:
    """A run saved on this backend continues on NumPy, and the other way, along PyTorch's uninterrupted curve."""
    first, second = (None, "numpy") if direction == "to numpy" else ("numpy", None)
    here = problem.trainer(backend=first, precision="float64")
    on(problem, here, 2)
    here.save(tmp_path / "run.um")
    there = problem.trainer(backend=second, precision="float64", seed=5).load(tmp_path / "run.um")
    assert_close(there.model.state_dict(), here.model.state_dict(), 0.0, f"state carried {direction}")
    given = np.array(on(problem, there, 2))
    steps = 2 * -(-len(problem.data[0]) // problem.batch_size)
    wanted = problem.losses[steps : steps + len(given)]
    worst = float(np.max(np.abs(given - wanted) / np.abs(wanted)))
    assert worst <= 1e-8, f"the curve continued {direction} parts from PyTorch's by {worst:.1e}"


def test_the_file(subject: Subject, tmp_path: Path) -> None:
    """A checkpoint is a valid safetensors file under PyTorch's keys; it is loaded into the other precision; saving changes nothing."""
    trainer = DIGITS.trainer()
    on(DIGITS, trainer, 1)
    before = trainer.model.state_dict()
    trainer.save(tmp_path / "run.um")
    tensors = load_file(tmp_path / "run.um")
    for name, array in before.items():
        assert np.array_equal(tensors[name], array) and tensors[name].dtype == array.dtype, f"{name} in the file"
    assert any(n.startswith("optimizer") for n in tensors), "no optimizer state in the file"
    assert_close(trainer.model.state_dict(), before, 0.0, "state after saving")
    if subject.claims(Capability.FLOAT64):
        wide = DIGITS.trainer(precision="float64").load(tmp_path / "run.um")
        assert_close(wide.model.state_dict(), {n: a.astype("float64") if a.dtype.kind == "f" else a for n, a in before.items()}, 0.0, "loaded in float64")


def test_weights_alone(subject: Subject) -> None:
    """A state dict goes into another model of the same shape, on this backend and back, with PyTorch's keys."""
    trainer = DIGITS.trainer()
    on(DIGITS, trainer, 1)
    state = trainer.model.state_dict()
    names = ["conv1.weight", "conv2.weight", "fc.weight", "fc.bias"]
    names += [f"bn{i}.{n}" for i in (1, 2) for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    assert sorted(state) == sorted(names) and state["bn1.num_batches_tracked"].dtype == "int64"
    other = DIGITS.trainer(seed=1)
    other.model.load_state_dict(state)
    x, _ = DIGITS.validation
    assert_close(other.predict(x), trainer.predict(x), 0.0, "predictions with the same weights")
    state["fc.bias"][...] = 7
    assert not (trainer.model.state_dict()["fc.bias"] == 7).any(), "a state dict is not a copy"
    assert not (other.model.state_dict()["fc.bias"] == 7).any(), "load_state_dict kept the caller's array"


def test_files_that_are_refused(subject: Subject, tmp_path: Path) -> None:
    """A missing, foreign, cut-off or wrong file is refused with what is wrong, and the trainer stays as it was."""
    trainer = DIABETES.trainer()
    on(DIABETES, trainer, 1)
    before, steps = trainer.model.state_dict(), trainer.global_step
    good = tmp_path / "good.um"
    trainer.save(good)
    (tmp_path / "cut.um").write_bytes(good.read_bytes()[:-40])
    (tmp_path / "text.um").write_text(json.dumps({"weights": 1}))
    from safetensors.numpy import save_file

    save_file({"fc1.weight": np.zeros((32, 10), "float32")}, tmp_path / "weights.um")
    um.Trainer(Curve(), um.losses.MSELoss(), um.optim.SGD(lr=0.1)).save(tmp_path / "other.um")
    um.Trainer(um.nn.Linear(2, 2), um.losses.MSELoss(), um.optim.SGD(lr=0.1)).save(tmp_path / "linear.um")
    for name in ("missing.um", "cut.um", "text.um", "weights.um", "other.um", "linear.um"):
        with pytest.raises(CheckpointError):
            trainer.load(tmp_path / name)
    with pytest.raises(CheckpointError):
        um.Trainer(DIABETES.model(), um.losses.MSELoss(), um.optim.Adam()).load(good)
    with pytest.raises(CheckpointError):
        trainer.save(tmp_path / "no folder" / "run.um")
    assert trainer.global_step == steps
    assert_close(trainer.model.state_dict(), before, 0.0, "state after refused files")


def test_an_own_step_resumes(subject: Subject, tmp_path: Path) -> None:
    """Two models, two optimizers and a buffer of the user's own are all in the file."""

    class Pair(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            losses = {}
            for key, model in self.models.items():
                losses[key], grads = um.value_and_grad(lambda model=model: ops.mean(model(batch) ** 2), wrt=list(model.parameters()))
                self.optimizers[key].update(grads)
            return losses

    class Counting(um.Model):
        def __init__(self) -> None:
            self.line = um.nn.Linear(3, 2)
            self.drop = um.nn.Dropout(0.3)
            self.seen = um.Buffer((), 0, dtype="int64")

        def forward(self, x: Any) -> Any:
            if self.training:
                self.seen.assign(self.seen + 1)
            return self.drop(self.line(x))

    def make(seed: int) -> Pair:
        optimizers = {"a": um.optim.Adam(lr=0.05), "b": um.optim.SGD(lr=0.1, momentum=0.9)}
        return Pair({"a": Counting(), "b": Counting()}, optimizer=optimizers, seed=seed)

    x = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")

    def steps(trainer: Pair) -> list[Array]:
        return [np.array([float(v) for v in trainer.train_step(x).values()]) for _ in range(3)]

    whole = make(1)
    steps(whole)
    whole.save(tmp_path / "pair.um")
    fresh = make(2).load(tmp_path / "pair.um")
    assert fresh.models["a"].state_dict()["seen"] == 3
    assert_close(steps(fresh), steps(whole), 0.0, "losses of both after resuming")
