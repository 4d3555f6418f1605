"""Mixed precision: the heavy ops in half the bits, weights and updates in float32, a curve near float32's, and overflows that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops
from unimodel.backend import Capability
from unimodel.graph import Array, Graph
from unimodel.passes.precision import LossScale, as_bfloat16
from unimodel_conformance.subject import Subject

pytestmark = [pytest.mark.concerns("capability", "mixed precision"), pytest.mark.needs(Capability.MIXED_PRECISION)]

TOLERANCE = {"fp16-mixed": 2e-3, "bf16-mixed": 1e-2, "bf16-true": 3e-2}
"""How far losses may be from float32's, relative to the first: float16 keeps 11 bits of a number, bfloat16 8, and in the last the weights themselves are rounded."""
STEPS = 20

RNG = np.random.default_rng(5)
X = RNG.standard_normal((16, 1, 6, 6)).astype("float32")
Y = RNG.integers(0, 5, 16)


class Net(um.Model):
    """A convolution, a norm, attention and a linear layer."""

    def __init__(self) -> None:
        self.conv = um.nn.Conv2d(1, 8, 3, padding=1)
        self.norm = um.nn.BatchNorm2d(8)
        self.fc = um.nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        h = ops.relu(self.norm(self.conv(x))).flatten(2).transpose(1, 2)
        return self.fc(ops.scaled_dot_product_attention(h, h, h).mean(1))


def trainer(precision: str, **options: Any) -> um.Trainer:
    return um.Trainer(Net(), um.losses.CrossEntropyLoss(), um.optim.AdamW(lr=3e-3), precision=precision, **options)


def curve(trained: um.Trainer) -> Array:
    return np.array([float(trained.train_step((X, Y))["loss"]) for _ in range(STEPS)])


def dtypes(graph: Graph) -> dict[str, set[str]]:
    """The dtypes of each op's first result, bodies included."""
    found: dict[str, set[str]] = {}
    for node in graph.nodes:
        found.setdefault(node.op.name, set()).add(node.outputs[0].spec.dtype)
        for body in node.attrs.values():
            if isinstance(body, Graph):
                for name, inside in dtypes(body).items():
                    found.setdefault(name, set()).update(inside)
    return found


@pytest.mark.parametrize("precision", sorted(TOLERANCE))
def test_the_curve_is_near_that_of_float32(subject: Subject, precision: str) -> None:
    full, low = curve(trainer("float32")), curve(trained := trainer(precision))
    assert full[-1] < 0.9 * full[0], "nothing was learnt that could go wrong"
    apart = np.abs(full - low).max() / full[0]
    assert 0 < apart < TOLERANCE[precision], f"the losses part by {apart:.1e} of the first one"
    assert trained.predict(X).dtype == np.float32 and trained.evaluate((X, Y))["loss"] < full[0]
    half = {"fp16-mixed": "float16"}.get(precision, "bfloat16")
    ((_, program), *_) = trained._um_runtime.programs()
    found = dtypes(program.traced.graph)
    assert found["conv"] == found["linear"] == found["attention"] == {half}
    if precision != "bf16-true":
        assert found["cross_entropy"] == found["batch_norm_training"] == found["mean"] == {"float32"}


@pytest.mark.parametrize("precision", sorted(TOLERANCE))
def test_weights_are_kept_in_float32(subject: Subject, precision: str) -> None:
    trained = trainer(precision)
    curve(trained)
    state = trained.model.state_dict()
    assert {a.dtype.name for n, a in state.items() if "num_batches" not in n} == {"float32"}
    rounded = all(np.array_equal(a, as_bfloat16(a)) for n, a in state.items() if "num_batches" not in n)
    assert rounded == (precision == "bf16-true")


def test_rounded_state_goes_through_a_checkpoint(subject: Subject, tmp_path: Path) -> None:
    """Whether a backend keeps it in bfloat16 or in float32 memory: what is saved, read and written is float32."""
    whole = trainer("bf16-true")
    wanted = curve(whole)
    begun = trainer("bf16-true")
    for _ in range(5):
        begun.train_step((X, Y))
    begun.save(tmp_path / "run.um")
    resumed = trainer("bf16-true").load(tmp_path / "run.um")
    assert [float(resumed.train_step((X, Y))["loss"]) for _ in range(STEPS - 5)] == wanted[5:].tolist()
    single = trainer("float32").load(tmp_path / "run.um")
    assert all(np.array_equal(a, single.model.state_dict()[n]) for n, a in begun.model.state_dict().items())
    begun.model.load_state_dict(whole.model.state_dict())
    assert all(np.array_equal(a, whole.model.state_dict()[n]) for n, a in begun.model.state_dict().items())


