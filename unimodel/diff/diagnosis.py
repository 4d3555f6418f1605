"""What is at fault in a piece that parts: which op inside it, which side, and whether it is rounding or a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from unimodel.diff.judge import Finding, Judge, Label, Place
from unimodel.diff.measure import Apart, apart, op_tolerance
from unimodel.diff.piece import Piece, Whole, in_float64, in_primitives, known, opened
from unimodel.diff.side import Failure, Side
from unimodel.errors import UnimodelError
from unimodel.graph import Array

_CLEARLY = 8.0
"""A side is to blame that is so much further from the reference than the other."""


@dataclass
class Diagnosis:
    finding: Finding
    """The innermost op that parts."""
    path: list[str]
    """The ops it is inside of, outermost first, and itself last."""
    in_float64: Apart | None = None
    """How far the sides are apart on the same numbers in float64."""
    fault: bool | None = None
    """True for a fault, False for rounding, None where float64 cannot tell."""
    fused: dict[str, Apart] = field(default_factory=dict)
    """For a composite, by backend: how far it is from its own decomposition there."""
    reference: str | None = None
    """The backend that was asked, in float64."""
    from_reference: dict[str, float] = field(default_factory=dict)
    """Each side's distance from it."""
    blamed: str | None = None


def diagnose(
    finding: Finding, judge: Judge, references: Callable[[], Iterable[Side]], narrow: Callable[[Finding, Judge], Finding] = lambda found, judge: found
) -> Diagnosis:
    """Look into a finding. ``references`` are other backends, best first, to ask what is right; ``narrow`` may find a smaller input."""
    found = Diagnosis(finding, [finding.label.op])
    if finding.failure is not None:
        _innermost(found, judge)
        found.blamed = found.finding.failure.backend if found.finding.failure is not None else None
        return found
    _innermost(found, judge)
    found.finding = narrow(found.finding, judge)
    _fused(found, judge)
    _float64(found, judge)
    for reference in references():
        if _ask(found, judge, reference):
            break
    if found.blamed is None and found.reference is None:
        unlike = [name for name, distance in found.fused.items() if distance.error > found.finding.tolerance]
        found.blamed = unlike[0] if len(unlike) == 1 else None
    return found


def _innermost(found: Diagnosis, judge: Judge) -> None:
    """Go into composites for as long as an op inside parts by itself."""
    while True:
        finding = found.finding
        body = None if finding.place is None or finding.native else opened(finding.piece)
        if body is None:
            return
        whole = Whole(body.graph)
        values = whole.values_of(body)
        inner: Finding | None = None
        for node in body.graph.nodes:
            constant = known(node)
            if constant is not None:
                values[node.outputs[0]] = constant
                continue
            cut = whole.cut([node], values, {})
            label = replace(finding.label, op=node.op.name, source=node.source or finding.label.source)
            inner, results = _quietly(judge, cut.piece, label)
            if inner is not None:
                inner = replace(inner, place=Place(whole, node, values, {}))
                break
            if results is None:
                return
            values.update(zip(cut.made, results, strict=True))
        if inner is None or (finding.failure is None) is not (inner.failure is None):
            return
        found.finding = inner
        found.path.append(inner.label.op)


def _quietly(judge: Judge, piece: Piece, label: Label) -> tuple[Finding | None, list[Array] | None]:
    first, second, failure = judge.run(piece, ("auto", "auto"))
    if first is None or second is None:
        return Finding(judge.step, label, piece, ("auto", "auto"), failure=failure), first if first is not None else second
    return judge.compare(piece, label, ("auto", "auto"), first, second, note=False), first


def _fused(found: Diagnosis, judge: Judge) -> None:
    """A composite against its decomposition, on each side."""
    finding = found.finding
    if finding.native or not finding.piece.graph.nodes or not any(n.op.composite for n in finding.piece.graph.nodes):
        return
    try:
        plain = in_primitives(finding.piece)
    except UnimodelError:
        return
    for side, results in zip(judge.sides, finding.results, strict=True):
        try:
            others = side.run(plain)
        except Failure:
            continue
        distances = [apart(a, b, before) for a, b, before in zip(results, others, finding.piece.before, strict=True)]
        found.fused[side.name] = max(distances, key=lambda d: d.error)


def _float64(found: Diagnosis, judge: Judge) -> None:
    """The same piece in float64 on both sides: a fault stays, rounding goes."""
    finding = found.finding
    if finding.piece.float_dtype == "float64":
        found.in_float64, found.fault = finding.apart, True
        return
    if any(side.no_float64 is not None for side in judge.sides):
        return
    try:
        wide = in_float64(finding.piece)
        first, second, failure = judge.run(wide, finding.ways)
    except UnimodelError:
        return
    if failure is not None or first is None or second is None:
        return
    distance = apart(first[finding.result], second[finding.result], wide.before[finding.result])
    found.in_float64 = distance
    found.fault = distance.error > max(op_tolerance("float64", *(s.tolerances for s in judge.sides)), finding.apart.error * 1e-5)


def _ask(found: Diagnosis, judge: Judge, reference: Side) -> bool:
    """How far each side is from a third backend's float64; whether it could be asked."""
    finding = found.finding
    try:
        wide = finding.piece if finding.piece.float_dtype == "float64" else in_float64(finding.piece)
        reference.start()
        if reference.no_float64 is not None:
            return False
        right = reference.run(wide, "core")[finding.result]
    except (Failure, UnimodelError):
        return False
    found.reference = reference.name
    distances = []
    for side, results in zip(judge.sides, finding.results, strict=True):
        given = results[finding.result]
        distances.append(apart(given.astype(right.dtype), right, wide.before[finding.result]).error)
        found.from_reference[side.name] = distances[-1]
    first, second = distances
    if max(first, second) > _CLEARLY * min(first, second):
        found.blamed = judge.sides[int(second > first)].name
    return True
