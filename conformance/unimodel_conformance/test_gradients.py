"""Gradients: by finite differences on the backend itself, by either way of differentiation, and gradients of gradients.

Finite differences are the judge. They are taken in float64 of the very program whose gradient is checked, so that each op's gradient is held against that op's own values,
which ``test_ops.py`` holds against truth. Where a function has a kink, the ops' docstrings say what the gradient is, and that is checked by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from unimodel import ops, value_and_grad
from unimodel.backend import Capability
from unimodel.errors import UnsupportedError
from unimodel.graph import Array
from unimodel.ops import catalogue
from unimodel_conformance.cases import Case, compiled, finite_difference, float_places, gradients, nested_gradients, results, run_together, sample_cases
from unimodel_conformance.subject import Compiled, Subject, as_dtype, assert_close, difference
from unimodel_conformance.variations import all_of, with_one_attribute_changed

pytestmark = [pytest.mark.concerns("gradient"), pytest.mark.needs(Capability.TRAINING)]

FLOAT64 = pytest.mark.needs(Capability.FLOAT64)
NATIVE = pytest.mark.needs(Capability.NATIVE_DIFFERENTIATION)
WAYS = pytest.mark.parametrize("way", ["core", pytest.param("native", marks=NATIVE)])
TOLERANCE = (1e-8, 1e-7)
"""Of gradients, and of gradients of gradients, beside finite differences."""
DIFFERENTIABLE = [n for n, op in catalogue.items() if any(s.gradient for s in op.samples)]


def checked(name: str) -> list[Case]:
    """The samples of an op that have a gradient and something to take it for."""
    return [c for c in sample_cases(name, seed=3, gradients_only=True) if float_places(c)]


Body = Callable[[Case, Sequence[Any]], Any]
Found = tuple[Any, list[str]]
"""What a program gave for a case (or the exception it ended with), and a sentence for each gradient in it that is not what finite differences say."""


def first(case: Case, tensors: Sequence[Any]) -> Any:
    """The loss and its gradients, as the one step there is."""
    return (gradients(case, tensors),)


def judged(subject: Subject, op: str, body: Body, way: str) -> list[tuple[Case, list[Found]]]:
    """Each case of an op with what became of each step of ``body`` in float64, computed once for all tests that look at it."""
    key = ("gradients", op, body.__name__, way)
    if key not in subject.cache:
        cases = checked(op)
        subject.cache[key] = list(zip(cases, _judged(subject, cases, body, way), strict=True)) if cases else []
    found: list[tuple[Case, list[Found]]] = subject.cache[key]
    return found


def _judged(subject: Subject, cases: Sequence[Case], body: Body, way: str) -> list[list[Found]]:
    try:
        return _against_differences(cases, compiled(subject, cases, "float64", body, way))
    except Exception as error:
        if len(cases) == 1:
            return [[(error, [f"{cases[0]!r}: {type(error).__name__}: {error}"])] * 2]
        return [f for c in cases for f in _judged(subject, [c], body, way)]


def _against_differences(cases: Sequence[Case], program: Compiled) -> list[list[Found]]:
    """All cases are moved at once, since their numbers do not touch each other, and all steps are judged by the same movements."""
    arrays = [c.in_dtype("float64") for c in cases]
    answers = program(*(a for each in arrays for a in each))
    found: list[list[Found]] = [[(step, []) for step in each] for each in answers]
    rng = np.random.default_rng(5)
    for k in range(max(len(float_places(c)) for c in cases)):
        chosen = [(i, float_places(c)[k]) for i, c in enumerate(cases) if k < len(float_places(c))]
        sizes = {i: float(np.clip(np.abs(arrays[i][place]).max(initial=0.0), 0.01, 1.0)) for i, place in chosen}
        directions = {i: sizes[i] * rng.choice([-1.0, 1.0], arrays[i][place].shape) for i, place in chosen}

        def values(t: float, chosen: Any = chosen, directions: Any = directions) -> Array:
            moved = [list(each) for each in arrays]
            for i, place in chosen:
                moved[i][place] = arrays[i][place] + t * directions[i]
            return np.array([[float(step[0]) for step in r] for r in program(*(a for each in moved for a in each))])

        slopes = finite_difference(lambda a: values(float(a[0])), [np.zeros(())], 0, np.ones(()))
        for i, place in chosen:
            for order, step in enumerate(answers[i]):
                analytic, slope = float(np.sum(np.asarray(step[1 + k]) * directions[i])), float(slopes[i, order])
                size = max(1.0, float(np.abs(step[1 + k]).max(initial=0.0))) * sizes[i]
                if not abs(analytic - slope) <= TOLERANCE[order] * max(size, abs(slope)):
                    found[i][order][1].append(f"{cases[i]!r}, array {place}: the gradient along a direction is {analytic!r}, finite differences give {slope!r}")
    return found


def core_gradients(subject: Subject, op: str) -> list[tuple[Case, Found]]:
    """By core's differentiation: the inner step of the program that has a gradient of gradients, or where there is none the step alone."""
    whole = judged(subject, op, nested_gradients, "core")
    if any(isinstance(steps[0][0], Exception) for _, steps in whole):
        whole = judged(subject, op, first, "core")
    return [(case, steps[0]) for case, steps in whole]


