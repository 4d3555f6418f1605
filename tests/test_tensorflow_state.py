"""TensorFlow holds convolutions' weights in another order than core; nobody outside notices. And its relu keeps NaN, whatever kernel comes before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import nn, ops
from unimodel.backend import CompileOptions

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((4, 2, 6, 5)), RNG.integers(0, 3, 4)


class Net(um.Model):
    """Filters of every kind, a weight that is also used as it is, and a parameter of a filter's shape that is none."""

    def __init__(self) -> None:
        self.first = nn.Conv2d(2, 4, (3, 2), padding=1, stride=2)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.deep = nn.Conv2d(4, 4, 3, padding=1, groups=4, dilation=2)
        self.back = nn.ConvTranspose2d(4, 2, 2)
        self.line = nn.Conv1d(2, 3, 3)
        self.gain = um.Parameter(np.linspace(0.5, 1.5, 4 * 2 * 3 * 2).reshape(4, 2, 3, 2))

    def forward(self, x: Any) -> Any:
        y = ops.relu(self.deep(ops.tanh(self.grouped(self.first(x)))) + ops.sum(self.gain * self.first.weight, axis=(0, 2, 3), keepdims=True)[:, :1])
        return ops.mean(self.line(ops.reshape(self.back(y), (x.shape[0], 2, -1))), axis=2)


def trainer(backend: str, optimizer: Callable[[], um.Optimizer], **options: Any) -> um.Trainer:
    return um.Trainer(Net(), um.losses.CrossEntropyLoss(), optimizer(), backend=backend, precision="float64", **options)


def same(one: um.Trainer, other: um.Trainer) -> None:
    for (name, ours), theirs in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: um.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda: um.optim.Adam(lr=0.01, weight_decay=0.1),
        lambda: um.optim.RMSprop(lr=0.01, momentum=0.5, centered=True),
        lambda: um.optim.AdamW(lr=0.01, amsgrad=True),
    ],
    ids=["momentum", "adam", "rmsprop", "amsgrad"],
)
def test_the_order_of_filters_is_nobodys_business(optimizer: Callable[[], um.Optimizer]) -> None:
    reference, ours = trainer("numpy", optimizer, clip_grad_norm=0.5), trainer("tensorflow", optimizer, clip_grad_norm=0.5)
    for one in (reference, ours):
        one.predict(X)
        one.train_step((X, Y))
        one.model.load_state_dict(one.model.state_dict())
        one.train_step((X, Y))
    same(ours, reference)
    np.testing.assert_allclose(ours.predict(X), reference.predict(X), rtol=1e-9)


def test_programs_that_want_different_orders_share_state() -> None:
    """The first program decides, and one that TensorFlow differentiates leaves weights as they are. One made later may find weights in an order and add its own state in the other."""
    trainers = []
    for first, then in (("core", "core"), ("core", "native"), ("native", "core")):
        one = trainer("tensorflow", lambda: um.optim.Adam(lr=0.01), differentiation=first)
        one.predict(X)
        one._um_runtime.options = CompileOptions(then)
        one.train_step((X, Y))
        one.train_step((X, Y))
        trainers.append(one)
    same(trainers[1], trainers[0])
    same(trainers[2], trainers[0])


class Weight(um.Model):
    """A convolution whose weight alone is then asked for, by a program so small that it is a round of a loop."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(2, 3, (2, 1))
        self.alone = False

    def forward(self, x: Any) -> Any:
        return x[:, :1, 0, 0] + ops.sum(self.conv.weight[:, :, 0] * np.arange(3.0)[:, None, None]) if self.alone else self.conv(x)


def test_a_small_program_finds_filters() -> None:
    model = Weight()
    one = um.Trainer(model, backend="tensorflow", precision="float64")
    one.predict(X)
    model.alone = True
    wanted = X[:, :1, 0, 0] + (model.conv.weight.data[:, :, 0] * np.arange(3.0)[:, None, None]).sum()
    np.testing.assert_allclose(one.predict(X), wanted, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 2, 6, 5), (4, 6)])
def test_relu_keeps_nan(shape: tuple[int, ...]) -> None:
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(2)] if len(shape) == 4 else [nn.Linear(6, 3), nn.BatchNorm1d(6)]
    x = np.ones(shape, "float32")
    x[1, 0] = np.nan
    for layer in layers:
        found = um.Trainer(nn.Sequential(layer, nn.ReLU()), backend="tensorflow").predict(x)
        assert [bool(np.isnan(sample).any()) for sample in found] == [False, True, False, False], type(layer).__name__


def test_state_kept_in_bfloat16_is_widened_one_piece_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone, TensorFlow would widen all weights and moments when a step begins, and hold them until their turn."""
    from unimodel_tensorflow.trainer import Program

    made: list[Program] = []
    init = Program.__init__
    monkeypatch.setattr(Program, "__init__", lambda self, *given: (init(self, *given), made.append(self))[0])
    model = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 3))
    trained = um.Trainer(model, um.losses.CrossEntropyLoss(), um.optim.Adam(), backend="tensorflow", precision="bf16-true")
    x = RNG.standard_normal((4, 256)).astype("float32")
    trained.train_step((x, Y))
    casts = [op for op in made[0]._first.concrete.graph.get_operations() if op.type == "Cast" and op.inputs[0].op.type == "ReadVariableOp"]
    assert len(casts) >= 12, "two weights and two biases, each with two moments"
    waited_for = {op.control_inputs[0].name for op in casts if op.control_inputs}
    assert len(waited_for) >= 9, "at most one piece is free to go at once"
    assert {v.dtype.name for v in trained._um_runtime.store.arrays.values()} == {"bfloat16"}
    native, found = trained.native(), trained.predict(x)
    assert {v.dtype.name for v in native.variables} == {"bfloat16"}
    np.testing.assert_allclose(native(x).numpy().astype("float32"), found, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("precision", ["float32", "bf16-true"])
def test_filters_come_back_in_cores_order(precision: str) -> None:
    """Also those kept in bfloat16, and written again."""
    model = Net()
    trained = um.Trainer(model, um.losses.CrossEntropyLoss(), um.optim.SGD(lr=0.0), backend="tensorflow", precision=precision)
    before = model.first.weight.data.copy()
    trained.train_step((X.astype("float32"), Y))
    np.testing.assert_allclose(model.first.weight.data, before, rtol=2**-8)
    model.first.weight.data = before * 2.0
    trained.train_step((X.astype("float32"), Y))
    np.testing.assert_allclose(model.first.weight.data, before * 2.0, rtol=2**-8)