OPTIMIZERS: dict[str, Callable[[], um.Optimizer]] = {
    "SGD": lambda: um.optim.SGD(lr=0.1),
    "SGD-momentum": lambda: um.optim.SGD(lr=0.1, momentum=0.9),
    "Adam-amsgrad": lambda: um.optim.Adam(amsgrad=True),
    "Adagrad": um.optim.Adagrad,
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_rounded_state_is_updated_in_float32(subject: Subject, kind: str, clip: float | None) -> None:
    """A step from rounded weights is the one of float32 from these, rounded; but for the gradient, which is of a pass in bfloat16."""

    class Product(um.Model):
        """Its gradient is x, whatever w is, and exact in bfloat16."""

        def __init__(self) -> None:
            self.w = um.Parameter(np.linspace(-1.0, 1.0, 8, dtype="float32"))

        def forward(self, x: Any) -> Any:
            return ops.sum(x * self.w)

    x = np.array([1.0, -0.5, 0.25, 2.0, 1.5, -1.0, 0.125, 3.0], "float32")
    weights = []
    for precision in ("float32", "bf16-true"):
        model = Product()
        model.w.data = as_bfloat16(model.w.data)
        one = um.Trainer(model, lambda p, t: p, OPTIMIZERS[kind](), precision=precision, clip_grad_norm=clip)
        one.train_step((x, np.zeros(8, "float32")))
        weights.append(model.w.data)
    full, low = weights
    assert np.abs(full - as_bfloat16(np.linspace(-1.0, 1.0, 8, dtype="float32"))).max() > 1e-4
    assert (np.abs(as_bfloat16(full) - low) <= 2.0**-7 * np.abs(full)).all(), "further apart than one rounding"


def test_an_overflow_changes_nothing_but_the_scale(subject: Subject) -> None:
    trained = trainer("fp16-mixed", loss_scale=LossScale(init_scale=2.0**40))
    before = trained.model.state_dict()
    first = float(trained.train_step((X, Y))["loss"])
    after = trained.model.state_dict()
    assert trained.loss_scale == 2.0**39 and np.isfinite(first)
    assert all(np.array_equal(before[n], after[n]) for n in before if not n.startswith("norm.")), "a step whose gradients overflow moved the weights"
    assert not np.array_equal(before["norm.running_mean"], after["norm.running_mean"]), "statistics of the forward pass are no update"
    for _ in range(40):
        last = float(trained.train_step((X, Y))["loss"])
    assert last < first and trained.loss_scale < 2.0**39, "once the scale is low enough, training goes on"


@pytest.mark.parametrize("way", ["train_step", "fit"])
def test_a_skipped_step_is_no_update(subject: Subject, way: str) -> None:
    """As with PyTorch's GradScaler: the first update that is carried out is number 1 to Adam's corrections, whatever was skipped before it."""

    def net() -> um.Model:
        return um.nn.Sequential(um.nn.Linear(3, 4), um.nn.Tanh(), um.nn.Linear(4, 2))

    x, y = RNG.standard_normal((8, 3)).astype("float32"), np.array([0, 1] * 4)

    def train(scale: float, steps: int) -> um.Trainer:
        trained = um.Trainer(net(), um.losses.CrossEntropyLoss(), um.optim.Adam(lr=0.02), precision="fp16-mixed", loss_scale=LossScale(init_scale=scale))
        if way == "fit":
            trained.fit((x, y), epochs=steps, batch_size=8, shuffle=False, verbose=False)
        else:
            for _ in range(steps):
                trained.train_step((x, y))
        return trained

    overflows = train(2.0**24, 12)
    skipped = 12 - overflows.optimizer.steps
    assert 0 < skipped < 9 and overflows.loss_scale == 2.0 ** (24 - skipped) and overflows.global_step == 12
    sound = train(overflows.loss_scale, 12 - skipped)
    assert sound.optimizer.steps == 12 - skipped
    for name, array in sound.model.state_dict().items():
        assert np.allclose(array, overflows.model.state_dict()[name], rtol=1e-5, atol=1e-6), f"{name}: other weights than without the steps that were skipped"


def test_the_scale_grows_where_nothing_overflows(subject: Subject) -> None:
    trained = trainer("fp16-mixed", loss_scale=LossScale(init_scale=8.0, growth_interval=3))
    scales = [float(trained.train_step((X, Y))["loss"]) and trained.loss_scale for _ in range(7)]
    assert scales == [8, 8, 16, 16, 16, 32, 32]


def test_the_scale_is_part_of_a_checkpoint(subject: Subject, tmp_path: Path) -> None:
    how = LossScale(init_scale=4.0, growth_interval=4)
    whole = trainer("fp16-mixed", loss_scale=how)
    wanted = curve(whole)
    begun = trainer("fp16-mixed", loss_scale=how)
    for _ in range(6):
        begun.train_step((X, Y))
    begun.save(tmp_path / "run.um")
    resumed = trainer("fp16-mixed", loss_scale=how).load(tmp_path / "run.um")
    assert resumed.loss_scale == 8.0
    assert [float(resumed.train_step((X, Y))["loss"]) for _ in range(STEPS - 6)] == wanted[6:].tolist()
    assert resumed.loss_scale == whole.loss_scale
    trainer("float32").load(tmp_path / "run.um").train_step((X, Y))  # which has no scale


def test_a_gradient_too_small_for_float16_arrives(subject: Subject) -> None:
    """A loss of 1e-9 a unit has gradients that float16 rounds to zero; scaled they pass."""

    def step(precision: str) -> Array:
        model = um.nn.Linear(2, 1, bias=False)
        tiny = um.Trainer(model, lambda p, t: (p / 1e9).sum(), um.optim.SGD(lr=1e9), precision=precision)
        before = model.state_dict()["weight"].copy()
        tiny.train_step((np.ones((1, 2), "float32"), np.ones((1, 1), "float32")))
        return before - model.state_dict()["weight"]

    assert np.allclose(step("fp16-mixed"), step("float32"), rtol=2e-2) and (step("fp16-mixed") > 0.9).all()
