"""Two sides and one piece: are the results the same, and if they are not, can rounding explain it?

A difference counts where it is beyond tolerance and not explained by rounding: where the inputs' last bits, changed at random, change the result about as
much as the sides differ, no program can do better. That is how the sum of numbers that cancel, and an update that divides noise by its own size, are told
from a fault.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from unimodel.diff.measure import OP_TOLERANCE, STEP_TOLERANCE, Apart, apart, op_tolerance
from unimodel.diff.piece import Piece, Whole
from unimodel.diff.side import Failure, Side
from unimodel.errors import Source
from unimodel.graph import Array, Node, Value

_LAST_BITS = 4.0
"""So many units in the last place inputs are changed by, to see what rounding does to a result…"""
_TIMES = 4.0
"""…and so much more than that two right answers may differ."""
_TRIES = {"op": 3, "step": 8}

Ways = tuple[str, str]
"""Who differentiates a piece on each side: ``auto``, ``native`` or ``core``."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a piece is in the script: its phase, its op, and the user's line. ``size`` chooses the tolerance."""

    phase: str
    op: str
    source: Source | None
    size: Literal["op", "step"] = "op"


@dataclass(frozen=True, eq=False)
class Place:
    """Where a piece was cut from: its op in a larger graph, with the numbers around it."""

    whole: Whole
    node: Node
    values: Mapping[Value, Array]
    sizes: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Finding:
    """A piece whose results are beyond tolerance apart, or which a side does not run (``failure``)."""

    step: int
    label: Label
    piece: Piece
    ways: Ways
    apart: Apart = field(default_factory=lambda: Apart(math.inf))
    result: int = 0
    """Which of the results."""
    tolerance: float = 0.0
    results: tuple[Sequence[Array], Sequence[Array]] = ((), ())
    failure: Failure | None = None
    place: Place | None = None
    """For a single op."""
    native: bool = False
    """Whether it is about a gradient that a framework computes itself."""


@dataclass
class Largest:
    """An op's largest difference so far, of those that are not rounding made large."""

    apart: Apart
    tolerance: float
    step: int
    label: Label
    count: int = 0
    explained: int = 0
    """How many differences beyond tolerance rounding explains."""


class Judge:
    """Runs pieces on both sides and compares. The first side's results are the ones to go on with."""

    def __init__(self, first: Side, second: Side) -> None:
        self.sides = first, second
        self.step = 0
        self.largest: dict[str, Largest] = {}
        """By op, for the report of a healthy pair."""
        self.compared = 0

    def run(self, piece: Piece, ways: Ways) -> tuple[list[Array] | None, list[Array] | None, Failure | None]:
        """The results on each side, None where it failed, and the first failure."""
        found: list[list[Array] | None] = []
        failures: list[Failure] = []
        for side, way in zip(self.sides, ways, strict=True):
            try:
                found.append(side.run(piece, way))
            except Failure as failure:
                found.append(None)
                failures.append(failure)
        return found[0], found[1], failures[0] if failures else None

    def look(self, piece: Piece, label: Label, ways: Ways | None = None) -> tuple[Finding | None, list[Array] | None]:
        """What is wrong with a piece, if anything, and its results: the first side's, else the second's."""
        asked = ways or (piece.differentiation, piece.differentiation)
        first, second, failure = self.run(piece, asked)
        if first is None or second is None:
            return Finding(self.step, label, piece, asked, failure=failure), first if first is not None else second
        return self.compare(piece, label, asked, first, second), first

    def compare(self, piece: Piece, label: Label, ways: Ways, first: Sequence[Array], second: Sequence[Array], note: bool = True) -> Finding | None:
        """The result that is furthest beyond tolerance, if one is."""
        self.compared += 1
        distances = [apart(a, b, before) for a, b, before in zip(first, second, piece.before, strict=True)]
        tolerances = [self.tolerance(a, label) for a in first]
        explained: set[int] = set()
        noise: list[float] | None = None
        found: Finding | None = None
        for i in sorted(range(len(first)), key=lambda i: -distances[i].error):
            if distances[i].error <= tolerances[i]:
                continue
            if math.isfinite(distances[i].error):
                noise = noise or self._rounding(piece, ways[0], first, _TRIES[label.size])
                if distances[i].error <= _TIMES * noise[i]:
                    explained.add(i)
                    continue
            found = found or Finding(self.step, label, piece, ways, distances[i], i, tolerances[i], (first, second))
        if note:
            self._note(label, [(d, t) for i, (d, t) in enumerate(zip(distances, tolerances, strict=True)) if i not in explained], len(explained))
        return found

    def parts(self, piece: Piece, label: Label, ways: Ways | None = None) -> Finding | None:
        """As ``look``, where nothing is to be remembered, and a side that fails says nothing."""
        asked = ways or (piece.differentiation, piece.differentiation)
        first, second, _ = self.run(piece, asked)
        return None if first is None or second is None else self.compare(piece, label, asked, first, second, note=False)

    def tolerance(self, result: Array, label: Label) -> float:
        dtype = result.dtype.name
        if dtype not in OP_TOLERANCE:
            return 0.0
        return STEP_TOLERANCE[dtype] if label.size == "step" else op_tolerance(dtype, *(s.tolerances for s in self.sides))

    def _note(self, label: Label, distances: Sequence[tuple[Apart, float]], explained: int) -> None:
        entry = self.largest.setdefault(label.op, Largest(Apart(0.0), 0.0, self.step, label))
        entry.count += 1
        entry.explained += explained
        for distance, tolerance in distances:
            if distance.error > entry.apart.error or not entry.tolerance:
                entry.apart, entry.tolerance, entry.step, entry.label = distance, tolerance, self.step, label

    def _rounding(self, piece: Piece, way: str, results: Sequence[Array], tries: int) -> list[float]:
        """How far each result moves on the first side when the last bits of the inputs do."""
        moved = [0.0] * len(results)
        for attempt in range(tries):
            draw = np.random.Generator(np.random.Philox(attempt))

            def change(a: Array, draw: np.random.Generator = draw) -> Array:
                bits = _LAST_BITS * float(np.finfo(a.dtype).eps)
                return np.asarray(a * (1.0 + bits * draw.uniform(-1.0, 1.0, a.shape)), a.dtype)

            try:
                others = self.sides[0].run(piece.with_arrays(change), way)
            except Failure:
                continue
            for i, (a, b, before) in enumerate(zip(results, others, piece.before, strict=True)):
                error = apart(a, b, before).error
                moved[i] = max(moved[i], error if math.isfinite(error) else 0.0)
        return moved
