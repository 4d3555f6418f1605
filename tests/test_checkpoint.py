"""A checkpoint is one safetensors file from which training continues exactly, which never loses the file before it, and which says what is wrong with it."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from safetensors.numpy import load_file, save_file

import unimodel as um
from unimodel import checkpoint, nn
from unimodel.errors import CheckpointError

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((30, 6)), RNG.integers(0, 3, 30)


def net() -> um.Model:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def trainer(optimizer: Callable[[], um.Optimizer] = lambda: um.optim.Adam(lr=0.01), model: Callable[[], um.Model] = net, **options: Any) -> um.Trainer:
    defaults: dict[str, Any] = {"loss": um.losses.CrossEntropyLoss(), "backend": "numpy", "precision": "float64", "seed": 3}
    return um.Trainer(model(), optimizer=optimizer(), **{**defaults, **options})


def scheduled() -> um.Optimizer:
    optimizer = um.optim.SGD(lr=0.1, momentum=0.9, nesterov=True)
    um.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5, eta_min=0.001)
    return optimizer


def stepped() -> um.Optimizer:
    optimizer = um.optim.AdamW(lr=0.05)
    um.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.7, interval="step")
    return optimizer


OPTIMIZERS: dict[str, Callable[[], um.Optimizer]] = {
    "SGD": lambda: um.optim.SGD(lr=0.1),
    "SGD with momentum": lambda: um.optim.SGD(lr=0.1, momentum=0.9, dampening=0.2),
    "Adam": lambda: um.optim.Adam(lr=0.01, amsgrad=True),
    "scheduled by epoch": scheduled,
    "scheduled by step": stepped,
}


def same(one: um.Trainer, other: um.Trainer) -> None:
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


# ----------------------------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(name: str, precision: str, tmp_path: Path) -> None:
    """Weights, batch statistics, optimizer, schedule, counters, data order and dropout masks all continue."""
    whole = trainer(OPTIMIZERS[name], precision=precision)
    expected = whole.fit((X, Y), epochs=6, batch_size=7, verbose=False).history["loss"]
    first = trainer(OPTIMIZERS[name], precision=precision)
    losses = first.fit((X, Y), epochs=3, batch_size=7, verbose=False).history["loss"]
    first.save(tmp_path / "run.um")
    second = trainer(OPTIMIZERS[name], precision=precision, seed=99).load(tmp_path / "run.um")
    assert (second.epoch, second.global_step, second.seed) == (3, 15, 3)
    history = second.fit((X, Y), epochs=3, batch_size=7, verbose=False)
    assert losses + history.history["loss"] == expected
    assert history.epoch == [3, 4, 5]
    assert second.optimizer.lr == whole.optimizer.lr
    same(second, whole)


def test_loading_into_a_trainer_that_has_run_makes_it_the_one_that_saved(tmp_path: Path) -> None:
    """Also back to before the first step, when the optimizer had no state yet."""
    t = trainer()
    t.save(tmp_path / "start.um")
    expected = t.fit((X, Y), epochs=2, batch_size=7, verbose=False).history["loss"]
    t.save(tmp_path / "middle.um")
    further = t.fit((X, Y), epochs=2, batch_size=7, verbose=False).history["loss"]
    t.load(tmp_path / "middle.um")
    assert t.fit((X, Y), epochs=2, batch_size=7, verbose=False).history["loss"] == further
    t.load(tmp_path / "start.um")
    assert t.epoch == t.global_step == 0
    assert t.fit((X, Y), epochs=2, batch_size=7, verbose=False).history["loss"] == expected


def test_learning_rate_set_by_hand_and_parameter_groups_are_kept(tmp_path: Path) -> None:
    def grouped() -> um.Trainer:
        model = nn.Linear(6, 3)
        optimizer = um.optim.SGD([{"params": [model.weight], "lr": 0.5}, {"params": [model.bias]}], lr=0.1, momentum=0.5)
        return um.Trainer(model, loss=um.losses.CrossEntropyLoss(), optimizer=optimizer, backend="numpy")

    t = grouped()
    t.fit((X, Y), verbose=False)
    t.optimizer.param_groups[1]["lr"] = 0.025
    t.save(tmp_path / "run.um")
    resumed = grouped().load(tmp_path / "run.um")
    assert [g["lr"] for g in resumed.optimizer.param_groups] == [0.5, 0.025]
    assert t.fit((X, Y), verbose=False).history == resumed.fit((X, Y), verbose=False).history


def test_a_parameters_own_count_of_steps_is_kept(tmp_path: Path) -> None:
    """Adam's bias correction of a layer that was unfrozen late."""

    def run(interrupted: bool) -> um.Trainer:
        t = trainer()
        t.model[0].requires_grad_(False)
        t.fit((X, Y), epochs=2, verbose=False)
        if interrupted:
            t.save(tmp_path / "run.um")
            t = trainer().load(tmp_path / "run.um")
        t.model[0].requires_grad_(True)
        t.fit((X, Y), epochs=2, verbose=False)
        return t

    same(run(True), run(False))