def faults(found: Sequence[tuple[Case, Found]]) -> str:
    """What finite differences say against gradients; a typed refusal is raised as such."""
    for _, (outcome, _) in found:
        if isinstance(outcome, UnsupportedError):
            raise outcome
    return "; ".join(fault for _, (_, each) in found for fault in each)


@FLOAT64
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_core_gradient(subject: Subject, op: str) -> None:
    """Core's differentiated graph, run by the backend, against finite differences."""
    found = faults(core_gradients(subject, op))
    assert not found, f"core's gradient of {op}: {found}"


@pytest.mark.parametrize("op", [n for n in DIFFERENTIABLE if catalogue[n].composite and catalogue[n].vjp_rule is not None])
def test_rule_is_the_gradient_of_the_body(subject: Subject, op: str) -> None:
    """A composite's own gradient rule gives what differentiating its decomposition gives, also beside calls that differ in one attribute."""
    cases = checked(op)
    calls = {case: with_one_attribute_changed(case) for case in cases}

    def both(case: Case, tensors: Sequence[Any]) -> Any:
        return [gradients(case, tensors, partial(all_of, calls[case], call=how)) for how in (Case.call, Case.decomposed)]

    for case, outcome in zip(cases, run_together(subject, cases, subject.best, both, "core"), strict=True):
        for i, (x, y) in enumerate(zip(*results(outcome), strict=True)):
            d = difference(x, y, 100 * subject.tolerance(subject.best))
            assert not d, f"{case!r} and {len(calls[case]) - 1} calls with one attribute changed: gradient {i} by its rule and by its body part: {d}"


@FLOAT64
@NATIVE
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_native_gradient(subject: Subject, op: str) -> None:
    """The framework's differentiation against finite differences, and against core's."""
    native = [(case, steps[0]) for case, steps in judged(subject, op, first, "native")]
    found = faults(native)
    assert not found, f"native gradient of {op}: {found}"
    for (case, (a, _)), (_, (b, _)) in zip(native, core_gradients(subject, op), strict=True):
        for i, (x, y) in enumerate(zip(results(a), results(b), strict=True)):
            assert not (d := difference(x, y, 50 * subject.tolerance("float64"))), f"{case!r}: native and core's gradient {i} part: {d}"


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_float32_gradient(subject: Subject, op: str) -> None:
    """In float32 every way gives the gradients that float64 gives on the NumPy reference."""
    from unimodel_conformance.test_ops import _reference

    cases = checked(op)
    if not cases:
        return
    wanted = run_together(_reference(subject), cases, "float64", gradients, "core")
    for way in subject.ways:
        for case, a, e in zip(cases, run_together(subject, cases, "float32", gradients, way), wanted, strict=True):
            for i, (x, y) in enumerate(zip(results(a), results(e), strict=True)):
                d = difference(x, y.astype(x.dtype), 100 * subject.tolerance("float32"))
                assert x.dtype == "float32" and not d, f"{case!r}, {way} gradient {i} in float32: {d or x.dtype}"


@FLOAT64
@WAYS
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_gradient_of_gradient(subject: Subject, op: str, way: str) -> None:
    """A region inside a region, against finite differences of the inner gradient."""
    found = faults([(case, steps[1]) for case, steps in judged(subject, op, nested_gradients, way)])
    assert not found, f"second gradient of {op} ({way}): {found}"


# --------------------------------------------------------------------------------------------------------- kinks and ties

