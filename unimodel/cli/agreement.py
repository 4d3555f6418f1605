"""When loss curves are the same: the arithmetic behind compare's verdict.

Training amplifies rounding, so "the same" has a sense per precision. In float64, two backends that do the same mathematics stay together within 1e-8, relative,
for 200 steps. In float32 they stay within 1e-3 of the initial loss for 100 steps, unless the network has max-pooling: there one near-tie between two inputs of
a window is enough to part two honest kernels, so float64 alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

FLOAT64_STEPS = 200
FLOAT64_LIMIT = 1e-8
FLOAT32_STEPS = 100
FLOAT32_LIMIT = 1e-3

Curve = Sequence[float]


@dataclass(frozen=True, slots=True)
class Curves:
    """One backend's losses, step by step: of the script as written, and with float64 forced; ``no_float64`` says why there are none of these."""

    as_written: Curve
    float64: Curve | None = None
    no_float64: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``differences`` has each backend's largest one from any other, and ``reasons`` are sentences."""

    agree: bool
    max_loss_difference: float
    differences: dict[str, float]
    reasons: list[str]


def largest_difference(a: Curve, b: Curve, initial: float) -> float:
    """The largest absolute difference over the first 100 steps, divided by the initial loss; infinite where one curve ends before the other.

    >>> largest_difference([2.0, 1.0], [2.0, 1.5], initial=2.0)
    0.25
    """
    return max((_distance(x, y) / (abs(initial) or 1.0) for x, y in _pairs(a, b, FLOAT32_STEPS)), default=0.0)


def largest_relative_difference(a: Curve, b: Curve, initial: float) -> float:
    """The largest difference over the first 200 steps, relative to the loss at that step.

    Where the loss is below 1e-8 of the initial one it is rounding of what it is computed from, so that much is added to what is divided by.

    >>> largest_relative_difference([1.0, 0.5], [1.0, 0.5 + 1e-9], initial=1.0) < 1e-8
    True
    """
    return max((_distance(x, y) / (max(abs(x), abs(y)) + 1e-8 * abs(initial)) for x, y in _pairs(a, b, FLOAT64_STEPS) if _distance(x, y)), default=0.0)


def _pairs(a: Curve, b: Curve, steps: int) -> Iterable[tuple[float, float]]:
    if len(a[:steps]) != len(b[:steps]):
        return [(0.0, math.inf)]
    return zip(a[:steps], b[:steps], strict=True)


def _distance(x: float, y: float) -> float:
    """Infinite where only one of them is a finite number."""
    if x == y or (math.isnan(x) and math.isnan(y)):
        return 0.0
    return abs(x - y) if math.isfinite(x - y) else math.inf


def judge(curves: Mapping[str, Curves], *, max_pooling: bool, written_in_float64: bool) -> Verdict:
    """Whether the backends agree, any two of them; there must be two at least."""
    initial = next(iter(curves.values())).as_written[0]
    apart = {pair: largest_difference(curves[pair[0]].as_written, curves[pair[1]].as_written, initial) for pair in combinations(curves, 2)}
    differences = {name: max(d for pair, d in apart.items() if name in pair) for name in curves}
    reasons = [
        f"{a} made {len(curves[a].as_written)} steps and {b} made {len(curves[b].as_written)}"
        for a, b in apart
        if len(curves[a].as_written) != len(curves[b].as_written)
    ]
    in_float64 = {name: c.as_written if written_in_float64 else c.float64 for name, c in curves.items()}
    exact = {name: curve for name, curve in in_float64.items() if curve is not None}
    reasons += [f"{name} takes no part in float64, which it lacks: {c.no_float64}" for name, c in curves.items() if name not in exact]
    agree = True
    if len(exact) > 1:
        furthest = max(largest_relative_difference(exact[a], exact[b], initial) for a, b in combinations(exact, 2))
        steps = min(FLOAT64_STEPS, *(len(curve) for curve in exact.values()))
        agree = furthest <= FLOAT64_LIMIT
        reasons.append(f"float64: {furthest:.1e} apart, relative, over {steps} steps ({'within' if agree else 'beyond'} {FLOAT64_LIMIT:g})")
    if written_in_float64:
        reasons.append("the script computes in float64 itself, so that float32 is not judged")
    elif max_pooling:
        agree = agree and len(exact) == len(curves)
        reasons.append(
            "the network has max-pooling, where a near-tie in float32 parts two right answers: judged in float64 only"
            + ("" if len(exact) == len(curves) else ", which not every backend can")
        )
    else:
        close = max(apart.values()) <= FLOAT32_LIMIT
        steps = min(FLOAT32_STEPS, *(len(c.as_written) for c in curves.values()))
        reasons.append(
            f"as written: {max(apart.values()):.1e} of the initial loss apart over {steps} steps ({'within' if close else 'beyond'} {FLOAT32_LIMIT:g})"
        )
        agree = agree and close
    return Verdict(agree, max(apart.values()), differences, reasons)
