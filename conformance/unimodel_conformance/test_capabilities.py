"""Honesty: what a backend claims it can, what it does not claim it refuses at the front door, and what it declares is well formed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel import ops, plugins
from unimodel.backend import API_VERSION, Capability, CompileOptions, Gap
from unimodel.errors import UnsupportedError
from unimodel.graph import TensorSpec
from unimodel.tracing import trace
from unimodel_conformance.subject import Subject

pytestmark = pytest.mark.concerns("capability")

X, Y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")


class Line(um.Model):
    def __init__(self) -> None:
        self.layer = um.nn.Linear(2, 1)
        self.runs = 0

    def forward(self, x: Any) -> Any:
        return self.layer(x)


def trained(subject: Subject, **options: Any) -> um.Trainer:
    trainer = um.Trainer(Line(), um.losses.MSELoss(), um.optim.SGD(lr=0.1), **options)
    trainer.train_step((X, Y))
    return trainer


@pytest.mark.parametrize("capability", list(Capability), ids=lambda c: c.value)
def test_declared(subject: Subject, capability: Capability) -> None:
    """Each capability is claimed, or has a gap of a kind and with a reason."""
    answer = subject.backend.capabilities.get(capability)
    assert answer is not None, f"{capability.value} is neither claimed nor explained"
    if answer is not True:
        _check_gap(answer, capability.value)


def _check_gap(gap: Any, what: str) -> None:
    assert isinstance(gap, Gap), f"{what}: a gap is made with not_implemented, not_yet or never, not {gap!r}"
    assert gap.kind in ("not_implemented", "not_yet", "never") and len(gap.reason) > 10, f"{what}: {gap!r} gives no reason"
    assert gap.kind != "not_yet" or gap.link, f"{what}: not_yet needs a link to what upstream says"


@pytest.mark.concerns("capability", "training")
def test_training(subject: Subject) -> None:
    if subject.claims(Capability.TRAINING):
        before = Line().state_dict()["layer.weight"]
        assert not np.array_equal(trained(subject).model.state_dict()["layer.weight"], before)
        return
    with pytest.raises(UnsupportedError, match="training"):
        um.Trainer(Line(), um.losses.MSELoss(), um.optim.SGD(lr=0.1))
    assert um.Trainer(Line()).predict(X).shape == (4, 1), "a forward-only backend predicts"


@pytest.mark.concerns("capability", "float64")
def test_float64(subject: Subject) -> None:
    """Claimed: float64 through and through. Not claimed: refused before anything runs, never silently less."""
    if not subject.claims(Capability.FLOAT64):
        with pytest.raises(UnsupportedError, match="float64"):
            um.Trainer(Line(), precision="float64")
        return
    tiny = 2.0**-40
    function = {
        "elementwise": lambda x: x + tiny,
        "matmul": lambda x: ops.matmul(ops.reshape(x, (1, 3)), ops.reshape(x, (3, 1))) * tiny + 1.0,
        "sum": lambda x: ops.sum(x * tiny) + 1.0,
        "conv": lambda x: ops.conv(ops.reshape(x, (1, 1, 3)), np.array([[[1.0]]])) + tiny,
        "mean": lambda x: ops.mean(x) + tiny,
    }
    x = np.array([1.0, 2.0, 3.0])
    wanted = {"elementwise": x + tiny, "matmul": 14 * tiny + 1, "sum": 6 * tiny + 1, "conv": x + tiny, "mean": 2 + tiny}
    for name, body in function.items():
        given = subject.run(body, x, dtype="float64")
        assert given.dtype == "float64", f"{name} gives {given.dtype}"
        assert np.array_equal(np.ravel(given), np.ravel(wanted[name])), f"{name} loses digits: {given!r}, expected {wanted[name]!r}"


@pytest.mark.concerns("capability", "native differentiation")
def test_native_differentiation(subject: Subject) -> None:
    """Claimed: ``differentiation='native'`` is used and says so. Not claimed: refused before the first step."""
    if subject.claims(Capability.NATIVE_DIFFERENTIATION):
        for way in ("native", "core"):
            trainer = trained(subject, differentiation=way)
            assert trainer.global_step == 1
            assert _differentiation(subject, way) == way, f"differentiation={way!r} was asked for; the program says {_differentiation(subject, way)!r}"
        return
    with pytest.raises(UnsupportedError, match="native"):
        trained(subject, differentiation="native")


def _differentiation(subject: Subject, way: Any) -> Any:
    """What the executable of a program with a gradient says of itself."""

    def step(x: Any) -> Any:
        return um.value_and_grad(lambda: ops.sum(ops.tanh(x)), wrt=x)[1]

    traced = trace(step, TensorSpec((3,), "float32"), names={}, float_dtype="float32")
    executable = subject.backend.compile(traced.graph, subject.backend.store({}), CompileOptions(way))
    return getattr(executable, "differentiation", "core" if way == "core" else None)


@pytest.mark.concerns("capability", "native differentiation")
def test_auto_is_one_of_both(subject: Subject) -> None:
    """What ``auto`` chooses is the same every time."""
    if subject.claims(Capability.TRAINING) and subject.claims(Capability.NATIVE_DIFFERENTIATION):
        chosen = {_differentiation(subject, "auto") for _ in range(3)}
        assert len(chosen) == 1 and chosen <= {"native", "core"}, f"auto chose {chosen}"


@pytest.mark.concerns("capability", "mixed precision")
@pytest.mark.parametrize("precision", ["fp16-mixed", "bf16-mixed", "bf16-true"])
def test_half_precision(subject: Subject, precision: str) -> None:
    """A trainer in half precision works where it is claimed and is refused, with the reason, where it is not."""
    if subject.claims(Capability.MIXED_PRECISION):
        assert um.Trainer(Line(), precision=precision).predict(X).shape == (4, 1)
        return
    with pytest.raises(UnsupportedError, match="mixed precision") as refused:
        um.Trainer(Line(), precision=precision)
    assert str(subject.backend.gap(Capability.MIXED_PRECISION)) in str(refused.value)


@pytest.mark.concerns("capability", "compilers")
@pytest.mark.parametrize("compiler", ["auto", "none", "inductor", "xla", "no such compiler"])
def test_compilers(subject: Subject, compiler: str) -> None:
    """A compiler of the framework's own is used where the backend lists it, and refused before anything runs where it does not."""
    available = ("auto", "none", *subject.backend.compilers)
    if compiler not in available:
        with pytest.raises(UnsupportedError, match=", ".join(available)):
            um.Trainer(Line(), compile=compiler)
        return
    if compiler in ("auto", "none") and subject.claims(Capability.TRAINING):
        chosen = trained(subject, compile=compiler).compilers["train"]
        assert chosen in subject.backend.compilers or chosen == "none", chosen
        assert compiler == "auto" or chosen == "none"