KINKS: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
    "relu": (lambda x: ops.relu(x), [[-1.0, 0.0, 2.0, np.nan]], [[0.0, 0.0, 1.0, 1.0]]),
    "abs": (lambda x: ops.abs(x), [[-1.0, 0.0, 2.0]], [[-1.0, 0.0, 1.0]]),
    "maximum": (lambda x, y: ops.maximum(x, y), [[1.0, 2.0, 3.0], [2.0, 2.0, 1.0]], [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]),
    "minimum": (lambda x, y: ops.minimum(x, y), [[1.0, 2.0, 3.0], [2.0, 2.0, 1.0]], [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]),
    "max": (lambda x: ops.max(x, axis=1), [[[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]]], [[[0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]]]),
    "min": (lambda x: ops.min(x), [[4.0, 1.0, 1.0, 2.0]], [[0.0, 0.5, 0.5, 0.0]]),
    "clip": (lambda x: ops.clip(x, -1.0, 1.0), [[-2.0, -1.0, 0.0, 1.0, 2.0]], [[0.0, 1.0, 1.0, 1.0, 0.0]]),
    "prod": (lambda x: ops.prod(x, axis=1), [[[2.0, 0.0, 3.0], [0.0, 0.0, 3.0], [2.0, 5.0, 3.0]]], [[[0.0, 6.0, 0.0], [0.0, 0.0, 0.0], [15.0, 6.0, 10.0]]]),
    "max_pool": (lambda x: ops.max_pool2d(x, 2), [[[[[1.0, 1.0], [1.0, 0.0]]]]], [[[[[1.0, 0.0], [0.0, 0.0]]]]]),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.1), [[-1.0, 2.0]], [[0.1, 1.0]]),
    "floor": (lambda x: ops.floor(x) + ops.ceil(x) + ops.round(x) + ops.sign(x), [[0.3, -1.7]], [[0.0, 0.0]]),
    "stop_gradient": (lambda x: x * ops.stop_gradient(x), [[2.0, 3.0]], [[2.0, 3.0]]),
    "where": (lambda x: ops.where(x > 0.0, ops.log(ops.where(x > 0.0, x, 1.0)), 0.0), [[-1.0, 0.0, 2.0]], [[0.0, 0.0, 0.5]]),
    "take": (lambda x: ops.take(x, np.array([0, 2, 2, 2])), [[1.0, 2.0, 3.0]], [[1.0, 0.0, 3.0]]),
    "embedding": (lambda w: ops.embedding(np.array([[0, 1], [1, 1]]), w, padding_idx=0), [[[1.0], [2.0], [3.0]]], [[[0.0], [3.0], [0.0]]]),
    "pow": (lambda x: x**2 + x**3 + ops.pow(x, 0), [[-2.0, 0.0, 3.0]], [[8.0, 0.0, 33.0]]),
    "powers": (lambda x, y: x**y, [[0.0, -1.0, -2.0, 0.0, 2.0, 1.0], [0.0, 2.0, 3.0, 2.0, 0.0, 1.0]], [[0.0, -2.0, 12.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, math.log(2.0), 0.0]]),
    "broadcast": (lambda x, y: x * y, [[[1.0], [2.0]], [1.0, 2.0, 3.0]], [[[6.0], [6.0]], [3.0, 3.0, 3.0]]),
    "cast": (lambda x: ops.astype(ops.astype(x, "float32"), "float64") * x, [[1.0, 2.0]], [[2.0, 4.0]]),
    "gaussian_nll": (lambda v: ops.gaussian_nll(v * 0.0, v * 0.0 + 1.0, v, eps=0.3), [[0.1, 0.5, 2.0]], [[-3.888888888888889, -1.0, 0.125]]),
    "sigmoid": (lambda x: ops.sigmoid(x), [[-800.0, 0.0, 800.0]], [[0.0, 0.25, 0.0]]),
    "softplus": (lambda x: ops.softplus(x), [[-800.0, 0.0, 800.0]], [[0.0, 0.5, 1.0]]),
    "logsumexp": (lambda x: ops.logsumexp(x, axis=0), [[800.0, 800.0, -800.0]], [[0.5, 0.5, 0.0]]),
}  # fmt: skip


@WAYS
@pytest.mark.parametrize("op", KINKS)
def test_kinks_and_ties(subject: Subject, op: str, way: str) -> None:
    """At kinks, ties and duplicates the gradient is the one the op's docstring promises, by either way."""
    function, inputs, wanted = KINKS[op]
    arrays = [as_dtype(np.array(a), subject.best) for a in inputs]
    if op == "cast" and subject.best == "float32":
        return
    given = subject.run(lambda *xs: value_and_grad(lambda: ops.sum(function(*xs)), wrt=list(xs))[1], *arrays, differentiation=way)
    for i, (g, e) in enumerate(zip(given, wanted, strict=True)):
        assert not (d := difference(g, as_dtype(np.array(e), subject.best), 1e-6)), f"{op} ({way}), gradient {i}: {d}"


# ------------------------------------------------------------------------------------------------------ regions as a whole


