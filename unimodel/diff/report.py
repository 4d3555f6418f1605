"""What was found, as JSON: the one form that the command prints, and that is kept in the file beside the numbers."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from typing import Any

from unimodel.backend import literal
from unimodel.diff.diagnosis import Diagnosis
from unimodel.diff.judge import Finding, Judge, Largest
from unimodel.diff.lockstep import WHOLE_STEP, Lockstep
from unimodel.diff.measure import statistics
from unimodel.diff.nonfinite import Hunt, Origin
from unimodel.diff.piece import Piece
from unimodel.errors import Source
from unimodel.graph import Array


def line_of(source: Source | None) -> dict[str, Any] | None:
    if source is None:
        return None
    text = linecache.getline(source.file, source.line).strip()
    return {"file": source.file, "line": source.line, "function": source.function, "layer": source.layer, "text": text}


def parting(diagnosis: Diagnosis, judge: Judge) -> dict[str, Any]:
    """Everything about the first place where two backends part."""
    finding, names = diagnosis.finding, [side.name for side in judge.sides]
    failure = finding.failure
    found: dict[str, Any] = {
        "step": finding.step,
        "phase": finding.label.phase,
        "op": diagnosis.path[-1],
        "inside": diagnosis.path[:-1],
        "line": line_of(finding.label.source),
        "native_gradient": finding.native,
        "error": None if failure is None else {"backend": failure.backend, "cause": failure.cause, "output": failure.output},
        "inputs": inputs(finding.piece),
    }
    if failure is not None:
        return found | {"blamed": diagnosis.blamed}
    return found | {
        "result": finding.piece.labels[finding.result],
        "difference": finding.apart.error,
        "tolerance": finding.tolerance,
        "what": finding.apart.what,
        "elements": finding.apart.count,
        "place": list(finding.apart.place),
        "values": dict(zip(names, (finding.apart.first, finding.apart.second), strict=True)),
        "statistics": {name: statistics(results[finding.result]) for name, results in zip(names, finding.results, strict=True)},
        "float64_difference": None if diagnosis.in_float64 is None else diagnosis.in_float64.error,
        "kind": {True: "fault", False: "rounding", None: None}[diagnosis.fault],
        "from_own_decomposition": {name: distance.error for name, distance in diagnosis.fused.items()},
        "reference": diagnosis.reference,
        "from_reference": diagnosis.from_reference,
        "blamed": diagnosis.blamed,
    }


def inputs(piece: Piece) -> dict[str, Any]:
    """The statistics of what goes into a piece; of a whole step there is too much to tell."""
    if len(piece.arrays) > 16:
        return {}
    constants = [n for n in piece.graph.nodes if n.op.name == "constant"]
    found = {name: statistics(a) for name, a in piece.arrays.items()} | {name: {"shape": [], "values": value} for name, value in piece.scalars.items()}
    return found | {f"constant {i}" if len(constants) > 1 else "constant": statistics(literal(node)) for i, node in enumerate(constants)}


def in_short(finding: Finding) -> dict[str, Any]:
    """One line's worth of a finding."""
    difference = None if finding.failure is not None else finding.apart.error
    return {"phase": finding.label.phase, "op": finding.label.op, "line": line_of(finding.label.source), "difference": difference}


def healthy(lockstep: Lockstep) -> dict[str, Any]:
    """How far the backends have been apart, op by op, the furthest first."""
    ordered = sorted(lockstep.judge.largest.items(), key=lambda item: -item[1].apart.error)
    whole = lockstep.judge.largest.get(WHOLE_STEP)
    return {
        "steps": lockstep.steps,
        "compared": lockstep.judge.compared,
        "largest": {op: largest(entry) for op, entry in ordered if op != WHOLE_STEP},
        "whole_step": None if whole is None else largest(whole),
    }


def largest(entry: Largest) -> dict[str, Any]:
    return {
        "difference": entry.apart.error,
        "tolerance": entry.tolerance,
        "count": entry.count,
        "rounding": entry.explained,
        "step": entry.step,
        "phase": entry.label.phase,
        "line": line_of(entry.label.source),
    }


def hunted(hunt: Hunt) -> dict[str, Any]:
    return {"results": hunt.results, "alone": hunt.alone, "origins": [origin(o) for o in hunt.origins]}


def origin(found: Origin) -> dict[str, Any]:
    return {
        "what": found.what,
        "phase": found.phase,
        "op": found.path[-1] if found.path else None,
        "inside": list(found.path[:-1]),
        "line": line_of(found.source),
        "entered": found.entered or None,
        "inputs": inputs(found.piece),
        "results": [statistics(a) for a in found.results],
    }


def statistics_of(piece: Piece, results: Sequence[Array]) -> dict[str, Any]:
    """Of each result, by what it is."""
    return {label: statistics(a) for label, a in zip(piece.labels, results, strict=True)}
