"""Losses against PyTorch's, and the laws that hold for all of them: reductions, weights, what is ignored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import unimodel as um
from unimodel.backend import Capability
from unimodel.graph import Array
from unimodel_conformance import golden
from unimodel_conformance.subject import Subject, as_dtype, difference
from unimodel_conformance.tables import LOSSES, Entry

pytestmark = pytest.mark.concerns("loss")

TOLERANCE = {"float64": 1e-11, "float32": 5e-6}
PLAIN = ["MSELoss", "L1Loss", "CrossEntropyLoss", "BCEWithLogitsLoss"]


def build(entry: Entry) -> um.Loss:
    loss: um.Loss = getattr(um.losses, entry.name)(**{k: np.array(v) if isinstance(v, list) else v for k, v in entry.kwargs.items()})
    return loss


def value(entry: Entry, tensors: Any) -> Any:
    """The loss of traced inputs; logits go through log_softmax first."""
    return build(entry)(*(um.ops.log_softmax(t) if spec[0] == "logits" else t for t, spec in zip(tensors, entry.inputs, strict=True)))


def inputs(wanted: dict[str, Array], dtype: str) -> list[Array]:
    return [as_dtype(wanted[f"input{i}"], dtype) for i in range(sum(k.startswith("input") for k in wanted))]


def step(entry: Entry, cotangent: Any, tensors: Sequence[Any]) -> Any:
    """The value, and the gradients of its weighted sum."""
    wrt = [tensors[i] for i in differentiated(entry)]

    def weighted() -> Any:
        losses = value(entry, tensors)
        return um.ops.sum(losses * cotangent), losses

    (_, losses), grads = um.value_and_grad(weighted, wrt=wrt, has_aux=True)
    return losses, *grads


def differentiated(entry: Entry) -> list[int]:
    """Which inputs PyTorch has gradients for."""
    wanted = golden.part("losses", entry.id)
    return [i for i in range(len(inputs(wanted, "float64"))) if f"grad{i}" in wanted]


def together(subject: Subject, kind: str, dtype: str, way: str = "", gradients: bool = True) -> dict[str, Any]:
    """All cases of a loss from one program; where that fails, each from its own, with the exception in place of what failed."""
    key = ("losses", kind, dtype, way, gradients)
    if key not in subject.cache:
        subject.cache[key] = _run(subject, [e for e in LOSSES if e.name == kind], dtype, way, gradients)
    found: dict[str, Any] = subject.cache[key]
    return found


def _run(subject: Subject, entries: list[Entry], dtype: str, way: str, gradients: bool) -> dict[str, Any]:
    arrays = {e.id: [as_dtype(golden.part("losses", e.id)["cotangent"], dtype), *inputs(golden.part("losses", e.id), dtype)] for e in entries}

    def everything(*tensors: Any) -> Any:
        rest = iter(tensors)
        given = [(e, [next(rest) for _ in arrays[e.id]]) for e in entries]
        return [step(e, cotangent, own) if gradients else (value(e, own),) for e, (cotangent, *own) in given]

    try:
        flat = [a for e in entries for a in arrays[e.id]]
        return dict(zip((e.id for e in entries), subject.run(everything, *flat, dtype=dtype, differentiation=way or "auto"), strict=True))
    except Exception as error:
        if len(entries) == 1:
            return {entries[0].id: error}
    return {k: v for e in entries for k, v in _run(subject, [e], dtype, way, gradients).items()}


def compare(subject: Subject, entry: Entry, dtype: str, way: str = "", gradients: bool = True) -> None:
    """The value, and the gradients of its weighted sum, against PyTorch's."""
    wanted, given = golden.part("losses", entry.id), together(subject, entry.name, dtype, way, gradients)[entry.id]
    if isinstance(given, Exception):
        raise given
    losses, *grads = given
    assert not (d := difference(losses, as_dtype(wanted["value"], dtype), TOLERANCE[dtype])), f"{entry.id} ({way or 'forward'}, {dtype}): {d}"
    for i, grad in zip(differentiated(entry) if gradients else (), grads, strict=True):
        d = difference(grad, as_dtype(wanted[f"grad{i}"], dtype), TOLERANCE[dtype])
        assert not d, f"gradient of {entry.id} for input {i} ({way}, {dtype}): {d}"


@pytest.mark.needs(Capability.TRAINING, Capability.FLOAT64)
@pytest.mark.parametrize("entry", LOSSES, ids=lambda e: e.id)
def test_loss(subject: Subject, entry: Entry) -> None:
    """Value and gradient in float64, by the framework's differentiation where it has one."""
    compare(subject, entry, "float64", subject.ways[-1])


@pytest.mark.needs(Capability.TRAINING)
@pytest.mark.parametrize("entry", LOSSES, ids=lambda e: e.id)
def test_loss_float32(subject: Subject, entry: Entry) -> None:
    """The same in float32, by core's differentiation."""
    compare(subject, entry, "float32", "core")