def test_several_models_and_optimizers(tmp_path: Path) -> None:
    class Both(um.Trainer):
        def step(self, batch: Any) -> dict[str, Any]:
            logs = {}
            for name, model in self.models.items():
                loss, grads = um.value_and_grad(lambda m=model: um.losses.MSELoss()(m(batch), 0.5), wrt=model.parameters())
                self.optimizers[name].update(grads)
                logs[name] = loss
            return logs

    def both() -> um.Trainer:
        optimizers = {"a": um.optim.Adam(lr=0.01), "b": um.optim.SGD(lr=0.1, momentum=0.9)}
        return Both({"a": nn.Linear(6, 2), "b": nn.Linear(6, 1)}, optimizer=optimizers, backend="numpy")

    t = both()
    t.fit(X, epochs=2, verbose=False)
    t.save(tmp_path / "run.um")
    assert both().load(tmp_path / "run.um").fit(X, epochs=2, verbose=False).history == t.fit(X, epochs=2, verbose=False).history


def test_attributes_that_look_like_optimizer_state_are_weights(tmp_path: Path) -> None:
    class Learned(um.Model):
        def __init__(self) -> None:
            self.optimizer = nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.optimizer(x)

    t = trainer(model=Learned)
    t.fit((X, Y), verbose=False)
    t.save(tmp_path / "run.um")
    same(trainer(model=Learned).load(tmp_path / "run.um"), t)


def test_precision_may_change_on_the_way(tmp_path: Path) -> None:
    t = trainer(precision="float64")
    t.fit((X, Y), epochs=2, verbose=False)
    t.save(tmp_path / "run.um")
    single = trainer(precision="float32").load(tmp_path / "run.um")
    assert single.model.state_dict()["0.weight"].dtype == "float32"
    np.testing.assert_allclose(single.fit((X, Y), verbose=False).history["loss"], t.fit((X, Y), verbose=False).history["loss"], rtol=1e-5)


def test_weights_alone_serve_a_trainer_without_optimizer_and_the_other_way_round(tmp_path: Path) -> None:
    t = trainer()
    t.fit((X, Y), verbose=False)
    t.save(tmp_path / "run.um")
    reader = um.Trainer(net(), backend="numpy", precision="float64").load(tmp_path / "run.um")
    np.testing.assert_array_equal(reader.predict(X), t.predict(X))
    reader.save(tmp_path / "weights.um")
    same(trainer().load(tmp_path / "weights.um"), t)


# --------------------------------------------------------------------------------------------------------------- the file


def test_the_file_is_valid_safetensors_with_pytorchs_names(tmp_path: Path) -> None:
    t = trainer()
    t.fit((X, Y), verbose=False)
    t.save(tmp_path / "run.um")
    tensors = load_file(tmp_path / "run.um")
    for name, value in t.model.state_dict().items():
        np.testing.assert_array_equal(tensors[name], value)
    assert any(name.endswith("exp_avg") for name in tensors)
    with safetensors.safe_open(tmp_path / "run.um", framework="numpy") as file:
        meta = json.loads(file.metadata()["unimodel"])
    assert (meta["format"], meta["epoch"], meta["step"], meta["seed"]) == (1, 1, 1, 3)
    fresh = net()
    fresh.load_state_dict({name: tensors[name] for name in fresh.state_dict()})
    np.testing.assert_allclose(um.Trainer(fresh, backend="numpy", precision="float64").predict(X), t.predict(X), rtol=1e-12)


