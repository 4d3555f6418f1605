"""A trainer in use: data in other clothes, changes between steps, several trainers side by side, steps of one's own, and what comes back."""

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
from unimodel_conformance.problems import PROBLEMS, Line, Losses, Sum, descend, line, line_data
from unimodel_conformance.subject import Subject, assert_close

pytestmark = [pytest.mark.concerns("trainer"), pytest.mark.needs(Capability.TRAINING)]

DIABETES = PROBLEMS[0]
FLOAT64 = pytest.mark.needs(Capability.FLOAT64)


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