@pytest.mark.parametrize("entry", LOSSES, ids=lambda e: e.id)
def test_loss_forward(subject: Subject, entry: Entry) -> None:
    """The value alone, which needs no training."""
    compare(subject, entry, subject.best, gradients=False)


def problem(name: str, samples: int = 5, classes: int = 4) -> tuple[Array, Array]:
    rng = np.random.default_rng(len(name))
    x = rng.standard_normal((samples, classes))
    if name == "CrossEntropyLoss":
        return x, rng.integers(0, classes, samples)
    return x, rng.random((samples, classes))


def value_of(subject: Subject, loss: Any, x: Array, y: Array, weight: Array | None = None) -> float:
    given = [x, y] if weight is None else [x, y, weight]
    return float(subject.run(lambda *t: loss(*t), *(as_dtype(a, subject.best) for a in given)))


@pytest.mark.concerns("loss", "sample weights")
@pytest.mark.parametrize("name", PLAIN)
def test_sample_weights(subject: Subject, name: str) -> None:
    """A weight of 0 is an absent sample, 2 is the sample twice, equal weights are none; in a mean the divisor is the weights' sum."""
    x, y = problem(name)
    kind = getattr(um.losses, name)
    close = 1e-5 if subject.best == "float32" else 1e-11
    for reduction in ("mean", "sum"):
        loss = kind(reduction=reduction)
        plain = value_of(subject, loss, x, y)
        assert math.isclose(value_of(subject, loss, x, y, np.ones(5)), plain, rel_tol=close), f"{name} {reduction}: weights of 1 change the loss"
        absent = value_of(subject, loss, x, y, np.array([1.0, 0.0, 1.0, 1.0, 0.0]))
        kept = [0, 2, 3]
        assert math.isclose(absent, value_of(subject, loss, x[kept], y[kept]), rel_tol=close), f"{name} {reduction}: a weight of 0 is not an absent sample"
        twice = value_of(subject, loss, x, y, np.array([2.0, 1.0, 1.0, 1.0, 1.0]))
        again = [0, 0, 1, 2, 3, 4]
        assert math.isclose(twice, value_of(subject, loss, x[again], y[again]), rel_tol=close), f"{name} {reduction}: a weight of 2 is not the sample twice"
    third = value_of(subject, kind(), x, y, np.full(5, 0.3))
    assert math.isclose(third, value_of(subject, kind(), x, y), rel_tol=close), f"{name}: equal weights change the mean"


@pytest.mark.concerns("loss", "ignore_index")
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_ignored_samples_are_absent(subject: Subject, smoothing: float, weighted: bool) -> None:
    """Targets equal to ignore_index change neither the mean nor the sum, whatever the logits there, and get no gradient."""
    x, y = problem("CrossEntropyLoss", 6)
    weight = np.array([0.3, 2.0, 1.0, 0.5]) if weighted else None
    for ignored in (-100, 2, 7):
        target = y.copy()
        target[target == ignored] = 0
        target[[1, 4]] = ignored
        x[[1, 4]] *= 50
        kept = [0, 2, 3, 5]
        for reduction in ("mean", "sum"):
            loss = um.losses.CrossEntropyLoss(weight=weight, ignore_index=ignored, reduction=reduction, label_smoothing=smoothing)
            given, wanted = value_of(subject, loss, x, target), value_of(subject, loss, x[kept], target[kept])
            assert math.isclose(given, wanted, rel_tol=1e-5), f"ignore_index={ignored}, {reduction}: {given}, without the ignored samples {wanted}"


INF = math.inf
BOUNDS: dict[str, tuple[Any, list[Any], list[float], list[float]]] = {
    "BCELoss": (um.losses.BCELoss(reduction="none"), [[0.0, 1.0, 0.0, 1.0, 0.5], [0.0, 1.0, 1.0, 0.0, 0.5]], [0.0, 0.0, 100.0, 100.0, math.log(2)], [0, 0, -1e12, 1e12, 0]),
    "BCEWithLogitsLoss": (um.losses.BCEWithLogitsLoss(reduction="none"), [[0.0, 0.0, 90.0, -90.0], [0.0, 1.0, 1.0, 0.0]], [math.log(2), math.log(2), 0.0, 0.0], [0.5, -0.5, 0.0, 0.0]),
    "KLDivLoss": (um.losses.KLDivLoss(reduction="none"), [[-1.0, -2.0, 0.0], [0.0, 1.0, 0.5]], [0.0, 2.0, -0.5 * math.log(2)], [0.0, -1.0, -0.5]),
    "HuberLoss": (um.losses.HuberLoss(reduction="none", delta=0.5), [[0.0, 0.5, -0.5, 3.0, -3.0], [0.0] * 5], [0, 0.125, 0.125, 1.375, 1.375], [0, 0.5, -0.5, 0.5, -0.5]),
    "SmoothL1Loss": (um.losses.SmoothL1Loss(reduction="none", beta=0.5), [[0.0, 0.5, -0.5, 3.0, -3.0], [0.0] * 5], [0, 0.25, 0.25, 2.75, 2.75], [0, 1, -1, 1, -1]),
    "L1Loss": (um.losses.L1Loss(reduction="none"), [[0.0, 2.0, -2.0], [0.0] * 3], [0.0, 2.0, 2.0], [0.0, 1.0, -1.0]),
    "PoissonNLLLoss": (um.losses.PoissonNLLLoss(full=True, reduction="none"), [[0.0] * 3, [0.0, 1.0, 2.0]], [1, 1, 1 + 2 * math.log(2) - 2 + 0.5 * math.log(4 * math.pi)], [1, 0, -1]),
    "NLLLoss": (um.losses.NLLLoss(reduction="none"), [[[-INF, 0.0, -1.0], [0.0, -INF, -INF]], [1, 0]], [0.0, 0.0], [[0, -1, 0], [-1, 0, 0]]),
}  # fmt: skip  # a table reads better in rows
"""At the ends of what its inputs may be, and where its formula changes: a loss, its inputs, the values, and the gradients of their sum for the first input."""


