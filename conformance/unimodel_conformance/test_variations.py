"""One thing about a call changed: another dtype, or one attribute, beside the call as it was and on the same arrays.

Samples and drawn calls show what somebody thought of; these calls are made by rule. A program with several calls on the same arrays also shows a lowering that takes one
call's kernel, constants or statistics for another's.
"""

from __future__ import annotations

import pytest

from unimodel.ops import catalogue
from unimodel_conformance.cases import results, run_together, sample_cases
from unimodel_conformance.subject import Subject
from unimodel_conformance.test_ops import check
from unimodel_conformance.variations import CALLED, all_of, of_other_dtypes, with_one_attribute_changed, with_six_dimensions

pytestmark = pytest.mark.concerns("op")


@pytest.mark.parametrize("op", CALLED)
def test_other_dtypes(subject: Subject, op: str) -> None:
    """Integers and booleans in place of floats, where the op moves, chooses, compares or counts."""
    cases = list(of_other_dtypes(op))
    for case, outcome in zip(cases, run_together(subject, cases, subject.best) if cases else (), strict=True):
        check(op, results(outcome), case.truth(subject.best), subject, subject.best, repr(case))


@pytest.mark.parametrize("op", [n for n in CALLED if catalogue[n].attributes])
def test_one_attribute_changed(subject: Subject, op: str) -> None:
    """Calls that differ in one attribute, side by side on the same arrays, each by its own truth."""
    cases = sample_cases(op, seed=4)
    calls = {case: with_one_attribute_changed(case) for case in cases}
    for case, outcome in zip(cases, run_together(subject, cases, subject.best, lambda case, tensors: all_of(calls[case], tensors)), strict=True):
        rest = iter(results(outcome))
        for call in calls[case]:
            truth = call.truth(subject.best)
            check(op, [next(rest) for _ in truth], truth, subject, subject.best, repr(call))


@pytest.mark.parametrize("op", [n for n in CALLED if catalogue[n].promote])
def test_six_dimensions(subject: Subject, op: str) -> None:
    """Ops element by element, of arrays of six dimensions that broadcast to each other."""
    cases = [c for c in map(with_six_dimensions, sample_cases(op, seed=5)) if c is not None]
    for case, outcome in zip(cases, run_together(subject, cases, subject.best) if cases else (), strict=True):
        check(op, results(outcome), case.truth(subject.best), subject, subject.best, repr(case))