def agree(subject: Subject, way: str, function: Callable[..., Any], arrays: Sequence[Any], wanted: Any, what: str) -> None:
    """``function`` gives ``wanted`` by this way of differentiation."""
    given = subject.run(function, *(np.asarray(a) for a in arrays), differentiation=way)
    assert_close(given, [np.asarray(w, subject.best) for w in wanted], 1e-6, f"{what} ({way})")


@WAYS
@pytest.mark.concerns("gradient", "regions")
def test_value_comes_with_gradient(subject: Subject, way: str) -> None:
    """The value is that of the function, extras come back, a value used twice counts twice, and what does not matter has no gradient."""
    x, y = np.array([1.0, 2.0]), np.array([3.0, -1.0])

    def step(x: Any, y: Any) -> Any:
        (value, aux), (dx, dy, none) = value_and_grad(lambda: (ops.sum(x * x * y), {"sum": x + y}), wrt=[x, y, x * 1.0], has_aux=True)
        assert none is None, "a tensor that the value does not depend on has no gradient"
        return [value, aux["sum"], dx, dy]

    agree(subject, way, step, [x, y], [np.sum(x * x * y), x + y, 2 * x * y, x * x], "value, extra and gradients")


@WAYS
@pytest.mark.concerns("gradient", "regions")
def test_unused_and_constant(subject: Subject, way: str) -> None:
    """No gradient for what is cut off or unused, also where the loss is a constant of it."""

    def step(x: Any, y: Any) -> Any:
        _, (dx, dy) = value_and_grad(lambda: ops.sum(x) + ops.sum(ops.stop_gradient(y)), wrt=[x, y])
        assert dy is None
        return [dx]

    agree(subject, way, step, [[1.0, 2.0], [3.0]], [[1.0, 1.0]], "gradient of a sum")


@WAYS
@pytest.mark.concerns("gradient", "regions")
def test_gradient_penalty(subject: Subject, way: str) -> None:
    """A gradient inside the loss: d/dw of |d/dx tanh(w·x)|², against the closed form."""
    w, x = np.array([0.3, -0.7]), np.array([1.1, 0.4])

    def step(w: Any, x: Any) -> Any:
        def penalty() -> Any:
            _, dx = value_and_grad(lambda: ops.tanh(ops.sum(w * x)), wrt=x)
            return ops.sum(dx * dx)

        value, dw = value_and_grad(penalty, wrt=w)
        return [value, dw]

    t = np.tanh(w @ x)
    s = 1 - t**2
    agree(subject, way, step, [w, x], [s**2 * (w @ w), 2 * s**2 * w + (w @ w) * 2 * s * (-2 * t * s) * x], "gradient penalty")


@WAYS
@pytest.mark.concerns("gradient", "regions")
def test_third_order(subject: Subject, way: str) -> None:
    """Three regions one in the other: the derivatives of x⁴."""
    x = np.array(1.5)

    def step(x: Any) -> Any:
        first, second = [], []

        def inner() -> Any:
            value, d1 = value_and_grad(lambda: x * x * x * x, wrt=x)
            first.append(value)
            return d1

        def middle() -> Any:
            d1, d2 = value_and_grad(inner, wrt=x)
            second.append(d1)
            return d2

        d2, d3 = value_and_grad(middle, wrt=x)
        return [d2, d3]

    agree(subject, way, step, [x], [12 * x**2, 24 * x], "x⁴ three times")


@WAYS
@pytest.mark.concerns("gradient", "regions")
def test_several_regions(subject: Subject, way: str) -> None:
    """Two regions side by side, one using the other's gradient, as a step with two optimizers has."""
    x = np.array([0.5, -1.5])

    def step(x: Any) -> Any:
        _, first = value_and_grad(lambda: ops.sum(ops.exp(x)), wrt=x)
        moved = x - 0.1 * first
        value, second = value_and_grad(lambda: ops.sum(moved * moved), wrt=moved)
        return [first, value, second]

    moved = x - 0.1 * np.exp(x)
    agree(subject, way, step, [x], [np.exp(x), np.sum(moved**2), 2 * moved], "two regions")


@WAYS
@pytest.mark.concerns("gradient", "regions")
def test_chain_of_many(subject: Subject, way: str) -> None:
    """A deep chain and a wide fan, where a gradient is a sum over many uses."""
    x = np.array([0.2, 0.4])

    def step(x: Any) -> Any:
        def loss() -> Any:
            y = x
            for _ in range(30):
                y = ops.sin(y) + x * 0.1
            return ops.sum(y)

        return list(value_and_grad(loss, wrt=x))

    y, dy = x.copy(), np.ones(2)
    for _ in range(30):
        dy = np.cos(y) * dy + 0.1
        y = np.sin(y) + 0.1 * x
    agree(subject, way, step, [x], [y.sum(), dy], "thirty sines")