@pytest.mark.concerns("loss")
@pytest.mark.parametrize("name", BOUNDS)
def test_at_the_bounds(subject: Subject, name: str) -> None:
    """Probabilities of 0 and 1, targets of 0, differences of 0 and where a loss changes its form: finite, and PyTorch's."""
    loss, inputs, values, slopes = BOUNDS[name]
    arrays = [as_dtype(np.array(a), subject.best) for a in inputs]
    given = subject.run(lambda *t: loss(*t), *arrays)
    assert not (d := difference(given, as_dtype(np.array(values, "float64"), subject.best), 1e-6)), f"{name} of {inputs}: {d}"
    for way in subject.ways:
        grad = subject.run(lambda *t: um.value_and_grad(lambda: um.ops.sum(loss(*t)), wrt=t[0])[1], *arrays, differentiation=way)
        assert not (d := difference(grad, as_dtype(np.array(slopes, "float64"), subject.best), 1e-6)), f"gradient of {name} at {inputs} ({way}): {d}"


@pytest.mark.concerns("loss", "ignore_index")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ignored_samples_with_infinite_logits(subject: Subject, smoothing: float) -> None:
    """A masked class, whose logit is -inf, in a sample that is ignored makes nothing NaN, neither the loss nor the gradient of the others."""
    x = np.array([[0.5, 1.0, -0.5], [-INF, 0.3, 0.1], [0.2, -1.0, 0.4]])
    y = np.array([1, -100, 2])
    loss = um.losses.CrossEntropyLoss(label_smoothing=smoothing)
    wanted = value_of(subject, loss, x[[0, 2]], y[[0, 2]])
    given = value_of(subject, loss, x, y)
    assert math.isclose(given, wanted, rel_tol=1e-5), f"{given}, without the ignored sample {wanted}"
    for way in subject.ways:
        grad = subject.run(lambda x, y: um.value_and_grad(lambda: loss(x, y), wrt=x)[1], as_dtype(x, subject.best), y, differentiation=way)
        assert np.isfinite(grad).all() and not grad[1].any(), f"the gradient ({way}) is {grad.tolist()}"


@pytest.mark.concerns("loss", "CrossEntropyLoss")
def test_label_smoothing(subject: Subject) -> None:
    """Smoothing by s is the mixture of s of the uniform distribution over all K classes with 1 - s of the target; equal logits cost log K whatever s is."""
    x, y = problem("CrossEntropyLoss")
    classes = x.shape[1]
    for s in (0.1, 0.5, 1.0):
        given = value_of(subject, um.losses.CrossEntropyLoss(label_smoothing=s), x, y)
        mixture = (1 - s) * np.eye(classes)[y] + s / classes
        as_probabilities = value_of(subject, um.losses.CrossEntropyLoss(), x, mixture)
        assert math.isclose(given, as_probabilities, rel_tol=1e-5), f"label_smoothing={s}: {given}, as probabilities {as_probabilities}"
        flat = value_of(subject, um.losses.CrossEntropyLoss(label_smoothing=s), np.zeros_like(x), y)
        assert math.isclose(flat, math.log(classes), rel_tol=1e-5), f"label_smoothing={s}: equal logits cost {flat}, not log {classes}"


@pytest.mark.concerns("loss", "a loss of one's own")
def test_own_losses(subject: Subject) -> None:
    """A plain function and a subclass with ``terms`` are losses like the others."""

    class Cubic(um.Loss):
        def terms(self, input: Any, target: Any) -> Any:
            return um.ops.abs(input - target) ** 3

    x, y = problem("MSELoss")
    wanted = np.mean(np.abs(x - y) ** 3)
    assert math.isclose(value_of(subject, Cubic(), x, y), wanted, rel_tol=1e-5)
    assert math.isclose(value_of(subject, Cubic(reduction="sum"), x, y), wanted * x.size, rel_tol=1e-5)
    assert math.isclose(value_of(subject, lambda a, b: um.ops.mean(um.ops.abs(a - b) ** 3), x, y), wanted, rel_tol=1e-5)
