"""Every op of the catalogue against independent truth.

The cases are the samples beside each op's definition, calls that hypothesis makes up, and the places where frameworks like to part: zero sizes, no
dimensions, other strides, NaN and infinity, integers beyond 2**24, numbers so large that a careless formula overflows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from unimodel.ops import catalogue
from unimodel_conformance.cases import results, run_together, sample_cases
from unimodel_conformance.generate import GENERATED, draw_case
from unimodel_conformance.subject import Subject, difference, reference
from unimodel_conformance.truth import TRUTH

pytestmark = pytest.mark.concerns("op")

SAMPLES = [pytest.param(name, i, id=f"{name}-{i}") for name, op in catalogue.items() for i in range(len(op.samples))]
EXACT = frozenset(
    [
        "add",
        "subtract",
        "multiply",
        "negative",
        "abs",
        "sign",
        "floor",
        "ceil",
        "round",
        "relu",
        "where",
        "maximum",
        "minimum",
        "reshape",
        "permute_dims",
        "broadcast_to",
        "concat",
        "flip",
        "pad_constant",
        "slice",
        "take",
        "take_along_axis",
        "stop_gradient",
        "one_hot",
        "iota",
        "constant",
        "cast",
        "floor_divide",
        "bitwise_and",
        "arg_sort",
    ]
)
"""Ops that only move, choose or round once: no tolerance at all."""
ELEMENTWISE = frozenset(
    [
        "true_divide",
        "pow",
        "exp",
        "expm1",
        "log",
        "log1p",
        "sqrt",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "erf",
        "square",
        "rsqrt",
        "leaky_relu",
        "elu",
        "softplus",
        "silu",
        "masked_dropout",
        "squared_error",
        "absolute_error",
        "relu_gradient",
        "atan2",
        "asinh",
        "hypot",
        "erfinv",
        "erfc",
    ]
)
"""Ops each of whose elements must be right to its own size."""


def check(name: str, given: Any, expected: Any, subject: Subject, dtype: str, what: str) -> None:
    """Results of an op against what they must be."""
    for i, (a, e) in enumerate(zip(given, expected, strict=True)):
        e = np.asarray(e).astype(dtype) if np.asarray(e).dtype.kind == "f" and np.asarray(a).dtype.kind == "f" else np.asarray(e)
        if a.dtype.kind == "f" and a.dtype.name != dtype:
            named = name in catalogue and "dtype" in catalogue[name].attributes  # such as cast
            assert named, f"{name}, {what}, result {i}: the dtype is {a.dtype.name}, expected {dtype}"
            e = e.astype(a.dtype)
        tolerance = 0.0 if name in EXACT else subject.tolerance(dtype) * (1 if name in ELEMENTWISE else 4)
        found = difference(a, e, tolerance, relative="element" if name in EXACT | ELEMENTWISE else "array")
        assert not found, f"{name}, {what}, result {i}, {dtype}: {found}"


def outcomes(subject: Subject, name: str, dtype: str) -> Any:
    """All samples of an op, run once for all tests that look at them."""
    key = ("samples", name, dtype)
    if key not in subject.cache:
        cases = sample_cases(name)
        subject.cache[key] = list(zip(cases, run_together(subject, cases, dtype), strict=True))
    return subject.cache[key]


@pytest.mark.parametrize(("op", "index"), SAMPLES)
def test_sample(subject: Subject, op: str, index: int) -> None:
    """In the most exact dtype there is, against truth, and against the reference."""
    case, outcome = outcomes(subject, op, subject.best)[index]
    given = results(outcome)
    if op in TRUTH:
        check(op, given, case.truth(subject.best), subject, subject.best, repr(case))
    if subject.best == "float64":  # else the inputs were rounded, and the reference's were not: test_float32_sample compares those
        _, ours = outcomes(_reference(subject), op, "float64")[index]
        check(op, given, results(ours), subject, subject.best, f"{case!r} against the NumPy reference")


def _reference(subject: Subject) -> Subject:
    if "reference" not in subject.cache:
        subject.cache["reference"] = reference()
    found: Subject = subject.cache["reference"]
    return found


@pytest.mark.parametrize(("op", "index"), SAMPLES)
def test_float32_sample(subject: Subject, op: str, index: int) -> None:
    """In float32, against truth from the same rounded inputs."""
    case, outcome = outcomes(subject, op, "float32")[index]
    given = results(outcome)
    _, ours = outcomes(_reference(subject), op, "float64")[index]
    expected = case.truth("float32") if op in TRUTH else results(ours)
    check(op, given, expected, subject, "float32", repr(case))


@pytest.mark.parametrize("op", [n for n, op in catalogue.items() if op.composite])
def test_fused_equals_decomposed(subject: Subject, op: str) -> None:
    """A composite lowered whole gives what its body gives, in every dtype claimed."""
    for dtype in subject.floats:
        cases = sample_cases(op, seed=1)
        for case, outcome in zip(cases, run_together(subject, cases, dtype, lambda case, tensors: (case.call(tensors), case.decomposed(tensors))), strict=True):
            for i, (x, y) in enumerate(zip(*results(outcome), strict=True)):
                found = difference(x, y, 8 * subject.tolerance(dtype))
                assert not found, f"{case!r}, result {i}, {dtype}: the op and its decomposition part: {found}"


@pytest.mark.parametrize("op", sorted(GENERATED))
@settings(
    max_examples=2, derandomize=True, database=None, deadline=None, phases=(Phase.generate,), verbosity=Verbosity.quiet, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_generated(subject: Subject, op: str, data: Any) -> None:
    """Shapes, dtypes and attributes that hypothesis makes up, eighteen calls in one program. Its first example, the simplest call again and again, is left out."""
    drawn = [draw_case(data, op) for _ in range(18)]
    cases = list({(c.label, *(a.tobytes() for a in c.arrays)): c for c in drawn}.values())
    if len(cases) == 1:
        return
    for dtype in subject.floats:
        for case, outcome in zip(cases, run_together(subject, cases, dtype), strict=True):
            check(op.split("-")[0], results(outcome), case.truth(dtype), subject, dtype, repr(case))