def test_loading_executes_nothing(tmp_path: Path) -> None:
    """A pickle under a checkpoint's name is refused, not run."""
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(ran),)

    (tmp_path / "evil.um").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        trainer().load(tmp_path / "evil.um")
    assert not ran.exists()


def test_saving_overwrites_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    t = trainer()
    for _ in range(3):
        t.fit((X, Y), verbose=False)
        t.save(tmp_path / "run.um")
    assert [p.name for p in tmp_path.iterdir()] == ["run.um"]
    assert trainer().load(tmp_path / "run.um").epoch == 3


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
@pytest.mark.parametrize(
    "interruption", [OSError("disk full"), safetensors.SafetensorError("disk full"), KeyboardInterrupt()], ids=["error", "refusal", "interrupt"]
)
def test_an_interrupted_write_leaves_the_old_file(broken: str, interruption: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer()
    t.save(tmp_path / "run.um")
    before = (tmp_path / "run.um").read_bytes()
    t.fit((X, Y), verbose=False)

    def fail(*args: Any, **options: Any) -> Any:
        raise interruption

    if broken == "write":

        def half(tensors: Any, path: Any, metadata: Any) -> None:
            """The disk is full after a few bytes."""
            Path(path).write_bytes(b"half")
            raise interruption

        monkeypatch.setattr(safetensors.numpy, "save_file", half)
    else:
        monkeypatch.setattr(os, broken, fail)
    with pytest.raises((OSError, KeyboardInterrupt, um.errors.UnimodelError)):
        t.save(tmp_path / "run.um")
    monkeypatch.undo()
    assert (tmp_path / "run.um").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.um"]
    assert trainer().load(tmp_path / "run.um").epoch == 0


# ------------------------------------------------------------------------------------------------------- files that are wrong


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights", "not ours")


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda p: None, "no such file"),
    "folder": (lambda p: p.mkdir(), "no such file"),
    "empty": (lambda p: p.write_bytes(b""), "no checkpoint"),
    "text": (lambda p: p.write_text("hello " * 100), "no checkpoint"),
    "zip": (write_zip, "no checkpoint"),
    "cut short": (lambda p: p.write_bytes(p.with_name("good.um").read_bytes()[:-10]), "no checkpoint"),
    "header cut short": (lambda p: p.write_bytes(p.with_name("good.um").read_bytes()[:50]), "no checkpoint"),
    "weights of another program": (lambda p: save_file({"0.weight": np.zeros((2, 2))}, p), "no checkpoint of a trainer"),
    "damaged metadata": (lambda p: save_file({"w": np.zeros(1)}, p, {"unimodel": "{not json"}), "metadata"),
    "metadata of no object": (lambda p: save_file({"w": np.zeros(1)}, p, {"unimodel": "[1]"}), "metadata"),
    "incomplete metadata": (lambda p: save_file({"w": np.zeros(1)}, p, {"unimodel": '{"format": 1}'}), "metadata"),
    "a later format": (lambda p: save_file({"w": np.zeros(1)}, p, {"unimodel": '{"format": 999}'}), "another format"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_checkpoint(name: str, tmp_path: Path) -> None:
    make, message = FILES[name]
    t = trainer()
    t.save(tmp_path / "good.um")
    before = t.model.state_dict()
    path = tmp_path / "bad.um"
    make(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        t.load(path)
    text = str(caught.value)
    assert str(path) in text or name == "a later format"
    assert "t.load(path)" in text, "the user's line"
    assert all(np.array_equal(value, before[key]) for key, value in t.model.state_dict().items())


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="folder") as caught:
        trainer().save(tmp_path / "no" / "run.um")
    assert "create" in caught.value.remedy


OTHERS: dict[str, tuple[Callable[[], um.Model], list[str]]] = {
    "other sizes": (
        lambda: nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 3)),
        ["0.weight: expected (9, 6), given (8, 6)"],
    ),
    "a layer more": (lambda: nn.Sequential(*net(), nn.Linear(3, 3)), ["missing: 5.weight (3, 3)", "missing: 5.bias (3,)"]),
    "a layer less": (lambda: nn.Sequential(*list(net())[:4]), ["unexpected: 4.weight (3, 8)"]),
    "other names": (lambda: nn.ModuleDict({"body": net()}), ["missing: body.0.weight (8, 6)", "unexpected: 0.weight (8, 6)"]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_model_changes_nothing_and_lists_the_differences(name: str, tmp_path: Path) -> None:
    trained = trainer()
    trained.fit((X, Y), verbose=False)
    trained.save(tmp_path / "run.um")
    build, lines = OTHERS[name]
    t = trainer(model=build)
    before = t.model.state_dict()
    with pytest.raises(CheckpointError, match="another model") as caught:
        t.load(tmp_path / "run.um")
    assert all(line in str(caught.value) for line in lines)
    assert t.epoch == 0 and all(np.array_equal(value, before[key]) for key, value in t.model.state_dict().items())


@pytest.mark.parametrize("other", [lambda: um.optim.SGD(lr=0.1), lambda: um.optim.AdamW(lr=0.1)], ids=["SGD", "AdamW"])
def test_a_checkpoint_of_another_optimizer(other: Callable[[], um.Optimizer], tmp_path: Path) -> None:
    trained = trainer()
    trained.fit((X, Y), verbose=False)
    trained.save(tmp_path / "run.um")
    t = trainer(other)
    before = t.model.state_dict()
    with pytest.raises(CheckpointError, match="another optimizer") as caught:
        t.load(tmp_path / "run.um")
    assert "Adam" in caught.value.given and caught.value.remedy
    assert all(np.array_equal(value, before[key]) for key, value in t.model.state_dict().items())


def test_other_parameter_groups_are_refused(tmp_path: Path) -> None:
    def grouped(count: int) -> um.Trainer:
        model = nn.Linear(6, 3)
        groups = [{"params": [model.weight]}, {"params": [model.bias]}] if count == 2 else None
        return um.Trainer(model, loss=um.losses.CrossEntropyLoss(), optimizer=um.optim.SGD(groups, lr=0.1), backend="numpy")

    t = grouped(2)
    t.save(tmp_path / "run.um")
    with pytest.raises(CheckpointError, match="parameter groups"):
        grouped(1).load(tmp_path / "run.um")


def test_writing_and_reading_tensors_of_every_shape_and_dtype(tmp_path: Path) -> None:
    tensors = {
        "scalar": np.array(1.5),
        "empty": np.zeros((0, 3)),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "strided": np.arange(10)[::2],
        "bool": np.array([True, False]),
        "int": np.array([2**40]),
    }
    checkpoint.write(tmp_path / "t.um", tensors, {"note": "ä"})
    read, meta = checkpoint.read(tmp_path / "t.um")
    assert meta["note"] == "ä"
    for name, array in tensors.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array)


def test_a_file_is_written_from_the_tensors_own_memory(tmp_path: Path) -> None:
    tensors = {f"w{i}": np.ones((250, 1000), "float32") for i in range(4)}
    checkpoint.write(tmp_path / "t.um", tensors, {})
    tracemalloc.start()
    checkpoint.write(tmp_path / "t.um", tensors, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000  # the tensors have 4,000,000 bytes


def test_a_cell_is_set_and_a_run_resumed_without_reading_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer()
    t.fit((X, Y), verbose=False)
    t.save(tmp_path / "run.um")
    other = trainer()

    def read(name: str) -> Any:
        raise AssertionError(f"{name} was read")

    with monkeypatch.context() as patched:
        patched.setattr(other._um_runtime.store, "read", read)
        other.load(tmp_path / "run.um")
        next(iter(other.model.parameters())).data = np.zeros(next(iter(t.model.parameters())).shape)
    name, cell = next(iter(other.model.named_parameters()))
    assert (cell.data == 0).all() and cell.data.dtype == dict(t.model.named_parameters())[name].data.dtype == np.float64