@pytest.mark.concerns("capability", "accelerator")
def test_accelerator(subject: Subject) -> None:
    """A backend that claims an accelerator lists devices of that kind when there are some; one that does not has the CPU only."""
    devices = list(subject.backend.devices())
    assert devices and "cpu" in devices
    if not subject.claims(Capability.ACCELERATOR):
        assert devices == ["cpu"], f"devices {devices} without a claimed accelerator"
    for wrong in ("cuda:99", "tpu:99"):
        with pytest.raises(UnsupportedError):
            type(subject.backend)(wrong)


@pytest.mark.concerns("capability", "control flow")
def test_control_flow(subject: Subject) -> None:
    """Claimed: branches and loops run. Not claimed: each is refused by name before anything runs."""
    programs = {
        "cond": lambda x: ops.cond(ops.sum(x) > 0.0, lambda: x + 1.0, lambda: x),
        "scan": lambda x: ops.scan(lambda c, v: (c + v, c), 0.0, x)[1],
        "while_loop": lambda x: ops.while_loop(lambda v: ops.sum(v) < 6.0, lambda v: v + 1.0, x),
    }
    wanted = {"cond": [2, 3], "scan": [0, 1], "while_loop": [3, 4]}
    for name, program in programs.items():
        if subject.claims(Capability.CONTROL_FLOW):
            assert subject.run(program, np.array([1.0, 2.0])).tolist() == wanted[name], name
        else:
            with pytest.raises(UnsupportedError, match=f"{name} needs control flow"):
                subject.run(program, np.array([1.0, 2.0]))


@pytest.mark.concerns("capability", "native artifact")
def test_native_artifact_refused(subject: Subject) -> None:
    if not subject.claims(Capability.NATIVE_ARTIFACT):
        with pytest.raises(UnsupportedError, match="native"):
            um.Trainer(Line()).native(X)


@pytest.mark.concerns("capability", "lowerings")
def test_missing_primitives_are_refused(subject: Subject) -> None:
    """An op without lowering is refused while compiling, by name, before anything runs."""
    if not subject.missing:
        return
    name = next((n for n in ("erf", "sin", "exp", "tanh", "log", "floor") if n in subject.missing), None)
    if name is not None:
        with pytest.raises(UnsupportedError, match=name):
            subject.run(lambda x: getattr(ops, name)(x), np.ones(2, "float32"), dtype="float32")


@pytest.mark.concerns("capability", "declarations")
def test_declarations(subject: Subject) -> None:
    """Name, API, version and known defects are of the right form. (Tolerances are looked at before any test runs.)"""
    backend = subject.backend
    assert isinstance(backend.name, str) and backend.name and backend.distribution
    assert backend.api[0] == API_VERSION[0] and backend.api[1] <= API_VERSION[1]
    assert backend.framework_version() and isinstance(backend.framework_version(), str)
    for test, gap in backend.known_defects.items():
        _check_gap(gap, test)
    assert plugins.load(subject.name) is type(backend)


@pytest.mark.concerns("capability", "one backend a process")
def test_only_this_backend_is_loaded(subject: Subject) -> None:
    """Of the installed backends only this one and NumPy's have been imported."""
    loaded = [p.name for p in plugins.installed() if p.name not in (subject.name, "numpy") and p.target.partition(":")[0] in sys.modules]
    assert not loaded, f"the backends {loaded} were imported too"
